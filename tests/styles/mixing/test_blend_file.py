"""Blends as files: exact, named by content hash, and clear about what is missing or damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from styles.errors import BadInput, BlendError, UnknownStyleError
from styles.formats.style import StyleCard
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.blend_file import blends_folder, delete_blend, load_blend, save_blend, saved_blends
from styles.storage.home import Home

A, B = "a1" * 32, "b2" * 32
BLEND = Blend((BlendPart(A, 0.1, ((0, 0), (0.5, 1)), texture=0.3), BlendPart(B, -1 / 3, muted=True)))
CARDS = [
    StyleCard("Ink", "sd1", 4, id=A, author="Ann", licence="CC BY 4.0", trigger="inky"),
    StyleCard("Dots", "sd1", 4, id=B),
    StyleCard("Other", "sd1", 4, id="c3" * 32),
]


@pytest.mark.parametrize("mode", ["sum", "take turns"])
def test_a_blend_comes_back_exactly(mode: str, tmp_path: Path) -> None:
    blend = Blend(BLEND.parts, mode)
    folder = blends_folder(Home(tmp_path))
    assert saved_blends(folder) == []
    path = save_blend(blend, "Blue dusk", CARDS, folder)
    assert path == tmp_path / "blends" / "Blue dusk.json" and saved_blends(folder) == [path]
    saved = load_blend(path)
    assert saved.blend == blend and saved.name == "Blue dusk"
    assert [(style.name, style.author, style.licence) for style in saved.styles] == [
        ("Ink", "Ann", "CC BY 4.0"),
        ("Dots", "", ""),
    ]
    assert "Other" not in path.read_text("utf-8")


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    first = save_blend(BLEND, "Dusk", CARDS, tmp_path)
    second = save_blend(Blend(BLEND.parts[:1]), "dusk", CARDS, tmp_path)
    assert second.name == "dusk 2.json" and load_blend(first).blend == BLEND
    assert saved_blends(tmp_path) == [first, second]


def test_the_same_blend_kept_again_is_kept_once(tmp_path: Path) -> None:
    save_blend(Blend(BLEND.parts[:1]), "Dusk", CARDS, tmp_path)
    path = save_blend(BLEND, "Dusk", CARDS, tmp_path)
    # As after a kill, of which nobody knows how far it came.
    assert save_blend(BLEND, "Dusk", CARDS, tmp_path) == path
    assert len(saved_blends(tmp_path)) == 2


def test_a_deleted_blend_lies_in_the_trash(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("Dusk.json", "Dusk 2.json"):
        path = save_blend(BLEND, "Dusk", CARDS, blends_folder(home))
        gone = delete_blend(path, home)
        assert not path.exists() and gone == home.trash / name and load_blend(gone).blend == BLEND
    with pytest.raises(BlendError, match="can't be deleted"):
        delete_blend(path, home)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    saved = load_blend(save_blend(BLEND, "Dusk", CARDS, tmp_path))
    saved.check_present({A, B, "more"})
    assert [style.id for style in saved.missing({B})] == [A]
    with pytest.raises(
        UnknownStyleError, match=r"1 of the 2 styles.*“Ink” \(by Ann, CC BY 4.0, id a1a1a1a1a1a1\)"
    ):
        saved.check_present({B})
    with pytest.raises(UnknownStyleError, match=r"2 of the 2 styles .* are not in the library"):
        saved.check_present(())


@pytest.mark.parametrize(
    ("blend", "name", "said"),
    [
        (Blend(), "Dusk", "no style in the blend"),
        (Blend((BlendPart("unsaved-1", 1),)), "Dusk", "was never saved"),
        (BLEND, "../dusk", "can't be the name of a blend"),
        (BLEND, "", "can't be the name of a blend"),
    ],
)
def test_what_can_not_be_kept_is_refused_and_nothing_written(
    blend: Blend, name: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=said):
        save_blend(blend, name, CARDS, tmp_path / "blends")
    assert not (tmp_path / "blends").exists()


def file_with(**changes: object) -> str:
    part = {"style": A, "weight": 1.0, "name": "Ink"}
    return json.dumps({"atelier_blend": 1, "name": "x", "mode": "sum", "styles": [part]} | changes)


def test_a_strangers_file_is_read_as_data_alone(tmp_path: Path) -> None:
    path = tmp_path / "from a friend.json"
    part = {"style": A, "weight": 1, "name": "I\u202enk\x07", "author": 3, "unknown": [1]}
    path.write_text("\ufeff" + file_with(styles=[part], name="../../evil", more={}), "utf-8")
    saved = load_blend(path)
    assert saved.name == "from a friend" and saved.styles[0].name == "Ink"
    assert saved.blend == Blend((BlendPart(A, 1),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no blend, or damaged"),
        ("[]", "no blend, or damaged"),
        ("{}", "no blend, or damaged"),
        ("[" * 100_000, "no blend, or damaged"),
        ("\x00\xff", "no blend, or damaged"),
        (file_with(atelier_blend="1"), "no blend, or damaged"),
        (file_with(atelier_blend=True), "no blend, or damaged"),
        (file_with(atelier_blend=2), "newer Atelier"),
        (file_with(mode="multiply"), "“multiply” is no way"),
        (file_with(styles=[]), "without any style"),
        (file_with(styles=3), "no blend, or damaged|not a blend"),
        (file_with(styles=[{"style": "../x", "weight": 1}]), "no style's id"),
        (file_with(styles=[{"style": A, "weight": float("nan")}]), "nan is not a weight"),
        (file_with(styles=[{"style": A, "weight": 1}] * 2), "twice"),
        (file_with(more="x" * 300_000), "larger than 256 KiB"),
    ],
)
def test_files_that_are_no_blends_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(text.encode("utf-8") if "\xff" not in text else b"\x00\xff\xfe{")
    with pytest.raises(BlendError, match=said):
        load_blend(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BlendError, match="can't be read"):
        load_blend(tmp_path / "none.json")
