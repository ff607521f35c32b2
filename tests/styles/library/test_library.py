"""The library: a folder that loses nothing, takes what can be read, and says why it refused the rest."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from styles.errors import BadInput, StyleFileError, UnknownStyleError
from styles.formats.reader import read_card
from styles.formats.style import Style
from styles.formats.writer import write_style
from styles.library.library import Library
from styles.storage.home import Home
from tests.styles.library_files import put
from tests.styles.making import random_style, unet_of


@pytest.fixture(scope="module")
def ink(tiny_sd1: Path) -> Style:
    return random_style(unet_of(tiny_sd1), "Ink", seed=1)


@pytest.fixture(scope="module")
def chalk(tiny_base: Path) -> Style:
    return random_style(unet_of(tiny_base), "Chalk", seed=2, family="starter")


@pytest.fixture
def bundled(tmp_path: Path, chalk: Style) -> Path:
    folder = tmp_path / "bundled"
    write_style(replace(chalk, card=replace(chalk.card, name="Dots")), folder / "Dots.safetensors")
    return folder


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(Home(tmp_path / "home").create(), bundled=tmp_path / "none")


def named(style: Style, name: str) -> Style:
    return replace(style, card=replace(style.card, name=name))


def names(library: Library) -> list[str]:
    return [card.name for card in library.cards()]


def test_adds_lists_finds_and_opens(library: Library, ink: Style, chalk: Style) -> None:
    card = library.add(ink)
    library.add(chalk)
    assert names(library) == ["Chalk", "Ink"]
    assert card.path == library.home.styles / "Ink.safetensors" and card.path.is_file()
    for wanted in ("Ink", " ink ", card.id, card.id[:12].upper()):
        assert library.find(wanted) == card
    style = library.open("Ink")
    assert style.card == card and style.id == card.id and len(style.layers) == len(ink.layers)
    assert library.find("chalk").made_for == "practice style for the starter model"
    assert json.loads(json.dumps(card.to_json()))["layers"] == {"unet": 28}
    assert len(card.created) == 20  # the file's time, which the file itself doesn't tell
    # The folder is the truth: a file that a person puts there or takes away is seen at once.
    shutil.copy(card.path, library.home.styles / "Copied by hand.safetensors")
    assert "Copied by hand" in names(library)
    card.path.unlink()
    assert names(library) == ["Chalk", "Copied by hand"]


def test_an_unknown_name_gets_near_ones(library: Library, ink: Style) -> None:
    with pytest.raises(UnknownStyleError, match="no style yet"):
        library.find("Ink")
    library.add(named(ink, "Ink wash"))
    with pytest.raises(UnknownStyleError, match="Did you mean “Ink wash”"):
        library.find("ink was")
    with pytest.raises(UnknownStyleError, match="There is “Ink wash”"):
        library.open("zzz")
    for nonsense in ("", "../../etc/passwd", "\x1b[31m"):
        with pytest.raises(UnknownStyleError) as caught:
            library.find(nonsense)
        assert "\x1b" not in str(caught.value)


def test_a_name_that_is_taken_gets_a_number(library: Library, ink: Style, chalk: Style) -> None:
    first = library.add(ink)
    data = first.path.read_bytes()  # type: ignore[union-attr]
    assert library.add(named(chalk, "Ink")).name == "Ink 2"
    assert library.add(named(chalk, "INK")).name == "INK 3"  # the same file on Windows and macOS
    assert first.path.read_bytes() == data  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name", ["a/b", "..", "fire🔥", "", "CON", "x\\y", ".hidden", "a\x00b", "n" * 300, "-rf", "a:b"]
)
def test_hostile_names_are_refused_with_one_that_works(library: Library, ink: Style, name: str) -> None:
    with pytest.raises(BadInput, match="For example “") as caught:
        library.add(
            named(ink, name) if name not in ("a\x00b", "") else replace(ink, card=_unclean(ink, name))
        )
    suggestion = caught.value.hint.split("“")[1].split("”")[0]
    assert library.add(named(ink, suggestion)).name == suggestion
    assert {path.parent for path in library.home.root.rglob("*.safetensors")} == {library.home.styles}


def _unclean(style: Style, name: str) -> object:
    card = replace(style.card)
    object.__setattr__(card, "name", name)  # as if it had not been cleaned
    return card


def test_imports_what_can_be_read_and_says_why_not_the_rest(
    library: Library, tmp_path: Path, ink: Style, chalk: Style
) -> None:
    folder = tmp_path / "in"
    write_style(ink, folder / "🔥fire🔥.safetensors")
    write_style(chalk, folder / "ok.safetensors")
    write_style(chalk, folder / "same.safetensors")
    (folder / "text.safetensors").write_text("hello")
    (folder / "pickle.pt").write_bytes(b"PK\x03\x04" + bytes(40))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    report = library.import_files([folder, folder / "none.safetensors"])
    assert [card.name for card in report.styles] == ["ok", "fire"]
    assert [card.family for card in report.styles] == ["starter", "sd1"]
    reasons = {entry.file.name: entry.reason for entry in report.refused}
    assert list(reasons) == ["pickle.pt", "same.safetensors", "text.safetensors", "none.safetensors"]
    assert "already, as “ok”" in reasons["same.safetensors"] and "run code" in reasons["pickle.pt"]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert report.styles[1].path.read_bytes() == before[folder / "🔥fire🔥.safetensors"]  # type: ignore[union-attr]
    assert len(library.import_files([folder]).styles) == 0


def test_exports_without_overwriting(library: Library, tmp_path: Path, ink: Style) -> None:
    card = library.add(ink)
    out = tmp_path / "new" / "folder"
    (first,), (second,) = library.export("Ink", out).paths, library.export(card.id, out).paths
    assert first.name == "Ink.safetensors" and second.name != first.name
    assert read_card(first).id == read_card(second).id == card.id
    with pytest.raises(BadInput, match="not a folder"):
        library.export("Ink", first)
    library.delete("Ink")
    assert library.import_files([first]).styles[0].id == card.id


def test_deletes_to_the_trash_and_restores_the_last(library: Library, ink: Style, chalk: Style) -> None:
    old = library.add(ink)
    trash = library.delete("Ink")
    assert trash.parent == library.home.trash and trash.is_file() and names(library) == []
    new = library.add(named(chalk, "Ink"))
    library.delete("Ink")
    assert library.trashed() == ["Ink"]
    assert library.restore("ink").id == new.id
    assert (library.restore("Ink").id, names(library)) == (old.id, ["Ink", "Ink 2"])
    with pytest.raises(UnknownStyleError, match="deleted style"):
        library.restore("Ink")


def test_renames_without_overwriting(library: Library, ink: Style, chalk: Style) -> None:
    id = library.add(ink).id
    library.add(chalk)
    assert library.rename("Ink", "Brush").id == id
    assert library.rename("Brush", "Chalk").name == "Chalk 2"
    assert library.rename("Chalk 2", "CHALK 2").name == "CHALK 2"
    with pytest.raises(BadInput, match="not a path"):
        library.rename("Chalk", "../x")
    assert names(library) == ["Chalk", "CHALK 2"]
    other = library.folder / "chalk.safetensors"
    if not other.exists():  # two files on this system
        put(other, 5)
        assert library.rename("Chalk", "chalk").name == "chalk 3"
        assert other.is_file()


def test_bundled_styles_are_listed_and_never_written(
    tmp_path: Path, bundled: Path, ink: Style, chalk: Style
) -> None:
    library = Library(Home(tmp_path / "home"), bundled)
    before = hashlib.sha256((bundled / "Dots.safetensors").read_bytes()).hexdigest()
    assert names(library) == ["Dots"] and library.open("Dots").layers
    assert library.add(named(ink, "dots")).name == "dots 2"
    with pytest.raises(BadInput, match="keeps its name"):
        library.rename("Dots", "Mine")
    copy = library.export("Dots", tmp_path / "out").paths[0]
    assert "already, as “Dots”" in library.import_files([copy]).refused[0].reason
    library.delete("Dots")
    assert names(library) == ["dots 2"] and library.trashed() == ["Dots"]
    assert library.restore("Dots").name == "Dots" and "Dots" in names(library)
    library.delete("Dots")
    assert library.import_files([copy]).styles[0].name == "Dots"  # comes back instead of a second copy
    assert hashlib.sha256((bundled / "Dots.safetensors").read_bytes()).hexdigest() == before
    assert names(Library(Home(tmp_path / "other"), bundled)) == ["Dots"]


def test_a_broken_file_in_the_folder_disturbs_no_other(library: Library, ink: Style) -> None:
    library.add(ink)
    (library.home.styles / "broken.safetensors").write_bytes(b"\0" * 20)
    (library.home.styles / "notes.txt").write_text("mine")
    assert names(library) == ["Ink"]
    assert [entry.file.name for entry in library.unreadable()] == ["broken.safetensors"]
    with pytest.raises(UnknownStyleError):
        library.open("broken")


def test_a_style_damaged_after_it_was_listed_is_told(library: Library, ink: Style) -> None:
    path = library.add(ink).path
    assert path is not None
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises((StyleFileError, UnknownStyleError)):
        library.open("Ink")


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path, ink: Style) -> None:
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(BadInput, match="in the way"):
        Home(tmp_path / "home").create()
    assert Library(Home(tmp_path / "home"), bundled=tmp_path / "none").cards() == []


def test_several_add_at_the_same_time(library: Library, ink: Style) -> None:
    def add(_: int) -> str:
        # A lock of its own, as another process has.
        return Library(library.home, library.bundled).add(ink).name

    with ThreadPoolExecutor(4) as pool:
        added = sorted(pool.map(add, range(8)))
    assert added == sorted(names(library)) == sorted(["Ink", *(f"Ink {n}" for n in range(2, 9))])
    assert not library.unreadable()


def test_listing_needs_no_torch(tmp_path: Path, bundled: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from styles.storage.home import Home; from styles.library.library import Library\n"
        "import styles.mixing.blend, styles.errors\n"
        "assert len(Library(Home(Path(sys.argv[1])), Path(sys.argv[2])).cards()) == 1\n"
        "heavy = {'torch', 'diffusers', 'gradio', 'PIL', 'numpy', 'safetensors'} & set(sys.modules); assert not heavy, heavy"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "home"), str(bundled)]
    subprocess.run(command, cwd=Path(__file__).resolve().parents[3], check=True)
