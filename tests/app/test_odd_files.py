"""Nothing odd on the disk keeps the window or a command from working: the rest is there, and the odd is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.create.history import History
from app.studio import Studio
from styles.errors import AtelierError, BadInput
from styles.generation.png_recipe import read_recipe
from styles.storage.home import Home
from tests.app import odd_home
from tests.app.conftest import Atelier
from tests.conftest import REPOSITORY


@pytest.fixture
def odd(home_with_style: Path, tiny_base: Path) -> Home:
    """A home with one style, and odd things in each of its folders."""
    home = Home(home_with_style)
    odd_home.add_odd_bases(home, tiny_base)
    for make in odd_home.MAKERS.values():
        make(home)
    return home


def test_commands_list_the_rest_and_name_the_odd(
    odd: Home, tiny_base: Path, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    run = atelier(odd.root)
    listed = run("styles", "list", "--json")
    assert listed.code == 0 and "Rings" in [style["name"] for style in listed.json["styles"]]
    for file in ("settings.json", "queue.json"):
        assert str(odd.root / file) in listed.err
    bases = {base["name"]: base for base in run("bases", "list", "--json").json["bases"]}
    assert bases["starter"]["problem"] == "" and bases["wide"]["in_use"]
    for name in ("wide", "side", "deep", "noise", "empty", "list", "index is a folder", "gone"):
        assert bases[name]["problem"], name
    jobs = {job["id"]: job for job in run("jobs", "list", "--json").json["jobs"]}
    finished = next(job for job in jobs.values() if job["name"] == "Rings")
    assert finished["state"] == "finished"
    for name, said in odd_home.add_odd_jobs(Home(tmp_path / "said")).items():
        job = jobs[f"20260101-000000 {name}"]
        if name == "odd lines":
            assert said in job["notes"][0] and "step-abc" in job["notes"][0]
            continue
        assert job["state"] == "damaged" and said in job["error"] and job["hint"], name
    told = run("jobs", "list").out
    assert all(f"20260101-000000 {name}" in told for name in odd_home.PLANS)
    made = run("create", "a fox", "--base", tiny_base, "--steps", "1", "--json")
    assert made.code == 0, made.err
    refused = run("create", "a fox", "--steps", "1")
    assert refused.code == 2 and "wide" in refused.err and "cross-attention" in refused.err


def test_every_room_is_drawn_also_where_nothing_can_be_written(odd: Home) -> None:
    command = [sys.executable, "-m", "tests.app.drawing_rooms", str(odd.root)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    for path in odd.root.rglob("*"):  # so that pytest can clear it away
        path.chmod(0o755) if path.is_dir() and not path.is_symlink() else None
    assert done.returncode == 0, done.stderr[-4000:]
    writable, read_only = json.loads(done.stdout.splitlines()[-1])
    for said in (writable, read_only):
        assert said["drawn"] > 10 and not said["refused"], said["refused"]
        assert said["news"] == ["artworks", "canvas", "costs", "tour", "trainings"]
        assert str(odd.root / "queue.json") in said["problems"]
        assert "Atelier is open at" in said["opened"] and "running.lock can't be locked" in said["opened"]
        assert "Rings" in said["styles"] and said["states"]["Rings"] == "finished"
        for name, state in said["states"].items():
            assert (state in ("damaged", "interrupted")) == ("failure" in said["cards"][name]), name
    if os.name == "posix":
        assert str(odd.root / "settings.json") in writable["problems"] and not writable["not_kept"]
        assert "be written to" in read_only["problems"] and read_only["not_kept"]


def test_a_picture_with_odd_hashes_is_listed_with_its_recipe(odd: Home) -> None:
    shown, count = History(odd).page()
    titles = {kept.path.name: kept.title for kept in shown}
    assert titles["hashes.png"] == "a fox" and count == len(shown) >= 4
    recipe = read_recipe(odd.pictures / "hashes.png")
    assert recipe.names == {"ink": "ink"}


def test_what_is_named_is_set_aside_when_it_is_written_anew(odd: Home) -> None:
    studio = Studio(odd)
    _, base, _ = studio.problems()
    studio.change_settings(replace(studio.settings, tour_seen=True))
    studio.queue.hold()
    assert [problem.message for problem in studio.problems()] == [base.message]
    assert Studio(odd).settings.tour_seen and studio.queue.held
    assert len(list(odd.root.glob("settings damaged *.json"))) == 1
    studio.close()


@pytest.mark.parametrize("name", ["styles", "pictures", "jobs", "bases", "trash", "log"])
def test_a_file_where_a_folder_is_wanted_is_named_and_the_rest_works(
    name: str, tmp_path: Path, tiny_base: Path
) -> None:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    (home.root / name).write_text("a file")
    studio = Studio(home)
    (problem,) = studio.problems()
    assert str(home.root / name) in problem.message and problem.hint
    assert studio.jobs() == [] and studio.library.look().unreadable == []
    assert studio.shelf.list()[0].name == "starter" and studio.recent_pictures(9) == []
    for attempt in ATTEMPTS.get(name, []):
        with pytest.raises(AtelierError) as caught:
            attempt(studio, tiny_base)
        assert caught.value.hint
    assert (home.root / name).read_text() == "a file"
    studio.close()


ATTEMPTS: dict[str, list[Callable[[Studio, Path], Any]]] = {
    "styles": [lambda studio, base: studio.library.import_files([base])],
    "bases": [lambda studio, base: studio.shelf.add(base)],
}


def test_no_home_can_be_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(BadInput, match="in the way"):
            Home(root).create()
