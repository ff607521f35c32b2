"""What can be told of a mix before it is painted, and what can be made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.create.base_session import BaseSession
from app.create.mix_orders import MixOrder
from app.create.mixing import Mix, effects_of, mix_of, weighed, within_budget
from app.library.card_pictures import card_picture, keep_card_picture
from app.settings import Settings
from styles.errors import BadInput, BlendError
from styles.formats.licences import terms_of, warnings_about
from styles.formats.style import StyleCard
from styles.library.library import Library
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.strength import balanced, budget
from styles.storage.home import Home
from styles.text import Text

if TYPE_CHECKING:
    from styles.bases.base import Base
    from styles.mixing.bake import BakePlan
    from styles.mixing.base_merge import BaseMerge


class MixTools:
    """Measures, compares and bakes on the base that is open."""

    def __init__(self, home: Home, library: Library, base_session: BaseSession) -> None:
        self.home = home
        self.library = library
        self.base_session = base_session

    def blend(
        self,
        order: MixOrder,
        source: str,
        settings: Settings,
        say: Callable[[str], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Blend:
        """A mix as weights by style id; the base is opened only to measure strengths."""
        mix = mix_of(order, self.library)
        with self._base_for(mix, source, settings, cancelled, needed=False) as base:
            return self._weights(mix, base, say, cancelled)

    def strengths(
        self,
        order: MixOrder,
        source: str,
        settings: Settings,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """How strong each style of a mix is on a base and the mix in all, as facts; unknown ones are measured."""
        mix = mix_of(order, self.library)
        if not mix.blend.parts:
            raise BlendError("There is no style to measure.", "Name one or more.")
        styles = self.base_session.styles.open(mix.ids)
        with self.base_session.opened(source, settings, cancelled) as base:
            effects = effects_of(base, styles, self.home, cancelled)
            name = base.name
        blend, _ = weighed(mix.blend, sorted(mix.strengths), effects, mix.names)
        total = budget(blend, effects)
        fitted = balanced(blend, effects)
        strengths = []
        for part in blend.parts:
            effect = effects[part.style]
            strengths.append(
                {
                    "name": mix.names[part.style],
                    "id": part.style,
                    "relative_change": effect.size,
                    "strength_at_1": effect.strength,
                    "full_at": effect.weight_for(1.0),
                    "weight": part.weight,
                    "strength": effect.strength_of(part.weight),
                    "balanced_weight": fitted.weight_of(part.style),
                }
            )
        return {
            "base": name, "styles": strengths, "total": total.total, "limit": total.limit, "burns": total.burns,
        }  # fmt: skip

    def conflicts(self, order: MixOrder) -> dict[str, Any]:
        """Which styles of a mix fight and where, as facts; nothing is painted and no base is opened."""
        mix = mix_of(order, self.library)
        sounding = mix.blend.sounding
        if len(sounding) < 2:
            raise BlendError("It takes two styles to fight.", "Name two or more, with weights other than 0.")
        from styles.mixing.conflict import overlap

        heard = {part.style for part in sounding}
        conflicts = overlap([style for style in self.base_session.styles.open(mix.ids) if style.id in heard])
        facts = conflicts.judge([_strongest(part) for part in sounding], mix.blend.mode).to_json()
        for pair in facts["pairs"]:
            pair["names"] = [mix.names[pair["first"]], mix.names[pair["second"]]]
        return facts

    def forbidden(self, order: MixOrder) -> tuple[Text, ...]:
        """What licences of a mix forbid to share of what is baked from it, in sentences; to be asked before the bake."""
        sounding = mix_of(order, self.library).blend.sounding
        cards = self.library.with_ids(part.style for part in sounding)
        works = [(card.name, card.licence) for card in cards]
        works += [(one.name, one.licence) for card in cards if card.bake for one in card.bake.parents]
        return warnings_about(work for work in works if terms_of(work[1]).no_changes)

    def bake(
        self,
        order: MixOrder,
        plan: BakePlan,
        source: str,
        settings: Settings,
        say: Callable[[str], None],
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] = lambda share: None,
    ) -> StyleCard:
        """Bake a mix into one new style of the library; raises what `bake` raises, and then nothing was added."""
        from styles.mixing.bake import bake

        mix = mix_of(order, self.library)
        styles = self.base_session.styles.open(mix.ids)
        knobs = any(part.composition != 1 or part.texture != 1 for part in mix.blend.sounding)
        with self._base_for(mix, source, settings, cancelled, needed=knobs) as base:
            blend = self._weights(mix, base, say, cancelled)
            inner = base if knobs else None
            style = bake(blend, styles, plan, base=inner, cancelled=cancelled, progress=progress)
        return self.library.add(style)

    def merge(
        self,
        order: MixOrder,
        source: str,
        name: str,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] = lambda share: None,
    ) -> BaseMerge:
        """Merge the styles of a mix into a base, which is kept as one of its own; raises what `merge_base` raises."""
        from styles.mixing.base_merge import merge_base

        mix = mix_of(order, self.library)
        for part in mix.blend.parts:
            if part.schedule is not None:
                raise BlendError(
                    "“{style}” has a schedule, and what is merged is the same at every step.",
                    "Give it one weight.",
                    style=mix.names[part.style],
                )
        styles = self.base_session.styles.open([part.style for part in mix.blend.parts])
        weights = [part.weight_at(0.0) for part in mix.blend.parts]
        parents = list(zip(styles, weights, strict=True))
        with self.base_session.unopened(cancelled):
            return merge_base(self.home, source, parents, name, cancelled=cancelled, progress=progress)

    def picture(self, name: str, source: str, settings: Settings) -> StyleCard:
        """Paint a picture for the card of a style that has none; raises BadInput, WrongFamilyError, OutOfMemory, Failure."""
        card = self.library.find(name)
        if card.thumbnail:
            raise BadInput("“{style}” has a picture.", style=card.name)
        handle = self.library.handle(card)
        style = self.library.open(handle)
        with self.base_session.opened(source, settings) as base:
            picture = card_picture(base, style, settings.safety_checker)
        keep_card_picture(self.library, card, picture)
        return self.library.find(handle)

    @contextmanager
    def _base_for(
        self, mix: Mix, source: str, settings: Settings, cancelled: Callable[[], bool], *, needed: bool
    ) -> Iterator[Base | None]:
        if needed or mix.asks_effects:
            with self.base_session.opened(source, settings, cancelled) as base:
                yield base
        else:
            yield None

    def _weights(
        self, mix: Mix, base: Base | None, say: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> Blend:
        if base is None or not mix.asks_effects:
            return mix.blend
        effects = effects_of(base, self.base_session.styles.open(mix.ids), self.home, cancelled)
        blend, notes = weighed(mix.blend, sorted(mix.strengths), effects, mix.names)
        blend, more = within_budget(mix, blend, effects)
        for note in notes + more:
            say(note)
        return blend


def _strongest(part: BlendPart) -> float:
    """The weight whose sign counts: a schedule may begin or end at 0, or change its side."""
    return max((part.weight * factor for _, factor in part.schedule or ((0.0, 1.0),)), key=abs)


def bake_plan(
    name: str,
    method: str = "",
    rank: int | None = None,
    *,
    density: float | None = None,
    seed: int | None = None,
    author: str = "",
    licence: str = "",
) -> BakePlan:
    """How to bake; without a method exactly, or squeezed where a rank is given. Raises BadInput."""
    from styles.mixing.bake import BakePlan

    chosen = method.strip().lower() or ("exact" if rank is None else "squeezed")
    numbers = {"density": density, "seed": seed}
    given = {key: value for key, value in numbers.items() if value is not None}
    if given and chosen not in ("ties", "dare"):
        raise BlendError(
            "A {other} says nothing about a bake that is {method}.",
            "It is for TIES and DARE.",
            other=next(iter(given)),
            method=chosen,
        )
    return BakePlan(name, chosen, rank, author=author, licence=licence, **given)  # type: ignore[arg-type]


def strength_words(facts: dict[str, Any]) -> Text:
    """Strengths on a screen."""
    lines = [Text("On {base}, at weight 1 (strength 1 is the usual full effect):", base=facts["base"])]
    for style in facts["styles"]:
        lines.append(
            Text(
                "  {style}: strength {strength:.2f}; full effect at weight {weight:.2f}",
                style=style["name"],
                strength=style["strength_at_1"],
                weight=style["full_at"],
            )
        )
    lines.append(
        Text(
            "This mix: strength {total:.2f} in all, of {limit:g} that a picture takes.",
            total=facts["total"],
            limit=facts["limit"],
        )
    )
    if facts["burns"]:
        weights = ", ".join(f"{style['name']}={style['balanced_weight']:.3g}" for style in facts["styles"])
        lines.append(Text("It will probably burn; balanced: {weights}", weights=weights))
    return Text.joined("\n", lines)


def conflict_words(facts: dict[str, Any]) -> Text:
    """Conflicts on a screen."""
    lines = []
    for pair in facts["pairs"]:
        first, second = pair["names"]
        verdict = Text(
            "{first} and {second} fight (cosine {cosine:+.2f})"
            if pair["fights"]
            else "{first} and {second} pull the same way (cosine {cosine:+.2f})"
            if pair["same_way"]
            else "{first} and {second} get along (cosine {cosine:+.2f})",
            first=first,
            second=second,
            cosine=pair["cosine"],
        )
        lines.append(verdict)
        if pair["fights"] or pair["same_way"]:
            lines += [
                Text("  {place}: cosine {cosine:+.2f}, {share:.0%} of it", **at) for at in pair["where"]
            ]
    reason = Text("{reason} Mode: {mode}.", reason=facts["reason"], mode=facts["mode"])
    return Text.joined("\n", [*lines, reason])
