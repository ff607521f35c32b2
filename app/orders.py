"""What a person asks for, in their words: names, folders, and None wherever the base or the preset decides."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from app.create.mix_orders import MixOrder, SheetOrder, StyleOrder
from styles.errors import BadInput, BlendError, PromptError
from styles.generation.prompt_syntax import check_prompt
from styles.generation.recipe import Recipe
from styles.generation.settings import PassSettings, PictureSettings
from training.settings import TrainingSettings


@dataclass(frozen=True)
class PictureOrder:
    """Pictures to make; checked on construction, raises BadInput before anything heavy loads.

    The styles are given in `mix`, or shorter as `weights` where each has only a weight.
    """

    prompt: str
    settings: PictureSettings = field(default_factory=PictureSettings)
    passes: PassSettings = field(default_factory=PassSettings)
    # A picture to start from.
    image: Path | None = None
    # (style name or id, weight; None: the one its card suggests)
    weights: tuple[tuple[str, float | None], ...] = ()
    # Put the trigger word of each style with a positive weight into the prompt, but for the styles of these ids.
    add_triggers: bool = True
    left_out: frozenset[str] = frozenset()
    mix: MixOrder = field(default_factory=MixOrder)
    # Several pictures of one seed, that differ by the weights alone.
    sheet: SheetOrder | None = None
    # Paint it however long it takes; else a size far beyond the base's is asked about.
    agreed: bool = False
    # No larger than is painted without being asked about, whatever the size.
    bearable: bool = False
    # The recipe that it changes, if it does; what it can't keep of that is said.
    like: Recipe | None = None

    def __post_init__(self) -> None:
        if "\0" in self.prompt + self.settings.negative:
            raise PromptError("The prompt contains a zero byte.", hint="Type the prompt as plain text.")
        for text in (self.prompt, self.settings.negative):
            check_prompt(text)
        if self.weights and self.mix.styles:
            raise BlendError("The styles are given twice.", "Give them once, in the mix or as weights.")
        _ = self.whole_mix  # each weight is checked
        self.passes.check(self.image is not None)
        if self.sheet is not None and self.settings.count > 1:
            raise BadInput(
                "A {kind} is made of one seed, not of {count}.",
                hint="Ask for one after the other.",
                kind=self.sheet.kind,
                count=self.settings.count,
            )
        if self.mix.balance and self.sheet is not None and self.sheet.varies:
            raise BadInput(
                "A {kind} can't be balanced: its weights would not be those that it shows.",
                hint="Leave the balance away, or lower the weights.",
                kind=self.sheet.kind,
            )

    @property
    def whole_mix(self) -> MixOrder:
        """The mix, with the styles that were given as weights."""
        if not self.weights:
            return self.mix
        return replace(self.mix, styles=tuple(StyleOrder(name, weight) for name, weight in self.weights))


@dataclass(frozen=True)
class TrainingOrder:
    """A style to train; the plan checks the numbers, the artworks are checked when they are collected."""

    name: str
    pictures: tuple[Path, ...]
    base: str = ""  # a base's name, folder or file; empty: the one in use
    preset: str = "balanced"
    trigger: str = ""
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    author: str = ""
    licence: str = ""
    rights: str = ""  # a statement of the right to the artworks
    continue_from: str = ""  # name or id of a finished style to go on from; empty: from nothing
    caption_ending: str = ""  # of the captions' files, where it is neither .txt nor .caption

    def __post_init__(self) -> None:
        if not self.pictures:
            raise BadInput(
                "There are no artworks to learn from.", hint="Give some pictures or a folder of them."
            )
