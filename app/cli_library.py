"""The commands `styles ...`: the library from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli_options import HomeOption, JsonOption, console_of, open_studio
from styles.errors import BadInput

Names = Annotated[str, typer.Argument(help="The style's name, or the beginning of its id.")]
styles_commands = typer.Typer(help="The library of styles.", no_args_is_help=True, rich_markup_mode=None)


@styles_commands.command("list")
def styles_list(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the styles of the library."""
    from app.cards import card_facts, card_line

    library = open_studio(context, home).library
    cards = library.cards()
    unreadable = [{"file": str(one.file), "reason": one.reason} for one in library.unreadable()]
    lines = [card_line(card) for card in cards] or ["There are no styles yet. Train one, or import one."]
    lines += [f"Can't be used: {one['file']}: {one['reason']}" for one in unreadable]
    console_of(context).answer(
        {"styles": [card_facts(card) for card in cards], "unreadable": unreadable}, "\n".join(lines)
    )


@styles_commands.command("search")
def styles_search(
    context: typer.Context, words: str, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """List the styles that have all these words in their name, trigger, author or description."""
    from app.cards import card_facts, card_line, matching

    cards = matching(open_studio(context, home).library.cards(), words)
    told = "\n".join(card_line(card) for card in cards) or f"No style matches {words!r}."
    console_of(context).answer({"styles": [card_facts(card) for card in cards]}, told)


@styles_commands.command("show")
def styles_show(
    context: typer.Context, name: Names, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show all that is known about one style."""
    from app.cards import card_facts, card_words

    card = open_studio(context, home).library.find(name)
    console_of(context).answer(card_facts(card), card_words(card))


@styles_commands.command("import")
def styles_import(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Style files.", show_default=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring style files into the library; what can't be used is refused with the reason."""
    from app.cards import card_facts, card_line

    report = open_studio(context, home).library.import_files(files)
    refused = [{"file": str(one.file), "reason": str(one.reason)} for one in report.refused]
    words = [card_line(card) for card in report.styles] + [
        f"Refused {one['file']}: {one['reason']}" for one in refused
    ]
    console_of(context).answer(
        {"styles": [card_facts(card) for card in report.styles], "refused": refused}, "\n".join(words)
    )
    if refused:
        raise typer.Exit(BadInput.exit_code)


@styles_commands.command("export")
def styles_export(
    context: typer.Context, name: Names, folder: Path, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Write a style's file into a folder, to share it."""
    path = open_studio(context, home).library.export(name, folder.expanduser().absolute())
    console_of(context).answer({"style": str(path)}, f"Exported to {path}")


@styles_commands.command("delete")
def styles_delete(
    context: typer.Context, name: Names, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Move a style to the trash."""
    path = open_studio(context, home).library.delete(name)
    console_of(context).answer(
        {"trash": str(path)}, f"{name} is in the trash. `styles restore {name}` brings it back."
    )


@styles_commands.command("restore")
def styles_restore(
    context: typer.Context, name: Names, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Bring a style back from the trash."""
    from app.cards import card_facts

    card = open_studio(context, home).library.restore(name)
    console_of(context).answer(card_facts(card), f"{card.name} is back in the library.")


@styles_commands.command("rename")
def styles_rename(
    context: typer.Context, name: Names, new_name: str, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Give a style another name."""
    from app.cards import card_facts

    card = open_studio(context, home).library.rename(name, new_name)
    console_of(context).answer(card_facts(card), f"{name} is now {card.name}.")
