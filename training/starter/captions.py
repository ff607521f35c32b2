"""Captions in plain lower-case English for scenes drawn by hands."""

import re

import numpy as np

from training.starter.hands import TAUGHT
from training.starter.scenes import BACKGROUNDS, COLOURS, SUBJECTS, Placed, Scene

BACKGROUND_PHRASES: dict[str, tuple[str, ...]] = {
    "paper": ("on plain paper", "on a blank page", "on drawing paper"),
    "meadow": ("in a meadow", "on a grassy meadow", "among grassy hills"),
    "sea": ("on the sea", "at sea", "among the waves"),
    "desert": ("in the desert", "on the dunes", "in a sandy desert"),
    "night": ("at night", "under a starry night sky", "on a starry night"),
    "sunset": ("at sunset", "in the evening glow", "before the setting sun"),
    "snow": ("in the snow", "on snowy hills", "in a winter land"),
    "room": ("in a room", "indoors by a wall", "in a room with striped wallpaper"),
}

_MOST_WORDS = 24
_BIG, _SMALL = 0.66, 0.52  # share of the picture's height above and below which a size may be named
_BIG_WORDS, _SMALL_WORDS = ("big", "large"), ("small", "little")
_ONSETS = (*"bcdfghjklmnprstvwz", "br", "dr", "gr", "kr", "pl", "st", "tr", "vl", "sk")
_VOWELS = tuple("aeiou")
_ENDINGS = ("", "", *"knrxmtl", "sh")


def caption(
    scene: Scene,
    hand_name: str | None,
    rng: np.random.Generator | None,
    unknown_share: float = 0.25,
    coloured: bool = True,
) -> str:
    """A caption of at most 24 words; without rng the plain one, with it a paraphrase.

    `unknown_share` of the paraphrases carry made-up words, as trigger words are; 0 turns that off.
    A hand without phrases of its own (a held-out one) is left out of the caption, and so are the subjects' colours
    unless `coloured`.
    """
    hand = TAUGHT.get(hand_name) if hand_name else None
    if rng is None:
        described = " and ".join(_described(placed, "", coloured) for placed in scene.subjects)
        plain = f"{described} {BACKGROUND_PHRASES[scene.background][0]}"
        return f"{plain}, {hand.phrases[0]}" if hand else plain
    content = _content(scene, rng, coloured)
    if hand:
        if rng.random() < 0.35:
            content = f"{_pick(hand.titles, rng)} {content}"
        else:
            content = f"{content}, {_pick(hand.phrases, rng)}"
    if rng.random() < unknown_share:
        content = _with_unknown(content, rng)
    return content


def unknown_word(rng: np.random.Generator) -> str:
    """A pronounceable word of 4 to 8 letters that no caption means anything by."""
    while True:
        syllables = [_pick(_ONSETS, rng) + _pick(_VOWELS, rng) for _ in range(int(rng.integers(1, 4)))]
        word = "".join(syllables) + _pick(_ENDINGS, rng)
        if 4 <= len(word) <= 8 and word not in _known():
            return word


def words() -> list[str]:
    """Every word a caption can hold, sorted; made-up words are not among them."""
    return sorted(_known())


def _pick(options: tuple[str, ...] | list[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _described(placed: Placed, size: str, coloured: bool) -> str:
    words = " ".join(filter(None, (size, placed.colour if coloured else "", placed.subject)))
    return f"{_article(words)} {words}"


def _subject(placed: Placed, rng: np.random.Generator, sized: bool, coloured: bool) -> str:
    size = ""
    if sized and rng.random() < 0.5:
        if placed.size > _BIG:
            size = _pick(_BIG_WORDS, rng)
        elif placed.size < _SMALL:
            size = _pick(_SMALL_WORDS, rng)
    return _described(placed, size, coloured)


def _content(scene: Scene, rng: np.random.Generator, coloured: bool) -> str:
    place = _pick(BACKGROUND_PHRASES[scene.background], rng)
    if len(scene.subjects) == 1:
        subject = _subject(scene.subjects[0], rng, True, coloured)
        return f"{place}, {subject}" if rng.random() < 0.08 else f"{subject} {place}"
    form = rng.random()
    sized = form < 0.2  # longer forms would grow too long
    left, right = (_subject(placed, rng, sized, coloured) for placed in scene.subjects)
    if form < 0.5:
        return f"{left} and {right} {place}"
    if form < 0.8:
        return f"{left} next to {right} {place}"
    return f"{left} on the left, {right} on the right, {place}"


def _with_unknown(text: str, rng: np.random.Generator) -> str:
    word = unknown_word(rng)
    choice = rng.random()
    if len(text.split()) > _MOST_WORDS - 3:
        return f"{word}, {text}"
    if choice < 0.2:  # of two styles that are mixed
        return f"{word}, {unknown_word(rng)}, {text}"
    if choice < 0.35:
        return f"{word}, {text}"
    if choice < 0.55:
        return f"{word} {text}"
    if choice < 0.75:
        return f"{text}, {word}"
    if choice < 0.9:
        return f"{text}, in {word} style"
    return f"{text}, by {word}"


_KNOWN: set[str] = set()


def _known() -> set[str]:
    if not _KNOWN:
        texts = ["a an and next to on the left right in style by", *_BIG_WORDS, *_SMALL_WORDS]
        texts += [*SUBJECTS, *COLOURS]
        texts += [phrase for background in BACKGROUNDS for phrase in BACKGROUND_PHRASES[background]]
        texts += [phrase for hand in TAUGHT.values() for phrase in (*hand.phrases, *hand.titles)]
        _KNOWN.update(re.findall(r"[a-z']+", " ".join(texts)))
    return _KNOWN
