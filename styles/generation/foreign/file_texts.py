"""The texts that a PNG, JPEG or WebP carries beside its pixels, which are never read.

PNG: https://www.w3.org/TR/png-3/#11textinfo; EXIF: JEITA CP-3451; WebP: RFC 9649; XMP: ISO 16684-1.
"""

from __future__ import annotations

import html
import io
import re
import struct
import zlib
from collections.abc import Iterator

from styles.errors import RecipeError
from styles.storage.file_reading import ENCODING_MARKS

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
LONGEST_TEXT = 4 << 20  # bytes, unpacked; a large graph of ComfyUI has about one MiB
MOST_CHUNKS = 100_000
# The keywords of PNG that some program writes its settings under.
KEYWORDS = frozenset(
    [
        "atelier",
        "parameters",
        "prompt",
        "workflow",
        "invokeai_metadata",
        "sd-metadata",
        "Dream",
        "dream",
        "Title",
        "Description",
        "Software",
        "Source",
        "Comment",
        "fooocus_scheme",
        "generation_data",
        "XML:com.adobe.xmp",
    ]
)
# The tags of EXIF that some program writes its settings under.
EXIF_NAMES = {
    0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x927C: "MakerNote",
    0x9286: "UserComment", 0x9C9C: "XPComment",
}  # fmt: skip
EXIF_PLAIN = (0x010E, 0x010F, 0x0110, 0x0131, 0x927C)  # the other two may be UTF-16
EXIF_FOLDER = 0x8769
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}  # of EXIF, those that are needed
XMP_TEXT = re.compile(
    r"<exif:UserComment>\s*(?:<rdf:Alt>\s*<rdf:li[^>]{0,200}>)?([^<]*)|exif:UserComment=\"([^\"]*)\""
)
# JPEG's markers without a length, and those after which the pixels come.
BARE_MARKERS, PIXEL_MARKERS = {0x01, *range(0xD0, 0xD9)}, {0xD9, 0xDA}


def texts_of(file: io.BufferedReader) -> dict[str, str]:
    """Return the texts of a picture by their names; a name that comes twice counts once, as it stands last.

    Those of EXIF are called as `EXIF_NAMES` says, XMP's comment `XMP`. Raises RecipeError for another kind of file, and
    for one that ends within a text.
    """
    head = file.read(12)
    if head.startswith(PNG):
        file.seek(len(PNG))
        return dict(_png(file))
    if head.startswith(JPEG):
        file.seek(len(JPEG))
        return dict(_jpeg(file))
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return dict(_webp(file))
    raise RecipeError(
        "This is neither a PNG nor a JPEG nor a WebP, and only these carry settings that can be read.",
        "Choose the file as the program saved it.",
    )


def _cut_off() -> RecipeError:
    return RecipeError(
        "The picture is cut off inside its recipe.", "Get it whole, or type its prompt and seed."
    )


def _whole(file: io.BufferedReader, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise _cut_off()
    return data


def _png(file: io.BufferedReader) -> Iterator[tuple[str, str]]:
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf") and length <= LONGEST_TEXT:
            data = _whole(file, length)
            file.seek(4, io.SEEK_CUR)
            if kind == b"eXIf":
                yield from _exif(data)
            else:
                yield from _png_text(kind, data)
        else:
            file.seek(length + 4, io.SEEK_CUR)


def _png_text(kind: bytes, data: bytes) -> Iterator[tuple[str, str]]:
    name, _, rest = data.partition(b"\0")
    keyword = name.decode("latin-1")
    if keyword not in KEYWORDS:
        return
    packed = kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.split(b"\0", 2)[-1]  # after the language and the translated name
    unpacked = _unpacked(rest) if packed else rest
    if unpacked is None:
        return
    text = unpacked.decode("utf-8", errors="replace") if kind == b"iTXt" else _latin_or_utf8(unpacked)
    if keyword == "XML:com.adobe.xmp":
        yield from _xmp(text)
    else:
        yield keyword, text


def _unpacked(data: bytes) -> bytes | None:
    """Return what was packed, None where it is malformed or unpacks to more than a text can have."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, LONGEST_TEXT)
    except zlib.error:
        return None
    return None if unpacker.unconsumed_tail else text


def _latin_or_utf8(data: bytes) -> str:
    """Return a text that should be Latin-1, and which some programs write as UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _jpeg(file: io.BufferedReader) -> Iterator[tuple[str, str]]:
    for _ in range(MOST_CHUNKS):
        mark = file.read(2)
        if len(mark) < 2 or mark[0] != 0xFF or mark[1] in PIXEL_MARKERS:
            return
        if mark[1] == 0xFF:
            file.seek(-1, io.SEEK_CUR)
            continue
        if mark[1] in BARE_MARKERS:
            continue
        length = int.from_bytes(file.read(2), "big") - 2
        if length < 0:
            return
        data = _whole(file, length)
        if mark[1] == 0xE1 and data.startswith(b"Exif\0\0"):
            yield from _exif(data)
        elif mark[1] == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            yield from _xmp(data.partition(b"\0")[2].decode("utf-8", errors="replace"))
        elif mark[1] == 0xFE:
            yield "Comment", _latin_or_utf8(data.rstrip(b"\0"))


def _webp(file: io.BufferedReader) -> Iterator[tuple[str, str]]:
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        if kind in (b"EXIF", b"XMP ") and length <= LONGEST_TEXT:
            data = _whole(file, length)
            yield from _exif(data) if kind == b"EXIF" else _xmp(data.decode("utf-8", errors="replace"))
            file.seek(length % 2, io.SEEK_CUR)
        else:
            file.seek(length + length % 2, io.SEEK_CUR)


def _xmp(packet: str) -> Iterator[tuple[str, str]]:
    """Yield the comment of an XMP packet, "" where it has none; nothing else of its XML is read."""
    match = XMP_TEXT.search(packet)
    yield "XMP", html.unescape(match[1] or match[2] or "") if match else ""


def _exif(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the texts of the first image's folder and of the one for EXIF that it names."""
    data = data.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return
    folders = [_number(data, order, 4)]
    for folder in folders:
        for tag, value in _entries(data, order, folder):
            if tag == EXIF_FOLDER and len(folders) == 1:
                folders.append(_number(value, order, 0))
            elif tag in EXIF_NAMES:
                yield EXIF_NAMES[tag], _plain(value) if tag in EXIF_PLAIN else comment_of(value)


def _entries(data: bytes, order: str, folder: int) -> Iterator[tuple[int, bytes]]:
    count = int.from_bytes(data[folder : folder + 2], "little" if order == "<" else "big")
    for number in range(min(count, 1000)):
        place = folder + 2 + 12 * number
        if place + 12 > len(data):
            return
        tag, kind, values, at = struct.unpack_from(f"{order}HHII", data, place)
        length = TYPE_BYTES.get(kind, 0) * values
        if 0 < length <= 4:
            yield tag, data[place + 8 : place + 8 + length]
        elif length and at + length <= len(data):
            yield tag, data[at : at + length]


def _number(data: bytes, order: str, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "little" if order == "<" else "big")


def _plain(value: bytes) -> str:
    return _latin_or_utf8(value.rstrip(b"\0"))


def comment_of(value: bytes) -> str:
    """Return EXIF's UserComment: eight bytes that name its characters, and the text in them.

    Programs don't agree: behind UNICODE stand UTF-16 in either order, whatever the order of the numbers in the file is,
    and UTF-8; some leave the eight bytes out. So a mark decides, else the NULs that half of UTF-16 consists of.
    """
    names = (b"UNICODE\0", b"ASCII\0\0\0", b"JIS\0\0\0\0\0", b"\0" * 8)
    text = value[8:] if value[:8].upper() in names else value
    for mark, encoding in ENCODING_MARKS:
        if text.startswith(mark):
            return text[len(mark) :].decode(encoding, errors="replace").rstrip("\0")
    low, high = text[1::2].count(0), text[::2].count(0)
    if max(low, high) > len(text) // 8:
        return text.decode("utf-16-le" if low > high else "utf-16-be", errors="replace").strip("\0")
    return _plain(text)
