"""What can be told of a mix while its sliders move: how strong it is in all, and which styles fight. Nothing is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.create.base_session import distilled_by
from app.create.following import FollowedMix, followed
from app.create.form import SUITING, entries
from app.create.mix_form import MixForm
from app.i18n import say, translated
from styles.bases.few_steps import few_steps_of
from styles.bases.files.inspection import inspect_base
from styles.bases.shelf import find_source
from styles.errors import BaseError
from styles.generation.settings import PictureSettings
from styles.mixing.blend import MODES
from styles.mixing.strength import Effects, balanced, budget

if TYPE_CHECKING:
    from app.studio import Studio
    from styles.mixing.conflict import Overlap, Pair

SUM = MODES[0]


class Advice:
    """Judges mixes; how styles overlap is kept for the last ones, since it does not depend on the weights."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._last: tuple[tuple[str, ...], Overlap] | None = None

    def tell(self, mix: MixForm, base: str = "") -> dict[str, Any]:
        """Strength and hints as plain JSON values, and which of its styles are here, as they are called now."""
        here = followed(self.studio.library, mix)
        mix = here.mix
        key = self.studio.base_session.effects_key_of(self.studio.base_source(base))
        effects = Effects(self.studio.home).known(key) if key else {}
        blend = mix.blend
        total = budget(blend, effects)
        hints: list[dict[str, Any]] = []
        if way := self._distilled(here, base):
            hints.append(way)
        if total.burns:
            words = say("Together they are stronger than a picture takes: it will probably burn.")
            hints.append({"words": words, "action": "balance"})
        elif fight := self._fight(mix):
            hints.append(fight)
        fitted = balanced(blend, effects)
        return {
            "total": total.total,
            "limit": total.limit,
            "burns": total.burns,
            "measured": not total.unknown,
            "at_1": {row.style: effects[row.style].strength for row in mix.rows if row.style in effects},
            "balanced": {part.style: part.weight for part in fitted.parts},
            "hints": hints,
            "here": {style: [card.id, card.name] for style, card in here.now.items()},
        }

    def measure(
        self, mix: MixForm, base: str = "", cancelled: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """The same once the strength of each style has been measured on the base, which takes a while the first time."""
        order = followed(self.studio.library, mix).order
        self.studio.strengths(order, base, cancelled=cancelled)
        return self.tell(mix, base)

    def _distilled(self, here: FollowedMix, base: str) -> dict[str, Any] | None:
        """What the base, else a style that is heard, was distilled for, and the fields that suit it; None for none."""
        heard = (card for card in here.now.values() if here.mix.highest(card.id) > 0)
        source, few_steps = self.studio.base_source(base), None
        name = Path(source).name
        with suppress(BaseError):  # which is told by painting
            facts = inspect_base(*find_source(source, self.studio.home))
            few_steps = few_steps_of((name,)) or facts.few_steps
        way, name = distilled_by(few_steps, name, heard)
        if way is None:
            return None
        suited = entries(PictureSettings().suited_to(way), SUITING)
        return {"words": translated(way.about(name)), "action": "suit", "fields": suited}

    def _fight(self, mix: MixForm) -> dict[str, Any] | None:
        """The two styles of the mix that pull against each other most, or add up most; None where none do."""
        sounding = mix.blend.sounding
        if len(sounding) < 2 or mix.mode != SUM:  # only what is added up can be lost
            return None
        conflicts = self._overlap(tuple(part.style for part in sounding))
        verdict = conflicts.judge([mix.highest(part.style) or part.weight for part in sounding])
        names = dict(zip(conflicts.ids, conflicts.names, strict=True))
        worst, most = verdict.pairs[0], verdict.pairs[-1]
        if worst.fights:
            family = self.studio.library.find(worst.first).family
            words = say(
                "“{first}” and “{second}” pull against each other, most of all in {place}: try taking turns.",
                first=names[worst.first], second=names[worst.second], place=_place(worst, conflicts.layers, family),
            )  # fmt: skip
            return {"words": words, "action": "turns"}
        if most.same_way:
            words = say(
                "“{first}” and “{second}” pull the same way and add up: lower their weights.",
                first=names[most.first], second=names[most.second],
            )  # fmt: skip
            return {"words": words, "action": ""}
        return None

    def _overlap(self, ids: tuple[str, ...]) -> Overlap:
        if self._last is None or self._last[0] != ids:
            from styles.mixing.conflict import overlap

            self._last = (ids, overlap([self.studio.library.open(style) for style in ids]))
        return self._last[1]


def _place(pair: Pair, layers: Sequence[str], family: str) -> str:
    """Where most of a fight happens, in the words of the knobs that a style has."""
    from styles.mixing.layer_matching import inner_blocks_of

    network, _, path = pair.worst[0].layer.partition(".")
    if network != "unet":
        return say("the reading of the words")
    inner = inner_blocks_of([layer.removeprefix("unet.") for layer in layers], family)
    return say("the composition") if inner.hold(path) else say("the texture")
