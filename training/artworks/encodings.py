"""The text of a file that doesn't say its encoding: by its mark, by its zero bytes, as UTF-8, else the likeliest."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from styles.storage.file_reading import ENCODING_MARKS

# What text editors have written beside UTF-8, by how common each is.
OTHERS = (
    "cp1252", "cp932", "gb18030", "cp949", "big5", "cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256",
    "cp1257", "cp1258", "cp874", "euc_jp", "koi8_r",
)  # fmt: skip
# The letters and signs of Western Europe beyond ASCII.
WESTERN = frozenset("àáâãäåæçèéêëìíîïñòóôõöøœùúûüýÿßÀÁÂÄÅÆÇÈÉÊËÍÎÏÑÓÔÖØŒÚÛÜ“”„‘’‚–—…«»¿¡°·")


@dataclass(frozen=True)
class DecodedText:
    """A text, and the encoding it was read by where that is a guess; empty where it is certain."""

    text: str
    guess: str = ""


def decode_all(files: Sequence[bytes]) -> list[DecodedText]:
    """Decode the texts of one folder; where several encodings fit one that isn't Unicode, the others in it decide.

    A control character becomes a space; nothing becomes a replacement character.
    """
    plain = [_as_unicode(data) for data in files]
    fitting = [_fitting(data) if text is None else () for data, text in zip(files, plain, strict=True)]
    votes: Counter[str] = Counter()
    for data, names in zip(files, fitting, strict=True):
        votes.update(dict.fromkeys(names, sum(byte > 127 for byte in data)))
    decoded = []
    for data, text, names in zip(files, plain, fitting, strict=True):
        # Of equally many votes the first counts.
        guess = max(names, key=votes.__getitem__) if names else ""
        decoded.append(DecodedText(_cleaned(data.decode(guess) if text is None else text), guess))
    return decoded


def text_of(data: bytes) -> str:
    """Decode a text with its lines, by the encoding that fits it best."""
    text = _as_unicode(data)
    return data.decode(_fitting(data)[0]) if text is None else text


def _as_unicode(data: bytes) -> str | None:
    for mark, name in ENCODING_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "ignore")
    return _decoded(data, _by_zeros(data) or "utf-8")


def _by_zeros(data: bytes) -> str:
    """Name the UTF-16 that a text without a mark is in: most of its characters have a zero byte."""
    pairs = len(data) // 2
    low, high = data[1::2].count(0), data[0::2].count(0)
    if pairs and max(low, high) * 2 > pairs and min(low, high) * 8 <= pairs:
        return "utf-16-le" if low > high else "utf-16-be"
    return ""


def _fitting(data: bytes) -> tuple[str, ...]:
    """Return the encodings that fit a text equally well, the most common first."""
    from charset_normalizer import from_bytes

    western = _decoded(data, "cp1252")
    if western is not None and _is_western(western):
        return ("cp1252",)
    fits: dict[str, tuple[int, float]] = {}
    for match in from_bytes(data, cp_isolation=[*OTHERS], enable_fallback=False):
        for name in {match.encoding, *match.could_be_from_charset} & {*OTHERS}:
            if (text := _decoded(data, name)) is not None:
                fits[name] = (_odd_words(text), round(match.chaos, 1))
    best = [name for name, fit in fits.items() if fit == min(fits.values())]
    return tuple(sorted(best, key=lambda name: _rank(name, data))) or ("latin-1",)


def _rank(name: str, data: bytes) -> int:
    # Simplified Chinese is nearly all in the older, smaller set; what is beyond it is rather something else.
    if name == "gb18030" and _decoded(data, "gb2312") is not None:
        return -1
    # What fits by chance as Western letters has been tried before.
    return OTHERS.index(name) if name != "cp1252" else len(OTHERS)


def _decoded(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        return None


def _is_western(text: str) -> bool:
    """Say whether a text reads as one of Western Europe: accents stand by themselves among plain letters."""
    beyond = [character for character in text if ord(character) > 127]
    if not set(beyond) <= WESTERN:
        return False
    plain = sum(character.isascii() and character.isalpha() for character in text)
    together = sum(ord(one) > 127 and ord(other) > 127 for one, other in itertools.pairwise(text))
    return len(beyond) < plain and 2 * together < len(beyond)


def _odd_words(text: str) -> int:
    """Count the places where a Latin letter stands beside a letter of another script, or beside a sign."""
    return sum(
        (_is_latin(one) and one.isascii() and _is_foreign(other))
        or (_is_latin(other) and other.isascii() and _is_foreign(one))
        for one, other in itertools.pairwise(text)
    )


def _is_latin(character: str) -> bool:
    return character.isalpha() and unicodedata.name(character, "").startswith("LATIN")


def _is_foreign(character: str) -> bool:
    if ord(character) < 128 or _is_latin(character):
        return False
    return unicodedata.category(character)[0] not in "PZ"


def _cleaned(text: str) -> str:
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)
