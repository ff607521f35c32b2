"""Names and other text that come from people or from files, made safe to store and to show."""

import re
import unicodedata

from styles.errors import BadInput
from styles.text import Text

SHA256 = re.compile("[0-9a-f]{64}")  # what styles and source pictures are known by

LONGEST_NAME = 80  # characters
# Windows keeps these for devices, with any extension.
DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}
# Letters that Unicode does not take apart into a plain one and an accent.
SPELT = {
    "ß": "ss",
    "æ": "ae",
    "Æ": "Ae",
    "œ": "oe",
    "Œ": "Oe",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "Đ": "D",
}


def clean_text(text: str, limit: int, lines: bool = False) -> str:
    """Return `text` without control, format (bidi overrides, zero-width) and unassigned characters.

    At most `limit` characters; line breaks stay only with `lines` and as `\\n`, else they become spaces.
    """
    if text[: limit * 4].isprintable():  # nearly all text is
        cut = text[:limit].strip()
        return text if cut == text else cut  # a Text stays one
    letters = (
        _blank(character, lines)
        if unicodedata.category(character).startswith(("C", "Zl", "Zp"))
        else character
        for character in text[: limit * 4].replace("\r\n", "\n")
    )
    return "".join(letters)[:limit].strip()


def _blank(character: str, lines: bool) -> str:
    if character == "\n" and lines:
        return "\n"
    return " " if character in "\n\r\t\u2028\u2029" else ""


def suggested_name(text: str) -> str:
    """Return the nearest name that `safe_name` accepts; never empty."""
    text = unicodedata.normalize("NFC", clean_text(text, LONGEST_NAME * 2))
    text = "".join(character if _allowed(character) else " " for character in text)
    text = re.sub(r"\.{2,}", ".", re.sub(r"\s+", " ", text)).strip(" .-")[:LONGEST_NAME].strip(" .-")
    while len(text.encode("utf-8")) > 200:  # most file systems stop at 255 bytes
        text = text[:-1].strip(" .-")
    if text.split(".")[0].strip().casefold() in DEVICES:
        text = f"my {text}"
    return text or "style"


def tag_name(text: str, otherwise: str = "style") -> str:
    """Return the nearest name that stands in a prompt's `<lora:name:1>` everywhere: ASCII letters, digits, `_ . -`.

    Accents are dropped; `otherwise` where nothing of the name is left.
    """
    for letter, spelt in SPELT.items():
        text = text.replace(letter, spelt)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    plain = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9_.-]+", "_", plain)).strip("_.-")[:LONGEST_NAME]
    if plain.split(".")[0].casefold() in DEVICES | {"none"}:  # A1111 keeps “none” for itself
        plain = f"my_{plain}"
    return plain.rstrip("_.-") or otherwise


def export_name(text: str, otherwise: str = "style") -> str:
    """Return the name of an export: letters and digits of any script, `_`, `.` and `-`; else as `tag_name`."""
    if text.isascii():  # two of them begin a wildcard for some programs
        return re.sub(r"_{2,}", "_", tag_name(text, otherwise))
    kept = "".join(sign if sign in "_.-" or unicodedata.category(sign)[0] in "LNM" else "_" for sign in text)
    return re.sub(r"_{2,}", "_", suggested_name(kept)).strip("_.-") or otherwise


def stands_in_tags_as(name: str, tag: str) -> bool:
    """Whether a style of that name is called `tag` in prompts and by its exports."""
    return folded(tag) in {folded(tag_name(name, "")), folded(export_name(name, ""))} - {""}


def safe_name(text: str, kind: str = "style") -> str:
    """Return `text` as a name that is a file name everywhere; raises BadInput with a suggestion.

    `kind` says what is to have the name.
    Letters and digits of any language, spaces and `_ - . ( ) ' & +`; no path, no emoji, no device name.
    """
    name = unicodedata.normalize("NFC", text.strip())
    suggestion = suggested_name(name)
    if name == suggestion:
        return name
    shown = clean_text(text, 60)
    why = _why_not(name)
    raise BadInput(
        "“{shown}” can't be the name of a {kind}: {reason}.",
        "For example “{suggestion}” would do.",
        shown=shown,
        kind=kind,
        reason=why,
        suggestion=suggestion,
    )


def _why_not(name: str) -> str:
    if not name:
        return Text("it is empty")
    if "/" in name or "\\" in name or ".." in name:
        return Text("a name is not a path")
    if len(name) > LONGEST_NAME or len(name.encode("utf-8", "replace")) > 200:
        return Text("it is longer than {longest_name} characters", longest_name=LONGEST_NAME)
    odd = next((character for character in name if not _allowed(character)), "")
    if odd:
        letter = unicodedata.name(odd, "").lower() or Text("a control character")
        return Text("file names can't hold {letter} on every system", letter=letter)
    return Text("some systems keep it for themselves")


def _allowed(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM" or character in " _-.()'&+"


def folded(name: str) -> str:
    """Return what two names have in common that are one file on some system."""
    return unicodedata.normalize("NFC", name).casefold()
