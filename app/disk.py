"""What lies in the home and how much room it takes, and what of it can go."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from app.i18n import say, unsaid
from styles.quantization.weight_cache import FOLDER
from styles.storage.atomic import disk_errors
from styles.storage.home import Home
from training.job import jobs_in
from training.leftovers import clear, leftovers, size_of

QUANTIZED = FOLDER.as_posix()
FOLDERS = {
    "styles": unsaid("Your styles"),
    "pictures": unsaid("Your pictures"),
    "jobs": unsaid("Trainings"),
    "bases": unsaid("Base models"),
    QUANTIZED: unsaid("Copies of base models in four bits, made again when needed"),
    "trash": unsaid("Trash"),
    "cache": unsaid("Thumbnails and lists, made again when needed"),
    "log": unsaid("Log"),
}


@dataclass(frozen=True)
class Use:
    """How many bytes each folder of the home takes, and how many can be freed."""

    folders: tuple[tuple[str, int], ...]
    copies: int  # of finished trainings
    trash: int
    quantized: int = 0  # of bases in four bits, made again when needed

    def rows(self) -> list[tuple[str, str]]:
        """(what, how much) for a table, empty folders left out."""
        return [(say(FOLDERS[name]), size_words(size)) for name, size in self.folders if size]


def disk_use(home: Home) -> Use:
    """Measure the home."""
    sizes = {name: size_of(home.root / name) for name in FOLDERS if (home.root / name).is_dir()}
    copies = sum(leftovers(job) for job in jobs_in(home.jobs))
    quantized = sizes.get(QUANTIZED, 0)
    if quantized:
        sizes["bases"] -= quantized
    return Use(tuple(sizes.items()), copies, sizes.get("trash", 0), quantized)


def clear_copies(home: Home) -> int:
    """Delete what finished trainings have copied for themselves; return the bytes freed."""
    return sum(clear(job) for job in jobs_in(home.jobs) if leftovers(job))


def empty_trash(home: Home) -> int:
    """Delete what lies in the trash, for good; return the bytes freed. Raises BadInput where that is not allowed."""
    freed = 0
    with disk_errors(home.trash):
        entries = list(home.trash.iterdir())
    for path in entries:
        size = size_of(path)
        with disk_errors(path):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        freed += size
    return freed


def size_words(size: int) -> str:
    """Bytes as a person would say it, 10^9 to the GB."""
    for unit, worth in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= worth:
            return f"{size / worth:.1f} {unit}" if size < 10 * worth else f"{size / worth:.0f} {unit}"
    return f"{size} B"
