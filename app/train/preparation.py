"""Where a training is prepared: the draft, what it would take, and who could describe its artworks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from app.orders import TrainingOrder
from app.settings import Settings
from app.train.captioning import Captioning
from app.train.draft import Added, Draft, DraftArtwork
from app.train.looks import Grid
from app.train.measuring import Measured, Measuring
from app.train.trainings import Trainings, suggested_trigger, with_quantization
from styles.bases.base_settings import BaseSettings
from styles.bases.files.inspection import BaseFacts, inspect_base
from styles.bases.shelf import find_source
from styles.errors import AtelierError
from styles.library.library import Library
from styles.storage.home import Home
from training.artworks.folders import GivenFile
from training.artworks.picture_checks import size_multiple_of
from training.optimizers import check_optimizer
from training.plan import TrainingPlan, plan_for

PRESET_NAMES = ("quick", "balanced", "thorough")
USUAL_GRID = Grid(512, 64)  # where a base says nothing of itself yet


@dataclass(frozen=True)
class Cost:
    """What one preset would take."""

    preset: str
    plan: TrainingPlan
    seconds: float | None = None  # None: not measured
    memory_bytes: int = 0
    on_card: bool = False


class TrainingPreparation:
    """What the Train room works on, in one home."""

    def __init__(
        self,
        home: Home,
        library: Library,
        trainings: Trainings,
        base_source: Callable[[str], str],
        settings: Callable[[], Settings],
        make_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """`make_room` gives back what this process holds of a card, and says whether it could."""
        self.home = home
        self.library = library
        self.trainings = trainings
        self.draft = Draft(home)
        self.measuring = Measuring(home, make_room)
        self.captioning = Captioning(home, self.draft, lambda: settings().device)
        self._base_source = base_source
        self._settings = settings
        self._facts: dict[tuple[Path, BaseSettings], BaseFacts] = {}

    def close(self) -> None:
        """End what works beside the window."""
        self.measuring.stop()
        self.captioning.stop()

    # Artworks

    def grid(self, base: str = "", resolution_px: int | None = None) -> Grid:
        """What a base makes of pictures; the usual where it can't be read, which starting a training will tell."""
        try:
            facts = self._facts_of(self._base_source(base))
            return Grid(resolution_px or facts.native_size_px, size_multiple_of(facts))
        except AtelierError:
            return Grid(resolution_px or USUAL_GRID.resolution_px, USUAL_GRID.multiple_px)

    def add(
        self, files: Iterable[Path | GivenFile], base: str = "", resolution_px: int | None = None
    ) -> Iterator[Added]:
        """Take files into the draft, telling how far it is."""
        yield from self.draft.add(files, self.grid(base, resolution_px))

    def artworks(self, base: str = "", resolution_px: int | None = None) -> list[DraftArtwork]:
        """The draft's pictures as a training on that base will see them."""
        return self.draft.artworks(self.grid(base, resolution_px))

    def _facts_of(self, source: str) -> BaseFacts:
        key = find_source(source, self.home)
        if key not in self._facts:
            self._facts[key] = inspect_base(*key)
        return self._facts[key]

    # What it would take

    def costs(self, order: TrainingOrder) -> tuple[Measured, list[Cost]]:
        """What the three presets would take for an order; one trial of the middle one tells of all.

        Raises BadInput for numbers that are out of range and for bases that can't be trained on.
        """
        source = self._base_source(order.base)
        check_optimizer(order.settings.optimizer, self._settings().device)
        facts = self._facts_of(source)
        count, numbers = len(order.pictures), sparing(order, self._settings()).settings.chosen()
        numbers = with_quantization(facts.quantize, numbers)
        trigger = order.trigger.strip() or suggested_trigger(order.name)
        plans = {
            preset: plan_for(
                preset, facts.family, count, name="trial", base=source, trigger=trigger, **numbers
            )
            for preset in PRESET_NAMES
        }
        busy = self.trainings.running() is not None
        now = self._settings()
        measured = self.measuring.ask(plans["balanced"], now.device, now.precision, busy)
        if measured.trial is None:
            return measured, [Cost(preset, plan) for preset, plan in plans.items()]
        trial = measured.trial
        return measured, [
            Cost(preset, plan, trial.seconds(plan, count), trial.memory_bytes, trial.on_card)
            for preset, plan in plans.items()
        ]


def sparing(order: TrainingOrder, settings: Settings) -> TrainingOrder:
    """The order with the memory-saving way of training in the low-memory mode, unless it says otherwise."""
    if not settings.low_memory or order.settings.gradient_checkpointing is not None:
        return order
    return replace(order, settings=replace(order.settings, gradient_checkpointing=True))
