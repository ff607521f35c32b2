"""A training run on disk: one folder that the trainer fills and everybody else reads.

plan.json            the TrainingPlan
artworks/            copies of the pictures, their captions and masks; artworks.json lists them in order
prepared.safetensors latents and embeddings, made once
untrained.safetensors what is left as it is of the style that the training goes on from, if anything
events.jsonl         the journal
checkpoints/  previews/
requests/            empty files named pause and stop
lock                 held by the trainer for as long as it lives
error.log            technical details of failures
style.safetensors    the result; a second copy goes into the library, added.txt says where
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from styles.errors import AtelierError, JobError, JobHeldError, PlanError
from styles.storage.atomic import disk_errors, unused_name, write_text
from styles.storage.file_reading import open_file, open_to_append, read_json, read_text
from styles.storage.home import Home
from styles.storage.locks import is_held
from styles.storage.names import LONGEST_NAME, clean_text, safe_name, suggested_name
from styles.text import Text
from training.artworks.captions import caption_of, full_caption
from training.artworks.dataset import Artwork, KnownPicture, inspect
from training.artworks.folders import MASK, MOST_REPEATS
from training.events import Failed, Finished, Paused, TrainingEvent, Warned, from_json_line, to_json_line
from training.plan import TrainingPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_FILE_NAME = 255  # characters
HELD_BY_ANOTHER = 3  # exit code of a trainer whose job another one holds
MOVE_AWAY = Text("Move it out of the folder; what else is there stays as it is.")
State = Literal["waiting", "running", "paused", "finished", "failed", "interrupted", "damaged"]
Request = Literal["pause", "stop", "resume"]


@dataclass(frozen=True)
class Job:
    """A job folder; every question is answered from the disk, so that any process may ask."""

    folder: Path

    @classmethod
    def create(
        cls,
        jobs: Path,
        plan: TrainingPlan,
        pictures: Iterable[Path | str],
        known: Mapping[Path, KnownPicture] = MappingProxyType({}),
        caption_ending: str = "",
    ) -> Job:
        """Make a new job folder in `jobs` with copies of the pictures (files or folders) and their captions.

        Pictures in `known` were opened before, and are not once more.
        Raises PictureError for what can't be read, BadInput for an unusable name, DiskFullError; nothing half-made
        stays behind.
        """
        safe_name(plan.name)
        dataset = inspect(pictures, plan.trigger, known, caption_ending)
        with disk_errors(jobs):
            jobs.mkdir(parents=True, exist_ok=True)
            stem = f"{time.strftime('%Y%m%d-%H%M%S')} {suggested_name(plan.name)}"
            folder = unused_name(jobs, stem, "")
            folder.mkdir()
        job = cls(folder)
        try:
            with disk_errors(folder):
                job._copy_in(dataset.artworks)
            write_text(folder / "plan.json", plan.to_json())
            for note in dataset.warnings:
                job.append(Warned(note))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return job

    def _copy_in(self, artworks: Iterable[Artwork]) -> None:
        for name in ("artworks", "checkpoints", "previews", "requests"):
            (self.folder / name).mkdir()
        rows = []
        for number, artwork in enumerate(artworks):
            target = self.folder / "artworks" / f"{number:03d}{artwork.path.suffix.lower()}"
            shutil.copyfile(artwork.path, target)
            if artwork.own_caption is not None:
                target.with_suffix(".txt").write_text(artwork.own_caption, encoding="utf-8")
            row: dict[str, Any] = {
                "file": target.name,
                "name": clean_text(artwork.path.name, LONGEST_FILE_NAME),
                "size_px": artwork.size_px,
            }
            if artwork.repeats > 1:
                row["repeats"] = artwork.repeats
            if artwork.mask is not None:
                mask = target.with_name(f"{target.stem}{MASK}{artwork.mask.suffix.lower()}")
                shutil.copyfile(artwork.mask, mask)
                row["mask"] = mask.name
            rows.append(row)
        write_text(self.folder / "artworks.json", json.dumps(rows, indent=2, ensure_ascii=False))

    @classmethod
    def open(cls, folder: Path | str) -> Job:
        """Return the job in an existing folder; raises JobError when it is none."""
        job = cls(Path(folder).resolve())
        if not os.path.isfile(job.folder / "plan.json"):
            raise JobError(
                "{folder} is not a job folder.",
                "It has no plan.json; start the training anew.",
                folder=folder,
            )
        return job

    @property
    def plan(self) -> TrainingPlan:
        """The job's plan; raises JobError without one and PlanError for one that can't be read."""
        try:
            return TrainingPlan.from_json(read_text(self.folder / "plan.json"))
        except UnicodeDecodeError as error:
            raise PlanError("The job's plan is not readable.", "Start the training anew.") from error
        except OSError as error:
            raise JobError(
                "{folder} has no readable plan.", "Start the training anew.", folder=self.folder
            ) from error

    @property
    def name(self) -> str:
        """The style's name; the folder's where the plan can't be read."""
        try:
            return clean_text(self.plan.name, LONGEST_NAME)
        except AtelierError:
            return clean_text(self.folder.name, LONGEST_NAME)

    def damage(self) -> AtelierError | None:
        """Return why nothing can be done with the job, None where all is well; the artist's pictures lie elsewhere."""
        try:
            _ = self.plan
            if os.path.lexists(self.journal):
                if not os.path.exists(self.journal):
                    raise JobError("{journal} is a link that leads nowhere.", MOVE_AWAY, journal=self.journal)
                with _reading(self.journal), open_file(self.journal):
                    pass
            lock = self.folder / "lock"
            if os.path.lexists(lock) and not os.path.isfile(lock):
                raise JobError("{lock} is no file, as it has to be.", MOVE_AWAY, lock=lock)
        except AtelierError as error:
            return error
        return None

    @property
    def home(self) -> Home:
        """The home that the job folder lies in (jobs are always in its `jobs` folder)."""
        return Home(self.folder.parent.parent)

    def artworks(self) -> tuple[Artwork, ...]:
        """The job's pictures in order, with captions as they stand in the folder now."""
        trigger = self.plan.trigger
        try:
            rows = read_json(self.folder / "artworks.json")
            paths = [self.folder / "artworks" / Path(row["file"]).name for row in rows]
            sizes = [_size(row["size_px"]) for row in rows]
            masks = [self._mask(row.get("mask")) for row in rows]
            repeats = [_repeats(row.get("repeats", 1)) for row in rows]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JobError(
                "{training} has lost its artworks.", "Start the training anew.", training=self.folder.name
            ) from error
        captions = [caption_of(path) for path in paths]
        return tuple(
            Artwork(path, full_caption(caption, trigger), size, mask, times, caption)
            for path, caption, size, mask, times in zip(paths, captions, sizes, masks, repeats, strict=True)
        )

    def _mask(self, name: Any) -> Path | None:
        return None if name is None else self.folder / "artworks" / Path(name).name

    # The journal

    @property
    def journal(self) -> Path:
        return self.folder / "events.jsonl"

    def append(self, event: TrainingEvent) -> None:
        """Add one line to the journal; a half-written last line of a killed process is closed first."""
        with disk_errors(self.journal), open_to_append(self.journal) as file:
            if file.tell() and not _ends_with_newline(self.journal):
                file.write(b"\n")
            # A name that is no text may stand in an event.
            file.write(to_json_line(event).encode("utf-8", "replace") + b"\n")
            file.flush()

    def events(self) -> list[TrainingEvent]:
        """All events so far; half-written and unknown lines are left out."""
        return self.events_since(0)[0]

    def events_since(self, offset: int) -> tuple[list[TrainingEvent], int]:
        """Return the events from a byte offset of the journal on, and the offset to ask from next time.

        Raises JobError for a journal that can't be read.
        """
        try:
            with _reading(self.journal), open_file(self.journal) as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], 0
        complete = data.rfind(b"\n") + 1  # a last line without its end may still be being written
        lines = data[:complete].decode("utf-8", errors="replace").split("\n")
        read = [from_json_line(line) for line in lines if line.strip()]
        return [event for event in read if event is not None], offset + complete

    # Requests, the lock, the state

    def request(self, what: Request) -> None:
        """Ask the trainer to pause or to stop and keep; "resume" takes both requests back before a new start."""
        folder = self.folder / "requests"
        with disk_errors(folder):
            folder.mkdir(exist_ok=True)
            if what == "resume":
                for name in ("pause", "stop"):
                    (folder / name).unlink(missing_ok=True)
            else:
                (folder / what).touch()

    def requested(self) -> Literal["pause", "stop"] | None:
        """The open request, if any; stop goes before pause."""
        if (self.folder / "requests" / "stop").exists():
            return "stop"
        return "pause" if (self.folder / "requests" / "pause").exists() else None

    @contextmanager
    def held(self, wait_seconds: float = 5.0) -> Iterator[None]:
        """Hold the job's lock, as the trainer does; raises JobHeldError when another process keeps holding it.

        The short wait lets `alive` look at the lock at the same moment.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "lock", timeout=wait_seconds)
        try:
            with disk_errors(self.folder / "lock"):
                lock.acquire()
        except Timeout as error:
            raise JobHeldError(
                "{training} is being trained already.", "Wait, or pause it first.", training=self.folder.name
            ) from error
        try:
            yield
        finally:
            lock.release()

    def alive(self) -> bool:
        """Say whether a trainer holds the job now; the system frees the lock of a killed one."""
        return is_held(self.folder / "lock")

    def state(self) -> State:
        """Say in one word how the job stands, from its lock and its journal's last event."""
        if self.alive():
            return "running"
        if self.damage():
            return "damaged"
        events = [event for event in self.events() if not isinstance(event, Warned)]
        if not events:
            return "waiting"
        for kind, state in _LAST.items():
            if isinstance(events[-1], kind):
                return state
        return "interrupted"  # its process died without a word: a power cut, or killed


_LAST: dict[type, State] = {Finished: "finished", Failed: "failed", Paused: "paused"}


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _size(value: Any) -> tuple[int, int]:
    """Return a size in pixels; raises ValueError, TypeError for what is none."""
    width, height = value
    if not all(type(side) is int and 0 < side < 1 << 20 for side in (width, height)):
        raise ValueError("no size")
    return width, height


def _repeats(value: Any) -> int:
    """Return how often a picture is shown; raises ValueError for what is no such number."""
    if type(value) is not int or not 1 <= value <= MOST_REPEATS:
        raise ValueError("no number of repeats")
    return value


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise JobError(
            "{path} can't be read: {reason}.", MOVE_AWAY, path=path, reason=error.strerror
        ) from error


def jobs_in(folder: Path) -> list[Job]:
    """List the job folders, oldest first; a damaged one is among them, and says so itself."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # there is none yet, or `Home.problems` tells why not
        return []
    # The plan is written last: a folder without a journal and a plan is still being filled.
    begun = ("plan.json", "events.jsonl")
    return [Job(entry) for entry in entries if any(os.path.lexists(entry / name) for name in begun)]
