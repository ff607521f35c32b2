"""Quantization of a base's linear layers: none, or one in four bits.

To add one: a row in QUANTIZATIONS, and its layer in `layers.py`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from styles.errors import SettingsError
from styles.storage.names import clean_text
from styles.storage.setting import Setting
from styles.text import Text

PLAIN = "none"  # as the weights are in the base's files
NF4 = "nf4"
OWN_VERSION = "2"  # of the numbers that `qa4` comes to
# Of a layer in groups, besides its bias; see GroupedLinear.
GROUPED_TENSORS = ("weight", "scale", "offset")
FALLBACK = "qa4-32"  # where bitsandbytes is missing or doesn't work


@dataclass(frozen=True)
class Quantization:
    """How weights are brought to four bits.

    `nf4` and `fp4` are bitsandbytes' (QLoRA, arXiv 2305.14314), `qa4` is ours (QA-LoRA, arXiv 2309.14717): a scale and
    an offset for each group of inputs and each output.
    """

    name: str
    method: str  # "nf4" | "fp4" | "qa4"
    group: int  # weights that share a scale
    double: bool = False  # the scales are quantised, too
    # When it is the better choice; empty: it is there to be compared with, and not offered.
    about: str = ""

    @property
    def is_grouped(self) -> bool:
        """Whether it is our own, into which styles merge exactly."""
        return self.method == "qa4"

    def divides(self, inputs: int) -> bool:
        """Whether a layer of so many inputs can be kept so; another one stays as it is."""
        return inputs % self.group == 0

    @property
    def bits(self) -> float:
        """Bits for each weight, the groups' own numbers counted."""
        if self.is_grouped:
            return 4 + 2 * 16 / self.group
        # Of QLoRA, section 3: an fp32 for each block, or 8 bits and an fp32 for each 256 of those.
        return 4 + (8 / self.group + 32 / (256 * self.group) if self.double else 32 / self.group)

    @property
    def title(self) -> Text:
        """What it is called in a list of choices."""
        if self.is_grouped:
            return Text("Groups of {group} ({name})", group=self.group, name=self.name)
        return Text.as_it_is(self.name.upper())

    @property
    def words(self) -> Text:
        """What it is called in a sentence: a base is opened so, or kept so."""
        if self.is_grouped:
            return Text("in four bits with groups of {group}", group=self.group)
        return Text("in four bits as {name}", name=self.name.upper())

    @property
    def is_installed(self) -> bool:
        """Whether what quantises is here: only ours comes along."""
        return self.is_grouped or is_bitsandbytes_installed()

    @property
    def version(self) -> str:
        """The version of what quantises, as it stands in the name of a file that was made by it."""
        if self.is_grouped:
            return OWN_VERSION
        return f"bitsandbytes-{importlib.metadata.version('bitsandbytes')}"


QUANTIZATIONS = {
    one.name: one
    for one in (
        Quantization(
            NF4,
            "nf4",
            64,
            double=True,
            about=Text(
                "Where the graphics card is small and styles are mixed. A style learns as well as on the base as it is."
            ),
        ),
        Quantization("nf4-single", "nf4", 64),
        Quantization("fp4", "fp4", 64, double=True),
        Quantization(
            "qa4-16",
            "qa4",
            16,
            about=Text(
                "For one finished look: a style that is trained over groups can be merged into its base, which stays in four bits and needs no slider for it. Such a style may keep to the words of a prompt a little less than one over NF4. Groups of 16 are the most exact."
            ),
        ),
        Quantization(
            "qa4-32", "qa4", 32, about=Text("As groups of 16: a little smaller, and a little less exact.")
        ),
        Quantization("qa4-64", "qa4", 64, about=Text("As groups of 16: the smallest, and the least exact.")),
    )
}

# What is offered, with when it is the better choice.
OFFERED = {
    PLAIN: Text("Where the memory is enough: the quickest, and nothing of it is rounded."),
    **{name: one.about for name, one in QUANTIZATIONS.items() if one.about},
}
QUANTIZE = Setting(
    "Base in four bits",
    "In four bits a base takes less memory, and each step a little more time. As it is: where the memory is enough. NF4: where the graphics card is small and styles are mixed; a style learns as well there. Groups: for a style that is to be merged into its base; it may keep to the words of a prompt a little less.",
    option=f"The base in four bits: {', '.join(name for name in OFFERED if name != PLAIN)}.",
    unset="as the base is kept",
    choices=(PLAIN, *QUANTIZATIONS),
)
Quantize = Annotated[str, QUANTIZE]


def quantization_of(name: str | None) -> Quantization | None:
    """Return the quantization of that name, None for "none" and where nothing is said; raises SettingsError for any other."""
    if name is None or name == PLAIN:
        return None
    if name not in QUANTIZATIONS:
        raise SettingsError(
            "A base can't be kept as “{quantize}”.",
            "Choose one of: {choices}.",
            quantize=clean_text(name, 40),
            choices=", ".join((PLAIN, *QUANTIZATIONS)),
        )
    return QUANTIZATIONS[name]


def is_bitsandbytes_installed() -> bool:
    """Whether the package is in this Python; whether it works here, `support` says."""
    return importlib.util.find_spec("bitsandbytes") is not None


def check_bitsandbytes(what: Text, instead: Text) -> None:
    """Raise SettingsError where bitsandbytes is not installed: what needs it, and what does without."""
    if not is_bitsandbytes_installed():
        raise SettingsError(
            "{what} needs the package bitsandbytes, which is not installed.",
            "Install it in Settings, or with `python launch.py setup --nf4`; or {instead}.",
            what=what,
            instead=instead,
        )


def check_installed(quantization: Quantization) -> None:
    """Raise SettingsError where what quantises is not installed."""
    if not quantization.is_grouped:
        check_bitsandbytes(
            Text("Keeping a base as {quantize}", quantize=quantization.name),
            Text("keep the base as {other}, which needs nothing else", other=FALLBACK),
        )


def stored_bytes(
    shapes: Mapping[str, Sequence[int]], quantization: Quantization | None, bytes_each: int
) -> int:
    """Return what a UNet's weights, by their names and shapes, take in that quantization, if any.

    Those that stay as they are take `bytes_each` each.
    """
    total = 0.0
    for name, shape in shapes.items():
        # A table is a linear layer's; norms have a list, convolutions more.
        is_linear = name.endswith(".weight") and len(shape) == 2
        small = quantization is not None and is_linear and quantization.divides(shape[1])
        total += math.prod(shape) * (quantization.bits / 8 if quantization and small else bytes_each)
    return round(total)


def check_usable(name: str | None) -> None:
    """Raise SettingsError for a quantization that there is not, or that is not installed here."""
    quantization = quantization_of(name)
    if quantization is not None:
        check_installed(quantization)


def quantization_words(name: str) -> Text:
    """What a quantization, or none, is called in a sentence: a base is opened so, or kept so."""
    quantization = quantization_of(name)
    return quantization.words if quantization else Text("as it is")


def quantization_title(name: str) -> Text:
    """What a quantization, or none, is called in a list of choices."""
    quantization = quantization_of(name)
    return quantization.title if quantization else Text("As it is")
