"""The commands `styles ...`: the library from the command line."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.options import BaseOption, HomeOption, JsonOption, command_group, console_of, open_studio
from app.i18n import say, say_error
from styles.errors import AtelierError, BadInput
from styles.storage.home import expanded
from styles.text import Text

Names = Annotated[str, typer.Argument(help="The style's name, or the beginning of its id.")]
Newest = Annotated[bool, typer.Option("--newest", help="The newest first, instead of by name.")]
Favourites = Annotated[bool, typer.Option("--favourites", help="Only the favourites.")]
Family = Annotated[
    str, typer.Option("--family", help="Only those for a family: starter, sd1, sd2, sdxl or own.")
]
styles_commands = command_group("The library of styles.")


@styles_commands.command("list")
def styles_list(
    context: typer.Context, newest: Newest = False, favourites: Favourites = False, family: Family = "",
    home: HomeOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """List the styles of the library."""
    from app.library.cards import card_facts, card_line

    library = open_studio(context, home).library
    listing = library.look(family=family, favourites=favourites, newest=newest)
    cards = listing.cards
    unreadable = [{"file": str(one.file), "reason": one.reason} for one in listing.unreadable]
    vanished = [{"name": one.name, "file": str(one.file), "missed": one.missed} for one in listing.vanished]
    nothing = Text(
        "No style is like that."
        if favourites or family
        else "There are no styles yet. Train one, or import one."
    )
    lines = [card_line(card) for card in cards] or [nothing]
    lines += [
        Text("Can't be used: {file}: {reason}", file=one.file, reason=one.reason)
        for one in listing.unreadable
    ]
    lines += [Text("Vanished: {name}, missed since {missed}: {file}", **one) for one in vanished]
    facts = {"styles": [card_facts(card) for card in cards], "unreadable": unreadable, "vanished": vanished}
    console_of(context).answer(facts, Text.joined("\n", lines))


@styles_commands.command("search")
def styles_search(
    context: typer.Context,
    words: Annotated[str, typer.Argument(help="Words, or tag:WORD, author:, name:, trigger:, base: for one field.")],
    newest: Newest = False, favourites: Favourites = False, family: Family = "",
    home: HomeOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """List the styles that have all these words in name, trigger, author, description, tags or base."""
    from app.library.cards import card_facts, card_line

    library = open_studio(context, home).library
    cards = library.search(words, family=family, favourites=favourites, newest=newest)
    words_found = Text.joined("\n", map(card_line, cards)) or Text("No style matches {words!r}.", words=words)
    console_of(context).answer({"styles": [card_facts(card) for card in cards]}, words_found)


@styles_commands.command("show")
def styles_show(
    context: typer.Context, name: Names, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show all that is known about one style."""
    from app.library.cards import card_facts, card_words, mark_facts
    from app.library.missing_base import families_here, with_missing_base

    studio = open_studio(context, home)
    library = studio.library
    card = with_missing_base(library.find(name), families_here(studio.shelf.list()))
    mark = library.marks().get(card.id)
    console_of(context).answer(card_facts(card) | mark_facts(mark), card_words(card, mark))


@styles_commands.command("import")
def styles_import(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Style files, PEFT folders, or folders of them.", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Import nothing: show the card of each.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Bring styles into the library; what can't be used is refused with the reason."""
    from app.library.cards import card_facts, card_line, import_facts, import_words
    from app.library.missing_base import families_here, with_missing_base
    from styles.library.import_card import import_cards

    studio = open_studio(context, home)
    library, families = studio.library, families_here(studio.shelf.list())
    files = [expanded(file) for file in files]
    if dry_run:
        cards = [
            replace(one, card=one.card and with_missing_base(one.card, families))
            for one in import_cards(files, library)
        ]
        good, bad = [one for one in cards if not one.reason], [one for one in cards if one.reason]
        facts = {"styles": [import_facts(one) for one in good], "refused": [import_facts(one) for one in bad]}
        console_of(context).answer(facts, Text.joined("\n\n", map(import_words, cards)))
        if bad:
            raise typer.Exit(BadInput.exit_code)
        return
    report = library.import_files(files)
    refused = [{"file": str(one.file), "reason": str(one.reason)} for one in report.refused]
    styles = [with_missing_base(card, families) for card in report.styles]
    words = [card_line(card) for card in styles]
    words += [Text("Refused {file}: {reason}", file=one.file, reason=one.reason) for one in report.refused]
    console_of(context).answer(
        {"styles": [card_facts(card) for card in styles], "refused": refused}, Text.joined("\n", words)
    )
    if refused:
        raise typer.Exit(BadInput.exit_code)


@styles_commands.command("export")
def styles_export(
    context: typer.Context,
    name: Names,
    folder: Path,
    form: Annotated[str, typer.Option("--form", help="file: one that opens everywhere; hub: a folder for the Hugging Face Hub, with a page.")] = "file",
    side_files: Annotated[bool, typer.Option("--side-files", help="NAME.json and NAME.png beside it, for A1111 and InvokeAI.")] = False,
    file_name: Annotated[str, typer.Option("--name", help="Another name for the file.", show_default="the style's")] = "",
    captions: Annotated[bool, typer.Option("--with-captions", help="Let others see the words that the artworks were described with.")] = False,
    names: Annotated[bool, typer.Option("--with-names", help="Let others see names of files and folders.")] = False,
    dates: Annotated[bool, typer.Option("--with-dates", help="Let others see when it was made.")] = False,
    words_apart: Annotated[bool, typer.Option("--words-apart", help="The words that it brings for prompts in NAME-words, for diffusers and ComfyUI.")] = False,
    picture: Annotated[list[Path] | None, typer.Option("--picture", help="A picture for its page on the Hub; again for more. Its prompt is shown.")] = None,
    only_show: Annotated[bool, typer.Option("--only-show", help="Write nothing: list what others would see.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Write a style for others into a folder, read it back, and say where it opens and what others will see."""
    from app.library.card_pictures import example_picture
    from app.library.cards import export_facts, export_words, seen_facts, seen_words
    from app.train.captions import captions_of
    from styles.library.export import ExportOrder, Sharing, export_style, what_others_will_see

    library = open_studio(context, home).library
    style = library.open(name)
    described = captions_of(library.home, style.id) if captions else {}
    examples = tuple(example_picture(expanded(path)) for path in picture or ())
    order = ExportOrder(
        form, side_files, Sharing(captions, names, dates), file_name, described, words_apart, examples
    )
    console = console_of(context)
    if only_show:
        seen = what_others_will_see(style, order)
        console.answer({"seen": seen_facts(seen)}, seen_words(seen))
    else:
        done = export_style(style, expanded(folder).absolute(), order)
        seen = done.shown
        console.answer(export_facts(done), export_words(done))
    if captions and not any(one.kind == "captions" for one in seen):
        console.say(
            say("No captions are known of it: its file has none, and it was not trained in this home.")
        )


@styles_commands.command("edit")
def styles_edit(
    context: typer.Context,
    name: Names,
    trigger: Annotated[str | None, typer.Option(help="The word that calls the style.")] = None,
    author: Annotated[str | None, typer.Option(help="Who made it.")] = None,
    licence: Annotated[str | None, typer.Option(help="An SPDX id such as CC-BY-4.0, or free text.")] = None,
    rights: Annotated[str | None, typer.Option(help="A statement of your right to the artworks.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    weight: Annotated[float | None, typer.Option(help="The weight to begin with.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A tag; again for more. They replace those there.")] = None,
    thumbnail: Annotated[Path | None, typer.Option(help="A picture for the card.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Change what a style's file says of it; the style itself stays bit by bit what it was."""
    from app.library.cards import card_facts, card_words

    edits: dict[str, Any] = {
        "trigger": trigger, "author": author, "licence": licence, "rights": rights, "description": description,
        "suggested_weight": weight, "tags": tags, "thumbnail": thumbnail and _bytes_of(thumbnail),
    }  # fmt: skip
    changes = {key: value for key, value in edits.items() if value is not None}
    if not changes:
        raise BadInput("There is nothing to change.", "Say what, for example --trigger or --author.")
    card = open_studio(context, home).library.edit(name, **changes)
    console_of(context).answer(card_facts(card), card_words(card))


@styles_commands.command("mark")
def styles_mark(
    context: typer.Context,
    name: Names,
    favourite: Annotated[bool | None, typer.Option("--favourite/--no-favourite", help="Whether it is a favourite.")] = None,
    note: Annotated[str | None, typer.Option(help="A note for yourself.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A tag of your own; again for more. They replace those there.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Note something about a style for yourself; nobody else sees it, and its file stays as it is."""
    from app.library.cards import mark_facts, mark_words

    mark = open_studio(context, home).library.mark(name, favourite=favourite, tags=tags, note=note)
    console_of(context).answer(mark_facts(mark), mark_words(mark) or say("Nothing is noted."))


@styles_commands.command("picture")
def styles_picture(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(help="Names of styles.", show_default="all without a picture")] = [],  # noqa: B006
    base: BaseOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Paint a picture for the card of each style that came without one, and put it beside the style's file."""
    from app.library.cards import card_facts

    console, studio = console_of(context), open_studio(context, home)
    made, refused = [], []
    for name in names or [studio.library.handle(card) for card in studio.library.unpictured()]:
        try:
            card = studio.picture_card(name, base)
        except AtelierError as error:
            refused.append({"style": name, "reason": str(error)})
            console.say(say("No picture for {name}: {reason}", name=name, reason=say_error(error)))
        else:
            made.append(card)
            console.say(say("{style} has a picture now.", style=card.name))
    sentence = (
        say("{count} of {total} have a picture now.", count=len(made), total=len(made) + len(refused))
        if made or refused
        else say("All have one.")
    )
    console.answer({"styles": [card_facts(card) for card in made], "refused": refused}, sentence)
    if refused:
        raise typer.Exit(BadInput.exit_code)


@styles_commands.command("verify")
def styles_verify(
    context: typer.Context,
    styles: Annotated[list[str], typer.Argument(help="Names of styles, or files.", show_default="all of the library")] = [],  # noqa: B006
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Look at all of a style's file: header, numbers, hash, and which programs open it."""
    from app.library.cards import verified_facts, verified_words
    from styles.library.verify import verify

    library = open_studio(context, home).library
    if styles:
        given = [(one, expanded(one)) for one in styles]
        paths = [path if os.path.exists(path) else library.find(one).path for one, path in given]
    else:
        listing = library.look()
        paths = [card.path for card in listing.cards] + [one.file for one in listing.unreadable]
    reports = [verify(path) for path in paths if path is not None]
    console_of(context).answer(
        {"verified": [verified_facts(report) for report in reports]},
        Text.joined("\n\n", map(verified_words, reports)) or say("There are no styles yet."),
    )
    if not all(report.whole for report in reports):
        raise typer.Exit(BadInput.exit_code)


@styles_commands.command("duplicates")
def styles_duplicates(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the styles that are in the library more than once, under whatever names."""
    groups = open_studio(context, home).library.duplicates()
    names = [[card.name for card in cards] for cards in groups]
    words = "\n".join(say("The same style: {names}", names=", ".join(some)) for some in names)
    console_of(context).answer({"duplicates": names}, words or say("No style is here twice."))


@styles_commands.command("delete")
def styles_delete(
    context: typer.Context, name: Names, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Move a style to the trash."""
    from styles.library.folder import name_of
    from styles.library.trash import MARK

    path = open_studio(context, home).library.delete(name)
    deleted = name_of(path).rpartition(MARK)[0] or name_of(path)
    sentence = say(
        "{name} is in the trash. `styles restore {argument}` brings it back.",
        name=deleted,
        argument=shlex.quote(deleted),
    )
    console_of(context).answer({"trash": str(path)}, sentence)


@styles_commands.command("restore")
def styles_restore(
    context: typer.Context, name: Names, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Bring a style back from the trash."""
    from app.library.cards import card_facts

    card = open_studio(context, home).library.restore(name)
    console_of(context).answer(card_facts(card), say("{style} is back in the library.", style=card.name))


@styles_commands.command("rename")
def styles_rename(
    context: typer.Context, name: Names, new_name: str, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Give a style another name."""
    from app.library.cards import card_facts

    card = open_studio(context, home).library.rename(name, new_name)
    console_of(context).answer(card_facts(card), say("{name} is now {style}.", name=name, style=card.name))


def _bytes_of(path: Path) -> bytes:
    try:
        return expanded(path).read_bytes()
    except OSError as error:
        raise BadInput(
            "{path} can't be read: {reason}.", "Choose a PNG, JPEG or WebP.", path=path, reason=error.strerror
        ) from error
