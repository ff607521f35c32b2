"""The catalogue: the folder is the truth, the cache only makes it fast, and ids are made when they are needed."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from styles.errors import StyleFileError, UnknownStyleError
from styles.formats import safetensors_header
from styles.formats.reader import read_card
from styles.formats.style import StyleCard
from styles.library import catalogue, listing
from styles.library.folder import StyleLocation, places
from styles.library.header_cache import HeaderCache
from styles.library.library import Library
from tests.styles.library_files import id_of, keep_time, library_at, put, put_peft, style_bytes


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose headers are read, one entry for each time."""
    names: list[str] = []
    original = catalogue.Catalogue._read

    def noted(self: catalogue.Catalogue, place: StyleLocation, style_id: str) -> catalogue.Entry:
        names.append(place.path.name)
        return original(self, place, style_id)

    monkeypatch.setattr(catalogue.Catalogue, "_read", noted)
    return names


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the styles that are hashed, one entry for each time."""
    names: list[str] = []
    original = catalogue.Catalogue._hash

    def noted(self: catalogue.Catalogue, entry: catalogue.Entry, until: float) -> str:
        names.append(entry.name)
        return original(self, entry, until)

    monkeypatch.setattr(catalogue.Catalogue, "_hash", noted)
    return names


def filled(home: Path, count: int = 6) -> Library:
    library = library_at(home)
    for seed in range(count):
        put(library.folder / f"style {seed}.safetensors", seed, {"modelspec.author": f"author {seed}"})
    return library


def facts(library: Library) -> list[tuple[object, ...]]:
    listing = library.look()
    return [
        *(
            (card.name, card.path, card.family, card.author, card.created, card.layers)
            for card in listing.cards
        ),
        *((one.file, one.reason) for one in listing.unreadable),
    ]


def test_each_header_is_read_once_by_whatever_process(home: Path, read: list[str]) -> None:
    library = filled(home)
    (library.folder / "broken.safetensors").write_bytes(b"nothing")
    first = facts(library)
    assert len(first) == 7 and first[-1][0] == library.folder / "broken.safetensors"
    assert len(read) == 7
    assert facts(library) == facts(library_at(home)) == first and len(read) == 7
    put(library.folder / "style 3.safetensors", 33, {"modelspec.author": "someone else"})
    put(library.folder / "deep" / "in" / "here.safetensors", 7)
    for one in (library, library_at(home)):
        cards = {card.name: card for card in one.cards()}
        assert cards["style 3"].author == "someone else" and cards["here"].path
        assert len(cards) == 7
    assert read[7:] == ["here.safetensors", "style 3.safetensors"] or read[7:] == [
        "style 3.safetensors",
        "here.safetensors",
    ]


@pytest.mark.parametrize("damage", ["deleted", "empty", "text", "cut", "other", "folder", "holes"])
def test_a_cache_that_is_lost_or_damaged_changes_nothing(home: Path, damage: str) -> None:
    truth = facts(filled(home, 20))
    cache = home / "cache" / "styles.sqlite"
    data = cache.read_bytes()
    assert len(data) > 8192 and b"style 3" in data
    if damage == "deleted":
        shutil.rmtree(cache.parent)
    elif damage == "folder":
        cache.unlink()
        cache.mkdir()
    elif damage == "other":  # a database of something else
        cache.unlink()
        import sqlite3

        connection = sqlite3.connect(cache)
        connection.execute("CREATE TABLE styles (a, b)")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
        connection.close()
    elif damage == "holes":
        chance = random.Random(5)
        for _ in range(25):
            spoilt = bytearray(data)
            start = chance.randrange(len(data))
            spoilt[start : start + chance.choice([1, 3, 200])] = chance.randbytes(1)
            cache.write_bytes(bytes(spoilt))
            assert facts(library_at(home)) == truth
    else:
        cache.write_bytes({"empty": b"", "text": b"hello " * 999, "cut": data[:5000]}[damage])
    assert facts(library_at(home)) == truth
    assert facts(library_at(home)) == truth
    if damage != "folder":
        assert b"style 3" in cache.read_bytes()


def test_a_newer_atelier_reads_all_again_and_keeps_the_ids(
    home: Path, read: list[str], hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filled(home, 3).hash_some(60) == 0
    monkeypatch.setattr(catalogue, "reader_number", lambda folder: 7)
    newer = library_at(home)
    assert all(card.id == id_of(card.path) for card in newer.cards() if card.path) and len(newer.cards()) == 3
    assert len(read) == 6 and len(hashed) == 3


def test_ids_are_made_only_where_they_are_needed(home: Path, hashed: list[str]) -> None:
    library = filled(home)
    put(library.folder / "claims.safetensors", 100, claims=True)
    put(library.folder / "lies.safetensors", 101, {"sshs_model_hash": "ab" * 32})
    assert {card.id for card in library.cards()} == {""} and library.search("author:4")[0].id == ""
    assert hashed == []
    assert library.find("style 2").id == id_of(library.folder / "style 2.safetensors")
    assert hashed == ["style 2"]
    wanted = id_of(library.folder / "claims.safetensors")
    assert library.find(wanted[:10]).name == "claims" and hashed == ["style 2", "claims"]
    assert library.with_ids([wanted], thorough=True)[0].name == "claims"
    assert library.with_ids(["cd" * 32, "ab" * 32], thorough=False) == []
    assert hashed == ["style 2", "claims", "lies"]
    with pytest.raises(UnknownStyleError):  # what a file claims is not believed
        library.find("ab" * 32)
    assert Counter(hashed) == Counter(f"style {n}" for n in range(6)) + Counter(["claims", "lies"])
    other = library_at(home)  # ids are kept for all
    assert other.hash_some(0) == 0 and all(card.id == id_of(card.path) for card in other.cards() if card.path)
    assert len(hashed) == 8


def test_idle_time_makes_ids_one_after_another(home: Path) -> None:
    library = filled(home)
    assert library.hash_some(0) == 6
    assert library.hash_some(1e-9) == 5
    assert library_at(home).hash_some(60) == 0
    # A file that changes while it is hashed gets no id of what it was.
    path = library.folder / "style 0.safetensors"
    entry = next(entry for entry in library._catalogue.entries() if entry.name == "style 0")
    put(path, 50, {"longer": "than before"})
    assert library._catalogue._hash(entry) == ""


def test_idle_time_hashes_a_large_file_in_pieces(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_header, "BLOCK_BYTES", 100)
    library = filled(home, 2)
    calls = 0
    while library.hash_some(1e-9):
        calls += 1
        assert calls < 99, "it begins anew each time"
        if calls == 12:  # in the middle of the second: what was hashed until now is of another file
            put(library.folder / "style 1.safetensors", 77, {"modelspec.author": "someone else"})
            library.cards()
    assert calls > 20  # a file has 1042 bytes of tensors
    assert all(card.id == id_of(card.path) for card in library.cards() if card.path)
    assert library.find("style 1").author == "someone else"


def test_idle_time_does_not_look_at_the_folder_again_and_again(
    home: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library, looks = filled(home, 2), []
    monkeypatch.setattr(catalogue, "places", lambda folder: looks.append(folder) or places(folder))
    assert library.hash_some(60) == library.hash_some(60) == library.hash_some(0) == 0
    assert looks == [library.folder, library.bundled] and len(hashed) == 2
    put(library.folder / "new.safetensors", 7)
    (library.folder / "style 1.safetensors").unlink()
    assert len(library.cards()) == 2 and library.hash_some(60) == 0
    put(library.folder / "newer.safetensors", 8)
    library.cards()
    (library.folder / "newer.safetensors").unlink()
    assert library.hash_some(60) == 0  # what has gone since is not waited for


def test_only_what_is_shown_is_unpacked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(home).cards()
    unpacked: list[str] = []
    original = listing.unpacked

    def noted(text: str, style_id: str, path: Path) -> StyleCard:
        unpacked.append(path.stem)
        return original(text, style_id, path)

    monkeypatch.setattr(listing, "unpacked", noted)
    library = library_at(home)
    found = library.look("author:author style")
    assert len(found) == 6 and unpacked == []
    assert [card.name for card in found.first(2)] == unpacked == ["style 0", "style 1"]
    assert library.look("author:5").cards == library.search("5 author")[-1:]
    assert unpacked == ["style 0", "style 1", "style 5"]
    assert library.look("tag:author").cards == [] and library.look("name:author").cards == []


def test_a_vanished_file_is_said_and_forgotten_on_request(home: Path) -> None:
    library = filled(home)
    library.cards()
    gone = library.folder / "style 4.safetensors"
    data, stat = gone.read_bytes(), gone.stat()
    gone.unlink()
    for one in (library, library_at(home)):
        assert [(lost.name, lost.file) for lost in one.vanished()] == [("style 4", gone)]
        assert "style 4" not in [card.name for card in one.cards()]
        with pytest.raises(UnknownStyleError, match="has vanished"):
            one.find("Style 4")
    gone.write_bytes(data)
    keep_time(gone, stat)
    assert library_at(home).vanished() == [] and library.find("style 4")
    gone.unlink()
    assert len(library_at(home).vanished()) == 1
    assert library.forget_vanished() == 1
    assert library.vanished() == library_at(home).vanished() == []
    # What is deleted, renamed or moved has not vanished.
    library.delete("style 1")
    library.rename("style 2", "other")
    (library.folder / "sub").mkdir()
    os.replace(library.folder / "style 3.safetensors", library.folder / "sub" / "moved.safetensors")
    assert library_at(home).vanished() == library.vanished() == []


def test_a_moved_file_keeps_its_id_without_being_hashed(home: Path, hashed: list[str]) -> None:
    library = filled(home)
    library.hash_some(60)
    hashed.clear()
    (library.folder / "sub").mkdir()
    os.replace(library.folder / "style 3.safetensors", library.folder / "sub" / "moved.safetensors")
    for one in (library_at(home), library):
        card = one.find("moved")
        assert card.path and card.id == id_of(card.path)
    assert hashed == []


def test_a_file_in_the_guise_of_another_is_found_out(home: Path) -> None:
    """The same size and time: nothing tells the files apart until one is opened."""
    library = filled(home, 2)
    path = library.folder / "style 0.safetensors"
    before = library.find("style 0")
    stat = path.stat()
    put(path, 77, {"modelspec.author": "author 7"})
    keep_time(path, stat)
    assert library.find("style 0") == before
    with pytest.raises(UnknownStyleError):
        library.open(before.id)
    style = library.open("style 0")
    assert style.id == style.card.id == id_of(path) == library.find("style 0").id != before.id
    assert style.card.author == "author 7"


def test_subfolders_and_links_are_looked_into_once(home: Path, tmp_path: Path) -> None:
    library = filled(home, 1)
    put(library.folder / "a" / "b" / "Deep.safetensors", 1)
    put(library.folder / ".hidden" / "no.safetensors", 2)
    put(tmp_path / "elsewhere" / "Far.safetensors", 3)
    try:
        (library.folder / "a" / "back").symlink_to(library.folder, target_is_directory=True)
        (library.folder / "up").symlink_to(tmp_path, target_is_directory=True)
        (library.folder / "far").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (library.folder / "far again").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (library.folder / "dangling.safetensors").symlink_to(tmp_path / "nothing")
    except OSError:
        pytest.skip("no links here")
    assert sorted(card.name for card in library.cards()) == ["Deep", "Far", "style 0"]
    assert [one.file.name for one in library.unreadable()] == ["dangling.safetensors"]


def test_a_name_in_two_folders_is_asked_for_with_its_folder(home: Path) -> None:
    library = library_at(home)
    one = put(library.folder / "one" / "Ink.safetensors", 1)
    two = put(library.folder / "two" / "Ink.safetensors", 2)
    with pytest.raises(UnknownStyleError, match="2 styles are called “Ink”: one/Ink"):
        library.find("Ink")
    assert library.find("one/Ink").id == id_of(one) and library.find("two/Ink.safetensors").id == id_of(two)
    top = put(library.folder / "Ink.safetensors", 3)
    assert library.find("Ink").id == id_of(top)
    for card in library.cards():
        assert library.find(library.handle(card)).path == card.path


def test_a_name_that_is_no_unicode_is_told(home: Path) -> None:
    library = library_at(home)
    try:
        os.mkdir(os.fsencode(library.folder) + b"/\xff")
        path = Path(os.fsdecode(os.fsencode(library.folder) + b"/\xff/Ink.safetensors"))
    except OSError:
        pytest.skip("names are Unicode here")
    put(path, 1)
    put(library.folder / "plain.safetensors", 2)
    for one in (library, library_at(home)):
        assert [card.name for card in one.cards()] == ["plain"]
        ((file, reason),) = [(refused.file, refused.reason) for refused in one.unreadable()]
        assert file == path and "rename it" in reason


def test_the_folder_may_be_used_by_several_threads(home: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    library = filled(home, 12)
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(work)
            for work in (library.cards, lambda: library.hash_some(60), library.duplicates) * 6
        ]
        for job in jobs:
            job.result()
    assert len(library.cards()) == 12 and library.hash_some(0) == 0


def test_a_listing_does_not_wait_for_a_file_that_another_one_reads(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    library = filled(home, 3)
    known = [card.name for card in library.cards()]
    put(library.folder / "slow.safetensors", 9)
    reading, go_on = threading.Event(), threading.Event()
    original = catalogue.Catalogue._read

    def slow(self: catalogue.Catalogue, place: StyleLocation, style_id: str) -> catalogue.Entry:
        reading.set()
        go_on.wait(300)
        return original(self, place, style_id)

    monkeypatch.setattr(catalogue.Catalogue, "_read", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(library.cards)
        assert reading.wait(300)
        assert [card.name for card in library.cards()] == known and not first.done()
        found = pool.submit(library.find, "slow")  # who asks for it by name waits
        gone = library.folder / f"{known[0]}.safetensors"
        library.delete(gone.name)
        go_on.set()
        assert {card.name for card in first.result()} == {*known[1:], "slow"} and not gone.exists()
        assert found.result().name == "slow"
    assert not library.vanished()


def test_a_listing_beside_a_quick_one_has_all_that_is_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the first page of a window asks for its styles while they are being looked at for the first time."""
    from concurrent.futures import ThreadPoolExecutor

    reading, original = threading.Event(), catalogue.Catalogue._read

    def read(self: catalogue.Catalogue, place: StyleLocation, style_id: str) -> catalogue.Entry:
        reading.set()
        time.sleep(0.1)
        return original(self, place, style_id)

    library = filled(home, 2)
    names = {card.name for card in library.cards()}
    for new in (None, "newer"):  # the first look of all, and a later one
        if new:
            put(library.folder / f"{new}.safetensors", 9)
            names |= {new}
        else:
            library = library_at(home)
            shutil.rmtree(home / "cache")
        with monkeypatch.context() as patch, ThreadPoolExecutor(1) as pool:
            patch.setattr(catalogue.Catalogue, "_read", read)
            reading.clear()
            first = pool.submit(library.cards)
            assert reading.wait(300)
            assert {card.name for card in library.cards()} == names
            first.result()


def behind(data: bytes) -> bytes:
    """A style file with its metadata behind the list of tensors."""
    end = 8 + int.from_bytes(data[:8], "little")
    values = json.loads(data[8:end])
    values["__metadata__"] = values.pop("__metadata__")
    text = json.dumps(values).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def test_files_that_are_alike_are_read_as_each_alone(tmp_path: Path) -> None:
    """What was judged once is not judged again, and yet every card is as if it were."""
    told: list[dict[str, str]] = [
        {},
        {
            "modelspec.author": "Ada",
            "modelspec.tags": "a, b",
            "ss_max_train_steps": "7",
            "ss_output_name": "x",
        },
        {"modelspec.author": "Ben", "modelspec.title": "T" * 999},
        {"ss_base_model_version": "sd_v1"},
        {"modelspec.architecture": "stable-diffusion-v2-512/lora", "modelspec.author": "Cy"},
        {"atelier_card": '{"author": "Di", "suggested_weight": 0.5, "training": {"steps": 3}}'},
        {"atelier_card": "not JSON", "their own": "x"},
        {"modelspec.thumbnail": "data:image/jpeg;base64,/9j/"},
    ]
    paths = []
    for family in ("starter", "sd1"):
        for number, metadata in enumerate(told):
            paths.append(put(tmp_path / f"{family} {number}.safetensors", number, metadata, family=family))
    twice = style_bytes(1, {"modelspec.author": "A"})
    data = style_bytes(1)
    alpha = bytearray(style_bytes(3, {"modelspec.author": "other alpha"}))
    alpha[-2:] = b"\x00\x40"  # alpha 2
    odd = {
        "twice": twice.replace(b'{"modelspec.author": "A"}', b'{"x": "A"   , "x": "B"  }'),
        "number": twice.replace(b'"A"', b" 3 "),
        "behind": behind(twice),
        "behind, another": behind(twice).replace(b'"A"', b'"B"'),
        "cut": data[:-2],
        "alpha": bytes(alpha),
        "nan": data[:-2] + b"\x00\x7e",
    }
    for name, changed in odd.items():
        paths.append(tmp_path / f"{name}.safetensors")
        paths[-1].write_bytes(changed)
    like = HeaderCache()

    def answer(read: Callable[[Path], object], path: Path) -> object:
        try:
            return read(path)
        except StyleFileError as error:
            return str(error)

    alone = [answer(lambda path: read_card(path, hashed=False), path) for path in paths]
    assert [answer(like.card, path) for path in [*paths, *reversed(paths)]] == [*alone, *reversed(alone)]
    assert len({repr(card) for card in alone}) > 14 and sum(isinstance(one, str) for one in alone) == 3


def test_folders_whose_tensors_are_alike_keep_their_own_strength(tmp_path: Path) -> None:
    """What a PEFT folder of one file says of its strength stands beside its tensors, not in their header."""
    given = tmp_path / "in"
    for seed, (name, alpha) in enumerate({"Soft": 1, "Loud": 4}.items()):
        folder = put_peft(given / name, seed)
        shutil.rmtree(folder / "text_encoder")  # one file, as PEFT writes for one model
        settings = folder / "adapter_config.json"
        settings.write_text(settings.read_text().replace('"lora_alpha": 1', f'"lora_alpha": {alpha}'))
    library = library_at(tmp_path / "home")
    report = library.import_files([given])
    assert not report.refused and {card.name: card.strength for card in report.styles} == {
        "Soft": 0.5,
        "Loud": 2.0,
    }
    again = library_at(tmp_path / "home")
    assert {card.name: card.strength for card in again.cards()} == {"Soft": 0.5, "Loud": 2.0}


def test_what_is_wrong_can_still_change_its_language_when_it_comes_from_the_index(home: Path) -> None:
    library = library_at(home)
    library.folder.mkdir(parents=True, exist_ok=True)
    (library.folder / "broken.safetensors").write_bytes(b"no style")
    first, again = (library_at(home).unreadable()[0].reason for _ in range(2))
    assert first == again and "broken" in again
    message = again.values["text1"]
    assert message.template == "“{name}” is not a style that can be opened: {reason}."
    assert message.values["reason"].template == "it is no safetensors file, or only part of one"
