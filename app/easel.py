"""The easel: the base that is open, and the one place where pictures are painted with it."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.orders import DEFAULT_SAMPLER, DEFAULT_STEPS, PictureOrder
from app.settings import Settings
from styles.atomic import write_text
from styles.blend import Blend, BlendPart
from styles.errors import BaseError, Cancelled, UnknownStyleError
from styles.from_picture import kept_source
from styles.home import Home
from styles.library import Library
from styles.names import clean_text
from styles.recipe import Recipe
from styles.triggers import with_trigger

if TYPE_CHECKING:
    from PIL.Image import Image

    from styles.base import Base
    from styles.generate import CreateRequest
    from styles.style import Style, StyleCard

DRAWN_SEEDS = 2**32  # short enough to be typed


@dataclass(frozen=True)
class Notice:
    """Something to know about the pictures that come."""

    text: str


@dataclass(frozen=True, eq=False)
class Painting:
    """One denoising step of some of the pictures is done; `previews` are theirs, small."""

    step: int
    steps: int
    share: float  # of all, 0..1
    previews: Callable[[], list[Image]]  # called only where they are shown: it waits for the device


@dataclass(frozen=True)
class PictureSaved:
    """A picture is finished and on the disk, its recipe inside."""

    index: int
    path: Path
    seed: int
    recipe: Recipe


PaintingEvent = Notice | Painting | PictureSaved


class Easel:
    """Keeps one base open. A lock lets one painting at a time use it."""

    def __init__(self, home: Home, library: Library) -> None:
        self.home = home
        self.library = library
        self._in_use = threading.Lock()
        self._base: Base | None = None
        self._opened_for: tuple[Any, ...] = ()

    @property
    def on_accelerator(self) -> bool:
        """A base lies in a graphics card's memory, or whatever else is not this computer's own."""
        base = self._base
        return base is not None and base.device.type != "cpu"

    def warm(self, source: str, settings: Settings) -> None:
        """Open the base ahead of the first picture."""
        with self._in_use:
            self._open(source, settings)

    def put_away(self) -> None:
        """Close the base and give its memory back; waits for a painting to end."""
        with self._in_use:
            self._close()

    def paint(
        self,
        order: PictureOrder,
        source: str,
        folder: Path,
        settings: Settings,
        cancelled: Callable[[], bool],
    ) -> Iterator[PaintingEvent]:
        """Paint the pictures of `order` on the base `source` into `folder`; raises what `generate` raises."""
        blend = self.blend_of(order.weights)  # names are checked before anything heavy loads
        with self._in_use:
            from styles.generate import CreateRequest

            styles = [self.library.open(part.style) for part in blend.parts]
            weights = tuple(part.weight for part in blend.parts)
            prompt = order.prompt
            if order.add_triggers:
                prompt = prompt_with_triggers(
                    prompt, zip((style.card for style in styles), weights, strict=True)
                )
                if prompt != order.prompt:
                    yield Notice(f"The prompt with its trigger words: {prompt}")
            base = self._open(source, settings)
            seed = secrets.randbelow(DRAWN_SEEDS) if order.seed is None else order.seed
            request = CreateRequest(
                prompt=prompt, negative=order.negative, weights=(weights,),
                seeds=tuple(seed + number for number in range(order.count)),
                steps=order.steps or DEFAULT_STEPS, guidance=order.guidance, sampler=order.sampler or DEFAULT_SAMPLER,
                width_px=order.width_px or 0, height_px=order.height_px or 0, safety_checker=settings.safety_checker,
            )  # fmt: skip
            yield from _painted(base, request, styles, folder, cancelled)

    def paint_again(
        self, recipe: Recipe, source: str, folder: Path, settings: Settings, cancelled: Callable[[], bool]
    ) -> Iterator[PaintingEvent]:
        """Paint the picture of `recipe` once more."""
        with self._in_use:
            from styles.generate import request_again

            recipe = replace(recipe, blend=self.blend_again(recipe))
            picture = kept_source(recipe.source, self.home) if recipe.source else None
            styles = [self.library.open(part.style) for part in recipe.blend.parts]
            base = self._open(source, settings)
            if recipe.base_fingerprint not in ("", base.fingerprint):
                yield Notice(
                    f"This picture was made on another base ({recipe.base}); on {base.name} it will differ."
                )
            elif recipe.device not in ("", base.device.type):
                yield Notice(
                    f"This picture was made on {recipe.device}; on {base.device.type} it may differ slightly."
                )
            for note in recipe.notes:
                yield Notice(note)
            request = request_again(recipe, styles, picture)
            yield from _painted(base, request, styles, folder, cancelled)

    def blend_of(self, weights: Iterable[tuple[str, float | None]]) -> Blend:
        """The blend of styles by name or id; None is the weight that a style's card suggests. Raises BadInput."""
        parts = []
        for name, weight in weights:
            card = self.library.find(name)
            parts.append(BlendPart(card.id, card.suggested_weight if weight is None else weight))
        return Blend(tuple(parts))

    def blend_again(self, recipe: Recipe) -> Blend:
        """The blend of a recipe by the ids that styles have here; raises UnknownStyleError for one that is not here."""
        parts = []
        for part in recipe.blend.parts:
            try:
                # Other programs name a style by the beginning of its id, or by its name.
                parts.append(replace(part, style=self.library.find(part.style).id))
            except UnknownStyleError as error:
                name = recipe.names.get(part.style, part.style)
                if name == part.style:
                    raise
                raise UnknownStyleError(
                    f"The style “{clean_text(name, 80)}” of this picture is not in the library.",
                    f"Import it: the one whose id begins with {part.style[:12]}.",
                ) from error
        return Blend(tuple(parts), recipe.blend.mode)

    def source_of(self, recipe: Recipe) -> str | None:
        """Where the base of a recipe lay when it was last open here."""
        source = self._places().get(recipe.base_fingerprint)
        return source if source == "starter" or (source and Path(source).exists()) else None

    # Called with the lock held

    def _open(self, source: str, settings: Settings) -> Base:
        wanted = (source, settings.device, settings.precision, settings.safety_checker)
        if self._base is None or self._opened_for != wanted:
            from styles.base import open_base

            self._close()
            self._base = open_base(
                source,
                self.home,
                device=settings.device,
                dtype=settings.precision,
                safety_checker=settings.safety_checker,
            )
            self._opened_for = wanted
            places = self._places()
            if places.get(self._base.fingerprint) != source:
                write_text(self._places_file, json.dumps(places | {self._base.fingerprint: source}, indent=2))
        return self._base

    def _close(self) -> None:
        if self._base is None:
            return
        import gc

        import torch

        on_accelerator = self.on_accelerator
        self._base, self._opened_for = None, ()
        gc.collect()
        if on_accelerator:
            torch.accelerator.empty_cache()

    @property
    def _places_file(self) -> Path:
        return self.home.bases / "opened.json"

    def _places(self) -> dict[str, str]:
        """Where each base was opened from, by fingerprint: a picture says only which base, not where it lies."""
        try:
            places = json.loads(self._places_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in places.items()} if isinstance(places, dict) else {}


def _painted(
    base: Base, request: CreateRequest, styles: list[Style], folder: Path, cancelled: Callable[[], bool]
) -> Iterator[PaintingEvent]:
    """Run the request and save each picture as soon as it is finished."""
    from styles.generate import StepDone, generate
    from styles.pictures import save_picture

    said: set[str] = set()
    for event in generate(base, request, styles, cancelled=cancelled):
        if isinstance(event, StepDone):
            yield Painting(event.step, event.steps, event.share, lambda event=event: event.previews)  # type: ignore[misc]
            continue
        for note in event.notes:
            if note not in said:
                said.add(note)
                yield Notice(note)
        path = save_picture(event.image, event.recipe, folder)
        yield PictureSaved(event.index, path.absolute(), event.recipe.seed, event.recipe)
    if cancelled():
        raise Cancelled("Stopped.")


def prompt_with_triggers(prompt: str, parts: Iterable[tuple[StyleCard, float]]) -> str:
    """The prompt behind the trigger word of each style that has a positive weight, where it is not in it yet."""
    for card, weight in reversed(list(parts)):
        if weight > 0:
            prompt = with_trigger(prompt, card.trigger)
    return prompt


def base_facts_of(source: str, home: Home) -> tuple[str, str]:
    """(source, family) of a base, read from its files without opening it; raises BaseError."""
    from styles.base_facts import inspect_base
    from styles.bases import find_source

    path, prediction_type = find_source(source, home)
    family = inspect_base(path, prediction_type).family
    if family == "sdxl":
        raise BaseError(
            f"{source} is a Stable Diffusion XL.", "This version trains on Stable Diffusion 1 and 2."
        )
    return source, family
