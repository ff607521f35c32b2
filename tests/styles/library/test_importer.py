"""Imports: what is good comes in, the rest is refused with its reason, and a failure leaves nothing behind."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from styles.errors import BadInput
from styles.library import importer as taking_in
from styles.library.import_card import import_cards
from styles.library.library import Library
from tests.rights import obey_rights
from tests.styles.library_files import id_of, library_at, put, put_peft

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return library_at(tmp_path / "home")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for seed, name in enumerate(["Ink", "people/Portrait", "people/Ink", "places/🏠/House"]):
        put(folder / f"{name}.safetensors", seed)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder but the lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_a_folder_comes_in_with_its_subfolders(library: Library, source: Path) -> None:
    before = files(source)
    report = library.import_files([source])
    assert report.refused == [] and files(source) == before
    assert {path: data for path, data in files(library.folder).items()} == {
        "Ink.safetensors": before["Ink.safetensors"],
        # A name is what a style is called by, so it is there once.
        "people/Ink 2.safetensors": before["people/Ink.safetensors"],
        "people/Portrait.safetensors": before["people/Portrait.safetensors"],
        "places/style/House.safetensors": before["places/🏠/House.safetensors"],
    }
    assert [(card.name, card.id) for card in report.styles] == [
        (card.name, id_of(card.path)) for card in report.styles if card.path
    ]
    assert len(library.import_files([source]).refused) == 4
    empty = source.parent / "empty"
    empty.mkdir()
    assert "no style file" in library.import_files([empty]).refused[0].reason


def test_a_twin_that_was_copied_by_hand_is_recognised(library: Library, source: Path) -> None:
    put(library.folder / "Mine.safetensors", 1, {"modelspec.author": "other words, the same tensors"})
    for seed in range(10, 15):
        put(library.folder / f"other {seed}.safetensors", seed)
    report = library.import_files([source / "people" / "Portrait.safetensors"])
    assert report.styles == [] and "already, as “Mine”" in report.refused[0].reason
    # Of the others, of the same size, nothing had to be hashed.
    assert [card.name for card in library.cards() if card.id] == ["Mine"]
    put(library.folder / "again" / "Mine too.safetensors", 1)
    assert [[card.name for card in cards] for cards in library.duplicates()] == [["Mine", "Mine too"]]


def test_picture_and_text_beside_a_style_come_along(library: Library, source: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a private place"
    picture = source / "Ink.preview.png"
    Image.new("RGB", (300, 200), "teal").save(picture, exif=exif)
    text = {"activation text": "inkwash", "preferred weight": 0.6, "description": "of theirs", "notes": "x"}
    (source / "Ink.json").write_text(json.dumps(text), encoding="utf-8")
    (source / "people" / "Portrait.json").write_text("{ broken", encoding="utf-8")
    (source / "people" / "Portrait.png").write_text("no picture", encoding="utf-8")
    report = library.import_files([source / "Ink.safetensors", source / "people" / "Portrait.safetensors"])
    card = library.find("Ink")
    assert (card.trigger, card.suggested_weight, card.description) == ("inkwash", 0.6, "of theirs")
    assert card.thumbnail and b"private" not in card.thumbnail
    assert Image.open(io.BytesIO(card.thumbnail)).size == (256, 256)
    assert [one.thumbnail for one in report.styles] == [card.thumbnail, None]
    assert [one.name for one in library.search("trigger:inkwash")] == ["Ink"]
    assert library.find("Portrait").trigger == "" and library.find("Portrait").thumbnail is None
    # They stay with it, whatever becomes of it.
    library.rename("Ink", "Brush")
    assert (library.folder / "Brush.jpg").is_file() and (library.folder / "Brush.json").is_file()
    library.delete("Brush")
    assert [name for name in files(library.folder) if "Brush" in name or "Ink" in name] == []
    assert len(files(library.home.trash)) == 3
    back = library.restore("Brush")
    assert (back.trigger, back.thumbnail) == ("inkwash", card.thumbnail)
    # What a file says of itself counts more than the text beside it.
    assert library.edit("Brush", trigger="mine").trigger == "mine"
    # What another tool writes there later is seen.
    (library.folder / "Brush.json").write_text(json.dumps(text | {"description": "new"}), encoding="utf-8")
    os.utime(library.folder / "Brush.json", (9e9, 9e9))
    assert library.find("Brush").description == "new"


SIDE_TEXTS = {
    ".civitai.info": {
        "trainedWords": ["inkwash", "wet ink,"],
        "description": "<p>Wet &amp; <b>dark</b>.</p><p>Best at 0.7</p>",
        "model": {"name": "Ink", "tags": ["ink", "wash"]},
        "creator": {"username": "ada"},
    },
    ".metadata.json": {
        "file_path": "/loras/Ink.safetensors",
        "usage_tips": '{"strength": 0.6}',
        "tags": ["ink", "wash"],
        "modelDescription": "<p>Wet &amp; <b>dark</b>.</p><br/>Best at 0.7",
        "civitai": {"trainedWords": ["inkwash", "wet ink"], "creator": {"username": "ada"}},
    },
    ".cm-info.json": {
        "ModelDescription": "<p>Wet &amp; <b>dark</b>.</p>Best at 0.7",
        "VersionDescription": None,
        "Tags": ["ink", "wash"],
        "TrainedWords": ["inkwash", "wet ink"],
        "AuthorUsername": "ada",
    },
    ".swarm.json": {
        "modelspec.title": "Ink",
        "modelspec.trigger_phrase": "inkwash, wet ink",
        "modelspec.author": "ada",
        "modelspec.description": "Wet & dark.\nBest at 0.7",
        "modelspec.tags": "ink, wash",
        "modelspec.lora_default_weight": "0.6",
    },
}


@pytest.mark.parametrize("ending", SIDE_TEXTS)
def test_the_texts_of_other_managers_are_read_and_come_along(
    library: Library, source: Path, ending: str
) -> None:
    path, text = source / "Ink.safetensors", SIDE_TEXTS[ending]
    (source / f"Ink{ending}").write_text(json.dumps(text), encoding="utf-8")
    weight = 0.6 if "0.6" in json.dumps(text) else 1.0
    told = ("inkwash, wet ink", "ada", ("ink", "wash"), "Wet & dark.\nBest at 0.7", weight)
    (seen,) = import_cards([path], library)
    assert seen.card is not None
    library.import_files([path])
    for card in (seen.card, library.find("Ink")):
        assert (card.trigger, card.author, card.tags, card.description, card.suggested_weight) == told
    assert json.loads((library.folder / f"Ink{ending}").read_text("utf-8")) == text
    # What the artist typed in A1111 counts more; what was changed there is seen.
    (library.folder / "Ink.json").write_text(json.dumps({"activation text": "mine"}), encoding="utf-8")
    assert (library.find("Ink").trigger, library.find("Ink").author) == ("mine", "ada")
    (library.folder / "Ink.json").unlink()
    (library.folder / f"Ink{ending}").write_text("{ broken", encoding="utf-8")
    assert library.find("Ink").trigger == ""


@pytest.mark.parametrize(
    "text",
    [
        [],
        {"trainedWords": "x", "model": 3, "creator": [], "civitai": "y", "usage_tips": "[", "tags": {"a": 1}},
        {
            "TrainedWords": [1, None, {}],
            "Tags": 5,
            "modelspec.tags": 7,
            "modelspec.lora_default_weight": "nan",
        },
        {"usage_tips": '{"strength": 1e400}', "__metadata__": [1], "preferred weight": "1"},
        {"trainedWords": ["long " * 100] * 100, "description": "<" * 100_000, "tags": ["x" * 1000] * 1000},
    ],
)
def test_odd_texts_beside_a_style_add_nothing(library: Library, source: Path, text: object) -> None:
    for ending in SIDE_TEXTS:
        (source / f"Ink{ending}").write_text(json.dumps(text), encoding="utf-8")
    assert not library.import_files([source / "Ink.safetensors"]).refused
    card = library.find("Ink")
    assert (card.trigger, card.author, card.suggested_weight) == ("", "", 1.0)


@pytest.mark.parametrize("ending", [".preview.webp", ".thumb.jpg", ".preview.jpeg"])
def test_previews_of_other_managers_are_taken_and_a_film_is_named(
    library: Library, source: Path, ending: str
) -> None:
    (source / "Ink.preview.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    path = source / "Ink.safetensors"
    (seen,) = import_cards([path], library)
    assert seen.card is not None and any("Ink.preview.mp4 is a film" in one for one in seen.card.problems)
    Image.new("RGB", (30, 20), "teal").save(source / f"Ink{ending}")
    (seen,) = import_cards([path], library)
    assert seen.card is not None and seen.card.thumbnail and not seen.card.problems
    library.import_files([path])
    assert library.find("Ink").thumbnail


def test_a_folder_for_the_hub_is_imported_under_its_own_name(library: Library, tmp_path: Path) -> None:
    path = put(tmp_path / "Ink wash" / "pytorch_lora_weights.safetensors", 5)
    (seen,) = import_cards([path.parent], library)
    (card,) = library.import_files([path.parent]).styles
    assert seen.card is not None and card.name == seen.card.name == "Ink wash"


@pytest.mark.parametrize("failing", ["_copied", "side_thumbnail", "likeness_of"])
def test_a_failed_import_leaves_nothing_behind(
    library: Library, source: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    original = getattr(taking_in, failing)
    calls = []

    def fail(*arguments: Path) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            original(*arguments)
            raise OSError(28, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(taking_in, failing, fail)
    report = library.import_files([source])
    assert len(report.styles) == 3 and len(report.refused) == 1
    assert Counter(Path(name).suffix for name in files(library.folder)) == {".safetensors": 3}
    assert not [name for name in files(library.folder) if Path(name).name.startswith(".")]


def test_an_import_that_is_broken_off_leaves_whole_styles(
    library: Library, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def cancelled() -> bool:
        seen.append(1)
        return len(seen) > 2

    assert len(library.import_files([source], cancelled).styles) == 2

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(taking_in, "_copied", interrupt)
    with pytest.raises(KeyboardInterrupt):
        library.import_files([source])
    assert len(files(library.folder)) == 2 == len(library.cards())


def test_the_pickles_in_a_folder_are_refused_too(library: Library, tmp_path: Path) -> None:
    given = tmp_path / "in"
    (given / "old").mkdir(parents=True)
    for name in ("old/Ink.pt", "Neon.CKPT", ".hidden.pt"):
        (given / name).write_bytes(b"\x80\x02}q" + bytes(40))
    (put_peft(given / "Brush", 1) / "optimizer.pt").write_bytes(b"\x80")
    report = library.import_files([given])
    assert [card.name for card in report.styles] == ["Brush"]
    assert [one.file.name for one in report.refused] == ["Neon.CKPT", "Ink.pt"]
    assert all("run code" in one.reason for one in report.refused)
    shutil.rmtree(given / "Brush")
    assert len(library.import_files([given]).refused) == 2


def test_a_folder_that_may_not_be_changed_is_named(
    library: Library, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", forbidden)
    with pytest.raises(BadInput, match=re.escape(f"{library.folder} can't be written to")):
        library.import_files([source])


@pytest.mark.skipif(os.name == "nt", reason="rights work otherwise on Windows")
def test_a_folder_without_rights_is_refused_and_the_rest_comes_in(library: Library, source: Path) -> None:
    (source / "lost+found").mkdir(mode=0)

    def take_in() -> tuple[int, list[str]]:
        obey_rights()  # of this thread alone
        report = library.import_files([source])
        return len(report.styles), [one.file.name for one in report.refused]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(take_in).result() == (4, ["lost+found"])


def test_a_peft_folder_is_one_style(library: Library, tmp_path: Path) -> None:
    source = put_peft(tmp_path / "in" / "Ink", 1)
    put(tmp_path / "in" / "plain.safetensors", 1)
    before = files(source)
    report = library.import_files([tmp_path / "in"])
    assert [card.name for card in report.styles] == ["Ink", "plain"] and report.refused == []
    card = library.find("Ink")
    assert card.path == library.folder / "Ink" and files(card.path) == before == files(source)
    assert card.layers == {"te": 1, "unet": 1}
    assert library.open("Ink").id == card.id == library_at(library.home.root).find(card.id).id
    assert "already, as “Ink”" in library.import_files([source]).refused[0].reason
    edited = library.edit("Ink", author="Ada", tags=["blue"])
    assert (edited.author, edited.tags, edited.id) == ("Ada", ("blue",), card.id)
    assert library.edit("Ink", author="").author == ""
    renamed = library.rename("Ink", "Brush")
    assert renamed.path == library.folder / "Brush" and renamed.id == card.id
    trash = library.delete("Brush")
    assert trash.parent == library.home.trash and trash.is_dir() and library.trashed() == ["Brush"]
    put_peft(library.folder / "Brush", 2)
    assert library.restore("Brush").name == "Brush 2" and library.find("Brush 2").id == card.id
    assert library.vanished() == []
    # Without its settings it is no style, and its file says so in time.
    (library.folder / "Brush" / "adapter_config.json").unlink()
    (library.folder / "Brush" / "text_encoder" / "adapter_config.json").unlink()
    assert "Brush" not in [card.name for card in library.cards()]


WORKER = """
import sys
from pathlib import Path
from styles.storage.home import Home
from styles.errors import BadInput
from styles.library.library import Library
home, source, own, number = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
library = Library(Home(home), home / "none")
print("ready", flush=True)
sys.stdin.readline()
report = library.import_files([source, own])
for turn in range(6):
    library.mark(f"shared {turn}", **[{"favourite": True}, {"note": "seen"}][number])
    name = library.rename(f"own {number} {turn}", "taken").name
    library.edit(name, author=f"author {number}")
    if turn % 2:
        library.delete(name)
        library.restore(name)
    assert len(library.cards()) >= 6
print(len(report.styles), len(report.refused), flush=True)
"""


def test_two_processes_at_once_lose_nothing(library: Library, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    owns = [tmp_path / "own 0", tmp_path / "own 1"]
    for turn in range(8):
        put(shared / f"shared {turn}.safetensors", 100 + turn)
        for number, own in enumerate(owns):
            put(own / f"own {number} {turn}.safetensors", 200 + 50 * number + turn)
    with ExitStack() as stack:
        workers = []
        for number, own in enumerate(owns):
            arguments = [str(library.home.root), str(shared), str(own), str(number)]
            worker = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER, *arguments],
                    cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            stack.callback(worker.kill)
            workers.append(worker)
        for worker in workers:
            assert worker.stdout and worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("go\n")
            worker.stdin.flush()
        said = []
        for worker in workers:
            out, _ = worker.communicate(timeout=1200)
            assert worker.returncode == 0
            said.append([int(number) for number in out.split()])
    # Each style is here once, whoever brought it.
    assert sum(taken for taken, _ in said) == 24 and sum(refused for _, refused in said) == 8
    cards = library.cards()
    ids = Counter(id_of(card.path) for card in cards if card.path)
    sources = [path for folder in (shared, *owns) for path in folder.iterdir()]
    assert ids == Counter(id_of(path) for path in sources)
    assert len({card.name.casefold() for card in cards}) == len(cards) == 24
    assert all(card.id in ("", id_of(card.path)) for card in cards if card.path)
    assert Counter(card.author for card in cards) == {"": 12, "author 0": 6, "author 1": 6}
    assert [mark.favourite and mark.note for mark in library.marks().values()] == ["seen"] * 6
    assert library.vanished() == library_at(library.home.root).vanished() == []
    assert library.unreadable() == [] and library.trashed() == []
    assert not [path for path in library.folder.rglob(".*") if path.name != ".lock"]
