"""Folders as people bring them: of kohya's trainers, of OneTrainer, of a NAS, with captions in any encoding."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from app.train.draft import Draft
from app.train.looks import Grid
from styles.storage.home import Home
from training.artworks.captions import LONGEST_CAPTION
from training.artworks.dataset import Dataset, inspect
from training.artworks.encodings import decode_all
from training.artworks.folders import GivenFile, repeats_of

GRID = Grid(64, 16)


def put(folder: Path, *names: str) -> None:
    """Write small pictures that differ, and texts that hold their own names."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            Image.new("RGB", (64, 64), (40 * number % 256, 90, len(name) * 5 % 256)).save(path)
        else:
            path.write_text(f"of {path.name}", encoding="utf-8")


def dropped(folder: Path, home: Path) -> tuple[dict[str, str], dict[str, int], tuple[str, ...]]:
    """Drop a folder on the window; the captions and the repeats in its draft, and what was said."""
    draft = Draft(Home(home).create())
    files = [
        GivenFile(path, PurePosixPath(path.relative_to(folder.parent).as_posix()))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    *_, done = draft.add(files, GRID)
    artworks = draft.artworks(GRID)
    captions = {artwork.name: artwork.caption for artwork in artworks}
    return captions, {artwork.name: artwork.repeats for artwork in artworks}, (*done.notes, *done.refused)


def captions_in(dataset: Dataset) -> list[tuple[str, int]]:
    return sorted((artwork.own_caption or "", artwork.repeats) for artwork in dataset.artworks)


def check_alike(folder: Path, home: Path) -> Dataset:
    """Read a folder at both doors; both must come to the same captions and repeats, and say the same."""
    dataset = inspect([folder])
    captions, repeats, said = dropped(folder, home)
    assert captions_in(dataset) == sorted((caption, repeats[name]) for name, caption in captions.items())
    assert set(said) <= set(dataset.warnings)
    return dataset


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8-sig", "une maison à côté"),
        ("utf-16", "une maison à côté"),
        ("utf-16-le", "une maison à côté"),
        ("utf-16-be", "une maison à côté"),
        ("cp1252", "une maison à côté, “café”"),
        ("cp1252", "niño, corazón"),
        ("cp1250", "czerwony dom na łące, żółty"),
        ("cp1251", "красный дом на лугу"),
        ("cp1253", "ένα κόκκινο σπίτι"),
        ("gbk", "红色的房子，草地"),
        ("gbk", "1girl, 红色头发, solo"),
        ("big5", "紅色的房子，草地"),
        ("cp932", "赤い家、草原"),
        ("cp932", "1girl, 猫, 海"),
        ("cp949", "빨간 집, 초원"),
    ],
)
def test_a_caption_is_read_by_its_encoding(encoding: str, text: str) -> None:
    (decoded,) = decode_all([text.encode(encoding)])
    assert decoded.text == text
    assert bool(decoded.guess) == (not encoding.startswith("utf"))


def test_the_others_in_its_folder_decide_what_a_short_text_is() -> None:
    short = "海".encode("gbk")
    texts = [text.encode("gbk") for text in ("红色的房子，草地", "一个女孩，蓝色的眼睛")]
    assert decode_all([short, *texts])[0].text == "海"
    # One of another encoding is read by itself.
    assert decode_all([*texts, "赤い家、草原".encode("cp932")])[2].text == "赤い家、草原"


def test_nothing_becomes_a_replacement_or_a_control_character(tmp_path: Path) -> None:
    for number, data in enumerate(
        (b"a red\0house", b"\x81\x8d\xff\xfe\x00\x9d", b"caf\xe9 \xff", b"\xff\xfea")
    ):
        (decoded,) = decode_all([data])
        assert "\ufffd" not in decoded.text and all(
            ord(one) > 31 and not 127 <= ord(one) < 160 for one in decoded.text
        ), number
    assert decode_all([b"a red\0house"])[0].text == "a red house"


def test_captions_in_any_encoding_are_read_alike_at_both_doors_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "artworks"
    put(folder, "a.png", "b.png", "c.png", "d.png")
    (folder / "a.txt").write_bytes("café, été".encode("cp1252"))
    (folder / "b.txt").write_bytes("赤い家、草原".encode("cp932"))
    (folder / "c.txt").write_text("x " * LONGEST_CAPTION, encoding="utf-16")
    (folder / "d.txt").write_bytes(b"x" * (1 << 17))
    dataset = check_alike(folder, tmp_path / "home")
    captions = [artwork.own_caption for artwork in dataset.artworks]
    assert captions[:2] == ["café, été", "赤い家、草原"] and captions[3] is None
    said = " ".join(dataset.warnings)
    assert "a.txt is not in UTF-8; it was read as cp1252" in said and "b.txt" in said
    assert "c.txt is longer" in said and "d.txt can't be read" in said


def test_captions_go_by_either_ending_in_any_case_and_pictures_of_one_stem_share_them(tmp_path: Path) -> None:
    folder = tmp_path / "artworks"
    put(
        folder,
        "house.jpg",
        "house.png",
        "house.txt",
        "cat.png",
        "cat.caption",
        "DOG.PNG",
        "dog.TXT",
        "sea.png.txt",
    )
    put(folder, "v1.0.png", "v1.1.png", "v1.0.txt", "tree.png", "tree.tags")
    Image.new("RGB", (64, 64), "navy").save(folder / "DOG.PNG")
    Image.new("RGB", (64, 64), "teal").save(folder / "sea.png")
    dataset = check_alike(folder, tmp_path / "home")
    captions = {artwork.path.name: artwork.own_caption for artwork in dataset.artworks}
    assert captions == {
        "house.jpg": "of house.txt",
        "house.png": "of house.txt",
        "cat.png": "of cat.caption",
        "DOG.PNG": "of dog.TXT",
        "sea.png": "of sea.png.txt",
        "v1.0.png": "of v1.0.txt",
        "v1.1.png": None,
        "tree.png": None,
    }
    own = inspect([folder], caption_ending="tags")
    assert {artwork.own_caption for artwork in own.artworks if artwork.path.stem == "tree"} == {
        "of tree.tags"
    }


def test_of_two_captions_one_counts_and_that_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "artworks"
    put(folder, "a.png", "a.caption", "a.txt", "b.png", "c.txt")
    dataset = check_alike(folder, tmp_path / "home")
    assert dataset.artworks[0].own_caption == "of a.txt"
    assert any("more than one caption; that of a.txt counts" in note for note in dataset.warnings)
    assert any("belongs to no picture" in note and "c.txt" in note for note in dataset.warnings)


def test_a_project_of_kohyas_is_understood(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    put(
        folder,
        "img/10_ink drawing/0.png",
        "img/10_ink drawing/1.png",
        "img/1_other/2.png",
        "model/sample/3.png",
    )
    put(folder, "reg/1_drawing/4.png", "log/ink_e000010_01_20240102030405_42.png", "img/1_other/2.caption")
    dataset = check_alike(folder, tmp_path / "home")
    assert captions_in(dataset) == [("", 10), ("", 10), ("of 2.caption", 1)]
    said = " ".join(dataset.warnings)
    assert "2 samples" in said and "model/sample" in said and "1 regularisation picture" in said
    assert "“10_ink drawing”: 10 times" in said and "“1_other”: once" in said
    # Who gives such a folder alone means it.
    assert len(inspect([folder / "reg"]).artworks) == 1


@pytest.mark.parametrize(
    ("name", "repeats"), [("10_ink", 10), ("1_x", 1), ("01_x", 1), ("2024_x", 1), ("10", 1), ("x_10", 1)]
)
def test_a_number_before_a_name_is_repeats_where_it_can_be(name: str, repeats: int) -> None:
    assert repeats_of(name) == repeats


def test_what_a_system_leaves_in_a_folder_is_left_out_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "nas"
    put(
        folder,
        "a.jpg",
        "b.jpg",
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
        "#recycle/c.jpg",
        "._a.jpg",
        ".cache/d.png",
    )
    put(folder, "__MACOSX/e.png", "a-condlabel.png", "gone-masklabel.png")
    dataset = check_alike(folder, tmp_path / "home")
    assert [artwork.path.name for artwork in dataset.artworks] == ["a.jpg", "b.jpg"]
    said = " ".join(dataset.warnings)
    for name in (
        "3 thumbnails",
        "nas/@eaDir/a.jpg",
        "2 hidden",
        "._a.jpg",
        "a-condlabel.png",
        "gone-masklabel.png",
    ):
        assert name in said


def test_a_mask_goes_with_its_picture_also_where_both_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    put(folder, "a.png", "a.txt", "b.png", "wide.png")
    Image.new("L", (32, 32), 255).save(folder / "a-masklabel.png")
    Image.new("L", (64, 16), 255).save(folder / "wide-masklabel.png")
    dataset = check_alike(folder, tmp_path / "home")
    assert [artwork.mask and artwork.mask.name for artwork in dataset.artworks] == [
        "a-masklabel.png",
        None,
        None,
    ]
    assert any("wide-masklabel.png has another shape" in note for note in dataset.warnings)
    (alone,) = inspect([folder / "a.png"]).artworks
    assert alone.mask == folder / "a-masklabel.png" and alone.own_caption == "of a.txt"
    both = inspect([folder / "a.png", folder / "a-masklabel.png", folder / "a.txt"])
    assert len(both.artworks) == 1 and both.artworks[0].mask == folder / "a-masklabel.png"


def test_a_mask_is_taken_out_of_the_draft_and_brought_back_with_its_picture(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    put(folder, "a.png", "b.png")
    Image.new("L", (64, 64), 255).save(folder / "a-masklabel.png")
    draft = Draft(Home(tmp_path / "home").create())
    list(draft.add(sorted(folder.iterdir()), GRID))
    assert [bool(artwork.mask) for artwork in draft.artworks(GRID)] == [True, False]
    draft.remove("a.png")
    assert not list(draft.artworks_folder.glob("*mask*"))
    draft.undo()
    assert [bool(artwork.mask) for artwork in draft.artworks(GRID)] == [True, False]
