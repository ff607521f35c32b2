"""The commands `bases ...`: what to train on and paint with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import HomeOption, JsonOption, command_group, console_of, open_studio
from app.i18n import say, translated
from styles.quantization.quantization import PLAIN, QUANTIZE, quantization_words
from styles.text import Text

if TYPE_CHECKING:
    from styles.bases.shelf import BaseEntry

PredictionOption = Annotated[
    str | None,
    typer.Option(help="epsilon or v_prediction, where the base does not say.", show_default="the base's"),
]
ZeroSnrOption = Annotated[
    bool | None,
    typer.Option(
        help="Whether its noise schedule ends without any signal, where the base does not say.",
        show_default="the base's",
    ),
]
VaeOption = Annotated[
    str,
    typer.Option(help="A VAE instead of its own: a .safetensors file or a folder.", show_default="its own"),
]
QuantizeOption = Annotated[
    str | None, typer.Option(help=f"{QUANTIZE.option} none: as it is.", show_default="as it is kept")
]

bases_commands = command_group("The bases to train on and paint with.")


@bases_commands.command("list")
def bases_list(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the bases that are here, and those that can be fetched."""
    from app.library.cards import base_facts, base_line

    entries = open_studio(context, home).shelf.list()
    words = Text.joined("\n", map(base_line, entries))
    console_of(context).answer({"bases": [base_facts(entry) for entry in entries]}, words)


@bases_commands.command("add")
def bases_add(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A folder, a .safetensors checkpoint, or a Hub id.")],
    name: Annotated[str, typer.Option(help="What to call it.", show_default="as its file")] = "",
    prediction_type: PredictionOption = None,
    zero_terminal_snr: ZeroSnrOption = None,
    vae: VaeOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a base from this machine or from the Hub."""
    from app.library.cards import base_facts
    from styles.bases.base_settings import BaseSettings
    from styles.bases.recommended import RECOMMENDED

    console = console_of(context)
    for base in RECOMMENDED:
        if source.strip() == base.hub_id:
            console.say(
                say(
                    "{title}, {size_gb:g} GB. By fetching it you accept its licence:",
                    title=base.title,
                    size_gb=base.size_gb,
                )
            )
            console.say(f"{base.licence.name}, {base.licence.url}")
    entry = open_studio(context, home).shelf.add(
        source,
        progress=lambda text, share: console.step(f"{share:4.0%} {translated(text)}"),
        name=name,
        settings=BaseSettings(prediction_type, zero_terminal_snr, Path(vae) if vae else None),
    )
    console.step_end()
    added = say('{style} is added. `bases use "{style}"` makes it the one in use.', style=entry.name)
    console.answer(base_facts(entry), Text.joined("\n", [added, *entry.notes]))


@bases_commands.command("change")
def bases_change(
    context: typer.Context,
    name: str,
    prediction_type: PredictionOption = None,
    zero_terminal_snr: ZeroSnrOption = None,
    vae: VaeOption = "",
    quantize: QuantizeOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Settle anew what a base predicts and which VAE it has; what is left out, its own files say.

    With --quantize alone, how it is kept and nothing else.
    """
    from app.library.cards import base_facts
    from styles.bases.base_settings import UNSET, BaseSettings

    settings = BaseSettings(prediction_type, zero_terminal_snr, Path(vae) if vae else None)
    shelf = open_studio(context, home).shelf
    if quantize is not None:
        entry = shelf.keep_as(name, quantize)
    if quantize is None or settings != UNSET:
        entry = shelf.change(name, settings)
    changed = say("{style} is changed.", style=entry.name)
    own = say("It has its own VAE.") if not entry.vae else say("It has the VAE {vae}.", vae=entry.vae)
    words = [changed, own, *_kept(entry), *entry.notes]
    console_of(context).answer(base_facts(entry), Text.joined("\n", words))


@bases_commands.command("use")
def bases_use(
    context: typer.Context,
    name: str,
    quantize: QuantizeOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a base the one in use; with --quantize it is kept so from now on."""
    from app.library.cards import base_facts

    shelf = open_studio(context, home).shelf
    if quantize is not None:
        shelf.keep_as(name, quantize)
    entry = shelf.use(name)
    words = [say("{style} is in use now.", style=entry.name), *_kept(entry)]
    console_of(context).answer(base_facts(entry), Text.joined("\n", words))


@bases_commands.command("merge")
def bases_merge(
    context: typer.Context,
    base: Annotated[str, typer.Argument(help="A base's name, folder, file or Hub id.")],
    style: Annotated[
        list[str],
        typer.Option(
            "--style",
            metavar="NAME[=WEIGHT]",
            help="A style that was trained over qa4, as often as you like; without a weight, the one that its card suggests.",
        ),
    ],
    out: Annotated[str, typer.Option("--out", metavar="NAME", help="What the new base is called.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Merge it though a licence forbids to share the result.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Merge styles into a base in four bits, exactly: a base of its own, without sliders for them."""
    from app.cli.mix import agree, style_order
    from app.create.mix_orders import MixOrder
    from app.library.cards import base_facts
    from styles.bases.files.merged_base import GIVEN_UP

    console, studio = console_of(context), open_studio(context, home)
    order = MixOrder(styles=tuple(style_order(text) for text in style))
    console.say(GIVEN_UP)
    forbidden = studio.mix_tools.forbidden(order)
    if forbidden and not yes:
        hint = Text("Add --yes to merge it all the same, for yourself.")
        agree(console, forbidden, hint, Text("Merge it all the same?"), Text("Nothing was merged."))
    done = studio.mix_tools.merge(
        order, base, out, progress=lambda share: console.step(say("{share:4.0%} merged", share=share))
    )
    console.step_end()
    added = say('{style} is added. `bases use "{style}"` makes it the one in use.', style=done.entry.name)
    facts = base_facts(done.entry) | {"notes": [*done.entry.notes, *done.notes]}
    console.answer(facts, Text.joined("\n", [added, *done.entry.notes, *done.notes]))


@bases_commands.command("remove")
def bases_remove(
    context: typer.Context, name: str, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Take a base off the shelf."""
    open_studio(context, home).shelf.remove(name)
    console_of(context).answer({"removed": name}, say("{name} is off the shelf.", name=name))


def _kept(entry: BaseEntry) -> list[str]:
    """How a base is kept, where that is not as it is."""
    if entry.quantize == PLAIN:
        return []
    return [say("It is kept {now}.", now=translated(quantization_words(entry.quantize)))]
