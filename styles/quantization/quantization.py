"""How the weights of a base's linear layers are kept: as they are, or in four bits.

To add a way: a row in QUANTIZATIONS, and its layer in `layers.py`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import Annotated

from styles.errors import SettingsError
from styles.storage.names import clean_text
from styles.storage.setting import Setting
from styles.text import Text

PLAIN = "none"
OWN_VERSION = "2"  # of the numbers that `qa4` comes to
# Of a layer in groups, besides its bias; see GroupedLinear.
GROUPED_TENSORS = ("weight", "scale", "offset")
OWN = "qa4-32"  # that runs wherever torch does, and needs nothing else


@dataclass(frozen=True)
class Quantization:
    """One way of keeping weights in four bits.

    `nf4` and `fp4` are bitsandbytes' (QLoRA, arXiv 2305.14314), `qa4` is ours (QA-LoRA, arXiv 2309.14717): a scale and
    an offset for each group of inputs and each output.
    """

    name: str
    method: str  # "nf4" | "fp4" | "qa4"
    group: int  # weights that share a scale
    double: bool = False  # the scales are quantised, too

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
        Quantization("nf4", "nf4", 64, double=True),
        Quantization("nf4-single", "nf4", 64),
        Quantization("fp4", "fp4", 64, double=True),
        Quantization("qa4-16", "qa4", 16),
        Quantization("qa4-32", "qa4", 32),
        Quantization("qa4-64", "qa4", 64),
    )
}

# The other ways are there to be compared with.
OFFERED = (PLAIN, "nf4", "qa4-16", "qa4-32", "qa4-64")
QUANTIZE = Setting(
    "Base in four bits",
    "Takes less memory, and is a little slower. NF4: where the graphics card is small and styles are mixed. Groups: for a style that is to be merged into the base.",
    option="The base in four bits: nf4, or qa4-16, qa4-32, qa4-64.",
    unset="as the base is kept",
    choices=(PLAIN, *QUANTIZATIONS),
)
Quantize = Annotated[str, QUANTIZE]


def quantization_of(name: str | None) -> Quantization | None:
    """Return the way of that name, None for "none" and where nothing is said; raises SettingsError for any other."""
    if name is None or name == PLAIN:
        return None
    if name not in QUANTIZATIONS:
        raise SettingsError(
            "“{quantize}” is no way to keep a base in four bits.",
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
            Text("keep the base as {other}, which needs nothing else", other=OWN),
        )


def check_usable(name: str | None) -> None:
    """Raise SettingsError for a way that there is not, or that is not installed here."""
    quantization = quantization_of(name)
    if quantization is not None:
        check_installed(quantization)


def quantization_words(name: str) -> Text:
    """What it is called in a sentence or a list: a base is opened so, or kept so."""
    quantization = quantization_of(name)
    if quantization is None:
        return Text("as it is")
    if quantization.is_grouped:
        return Text("in four bits with groups of {group}", group=quantization.group)
    return Text("in four bits as {name}", name=quantization.name.upper())
