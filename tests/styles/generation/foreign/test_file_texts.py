"""The texts of PNG, JPEG and WebP, as many programs encode them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from styles.errors import RecipeError
from styles.generation.foreign.file_texts import comment_of, texts_of
from styles.generation.png_recipe import read_recipe
from tests.styles.generation.foreign.pictures import with_exif

TEXT = (
    "an élan at 京都 🌊\nNegative prompt: fog\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x96"
)
MARK = b"UNICODE\0"
ENCODED = {
    "UTF-16, large end first": MARK + TEXT.encode("utf-16-be"),
    "UTF-16, small end first": MARK + TEXT.encode("utf-16-le"),
    "UTF-16 with its mark": MARK + TEXT.encode("utf-16"),
    "UTF-8 behind the wrong name": MARK + TEXT.encode(),
    "UTF-8 behind ASCII": b"ASCII\0\0\0" + TEXT.encode(),
    "UTF-8 behind nothing": TEXT.encode(),
    "undefined": b"\0" * 8 + TEXT.encode(),
    "JIS by name": b"JIS\0\0\0\0\0" + TEXT.encode(),
}


@pytest.mark.parametrize("encoded", ENCODED.values(), ids=ENCODED)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("order", ["MM", "II"])
def test_a_comment_is_read_in_any_encoding_and_byte_order(
    tmp_path: Path, encoded: bytes, kind: str, order: str
) -> None:
    """The order of the file's numbers says nothing of the text's: Civitai writes one within the other."""
    path = tmp_path / "x.any"
    path.write_bytes(with_exif(encoded, kind, order))
    recipe = read_recipe(path)
    assert recipe.prompt == "an élan at 京都 🌊" and recipe.negative == "fog"
    assert (recipe.seed, recipe.width_px, recipe.height_px) == (5, 64, 96) and recipe.notes == ()


@given(st.text(min_size=1, max_size=30), st.sampled_from(["utf-16-be", "utf-16-le", "utf-8"]))
def test_a_comment_that_has_a_line_of_settings_is_read_whatever_its_letters(
    words: str, encoding: str
) -> None:
    text = words.replace("\0", "").strip() + "\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x96"
    assert comment_of(MARK + text.encode(encoding)).lstrip("\ufeff") == text.lstrip("\ufeff")


def test_windows_own_comment_is_read(tmp_path: Path) -> None:
    """https://github.com/AUTOMATIC1111/stable-diffusion-webui/issues/270"""
    exif = Image.Exif()
    exif[0x9C9C] = TEXT.encode("utf-16-le") + b"\0\0"
    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg", exif=exif)
    assert read_recipe(tmp_path / "x.jpg").seed == 5


def test_a_png_may_carry_exif_and_utf_8_where_latin_1_belongs() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    head, end = buffer.getvalue()[:-12], buffer.getvalue()[-12:]
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = MARK + TEXT.encode("utf-16-le")
    exif_bytes = exif.tobytes().removeprefix(b"Exif\0\0")
    texts = texts_of(io.BufferedReader(io.BytesIO(head + chunk(b"eXIf", exif_bytes) + end)))  # type: ignore[arg-type]
    assert texts == {"UserComment": TEXT}
    data = head + chunk(b"tEXt", b"parameters\0" + "京都 é".encode()) + end
    assert texts_of(io.BufferedReader(io.BytesIO(data))) == {"parameters": "京都 é"}  # type: ignore[arg-type]
    data = head + chunk(b"tEXt", b"parameters\0" + "élan".encode("latin-1")) + end
    assert texts_of(io.BufferedReader(io.BytesIO(data))) == {"parameters": "élan"}  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"RIFF\0\0\0\0WAVE", b"\0" * 40, b"BM" + b"x" * 50])
def test_another_kind_of_file_is_refused(data: bytes) -> None:
    with pytest.raises(RecipeError, match="neither a PNG nor a JPEG nor a WebP"):
        texts_of(io.BufferedReader(io.BytesIO(data)))  # type: ignore[arg-type]


WHOLE = [
    with_exif(ENCODED["UTF-16, small end first"], kind, order)
    for kind in ("JPEG", "WEBP")
    for order in ("MM", "II")
]


@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    st.integers(0, 500),
)
def test_spoiled_files_give_texts_or_a_clear_answer(
    whole: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(whole)
    for place, value in changes:
        data[place % len(data)] = value
    for spoiled in (bytes(data), bytes(data[:length])):
        try:
            texts = texts_of(io.BufferedReader(io.BytesIO(spoiled)))  # type: ignore[arg-type]
        except RecipeError:
            continue
        assert all(isinstance(text, str) for text in texts.values())
