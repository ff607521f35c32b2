"""Marks: an artist's own notes, which are no cache and get lost through nothing."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from styles.errors import BadInput
from styles.library.library import Library, Note
from tests.styles.library_files import library_at, put


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = library_at(tmp_path / "home")
    for seed, name in enumerate(["Ink", "Chalk", "Oil"]):
        put(library.folder / f"{name}.safetensors", seed)
    return library


def again(library: Library) -> Library:
    return library_at(library.home.root)


def test_marks_follow_a_style_and_survive_the_cache(library: Library) -> None:
    mark = library.mark("Ink", favourite=True, tags=["blue", "blue", " night\x1b "], note="two\nlines")
    assert mark == Note(True, ("blue", "night"), "two\nlines")
    ink = library.find("Ink").id
    library.rename("Ink", "Brush")
    assert library.marks() == again(library).marks() == {ink: mark}
    assert [card.name for card in again(library).search("tag:NIGHT")] == ["Brush"]
    assert library.mark("Brush", note="") == Note(True, ("blue", "night"))
    # The cache is gone, and with it the ids: the mark knows the file by its place, size and time.
    shutil.rmtree(library.home.root / "cache")
    assert [card.name for card in again(library).search(favourites=True)] == ["Brush"]
    # Carried elsewhere by hand, it is known when it has been hashed.
    shutil.rmtree(library.home.root / "cache")
    os.replace(library.folder / "Brush.safetensors", library.folder / "Moved.safetensors")
    os.utime(library.folder / "Moved.safetensors", (1, 1))
    library = again(library)
    library.hash_some(60)
    assert [card.name for card in library.search(favourites=True)] == ["Moved"]
    library.mark("Moved", favourite=False, tags=[])
    assert again(library).marks() == {} and library.search(favourites=True) == []


def test_a_damaged_file_is_told_and_set_aside(library: Library) -> None:
    library.mark("Ink", favourite=True)
    file = library.folder / "marks.json"
    spoilt = file.read_text(encoding="utf-8")[:-20]
    file.write_text(spoilt, encoding="utf-8")
    for one in (library, again(library)):
        assert one.marks() == {} and [refused.file for refused in one.unreadable()] == [file]
        assert len(one.cards()) == 3
    library.mark("Oil", note="new")
    assert [mark.note for mark in again(library).marks().values()] == ["new"] and library.unreadable() == []
    assert [path.read_text(encoding="utf-8") for path in library.folder.glob("marks damaged *.json")] == [
        spoilt
    ]


def test_what_others_wrote_stays(library: Library) -> None:
    library.mark("Ink", favourite=True)
    file = library.folder / "marks.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    values["later"] = {"kept": 1}
    next(iter(values["styles"].values()))["stars"] = 5
    values["styles"]["odd"] = 3
    file.write_text(json.dumps(values), encoding="utf-8")
    library.mark("Ink", note="hello")
    values = json.loads(file.read_text(encoding="utf-8"))
    assert values["later"] == {"kept": 1} and values["styles"]["odd"] == 3
    assert [mark for mark in library.marks().values()] == [Note(True, (), "hello")]
    assert next(value for value in values["styles"].values() if value != 3)["stars"] == 5


def test_many_marks_at_once_are_all_kept(library: Library) -> None:
    def note(number: int) -> None:
        name = ["Ink", "Chalk", "Oil"][number % 3]
        one = again(library)  # a lock of its own, as another process has
        one.mark(name, **[{"favourite": True}, {"note": "n"}, {"tags": ["t"]}][number // 3])  # type: ignore[arg-type]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, range(9)))
    assert list(library.marks().values()) == [Note(True, ("t",), "n")] * 3


@pytest.mark.parametrize("wrong", [{"note": "n" * 5000}, {"tags": ["t" * 99]}, {"tags": map(str, range(99))}])
def test_too_much_is_refused(library: Library, wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        library.mark("Ink", **wrong)  # type: ignore[arg-type]
    assert library.marks() == {} and not (library.folder / "marks.json").exists()


def test_a_style_called_marks_leaves_the_marks_alone(library: Library, tmp_path: Path) -> None:
    put(library.folder / "marks.safetensors", 7)  # as somebody copies it there
    mark = library.mark("Ink", favourite=True)
    ink = library.find("Ink").id
    assert library.rename("marks", "pencil").name == "pencil"
    assert library.rename("pencil", "Marks").name == "Marks 2"
    put(library.folder / "marks.safetensors", 8)
    library.delete("marks")
    theirs = put(tmp_path / "theirs" / "marks.safetensors", 9)
    theirs.with_suffix(".json").write_text('{"activation text": "dots"}', encoding="utf-8")
    (taken,) = library.import_files([theirs]).styles
    assert (taken.name, taken.trigger) == ("marks 3", "dots")
    assert library.marks() == again(library).marks() == {ink: mark}
