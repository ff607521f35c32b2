"""The base that is open, and the one place where pictures are painted with it."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.create.memory import give_back_memory
from app.create.mixing import Mix, effects_of, mix_of, sheet_of, sheet_title, weighed, within_budget
from app.create.painting import Notice, PaintingEvent, painted, sheet_painted
from app.create.prompt_tags import with_prompt_styles
from app.create.recipe_styles import blend_again, name_notes
from app.create.style_cache import StyleCache
from app.create.threads import PaintingThreads
from app.orders import PictureOrder
from app.settings import Settings
from styles.bases.few_steps import FewSteps, few_steps_of_style
from styles.devices.garbage import collection_paused
from styles.devices.threads import use
from styles.errors import AtelierError, Cancelled, OutOfMemory, SettingsError
from styles.formats.triggers import with_trigger
from styles.generation.img2img import SourcePicture, keep_source, kept_source
from styles.generation.recipe import Recipe
from styles.generation.samplers import missing_notes
from styles.generation.settings import MAX_PIXELS
from styles.library.library import Library
from styles.mixing.blend import Blend
from styles.mixing.strength import Effect, Effects
from styles.quantization.quantization import quantization_words
from styles.storage.atomic import write_cache
from styles.storage.file_reading import read_json
from styles.storage.home import Home, expanded
from styles.text import Text

if TYPE_CHECKING:
    from styles.bases.base import Base
    from styles.formats.style import Style, StyleCard
    from styles.generation.comparison_grids import Sheet
    from styles.generation.request import CreateRequest
    from styles.mixing.kept_patcher import KeptPatcher

LOOK_SECONDS = 0.2  # how often whoever waits for it asks whether that is still wished


class BaseSession:
    """Keeps one base open. A lock lets one painting at a time use it."""

    def __init__(self, home: Home, library: Library, before_card: Callable[[], None] = lambda: None) -> None:
        """`before_card` is called before a base is opened on an accelerator, whose memory something else may hold."""
        self.home = home
        self._before_card = before_card
        self.library = library
        self.styles = StyleCache(library)
        self.threads = PaintingThreads()
        self.used_at = time.monotonic()  # when somebody had it last
        self._in_use = threading.Lock()
        self._waiting: list[None] = []  # one for each who waits for it
        self._base: Base | None = None
        self._opened_for: tuple[Any, ...] = ()
        self._patcher: KeptPatcher | None = None  # of the open base
        self._idle_card: AtelierError | None = None  # that would have been faster, and was not told of yet

    @property
    def on_accelerator(self) -> bool:
        """A base lies in a graphics card's memory, or whatever else is not this computer's own."""
        base = self._base
        return base is not None and base.device.type != "cpu"

    def warm(self, source: str, settings: Settings) -> None:
        """Open the base ahead of the first picture."""
        with self._turn():
            self.threads.choose(self._open(source, settings))

    def put_away(self) -> None:
        """Close the base and give its memory back; waits for a painting to end."""
        with self._turn():
            self._close()

    def make_room(self) -> bool:
        """Give a card's memory back for work of another process; False while somebody paints there."""
        if not self._in_use.acquire(blocking=False):
            # What is being opened may be going to a card.
            return self._base is not None and not self.on_accelerator
        try:
            if self.on_accelerator:
                self._close()
            return True
        finally:
            self._in_use.release()

    @contextmanager
    def opened(
        self,
        source: str,
        settings: Settings,
        cancelled: Callable[[], bool] = lambda: False,
        quantize: str | None = None,
    ) -> Iterator[Base]:
        """Lend the base `source`; nobody else has it meanwhile. Raises Cancelled before it is lent.

        `quantize` takes the place of how it is kept.
        """
        with self._turn(cancelled):
            yield self._open(source, settings, cancelled, quantize)

    @contextmanager
    def unopened(self, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Let nobody open a base meanwhile: the libraries change torch's modules for all threads while they do.

        Raises Cancelled before it begins.
        """
        with self._turn(cancelled):
            yield

    @property
    def in_use(self) -> bool:
        """Somebody has it."""
        return self._in_use.locked()

    @property
    def wanted(self) -> bool:
        """Somebody waits for it."""
        return bool(self._waiting)

    @contextmanager
    def spare(self) -> Iterator[Base | None]:
        """Lend the base that is open to work that nobody waits for, which ends once it is `wanted`; None for none."""
        if not self._in_use.acquire(blocking=False):
            yield None
            return
        try:
            yield self._base
        finally:
            self._in_use.release()

    @contextmanager
    def _turn(self, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
        self._waiting.append(None)
        try:
            while not self._in_use.acquire(timeout=LOOK_SECONDS):
                if cancelled():
                    raise Cancelled("Stopped.")
        finally:
            self._waiting.pop()
        try:
            yield
        finally:
            give_back_memory()
            self.used_at = time.monotonic()
            self._in_use.release()

    def paint(
        self,
        order: PictureOrder,
        source: str,
        folder: Path,
        settings: Settings,
        cancelled: Callable[[], bool],
    ) -> Iterator[PaintingEvent]:
        """Paint the pictures of `order` on the base `source` into `folder`; raises what `generate` raises.

        With a sheet, its pictures and then the page that shows them.
        """
        # Names and files are checked before anything heavy loads.
        order = with_prompt_styles(order, self.library)
        mix = mix_of(order.whole_mix, self.library, order.sheet)
        picture = _picture_of(order.image)
        styles = self.styles.open(mix.ids)
        with self.opened(source, settings, cancelled, order.settings.quantize) as base:
            from styles.generation.effect_probe import effects_key

            yield from map(Notice, self._notes_on_device())

            yield from map(Notice, [*order.mix.notes, *_merged_notes(base, styles, order.prompt)])
            self.threads.choose(base)
            if order.like:
                yield from map(Notice, _what_differs(order.like, base))
            effects = Effects(self.home).known(effects_key(base))
            if mix.asks_effects:
                if any(style.id not in effects for style in styles):
                    yield Notice(
                        Text("Measuring how strong the styles are on this base, which is done once.")
                    )
                effects = effects_of(base, styles, self.home, cancelled)
            request, sheet, notes = _planned(order, base, mix, effects, styles, picture, settings)
            yield from map(Notice, dict.fromkeys(notes))
            if order.bearable:
                from styles.generation.cost import at_usual_size

                request = at_usual_size(base, request, styles)
            if sheet is None or order.sheet is None:
                events = painted(base, request, styles, folder, cancelled, self._patcher)
            else:
                events = sheet_painted(
                    base, sheet, sheet_title(order.sheet, mix), styles, folder, cancelled, self._patcher
                )
            events = self.threads.watched(request, len(styles), events)
            yield from _keeping(picture, self.home, events)

    def paint_again(
        self,
        recipe: Recipe,
        source: str,
        folder: Path,
        settings: Settings,
        cancelled: Callable[[], bool],
        agreed: bool = False,
    ) -> Iterator[PaintingEvent]:
        """Paint the picture of `recipe` once more, on its base as that was kept then."""
        quantize = self.quantize_of(recipe, source)
        notes_of_names = name_notes(recipe, self.library)
        recipe = replace(recipe, blend=blend_again(recipe, self.library))
        picture = kept_source(recipe.source, self.home) if recipe.source else None
        styles = self.styles.open([part.style for part in recipe.blend.parts])
        with self._turn(cancelled):
            from styles.generation.request import request_again

            base, notes = self._open_if_kept_so(source, settings, cancelled, quantize)
            yield from map(Notice, self._notes_on_device())
            yield from map(Notice, [*notes, *notes_of_names, *_what_differs(recipe, base)])
            use(recipe.threads)
            request = request_again(recipe, picture, agreed)
            yield from painted(base, request, styles, folder, cancelled, self._patcher)

    def source_of(self, recipe: Recipe) -> str | None:
        """Where the base of a recipe lay when it was last open here."""
        source, _ = self._places().get(recipe.base_fingerprint, (None, ""))
        return source if source == "starter" or (source and Path(source).exists()) else None

    def quantize_of(self, recipe: Recipe, source: str) -> str | None:
        """How the base of a recipe was kept, None where `source` is another one or was not open here."""
        place, _ = self._places().get(recipe.base_fingerprint, (None, ""))
        return recipe.quantize if place == source else None

    def effects_key_of(self, source: str) -> str:
        """The key of a base that was open here before, as it then was, to look up effects; empty for another."""
        keys = [key for place, key in self._places().values() if place == source]
        return keys[-1] if keys else ""

    # Called with the lock held

    def _notes_on_device(self) -> list[Text]:
        """Why the processor paints although there is a card, once for each time that a base is opened."""
        problem, self._idle_card = self._idle_card, None
        if problem is None:
            return []
        words = Text("{problem} The processor does the work.", problem=problem.message)
        return [Text.joined(" ", (words, problem.hint))]

    def _open_if_kept_so(
        self, source: str, settings: Settings, cancelled: Callable[[], bool], quantize: str | None
    ) -> tuple[Base, list[Text]]:
        """The base in a quantization; where that can't be had, as it is kept here, and why."""
        try:
            return self._open(source, settings, cancelled, quantize), []
        except (SettingsError, OutOfMemory) as error:
            problem = error.text
        note = Text("The base can't be kept as it was then: {problem}", problem=problem)
        return self._open(source, settings, cancelled), [note]

    def _open(
        self,
        source: str,
        settings: Settings,
        cancelled: Callable[[], bool] = lambda: False,
        quantize: str | None = None,
    ) -> Base:
        from styles.bases.shelf import find_source

        opening = (
            *(source, find_source(source, self.home), quantize),
            *(
                settings.device,
                settings.precision,
                settings.safety_checker,
                settings.low_memory,
                settings.compile,
            ),
        )
        if self._base is None or self._opened_for != opening:
            _import_bases()
            from styles.bases.base import open_base
            from styles.devices.device import device_for, idle_card
            from styles.devices.memory import limit_memory
            from styles.generation.effect_probe import effects_key
            from styles.mixing.kept_patcher import KeptPatcher

            self._close()
            device = device_for(settings.device)
            if device.type != "cpu":
                self._before_card()
            limit_memory(device)
            self._base = open_base(
                source,
                self.home,
                device=device,
                dtype=settings.precision,
                safety_checker=settings.safety_checker,
                spare_memory=settings.low_memory,
                compiled=settings.compile,
                quantize=quantize,
                cancelled=cancelled,
            )
            if settings.device == "auto" and self._base.device.type == "cpu":
                self._idle_card = idle_card()
            self._opened_for, self._patcher = opening, KeptPatcher()
            places, here = self._places(), (source, effects_key(self._base))
            if places.get(self._base.fingerprint) != here:
                places.pop(self._base.fingerprint, None)  # the last one comes last
                write_cache(self._places_file, json.dumps(places | {self._base.fingerprint: here}, indent=2))
        return self._base

    def _close(self) -> None:
        if self._base is None:
            return
        from styles.devices.memory import give_back

        device = self._base.device
        self._base, self._opened_for, self._patcher = None, (), None
        self.styles.put_away()
        give_back(device)

    @property
    def _places_file(self) -> Path:
        return self.home.bases / "opened.json"

    def _places(self) -> dict[str, tuple[str, str]]:
        """Where each base was opened from, and its effects' key, by fingerprint; the last one last.

        A picture says only which base, not where it lies.
        """
        try:
            places = read_json(self._places_file)
            # Before there were keys, only the source stood there.
            pairs = {
                str(used_source): (at, "") if isinstance(at, str) else at
                for used_source, at in places.items()
            }
            return {used_source: (str(source), str(key)) for used_source, (source, key) in pairs.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def _picture_of(path: Path | None) -> SourcePicture | None:
    """Read a picture to start from, in any form that artworks can have; raises PictureError."""
    if path is None:
        return None
    from training.artworks.opening import open_artwork

    # A vast JPEG is decoded at a fraction of its size, and still not smaller than what can be painted.
    return SourcePicture.of(open_artwork(expanded(path), least_px=math.isqrt(MAX_PIXELS)))


@cache
def _import_bases() -> None:
    """Import what opens a base, once for a process: later on, bases and pictures would be left out of collections."""
    with collection_paused():
        import styles.bases.base  # noqa: F401


def _what_differs(recipe: Recipe, base: Base) -> list[Text]:
    """What to say of a recipe's picture before it is painted on `base`: where it was made, and what can't be read."""
    if recipe.base_fingerprint:
        same = recipe.base_fingerprint == base.fingerprint
    else:  # another program's picture tells a name at most
        same = recipe.base in ("", base.name)
    differs = []
    if not same:
        differs.append(
            Text(
                "This picture was made on another base ({made_on}); on {base} it will differ.",
                made_on=recipe.base,
                base=base.name,
            )
        )
    elif recipe.base_fingerprint and recipe.vae != base.vae_fingerprint:
        differs.append(
            Text("This picture was made with another VAE for {base}, so that it will differ.", base=base.name)
        )
    elif recipe.base_fingerprint and recipe.quantize != base.quantize:
        differs.append(
            Text(
                "This picture was made with the base {made_with}; it is open {now}, so that it will differ.",
                made_with=quantization_words(recipe.quantize),
                now=quantization_words(base.quantize),
            )
        )
    elif recipe.device not in ("", base.device.type):
        differs.append(
            Text(
                "This picture was made on {made_on}; on {device} it may differ slightly.",
                made_on=recipe.device,
                device=base.device.type,
            )
        )
    return [*differs, *recipe.notes, *missing_notes(recipe.sampler, recipe.schedule)]


def _merged_notes(base: Base, styles: Sequence[Style], prompt: str) -> list[Text]:
    """Say of the styles in a merged base which of them a mix holds as well, and which word calls the others."""
    from styles.bases.files.merged_base import read_card

    card = read_card(base.folder) if base.folder else None
    mixed, notes = {style.id for style in styles}, []
    for one in card.styles if card else ():
        if one.id in mixed:
            notes.append(
                Text("“{style}” is merged into this base already, and now counts twice.", style=one.name)
            )
        elif one.trigger and with_trigger(prompt, one.trigger) != prompt:
            notes.append(
                Text(
                    "“{style}” is merged into this base; its word “{trigger}” in the prompt calls it.",
                    style=one.name,
                    trigger=one.trigger,
                )
            )
    return notes


def _keeping(
    picture: SourcePicture | None, home: Home, events: Iterator[PaintingEvent]
) -> Iterator[PaintingEvent]:
    """Hand the events over, and keep the picture that they start from as soon as there is a first one."""
    for event in events:
        if picture is not None:
            keep_source(picture, home)
            picture = None
        yield event


def _planned(
    order: PictureOrder,
    base: Base,
    mix: Mix,
    effects: Mapping[str, Effect],
    styles: Sequence[Style],
    picture: SourcePicture | None,
    settings: Settings,
) -> tuple[CreateRequest, Sheet | None, list[Text]]:
    """What to paint with weights for all strengths, the sheet that it is laid out on, and what is to be said."""
    blend, notes = weighed(mix.blend, sorted(mix.strengths.difference(mix.varied)), effects, mix.names)
    if order.sheet is None or not order.sheet.varies:
        blend, more = within_budget(mix, blend, effects)
        notes += more
    heard = [style.card for style in styles if blend.highest(style.id) > 0]
    way, name = distilled_by(base.few_steps, base.name, heard)
    if way is not None and order.settings != (suited := order.settings.suited_to(way)):
        order = replace(order, settings=suited)
        notes.append(way.about(name))
    request = _request_of(order, blend, picture, settings)
    notes += _other_clip_skips(base, request, styles)
    sheet = None
    if order.sheet is not None:
        sheet, more = sheet_of(order.sheet, mix, request, effects)
        notes += more
        request = sheet.request
    if order.add_triggers:
        worded = [style for style in styles if style.id not in order.left_out]
        prompt = prompt_with_triggers(order.prompt, _acting(request.blends, worded))
        if prompt != order.prompt:
            notes.append(Text("The prompt with its trigger words: {prompt}", prompt=prompt))
            request = replace(request, prompt=prompt)
    return request, replace(sheet, request=request) if sheet else None, notes


def _request_of(
    order: PictureOrder, blend: Blend, picture: SourcePicture | None, settings: Settings
) -> CreateRequest:
    from styles.generation.request import CreateRequest

    return replace(
        CreateRequest.of(order.prompt, order.settings, order.passes, picture),
        blends=(blend,),
        batch=1 if settings.low_memory else 0,
        safety_checker=settings.safety_checker,
        agreed=order.agreed,
    )


def _other_clip_skips(base: Base, request: CreateRequest, styles: Sequence[Style]) -> list[Text]:
    """Say which styles that are heard were trained on another layer of the text encoder than is read now."""
    if len(base.text_encoders) > 1:
        return []  # always the same layer there
    heard = [style.card for style in styles if any(blend.highest(style.id) for blend in request.blends)]
    return [
        Text(
            "“{style}” was trained with clip skip {clip_skip}; it is {now} here.",
            style=card.name,
            clip_skip=card.training["clip_skip"],
            now=request.clip_skip,
        )
        for card in heard
        if card.training.get("clip_skip", request.clip_skip) != request.clip_skip
    ]


def distilled_by(
    few_steps: FewSteps | None, base: str, heard: Iterable[StyleCard]
) -> tuple[FewSteps | None, str]:
    """Return what a base was distilled by, else a style that is heard, and which of them; None where none was."""
    if few_steps is not None:
        return few_steps, base
    return next(((way, card.name) for card in heard if (way := card_few_steps(card))), (None, ""))


def card_few_steps(card: StyleCard) -> FewSteps | None:
    """What a style was distilled by, if it was."""
    return few_steps_of_style((card.name, card.path.stem if card.path else "", *card.tags))


def _acting(blends: Sequence[Blend], styles: Sequence[Style]) -> list[tuple[StyleCard, float]]:
    """Each style's card with its highest weight in any of the blends at any step; 0 where none lets it be heard."""
    return [(style.card, max(blend.highest(style.id) for blend in blends)) for style in styles]


def prompt_with_triggers(prompt: str, parts: Iterable[tuple[StyleCard, float]]) -> str:
    """The prompt behind the trigger word of each style that has a positive weight, where it is not in it yet."""
    for card, weight in reversed(list(parts)):
        if weight > 0:
            prompt = with_trigger(prompt, card.trigger)
    return prompt


def base_facts_of(source: str, home: Home, quantize: str | None = None) -> tuple[str, str, str]:
    """(source, family, how it is kept) of a base, read from its files without opening it.

    Raises BaseError, also where it can't be had in the `quantize` that is asked for.
    """
    from styles.bases.files.inspection import inspect_base
    from styles.bases.shelf import find_source

    path, stored = find_source(source, home)
    facts = inspect_base(path, replace(stored, quantize=quantize or stored.quantize))
    return source, facts.family, facts.quantize
