"""What was dropped on the page waits with its card until it is answered, and then leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from app.library.arrivals import Arrivals, Waiting
from tests.styles.library_files import library_at, put, put_peft


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    (tmp_path / "window").mkdir()
    return Arrivals(library_at(tmp_path / "home"))


def take(arrivals: Arrivals, folder: Path, names: dict[str, str] | None = None) -> list[Waiting]:
    """Drop all of a folder, by the paths in it, or under other names."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    paths = [(path, path.relative_to(folder).as_posix()) for path in files]
    named = [(path, (names or {}).get(name, name)) for path, name in paths]
    return list(arrivals.take(named, folder.parent / "window"))


def left(folder: Path) -> list[Path]:
    return [path for path in (folder / "window").rglob("*") if path.is_file()]


def test_what_is_dropped_together_waits_together(arrivals: Arrivals, tmp_path: Path) -> None:
    given = tmp_path / "in"
    put(given / "Ink.safetensors", 1)
    Image.new("RGB", (300, 300), "navy").save(given / "Ink.png")
    put_peft(given / "loras" / "Portrait", 2)
    put(given / "loras" / "people" / "Chalk.safetensors", 3)
    (given / "Notes.safetensors").write_bytes(b"these are no tensors")
    shown = {one.card.file.name: one for one in take(arrivals, given)}
    assert sorted(shown) == ["Chalk.safetensors", "Ink.safetensors", "Notes.safetensors", "Portrait"]
    assert [one.number for one in arrivals.all()] == [1, 2, 3, 4]
    ink = shown["Ink.safetensors"].card.card
    assert ink is not None and ink.thumbnail
    assert (
        "no safetensors" in shown["Notes.safetensors"].reason
        and str(tmp_path) not in shown["Notes.safetensors"].reason
    )

    arrivals.leave(shown["Ink.safetensors"].number)
    report = arrivals.bring_all()
    assert report.refused == [] and [card.name for card in report.styles] == ["Portrait", "Chalk"]
    folder = arrivals.library.folder
    assert (folder / "Portrait" / "text_encoder").is_dir() and (
        folder / "people" / "Chalk.safetensors"
    ).is_file()
    assert [one.card.file.name for one in arrivals.all()] == ["Notes.safetensors"]
    arrivals.leave()
    assert left(tmp_path) == [] and (given / "Ink.safetensors").is_file()


def test_one_is_brought_by_itself_and_a_twin_is_told(arrivals: Arrivals, tmp_path: Path) -> None:
    given = tmp_path / "in"
    put(given / "Ink.safetensors", 1)
    put(given / "Oil.safetensors", 2)
    (ink, oil) = take(arrivals, given)
    assert [card.name for card in arrivals.bring(ink.number).styles] == ["Ink"]
    assert arrivals.bring(ink.number).styles == [], "it was answered, in another tab perhaps"
    again = take(arrivals, given)
    assert "already, as “Ink”" in again[0].reason and again[1].reason == "", "what only waits is not here yet"
    arrivals.bring(oil.number)
    assert "already" in arrivals.bring(again[1].number).refused[0].reason
    arrivals.leave()
    assert left(tmp_path) == []


def test_the_files_of_a_peft_folder_are_one_style_without_it(arrivals: Arrivals, tmp_path: Path) -> None:
    put_peft(tmp_path / "in", 1)
    (one,) = take(arrivals, tmp_path / "in")
    assert one.reason == "" and one.card.card and one.card.card.name == "PEFT style"
    assert arrivals.bring(one.number).styles


@pytest.mark.parametrize(
    "name", ["../../../home/styles/Ink.safetensors", "/etc/Ink.safetensors", "C:\\Ink.safetensors"]
)
def test_no_name_leads_elsewhere(name: str, arrivals: Arrivals, tmp_path: Path) -> None:
    put(tmp_path / "in" / "Ink.safetensors", 1)
    (one,) = take(arrivals, tmp_path / "in", {"Ink.safetensors": name})
    assert one.card.file.is_relative_to(tmp_path / "window") and one.reason == ""
    assert not (arrivals.library.folder / "Ink.safetensors").exists()
