"""What Atelier keeps in a home beside styles, pictures and jobs: settings, lists, marks, blends, the draft, the trash."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

from app.disk import disk_use
from app.settings import Settings
from app.studio import Studio
from app.train.form import form_of
from app.train.looks import Grid
from app.window.problems import problems_drawn
from styles.library.library import Library
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.strength import Effect, Effects
from styles.storage.home import Home
from tests.fuzzing.kinds import Kind, asked, shown
from tests.fuzzing.spoiling import (
    add_stray,
    put,
    replace_oddly,
    spoiled_bytes,
    spoiled_text,
    values_in,
    write_text,
)

FOLDERS = (
    "styles",
    "pictures",
    "jobs",
    "bases",
    "trash",
    "log",
    "blends",
    "draft",
    "draft/artworks",
    "cache",
)
GRID = Grid(64, 16)


def prepare(folder: Path) -> Path:
    """Make a home in which each of these files stands, written by Atelier as far as it can be asked to."""
    from PIL import Image

    from tests.styles.seed_files import file_of, own

    home, draft = Home(folder / "seed").create(), own()
    data = file_of(json.dumps(draft.header()), draft.section())
    (home.styles / "ink.safetensors").write_bytes(data)
    studio = Studio(home)
    style = studio.library.find("ink")
    studio.change_settings(replace(studio.settings, tour_seen=True))
    studio.queue.hold()
    studio.library.mark("ink", favourite=True, note="a note", tags=("ink",))
    studio.blends.save("half", Blend((BlendPart(style.id, 0.5),)))
    Image.new("RGB", (64, 64), "teal").save(folder / "one.png")
    (folder / "one.txt").write_text("a house")
    list(studio.preparation.draft.add([folder / "one.png", folder / "one.txt"], GRID))
    studio.preparation.draft.remember({"name": "ink", "preset": "quick"})
    studio.preparation.draft.caption_all("a house")
    Effects(home).add("key", {style.id: Effect(0.1, (0.0,) * 256)})
    (home.styles / "ink.json").write_text(json.dumps({"activation text": "inkwash", "preferred weight": 0.7}))
    (home.bases / "shelf.json").write_text(
        json.dumps({"in_use": "starter", "bases": {"a": {"source": "/a"}}})
    )
    (home.bases / "opened.json").write_text(json.dumps({"ab": ["starter", "key"]}))
    trial = {
        "opening": 1.0,
        "artwork": 1.0,
        "step": 1.0,
        "denoising": 1.0,
        "decoding": 1.0,
        "memory_bytes": 1,
        "on_card": False,
    }
    (home.root / "measured.json").write_text(json.dumps({"key": trial}))
    (home.styles / ".hidden.json").write_text(json.dumps(["ab" * 32]))
    shutil.copyfile(home.styles / "ink.safetensors", home.trash / "old~20260101-000000-000000.safetensors")
    studio.close()
    return home.root


def attempt(rng: Random, seed: Path, folder: Path) -> None:
    """Open the studio over a home of which one to three files are spoiled, and ask it for all that lies there."""
    shutil.copytree(seed, folder)
    home = Home(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "ink.safetensors")
    for _ in range(rng.choice((1, 1, 2, 3))):
        _spoil(rng, rng.choice(files), folder)
    if asked(home.create) is None:
        return
    studio = Studio(home)
    studio.library = Library(home, bundled=folder / "none")
    studio.blends.library = studio.library
    try:
        _ask(studio, home)
    finally:
        studio.close()


def _ask(studio: Studio, home: Home) -> None:
    problems_drawn(studio).encode("utf-8")
    listing = asked(studio.library.look)
    for refused in listing.unreadable if listing else ():
        shown(refused.reason)
    asked(studio.library.trashed)
    asked(lambda: studio.library.mark("ink", note="another"))
    for entry in studio.shelf.list():
        shown(entry.problem)
    studio.base_source("")
    for blend in studio.blends.all()[0]:
        shown(studio.blends.words(blend))
        json.dumps(studio.blends.facts(blend), allow_nan=False, ensure_ascii=False).encode("utf-8")
    for refused in studio.blends.all()[1]:
        shown(refused.reason)
    studio.queue.waiting()
    asked(studio.queue.move_on)
    asked(studio.queue.release)
    form = form_of(studio.preparation.draft.form())
    json.dumps(form, ensure_ascii=False).encode("utf-8")
    asked(lambda: studio.preparation.draft.artworks(GRID))
    asked(studio.preparation.draft.undo) if studio.preparation.draft.can_undo else None
    asked(lambda: studio.preparation.draft.remember({"name": "other"}))
    asked(lambda: studio.preparation.draft.clear())
    Effects(home).known("key")
    asked(lambda: Effects(home).add("key", {}))
    studio.preparation.measuring._known()
    studio.base_session._places()
    studio.recent_pictures(9)
    disk_use(home)
    asked(lambda: studio.change_settings(replace(studio.settings, language="en")))
    assert Settings.load(home).language == "en" or not os.access(home.root, os.W_OK)


def _spoil(rng: Random, file: Path, home: Path) -> None:
    way = rng.random()
    if way < 0.1:
        add_stray(
            rng,
            home / rng.choice(FOLDERS),
            rng.choice((".safetensors", ".json", ".png", ".txt", "~1.safetensors")),
        )
    elif way < 0.15:
        replace_oddly(rng, home / rng.choice(FOLDERS))
    elif way < 0.4 or not file.is_file():
        if file.parent.is_dir():
            replace_oddly(rng, file)
    elif file.suffix == ".json" and way < 0.9:
        write_text(file, spoiled_text(rng, values_in(file)))
    else:
        put(file, spoiled_bytes(rng, file.read_bytes()))


KIND = Kind("home files", prepare, attempt, few=20)
