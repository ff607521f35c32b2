"""The commands `blends ...`, and what `styles` can tell of a mix and make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.mix import (
    BalanceOption,
    BlendOption,
    CompositionOption,
    MixOptions,
    ModeOption,
    StrengthOption,
    StyleOption,
    TextureOption,
    agree,
)
from app.cli.options import BaseOption, HomeOption, JsonOption, command_group, console_of, open_studio
from app.i18n import say
from app.signatures import spread
from styles.errors import BadInput
from styles.storage.home import expanded
from styles.storage.names import safe_name
from styles.text import Text

blends_commands = command_group("The blends that you keep.")
BlendName = Annotated[str, typer.Argument(metavar="NAME", help="The blend's name.")]
Weighed = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME[=WEIGHT]]…", help="Styles, with those of --blend.", show_default=False),
]


@blends_commands.command("list")
def blends_list(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the saved blends, and say what is missing of them."""
    blends = open_studio(context, home).blends
    saved, refused = blends.all()
    unreadable = [{"file": str(one.file), "reason": one.reason} for one in refused]
    lines = [blends.words(one) for one in saved] or [say("No blend has been kept yet.")]
    lines += [Text("Can't be used: {file}: {reason}", file=one.file, reason=one.reason) for one in refused]
    console_of(context).answer(
        {"blends": [blends.facts(one) for one in saved], "unreadable": unreadable}, Text.joined("\n", lines)
    )


@blends_commands.command("show")
def blends_show(
    context: typer.Context, name: BlendName, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show a blend: its styles with their weights, authors and licences."""
    blends = open_studio(context, home).blends
    saved = blends.find(name)
    lines = [blends.words(saved), *(f"  {style.words}" for style in saved.styles)]
    console_of(context).answer(blends.facts(saved), "\n".join(lines))


def blends_save(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the blend is called.")],
    *,
    mix: MixOptions,
    base: BaseOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a mix of styles under a name."""
    safe_name(name, "blend")
    console, studio = console_of(context), open_studio(context, home)
    path = studio.blends.save(name, studio.mix(mix.order(studio.blends), base, console.say))
    console.answer({"name": path.stem, "blend": str(path)}, say("Kept as {path}", path=path))


blends_commands.command("save")(spread(blends_save))


@blends_commands.command("export")
def blends_export(
    context: typer.Context,
    name: BlendName,
    folder: Path,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a blend's file into a folder, to share it; it names its styles, and does not hold them."""
    path = open_studio(context, home).blends.export(name, expanded(folder).absolute())
    console_of(context).answer({"blend": str(path)}, say("Exported to {path}", path=path))


@blends_commands.command("import")
def blends_import(
    context: typer.Context, file: Path, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Bring a blend's file in, and say which of its styles are missing."""
    blends = open_studio(context, home).blends
    saved = blends.bring(expanded(file))
    facts = blends.facts(saved)
    missing = [style.words for style in saved.styles if style.id in facts["missing"]]
    lines = [blends.words(saved)]
    if missing:
        lines.append(f"Not in the library, so import them first: {', '.join(missing)}")
    console_of(context).answer(facts, "\n".join(lines))


@blends_commands.command("delete")
def blends_delete(
    context: typer.Context, name: BlendName, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Move a blend to the trash."""
    path = open_studio(context, home).blends.delete(name)
    console_of(context).answer(
        {"trash": str(path)},
        say("{name} is in the trash; `blends import` brings {path} back.", name=name, path=path),
    )


def styles_bake(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the new style is called.")],
    style: StyleOption = None,
    blend: BlendOption = "",
    composition: CompositionOption = None,
    texture: TextureOption = None,
    mode: ModeOption = None,
    in_strength: StrengthOption = False,
    balance: BalanceOption = False,
    rank: Annotated[
        int | None, typer.Option(help="Squeeze it to this rank.", show_default="exact, all ranks")
    ] = None,
    ties: Annotated[bool, typer.Option("--ties", help="Merge by TIES, arXiv 2306.01708.")] = False,
    dare: Annotated[bool, typer.Option("--dare", help="Merge by DARE, arXiv 2311.03099.")] = False,
    density: Annotated[
        float | None, typer.Option(help="TIES, DARE: share of the values that is kept.", show_default="0.5")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="DARE: seed of its chance.", show_default="0")] = None,
    author: Annotated[str, typer.Option(help="Written into the style file.")] = "",
    licence: Annotated[
        str,
        typer.Option(
            "--licence", "--license", help="Written into the style file.", show_default="the styles'"
        ),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Bake it though a licence forbids to share the result.")
    ] = False,
    base: BaseOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bake a mix into one new style, which needs no Atelier to be used."""
    from app.create.mix_tools import bake_plan
    from app.library.cards import card_facts, card_line

    if ties and dare:
        raise BadInput("A mix is baked in one way.", hint="Choose --ties or --dare.")
    method = "ties" if ties else "dare" if dare else ""
    plan = bake_plan(name, method, rank, density=density, seed=seed, author=author, licence=licence)
    console, studio = console_of(context), open_studio(context, home)
    order = MixOptions(
        style, blend, composition, texture, mode=mode, in_strength=in_strength, balance=balance
    ).order(studio.blends)
    forbidden = studio.mix_tools.forbidden(order)
    if forbidden and not yes:
        hint = Text("Add --yes to bake it all the same, for yourself.")
        agree(console, forbidden, hint, Text("Bake it all the same?"), Text("Nothing was baked."))
    card = studio.bake(
        order, plan, base, console.say, progress=lambda share: console.step(f"{share:4.0%} baked")
    )
    console.step_end()
    made = card.bake.words if card.bake else card.description
    console.answer(card_facts(card), Text.joined("\n", [card_line(card), made]))


def styles_conflicts(
    context: typer.Context,
    names: Weighed = None,
    blend: BlendOption = "",
    mode: ModeOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which styles of a mix fight, and where, before anything is painted."""
    from app.create.mix_tools import conflict_words

    studio = open_studio(context, home)
    facts = studio.mix_tools.conflicts(MixOptions(names, blend, mode=mode).order(studio.blends))
    console_of(context).answer(facts, conflict_words(facts))


def styles_strength(
    context: typer.Context,
    names: Weighed = None,
    blend: BlendOption = "",
    mode: ModeOption = None,
    base: BaseOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how strong the styles of a mix are on a base, and whether they burn together; each is measured once."""
    from app.create.mix_tools import strength_words

    studio = open_studio(context, home)
    order = MixOptions(names, blend, mode=mode).order(studio.blends)
    facts = studio.strengths(order, base)
    console_of(context).answer(facts, strength_words(facts))


def add_mix_commands(styles_commands: typer.Typer) -> None:
    """Put bake, conflicts and strength among the commands of the library."""
    styles_commands.command("bake")(styles_bake)
    styles_commands.command("conflicts")(styles_conflicts)
    styles_commands.command("strength")(styles_strength)
