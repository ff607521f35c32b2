"""Style files and PEFT folders, alone and in a library's folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

from styles.library.library import Library
from styles.storage.home import Home
from tests.fuzzing.kinds import Kind, asked, shown
from tests.fuzzing.spoiling import add_stray
from tests.styles import fuzzing
from tests.styles.mutations import spoiled
from tests.styles.seed_files import Draft

SHARE_LISTED = 0.05


def attempt(rng: Random, drafts: list[Draft], folder: Path) -> None:
    """Read one as a style, and now and then list, import and find it."""
    data, config, _ = spoiled(rng, rng.choice(drafts))
    folder.mkdir()
    path = fuzzing.write(folder, data, config)
    fuzzing.read(path, rng)
    if rng.random() < SHARE_LISTED:
        home = Home(folder / "home").create()
        fuzzing.write(home.styles, data, config)
        add_stray(rng, home.styles, ".safetensors")
        library = Library(home, bundled=folder / "none")
        for refused in library.look().unreadable:
            shown(refused.reason)
        asked(lambda: library.import_files([path, home.styles]))
        for card in library.cards():
            asked(partial(library.open, library.handle(card)))


# Style files have a test of their own.
KIND = Kind("styles", fuzzing.readable, attempt, few=0, seconds=20.0)
