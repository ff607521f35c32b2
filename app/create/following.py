"""A mix follows its styles: by id, and where a style was made anew, by name. What is not here any more is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app.create.mix_form import MixForm, MixRow
from app.create.mix_orders import MixOrder
from app.i18n import say, translated
from styles.formats.style import StyleCard
from styles.library.library import Library
from styles.library.missing import find_style, name_to_show
from styles.text import Text


@dataclass(frozen=True)
class FollowedMix:
    """A mix of styles that are all here; `now` tells for each id that was asked for which style it means."""

    mix: MixForm
    now: Mapping[str, StyleCard]
    missing: tuple[MixRow, ...]
    name_notes: tuple[Text, ...]  # of those that were found by their names alone

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
        return (*said, *map(translated, self.name_notes))


def followed(library: Library, mix: MixForm) -> FollowedMix:
    """Look up the styles of a mix; one that is here under two ids counts once, as it stands first."""
    now: dict[str, StyleCard] = {}
    rows: dict[str, MixRow] = {}
    missing, name_notes = [], []
    for row in mix.rows:
        found = find_style(library, row.style, row.name)
        if found is None:
            missing.append(row)
            continue
        card = found.card
        now[row.style] = card
        rows.setdefault(card.id, replace(row, part=replace(row.part, style=card.id), name=card.name))
        if found.note:
            name_notes.append(found.note)
    return FollowedMix(replace(mix, rows=tuple(rows.values())), now, tuple(missing), tuple(name_notes))
