"""Cards as the index keeps them: short JSON, unpacked quickly, and the words that a search looks through."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path

from styles.formats.bake_record import BakeRecord
from styles.formats.style import FAMILY_NAMES, StyleCard

KEPT_APART = frozenset(("thumbnail", "path", "id"))
# No text of a card has such characters.
MARKS = {"name": "\x01", "trigger": "\x02", "author": "\x03", "tag": "\x04", "base": "\x05"}
READER = json.JSONDecoder()
DEFAULTS = {f.name: f.default for f in fields(StyleCard) if f.default is not MISSING}


def packed(card: StyleCard) -> str:
    """Return a card as JSON, without what is kept apart; nothing that is as usual is written."""
    values = {
        field.name: getattr(card, field.name)
        for field in fields(card)
        if field.name not in KEPT_APART and getattr(card, field.name) != field.default
    }
    if card.bake:
        values["bake"] = card.bake.to_json()
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def unpacked(text: str, style_id: str, path: Path) -> StyleCard:
    """Return the card that `packed` wrote."""
    values = READER.raw_decode(text)[0]
    for name in ("problems", "tags", "tokens"):
        if name in values:
            values[name] = tuple(values[name])
    if "bake" in values:
        values["bake"] = BakeRecord.from_json(values["bake"])
    # Not by its constructor: its text was cleaned when the file was read, and cleaning ten thousand takes a second.
    card = object.__new__(StyleCard)
    object.__setattr__(card, "__dict__", DEFAULTS | values | {"id": style_id, "path": path})
    return card


def words_of(card: StyleCard) -> str:
    """Return what a search looks through, folded: a line for each text, which begins with the mark of its field."""
    fields = {
        "name": (card.name,),
        "trigger": (card.trigger, *card.tokens),
        "author": (card.author,),
        "tag": card.tags,
        "base": (card.family, FAMILY_NAMES.get(card.family, ""), card.base_name),
    }
    lines = [MARKS[field] + text for field, texts in fields.items() for text in texts if text]
    return "\n".join((*lines, card.made_for, card.description)).casefold()


def is_in(field: str, word: str, words: str) -> bool:
    """Whether a folded word is in one field of what `words_of` returned, or in any where `field` is empty."""
    if word not in words or not field:
        return word in words
    return any(word in line for line in words.split("\n") if line.startswith(MARKS[field]))
