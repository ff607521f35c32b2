"""The styles that a prompt names as A1111 does, `<lora:name:0.8>`: found here, and taken into the mix."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.create.mix_form import MOST_ROWS, MixForm, MixRow
from app.orders import PictureOrder
from styles.errors import AtelierError
from styles.formats.style import StyleCard
from styles.generation.foreign.a1111 import negative_notes
from styles.generation.prompt_tags import tidied, without_tags
from styles.library.library import Library
from styles.library.missing import current
from styles.mixing.blend import BlendPart
from styles.text import Text


@dataclass(frozen=True)
class PromptStyles:
    """A prompt without its tags, the styles of them that are here with their weights, and what there is to say."""

    prompt: str
    styles: tuple[tuple[StyleCard, float], ...] = ()
    notes: tuple[Text, ...] = ()


def styles_named_in(prompt: str, library: Library) -> PromptStyles:
    """Look up the styles that a prompt names; one that is not here is noted."""
    tagged = without_tags(prompt)
    if tagged.prompt == prompt:
        return PromptStyles(prompt)
    styles: dict[str, tuple[StyleCard, float]] = {}
    notes = list(tagged.notes)
    for tag in tagged.styles:
        card = current(library, tag.name, tag.name)
        if card is None:
            notes.append(_missing_note(library, tag.name))
        else:
            styles.setdefault(card.id, (card, tag.weight))
    return PromptStyles(tidied(tagged.prompt), tuple(styles.values()), tuple(notes))


def _missing_note(library: Library, name: str) -> Text:
    """Say that no style is called so, or that several are."""
    try:
        library.card(name)
    except AtelierError as error:
        if isinstance(error.message, Text) and "places" in error.message.values:
            return error.text
    return Text("“{name}” is not in your library: the picture is without it.", name=name)


def with_prompt_styles(order: PictureOrder, library: Library) -> PictureOrder:
    """Return an order with the styles that its prompt names in its mix; what is said of a style otherwise counts."""
    named = styles_named_in(order.prompt, library)
    negative = without_tags(order.settings.negative)
    if named.prompt == order.prompt and negative.prompt == order.settings.negative:
        return order
    mix, notes = order.mix, [*named.notes, *negative_notes(negative.styles)]
    given = _given(order, library)
    start, names = mix.start, dict(mix.names)
    for card, weight in named.styles:
        if card.id in given:
            notes.append(
                Text(
                    "“{name}” is in the mix already, so that its weight in the prompt doesn't count.",
                    name=card.name,
                )
            )
            continue
        start, names[card.id] = start.changed(card.id, weight=weight), card.name
        notes.append(Text("“{name}” at {weight:g}, as the prompt says.", name=card.name, weight=weight))
    return replace(
        order,
        prompt=named.prompt,
        settings=replace(order.settings, negative=tidied(negative.prompt)),
        mix=replace(mix, start=start, names=tuple(names.items()), notes=(*mix.notes, *notes)),
    )


def mix_with(mix: MixForm, named: PromptStyles, library: Library) -> tuple[MixForm, list[Text]]:
    """Return a form's mix with the weights of a prompt's styles in its sliders, and what there is to say of it."""
    rows, notes = list(mix.rows), list(named.notes)
    places = {_id_of(library, row): place for place, row in enumerate(rows)}
    for card, weight in named.styles:
        place = places.get(card.id)
        if place is not None:
            rows[place] = replace(rows[place], part=replace(rows[place].part, weight=weight))
        elif len(rows) < MOST_ROWS:
            rows.append(MixRow(BlendPart(card.id, weight), name=card.name))
        else:
            notes.append(
                Text(
                    "There is room for {room} styles here: “{name}” is left out.",
                    room=MOST_ROWS,
                    name=card.name,
                )
            )
            continue
        notes.append(Text("“{name}” at {weight:g}, as the prompt says.", name=card.name, weight=weight))
    return replace(mix, rows=tuple(rows)), notes


def _given(order: PictureOrder, library: Library) -> set[str]:
    """Return the ids of the styles that an order gives by name."""
    ids = set()
    for style in order.whole_mix.styles:
        try:
            ids.add(library.card(style.name).id)
        except AtelierError:  # told when the mix is looked up
            continue
    return ids


def _id_of(library: Library, row: MixRow) -> str:
    card = current(library, row.style, row.name)
    return card.id if card else row.style
