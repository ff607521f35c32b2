"""A mix follows its styles: by id, and where a style was made anew, by name. What is not here any more is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.create.mix_form import MixForm, MixRow
from app.create.mix_orders import MixOrder
from app.i18n import say
from styles.formats.style import StyleCard
from styles.library.library import Library
from styles.library.missing import current, name_to_show
from styles.storage.names import SHA256


@dataclass(frozen=True)
class FollowedMix:
    """A mix of styles that are all here; `now` tells for each id that was asked for which style it means."""

    mix: MixForm
    now: Mapping[str, StyleCard]
    missing: tuple[MixRow, ...]
    replaced: tuple[str, ...]  # names of styles of which another version is here

    @property
    def order(self) -> MixOrder:
        """The same as an order, with what there is to say of it; raises BlendError."""
        names = tuple((card.id, card.name) for card in self.now.values())
        return MixOrder(start=self.mix.blend, names=names, notes=self.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say beside a picture of it."""
        left_out = [name_to_show(row.name, row.style) for row in self.missing]
        said = [
            say("“{name}” is not in your library: the picture is without it.", name=name) for name in left_out
        ]
        return (*said, *map(replaced_words, self.replaced))


def followed(library: Library, mix: MixForm) -> FollowedMix:
    """Look up the styles of a mix; one that is here under two ids counts once, as it stands first."""
    now: dict[str, StyleCard] = {}
    rows: dict[str, MixRow] = {}
    missing, replaced = [], []
    for row in mix.rows:
        card = current(library, row.style, row.name)
        if card is None:
            missing.append(row)
            continue
        now[row.style] = card
        rows.setdefault(card.id, replace(row, part=replace(row.part, style=card.id), name=card.name))
        if is_replaced(row.style, card):
            replaced.append(card.name)
    return FollowedMix(replace(mix, rows=tuple(rows.values())), now, tuple(missing), tuple(replaced))


def is_replaced(style: str, card: StyleCard) -> bool:
    """Whether a style that was asked for by its whole id is here only in another version."""
    return SHA256.fullmatch(style) is not None and style != card.id


def replaced_words(name: str) -> str:
    """What there is to say of a style that was made anew."""
    return say("“{name}” is here in another version than before: that one is used.", name=name)
