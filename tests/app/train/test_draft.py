"""The training that is being prepared: what is dropped, changed, taken out and brought back."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from app.train.draft import Added, Draft
from app.train.looks import Grid
from styles.errors import BadInput, DiskFullError
from styles.storage.home import Home
from training.artworks.captions import caption_of
from training.job import Job
from training.plan import plan_for

GRID = Grid(64, 16)


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """The draft of an empty home."""
    return Draft(Home(tmp_path / "home").create())


@pytest.fixture
def dropped(tmp_path: Path) -> list[Path]:
    """Files as a page hands them over, each in a folder of its own: three pictures, two captions, one that is none."""
    files = []
    for name, colour in (("10.png", "navy"), ("2.png", "teal"), ("wide.jpg", "olive")):
        path = _place(tmp_path, name)
        side = Image.linear_gradient("L").resize((600 if name == "wide.jpg" else 90, 80))
        Image.merge("RGB", [side, side.rotate(90, expand=False), Image.new("L", side.size, len(name))]).save(
            path
        )
        Image.blend(Image.open(path).convert("RGB"), Image.new("RGB", side.size, colour), 0.4).save(path)
        files.append(path)
    for name, text in (("2.txt", "a  blue\nboat"), ("10.txt", "a blue house")):
        _place(tmp_path, name).write_text(text, encoding="utf-8")
        files.append(tmp_path / name / name)
    _place(tmp_path, "broken.jpg").write_text("no picture", encoding="utf-8")
    return [*files, tmp_path / "broken.jpg" / "broken.jpg"]


def _place(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name / name


def added(draft: Draft, files: list[Path]) -> Added:
    *_, last = draft.add(files, GRID)
    return last


def captions(draft: Draft) -> dict[str, str]:
    return {artwork.name: artwork.caption for artwork in draft.artworks(GRID)}


def test_what_is_dropped_stays_with_its_captions(draft: Draft, dropped: list[Path]) -> None:
    before = draft.version
    done = added(draft, dropped)
    assert (done.pictures, done.captions, done.known) == (3, 2, 0)
    assert len(done.refused) == 1 and "broken.jpg" in done.refused[0]
    assert draft.version > before
    # As another start finds it.
    again = Draft(Home(draft.folder.parent))
    assert captions(again) == {"2.png": "a blue boat", "10.png": "a blue house", "wide.jpg": ""}
    wide = again.artworks(GRID)[-1]
    assert [remark.flaw for remark in wide.remarks] == ["cut"] and wide.look.size_px == (600, 80)
    assert wide.thumb.startswith(b"\xff\xd8")


def test_the_same_picture_is_taken_once_and_another_of_its_name_beside_it(
    draft: Draft, dropped: list[Path], tmp_path: Path
) -> None:
    added(draft, dropped)
    other = _place(tmp_path / "10.png", "10.jpg")  # another stem of that name: they may not share a caption
    Image.effect_noise((90, 90), 80).save(other)
    caption = _place(tmp_path / "2.png", "10.txt")
    caption.write_text("noise", encoding="utf-8")
    done = added(draft, [dropped[0], other, caption])
    assert (done.pictures, done.known) == (1, 1)
    assert captions(draft)["10 2.jpg"] == "noise" and captions(draft)["10.png"] == "a blue house"


def test_captions_change_in_place_together_and_back(draft: Draft, dropped: list[Path]) -> None:
    added(draft, dropped)
    draft.caption("wide.jpg", " a hill \n by the sea\x00 ")
    assert captions(draft)["wide.jpg"] == "a hill by the sea"
    assert draft.replace_in_captions("blue", "red") == 2
    assert captions(draft)["2.png"] == "a red boat"
    draft.undo()
    assert captions(draft)["2.png"] == "a blue boat"
    draft.caption_all("a picture")
    assert set(captions(draft).values()) == {"a picture"}
    draft.caption_all("")
    assert set(captions(draft).values()) == {""} and not list(draft.artworks_folder.glob("*.txt"))
    draft.caption_missing("2.png", "written by a model")
    draft.caption_missing("2.png", "and once more")
    draft.caption_missing("gone.png", "never")
    assert captions(draft)["2.png"] == "written by a model"
    for odd in (lambda: draft.caption("../../etc/passwd", "x"), lambda: draft.replace_in_captions("", "x")):
        with pytest.raises(BadInput):
            odd()


def test_what_is_removed_comes_back_with_its_caption(draft: Draft, dropped: list[Path]) -> None:
    added(draft, dropped)
    before = captions(draft)
    draft.remove("2.png")
    assert set(captions(draft)) == {"10.png", "wide.jpg"}
    draft.undo()
    assert captions(draft) == before
    draft.clear()
    assert draft.paths() == [] and draft.can_undo
    draft.undo()
    assert captions(draft) == before and not draft.can_undo
    with pytest.raises(BadInput):
        draft.undo()


def test_nothing_to_take_out_takes_no_undo_away(draft: Draft, dropped: list[Path]) -> None:
    added(draft, dropped)
    before = captions(draft)
    draft.clear()
    draft.clear()
    with pytest.raises(BadInput):
        draft.remove("10.png")
    draft.undo()
    assert captions(draft) == before


def test_a_folder_that_is_dropped_again_leaves_what_was_written(draft: Draft, dropped: list[Path]) -> None:
    added(draft, dropped)
    draft.caption("10.png", "a house by the sea")
    again = added(draft, dropped)
    assert (again.known, again.captions) == (3, 0)
    assert captions(draft) == {"2.png": "a blue boat", "10.png": "a house by the sea", "wide.jpg": ""}
    (dropped[4]).write_text("a red house", encoding="utf-8")
    added(draft, [dropped[4]])  # by itself it is meant
    assert captions(draft)["10.png"] == "a red house"


def test_a_caption_may_bear_the_whole_name_of_its_picture(
    draft: Draft, dropped: list[Path], tmp_path: Path
) -> None:
    added(draft, dropped[:1])
    texts = [_place(tmp_path, name) for name in ("10.png.txt", "2.png.txt")]
    for text in texts:
        text.write_text(f"of {text.name}", encoding="utf-8")
    added(draft, [dropped[1], *texts])
    assert captions(draft) == {"10.png": "of 10.png.txt", "2.png": "of 2.png.txt"}
    draft.caption_all("")
    assert captions(draft) == {"10.png": "", "2.png": ""}
    assert not list(draft.artworks_folder.glob("*.txt"))


def test_a_training_is_given_the_draft_as_it_is(draft: Draft, dropped: list[Path]) -> None:
    added(draft, dropped)
    plan = plan_for("quick", "starter", 3, name="Blue", trigger="blue")
    job = Job.create(draft.folder.parent / "jobs", plan, draft.paths())
    assert [caption_of(artwork.path) for artwork in job.artworks()] == ["a blue boat", "a blue house", None]


def test_the_form_survives_and_a_damaged_one_is_as_none(draft: Draft) -> None:
    assert draft.form() == {}
    draft.remember({"name": "Tusche", "flip": True})
    assert Draft(Home(draft.folder.parent)).form() == {"name": "Tusche", "flip": True}
    (draft.folder / "form.json").write_text("[", encoding="utf-8")
    assert draft.form() == {}


def test_a_look_is_kept_and_taken_again_when_the_file_or_the_base_changes(
    draft: Draft, dropped: list[Path]
) -> None:
    added(draft, dropped[:1])
    kept = draft.folder / "looks" / "10.png.json"
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"size_px": [7, 7]}), encoding="utf-8")
    assert draft.artworks(GRID)[0].look.size_px == (7, 7)
    assert draft.artworks(Grid(128, 32))[0].look.size_px == (90, 80)
    os.utime(draft.artworks_folder / "10.png", ns=(1, 1))
    assert draft.artworks(GRID)[0].look.size_px == (90, 80)


def test_only_files_among_the_artworks_are_artworks(tmp_path: Path) -> None:
    draft = Draft(Home(tmp_path / "home").create())
    (draft.artworks_folder / "folder.png").mkdir(parents=True)
    if os.name == "posix":
        (draft.artworks_folder / "dangling.png").symlink_to(tmp_path / "nowhere")
    (draft.artworks_folder / "one.png").write_bytes(b"none")
    assert [path.name for path in draft.paths()] == ["one.png"]
    draft.clear()
    assert draft.paths() == []


def test_a_full_disk_leaves_no_half_of_a_picture(
    draft: Draft, dropped: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: Path, target: Path) -> None:
        Path(target).write_bytes(source.read_bytes()[:200])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(DiskFullError):
        added(draft, dropped)
    assert not list(draft.artworks_folder.iterdir())


def test_a_picture_of_the_draft_is_not_opened_again_for_its_training(
    draft: Draft, dropped: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.artworks import dataset

    added(draft, dropped)
    opened: list[str] = []
    original = dataset.open_artwork

    def noted(path: Path, least_px: int = 0) -> Image.Image:
        opened.append(path.name)
        return original(path, least_px)

    monkeypatch.setattr(dataset, "open_artwork", noted)
    plan = plan_for("quick", "starter", 3, name="x")
    job = Job.create(tmp_path / "jobs", plan, draft.paths(), draft.known())
    assert opened == [] and [one.size_px for one in job.artworks()] == [(90, 80), (90, 80), (600, 80)]
    Image.new("RGB", (70, 80)).save(draft.artworks_folder / "10.png")  # by hand
    job = Job.create(tmp_path / "jobs", plan, draft.paths(), draft.known())
    assert opened == ["10.png"] and job.artworks()[1].size_px == (70, 80)
