"""What is shown before an import is what the import then does."""

from __future__ import annotations

import shutil
from pathlib import Path

from styles.library.import_card import import_cards
from tests.styles.library_files import library_at, put, put_peft


def test_the_cards_tell_what_the_import_does(tmp_path: Path) -> None:
    library, given = library_at(tmp_path / "home"), tmp_path / "in"
    put(library.folder / "by hand" / "Ink.safetensors", 1)  # has no hash yet
    put(library.folder / "Twin.safetensors", 2)
    put(given / "Ink.safetensors", 3, {"modelspec.trigger_phrase": "inky", "modelspec.license": "CC-BY-4.0"})
    put(given / "people" / "The same as Ink in the library.safetensors", 1)
    shutil.copyfile(given / "Ink.safetensors", given / "people" / "ink.safetensors")
    put_peft(given / "Portrait", 4)
    whole = put(given / "Whole.safetensors", 5).read_bytes()
    (given / "Cut off.safetensors").write_bytes(whole[:-9])
    (given / "Not numbers.safetensors").write_bytes(whole[:-200] + b"\xff\x7f" * 100)
    (given / "Pickle.safetensors").write_bytes(b"\x80\x02}q\x00.")
    (tmp_path / "empty").mkdir()
    paths = [given, tmp_path / "empty", tmp_path / "nowhere.safetensors"]

    before = sorted(library.folder.rglob("*"))
    shown = list(import_cards(paths, library))
    assert sorted(library.folder.rglob("*")) == before
    report = library.import_files(paths)
    told = [(one.card.name, one.card.id) for one in shown if one.card and not one.reason]
    assert told == [(card.name, card.id) for card in report.styles] and len(told) == 3, (told, report)
    assert [(one.file, one.reason) for one in shown if one.reason] == [
        (one.file, one.reason) for one in report.refused
    ]

    cards = {one.card.name: one for one in shown if one.card}
    ink = cards["Ink 2"]
    assert ink.card is not None and (ink.card.trigger, ink.card.licence) == ("inky", "CC-BY-4.0")
    assert ink.proven and ink.changes == (("cross-attention", 1),)
    assert cards["Portrait"].changes == (("cross-attention", 1), ("the text encoder", 1))
    twins = sorted(one.reason for one in shown if "already" in one.reason)
    assert twins == [f"This style is in the library already, as “{name}”." for name in ("Ink 2", "Ink")]
    assert all(one.card for one in shown if "already" in one.reason), "a twin is shown with its card"
