"""What the Settings room stands on: disk use, the password of other devices, the machine and the report."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from app import password
from app.disk import clear_copies, disk_use, empty_trash, size_words
from app.log import write_surprise
from app.report import report, without_private
from app.settings import Settings
from app.studio import Studio
from styles.errors import BadInput, JobError, SettingsError
from styles.library.library import Library
from styles.storage.home import Home
from styles.storage.version import version
from training.job import jobs_in
from training.leftovers import clear


def test_cleaning_up_frees_what_it_says_and_keeps_style_and_history(home_with_style: Path) -> None:
    home = Home(home_with_style)
    (job,) = jobs_in(home.jobs)
    kept = {path.name for path in job.folder.iterdir()} - {"artworks", "checkpoints", "prepared.safetensors"}
    before, progress = disk_use(home), job.events()
    assert before.copies > 0
    assert clear_copies(home) == before.copies
    after = disk_use(home)
    assert after.copies == 0 and dict(before.folders)["jobs"] - dict(after.folders)["jobs"] == before.copies
    assert {path.name for path in job.folder.iterdir()} == kept
    assert job.events() == progress and job.state() == "finished"
    assert [card.name for card in Library(home).cards()] == ["Rings"]
    assert clear_copies(home) == 0


def test_a_training_that_can_go_on_keeps_its_copies(home_with_style: Path) -> None:
    (job,) = jobs_in(Home(home_with_style).jobs)
    job.journal.write_text("", encoding="utf-8")
    assert disk_use(Home(home_with_style)).copies == 0
    with pytest.raises(JobError):
        clear(job)
    assert (job.folder / "artworks").is_dir()


def test_an_emptied_trash_is_empty_and_a_hidden_bundled_style_stays_hidden(home_with_style: Path) -> None:
    home = Home(home_with_style)
    library = Library(home)
    library.delete("Rings")
    size = disk_use(home).trash
    assert size > 0 and empty_trash(home) == size
    assert not list(home.trash.iterdir())
    assert library.cards() == []


def test_sizes_are_told_as_people_tell_them() -> None:
    assert [size_words(size) for size in (0, 999, 1500, 25_000_000, 3_210_000_000)] == [
        "0 B", "999 B", "1.5 kB", "25 MB", "3.2 GB",
    ]  # fmt: skip


def test_only_the_hash_of_a_password_is_kept(tmp_path: Path) -> None:
    kept = password.hashed("paint & water")
    assert "paint" not in kept and password.hashed("paint & water") != kept
    assert password.matches("paint & water", kept) and not password.matches("paint & wine", kept)
    assert not password.matches("", "") and not password.matches("x", "no hash")
    with pytest.raises(BadInput, match="5 characters"):
        password.hashed("short")
    with pytest.raises(SettingsError, match="password"):
        Settings(shared=True)
    Settings(shared=True, password=kept).save(Home(tmp_path))
    assert "paint" not in Settings.path(Home(tmp_path)).read_text(encoding="utf-8")


def test_the_report_says_what_runs_and_nothing_of_the_artist(home_with_style: Path) -> None:
    studio = Studio(Home(home_with_style))
    message = f"“My secret” in {home_with_style / 'styles' / 'Rings.safetensors'} is 'odd'"
    try:
        raise ValueError(message)
    except ValueError as error:
        write_surprise(studio.home, error, "painting")
    text = report(studio)
    assert text.startswith(f"Atelier {version()}\n")
    assert "torch: " in text and "1 styles, 1 trainings" in text and "ValueError" in text and "line " in text
    for private in ("secret", "Rings", str(home_with_style), "odd", str(Path.home())):
        assert private not in text
    assert (
        without_private("wrong password from 192.0.2.8: 2 in a row")
        == "wrong password from (address): 2 in a row"
    )
    name = getpass.getuser()
    if len(name) > 2:
        assert name not in without_private(f"OSError: {name} has no access")
