"""Editing a card: the header is written anew, the tensors stay, and what other tools wrote stays with them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from styles.errors import AtelierError, BadInput, DiskFullError, StyleFileError
from styles.formats.safetensors_header import open_header
from styles.library.library import Library
from styles.storage import atomic
from tests.styles.library_files import id_of, library_at, put, style_bytes

FOREIGN = {
    "ss_tag_frequency": json.dumps({"10_ink": {"ink": 9, "house": 3}}),
    "ss_network_module": "networks.lora",
    "ss_max_train_steps": "1200",
    "modelspec.author": "somebody",
    "modelspec.architecture": "some-thing/lora",
    "their own": "ä “ \n \t",
}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = library_at(tmp_path / "home")
    put(library.folder / "sub" / "Ink.safetensors", 1, FOREIGN)
    put(library.folder / "Plain.safetensors", 2)
    return library


def section(path: Path) -> bytes:
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def picture(side: int = 400) -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a private place"
    Image.new("RGB", (side, side), "teal").save(out, "JPEG", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("name", ["Ink", "Plain"])
def test_all_fields_are_changed_and_nothing_else(library: Library, name: str) -> None:
    before = library.find(name)
    path = before.path
    assert path is not None
    tensors, metadata, header = section(path), open_header(path).metadata, open_header(path)
    changes: dict[str, Any] = {
        "trigger": "inkwash",
        "author": "Ada",
        "licence": "CC-BY-4.0",
        "description": "two\nlines <b>",
        "rights": "All mine.",
        "suggested_weight": 0.75,
        "tags": ("blue", "night sky"),
    }
    card = library.edit(name, **changes)
    assert {key: getattr(card, key) for key in changes} == changes
    assert section(path) == tensors and open_header(path).tensors == header.tensors
    assert card.id == before.id == id_of(path) == library_at(library.home.root).find(name).id
    assert path.read_bytes()[:8] != b"" and int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0
    found = open_header(path).metadata
    kept = {key: value for key, value in metadata.items() if key != "modelspec.author"}
    assert {key: found[key] for key in kept} == kept
    assert found["modelspec.author"] == "Ada" and found["modelspec.license"] == "CC-BY-4.0"
    for untouched in ("training", "family", "rank", "layers", "base_name"):
        assert getattr(card, untouched) == getattr(before, untouched)
    # Back again: nothing is left of what was written.
    emptied = library.edit(
        name,
        trigger=before.trigger,
        author=before.author,
        licence="",
        description="",
        rights="",
        tags=(),
        suggested_weight=1,
    )
    assert emptied.licence == emptied.rights == "" and emptied.tags == () and emptied.author == before.author
    found = open_header(path).metadata
    assert {key for key in found if "license" in key or "description" in key or "tags" in key} == set()
    assert {key: found[key] for key in metadata} == metadata
    assert not [file for file in path.parent.iterdir() if file.name.startswith(".") and file.name != ".lock"]


def test_a_thumbnail_is_taken_without_what_its_file_tells(library: Library) -> None:
    card = library.edit("Ink", thumbnail=picture())
    assert card.thumbnail and b"private" not in card.thumbnail
    assert Image.open(io.BytesIO(card.thumbnail)).size == (256, 256)
    assert b"private" not in (library.folder / "sub" / "Ink.safetensors").read_bytes()
    assert library.cards()[0].thumbnail is None and library.thumbnail(library.cards()[0]) == card.thumbnail
    assert [card.name for card in library.unpictured()] == ["Plain"]
    assert library.edit("Ink", thumbnail=None).thumbnail is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "other"},
        {"id": "00"},
        {"layers": {}},
        {"trigger": "t" * 300},
        {"description": "d" * 5000},
        {"suggested_weight": 9},
        {"suggested_weight": float("nan")},
        {"suggested_weight": "much"},
        {"tags": ["a,b"]},
        {"tags": [""]},
        {"tags": ["t"] * 100},
        {"tags": 3},
        {"thumbnail": b"no picture"},
        {"author": "A\x1b[31m"},
    ],
)
def test_what_can_not_be_written_is_refused_and_changes_nothing(
    library: Library, wrong: dict[str, Any]
) -> None:
    path = library.folder / "sub" / "Ink.safetensors"
    data, stat = path.read_bytes(), path.stat()
    with pytest.raises(BadInput):
        library.edit("Ink", **wrong)
    assert path.read_bytes() == data and path.stat().st_mtime_ns == stat.st_mtime_ns


def test_a_full_disk_or_a_change_meanwhile_leaves_the_file(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = library.folder / "Plain.safetensors"
    data = path.read_bytes()

    def full(temporary: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "replace_from", full)
        with pytest.raises(DiskFullError):
            library.edit("Plain", author="Ada")
    assert path.read_bytes() == data

    def meddle(*arguments: Any) -> bytes:
        path.write_bytes(style_bytes(99))
        return original(*arguments)

    from styles.library import edit

    original = edit.header_bytes
    with monkeypatch.context() as patched:
        patched.setattr(edit, "header_bytes", meddle)
        with pytest.raises(StyleFileError, match="meanwhile"):
            library.edit("Plain", author="Ada")
    assert path.read_bytes() == style_bytes(99)
    assert [file.name for file in library.folder.iterdir() if ".part" in file.name] == []


def test_bundled_styles_keep_their_card(tmp_path: Path) -> None:
    put(tmp_path / "bundled" / "Dots.safetensors", 5)
    library = Library(library_at(tmp_path / "home").home, tmp_path / "bundled")
    with pytest.raises(BadInput, match="keeps its card"):
        library.edit("Dots", author="me")
    with pytest.raises(AtelierError):
        library.edit("nothing", author="me")
