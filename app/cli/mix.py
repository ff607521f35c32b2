"""How the command line says a mix: the options that several commands share, and their reading."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import Console
from app.create.mix_orders import MixOrder, StyleOrder
from app.i18n import translated
from styles.errors import BadInput, BlendError, Cancelled
from styles.mixing.blend import MODES
from styles.text import Text

if TYPE_CHECKING:
    from app.create.blends import Blends

StyleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--style",
        metavar="NAME=WEIGHT",
        help="A style, as often as you like; NAME=0@0,1@0.5 is a schedule: weight 0 at the first step, growing to 1 "
        "at half of the steps.",
    ),
]
BlendOption = Annotated[
    str, typer.Option("--blend", metavar="NAME", help="Begin with a saved blend.", show_default=False)
]
CompositionOption = Annotated[
    list[str] | None,
    typer.Option("--composition", metavar="NAME=X", help="How much a style lays out; 1 as trained."),
]
TextureOption = Annotated[
    list[str] | None,
    typer.Option("--texture", metavar="NAME=X", help="How much a style does to surfaces; 1 as trained."),
]
MuteOption = Annotated[
    list[str] | None, typer.Option("--mute", metavar="NAME", help="Silence a style of the mix.")
]
SoloOption = Annotated[
    list[str] | None, typer.Option("--solo", metavar="NAME", help="Hear only this style of the mix.")
]
ModeOption = Annotated[
    str | None,
    typer.Option(
        "--mode",
        help=f"{', '.join(mode.replace(' ', '-') for mode in MODES)}; the last costs a pass for each style.",
        show_default="sum",
    ),
]
StrengthOption = Annotated[
    bool,
    typer.Option(
        "--in-strength",
        help="The numbers of the styles are strengths: 1 is the usual full effect, whatever the style. A style is "
        "measured once for each base.",
    ),
]
BalanceOption = Annotated[
    bool, typer.Option("--balance", help="Scale the weights back where the mix would burn.")
]


AS_WEIGHT = Text("Write it as NAME=0.7, with a finite number, or as NAME=0@0,1@0.5.")


@dataclass(frozen=True)
class MixOptions:
    """A mix as it is typed."""

    style: StyleOption = None
    blend: BlendOption = ""
    composition: CompositionOption = None
    texture: TextureOption = None
    mute: MuteOption = None
    solo: SoloOption = None
    mode: ModeOption = None
    in_strength: StrengthOption = False
    balance: BalanceOption = False

    def order(self, blends: Blends) -> MixOrder:
        """Read the options; raises BlendError, UnknownStyleError for a saved blend that can't be used."""
        return replace(
            blends.started(self.blend) if self.blend else MixOrder(),
            styles=tuple(style_order(text) for text in self.style or ()),
            composition=tuple(_pair(text) for text in self.composition or ()),
            texture=tuple(_pair(text) for text in self.texture or ()),
            mute=tuple(self.mute or ()),
            solo=tuple(self.solo or ()),
            mode=self.mode,
            in_strength=self.in_strength,
            balance=self.balance,
        )


def style_order(text: str) -> StyleOrder:
    """`NAME=WEIGHT`, or `NAME=WEIGHT@SHARE,…`; a bare NAME takes the weight that its card suggests."""
    if "=" not in text:
        return StyleOrder(text)
    name, _, numbers = text.rpartition("=")
    if "@" not in numbers:
        return StyleOrder(*_pair(text, AS_WEIGHT))
    points = []
    for point in numbers.split(","):
        weight, _, share = point.partition("@")
        points.append((_number(share, text, AS_WEIGHT), _number(weight, text, AS_WEIGHT)))
    return StyleOrder(name, schedule=tuple(points))


def names_and_weights(text: str) -> tuple[str, tuple[float, ...]]:
    """`NAME`, or `NAME=0,0.5,1`."""
    if "=" not in text:
        return text, ()
    name, _, numbers = text.rpartition("=")
    return name, tuple(
        _number(number, text, Text("Write it as NAME, or as NAME=0,0.5,1 with finite numbers."))
        for number in numbers.split(",")
    )


def agree(console: Console, forbidden: Sequence[str], hint: str, question: str, refusal: str) -> None:
    """Ask whether to go on all the same; raises BadInput where nobody can be asked, Cancelled for a no."""
    if console.json or not sys.stdin.isatty():
        raise BadInput(Text.joined(" ", forbidden), hint=hint)
    for sentence in forbidden:
        console.say(sentence)
    if not typer.confirm(translated(question), err=True):
        raise Cancelled(refusal)


def _pair(text: str, hint: str = Text("Write it as NAME=0.7, with a finite number.")) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    if not name:
        raise BlendError("{text!r} is no style with a number.", hint="Write it as NAME=0.7.", text=text)
    return name, _number(number, text, hint)


def _number(number: str, text: str, hint: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BlendError("{text!r} is no style with a weight.", hint=hint, text=text)
    return value
