"""The shelf: which bases the artist has, and which one is in use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from styles.bases.base_settings import UNSET, BaseSettings
from styles.bases.files.inspection import inspect_base
from styles.bases.files.merged_base import check_quantization, read_card
from styles.bases.files.weight_files import PICKLED, fingerprint, is_here
from styles.bases.hub import Progress, fetch_base, hub_folder, is_hub_id
from styles.bases.recommended import RECOMMENDED, licence_of
from styles.bases.shelf_file import ShelfFile, ShelfState, ShelvedBase
from styles.errors import AtelierError, BaseError, DiskFullError, Failure
from styles.quantization.quantization import PLAIN, check_usable
from styles.quantization.weight_cache import cache_files, delete_cached
from styles.storage.atomic import disk_errors, unused_name
from styles.storage.home import Home, expanded
from styles.storage.names import folded
from styles.text import NO_TEXT, Text

STARTER = Path(__file__).parents[1] / "starter"


@dataclass(frozen=True)
class BaseEntry:
    """A line of the shelf; `problem` says why a base of the artist's can't be opened, `family` is "" when unknown."""

    name: str
    source: str
    family: str
    installed: bool
    in_use: bool
    prediction_type: str = ""
    native_size_px: int = 0
    size_gb: float = 0.0
    licence: str = ""
    vae: str = ""  # where the VAE lies that takes the place of its own
    quantize: str = PLAIN  # how it is kept, see styles.quantization
    merged: bool = False  # styles were merged into it, and it is kept in no other way
    notes: tuple[Text, ...] = ()  # what was taken for granted of it
    problem: Text = NO_TEXT

    @property
    def state(self) -> str:
        """How it stands: `here`, `gone` from where it lay, `damaged`, or `to fetch`."""
        if self.problem:
            return "damaged" if self.installed else "gone"
        return "here" if self.installed else "to fetch"


class BaseShelf:
    """The bases of one home; its state is `bases/shelf.json`, and folders put there by hand count too."""

    def __init__(self, home: Home, lock_seconds: float = 30) -> None:
        self.home = home
        self.lock_seconds = lock_seconds  # how long to wait for another process
        self._file = ShelfFile(home.bases / "shelf.json")

    def list(self) -> list[BaseEntry]:
        """Return the starter, the artist's own bases, then the recommended ones that are not here."""
        state = self._file.read()
        entries = [self._entry(name, base, state) for name, base in self._all(state).items()]
        here = {entry.name for entry in entries}
        for base in RECOMMENDED:
            if base.hub_id not in here:
                entries.append(
                    BaseEntry(
                        base.hub_id,
                        base.hub_id,
                        base.family.id,
                        False,
                        False,
                        size_gb=base.size_gb,
                        licence=base.licence.name,
                    )
                )
        return entries

    @property
    def version(self) -> object:
        """What changes with the list."""
        return self._file.version

    @property
    def in_use(self) -> str:
        """The name of the base in use; the starter until another was chosen."""
        return self._file.read().in_use

    @property
    def problem(self) -> BaseError | None:
        """What is wrong with the list of bases; those that it says are here all the same."""
        return self._file.problem

    @property
    def problem_in_use(self) -> BaseError | None:
        """Why the base in use can't be painted with or trained on; None where it can."""
        state = self._file.read()
        try:
            problem = self._find(state.in_use, state).problem
        except BaseError as error:
            problem = error.text
        if not problem:
            return None
        return BaseError(
            "The base in use, “{base}”, can't be used now: {problem}", base=state.in_use, problem=problem
        )

    def add(
        self,
        source: str | Path,
        progress: Progress | None = None,
        *,
        name: str = "",
        settings: BaseSettings = UNSET,
    ) -> BaseEntry:
        """Put a local folder or file (used where it lies) or a Hub id (fetched) on the shelf.

        Raises BaseError for what is not a base, OfflineError, DiskFullError.
        """
        text, settings = str(source).strip(), _whole(settings)
        path = expanded(text)
        if text and is_here(path):
            facts = inspect_base(path.resolve(), settings)
            name = name or plain_name(path.resolve())
            where = str(facts.path)
        elif path.suffix.lower() in PICKLED:
            inspect_base(path, settings)  # raises with the reason
            raise AssertionError
        elif is_hub_id(text):
            self._check_room(text)
            facts = inspect_base(fetch_base(text, self.home, progress), settings)
            name, where = name or text, str(facts.path)
        else:
            raise BaseError(
                "“{text}” is neither a folder nor a file here, nor a Hub id.",
                "Give the path of a .safetensors checkpoint or diffusers folder, or an id as owner/name.",
                text=text,
            )
        with self._locked():
            state = self._file.read()
            there = self._all(state).get(name)
            if name == "starter" or (there and there.source != where):
                raise BaseError("There is already a base “{name}”.", "Give this one another name.", name=name)
            # Added once more, it is kept as it was.
            if settings.quantize is None and there:
                settings = replace(settings, quantize=there.settings.quantize)
            state.bases[name] = ShelvedBase(where, settings)
            self._file.write(state)
        return self._entry(name, state.bases[name], state)

    def check_free(self, name: str) -> None:
        """Raise BaseError where a base, or something else in the folder of bases, has that name."""
        here = self._all(self._file.read())
        # One of the Hub goes by the end of its name, too.
        names = {folded(name) for one in here for name in (one, one.rpartition("/")[2])}
        if folded(name) in names or unused_name(self.home.bases, name, "").name != name:
            raise BaseError("There is already a base “{name}”.", "Give this one another name.", name=name)

    def check_room(self, needed_bytes: int, what: Text) -> None:
        """Raise DiskFullError where the folder of bases has no room for so much."""
        self.home.bases.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.home.bases).free
        if free < needed_bytes:
            raise DiskFullError(
                "{what} needs about {needed:.1f} GB, and {folder} has {free:.1f} GB free.",
                "Free some space, or move your home with --home.",
                what=what,
                needed=needed_bytes / 1e9,
                folder=self.home.bases,
                free=free / 1e9,
            )

    def place(self, folder: Path, name: str) -> BaseEntry:
        """Give a finished folder its name among the bases; raises BaseError where it has been taken meanwhile."""
        with self._locked():
            self.check_free(name)
            os.rename(folder, self.home.bases / name)
            # It is found by its folder; whoever shows the list looks at the file's time.
            self._file.write(self._file.read())
        return self._find(name, self._file.read())

    def change(self, name: str, settings: BaseSettings) -> BaseEntry:
        """Settle something else for a base that is here, and nothing of how it is kept; raises BaseError.

        See `keep_as`.
        """
        settings = _whole(settings)
        with self._locked():
            state = self._file.read()
            entry = self._find(name, state)
            if entry.name == "starter":
                raise BaseError("The starter comes with Atelier as it is; nothing of it can be changed.")
            settings = replace(
                settings, quantize=settings.quantize or self._all(state)[entry.name].settings.quantize
            )
            inspect_base(Path(entry.source), settings)
            base = state.bases[entry.name] = ShelvedBase(entry.source, settings)
            self._file.write(state)
        return self._entry(entry.name, base, state)

    def keep_as(self, name: str, quantize: str) -> BaseEntry:
        """Keep a base that is here in four bits, or as it is; raises BaseError, SettingsError."""
        check_usable(quantize)
        with self._locked():
            state = self._file.read()
            entry = self._find(name, state)
            settings = replace(self._all(state)[entry.name].settings, quantize=quantize)
            if (card := read_card(Path(entry.source))) is not None:
                check_quantization(card, quantize, entry.name)
            if entry.name == "starter":
                state.starter = settings
            else:
                state.bases[entry.name] = ShelvedBase(entry.source, settings)
            self._file.write(state)
        return self._find(entry.name, state)

    def use(self, name: str) -> BaseEntry:
        """Make a base the one in use; raises BaseError for a name that is not here or can't be opened."""
        with self._locked():
            state = self._file.read()
            chosen = self._find(name, state)
            if chosen.problem:
                raise BaseError("“{name}” can't be used: {problem}", name=name, problem=chosen.problem)
            state.in_use = chosen.name
            self._file.write(state)
        return self._find(name, state)

    def remove(self, name: str) -> None:
        """Take a base off the shelf: a fetched one goes to the trash, one that lies elsewhere is only forgotten."""
        with self._locked():
            state = self._file.read()
            entry = self._find(name, state)
            if entry.name == "starter":
                raise BaseError("The starter comes with Atelier and can't be removed.")
            path = Path(entry.source).resolve()
            self._forget_quantized(entry, state)
            if path.is_relative_to(self.home.bases.resolve()) and path.exists():
                stem = plain_name(path)
                with disk_errors(self.home.trash / stem):
                    self.home.trash.mkdir(parents=True, exist_ok=True)
                    shutil.move(path, unused_name(self.home.trash, stem, path.name.removeprefix(stem)))
            state.bases.pop(entry.name, None)
            if state.in_use == entry.name:
                state.in_use = "starter"
            self._file.write(state)

    def _forget_quantized(self, entry: BaseEntry, state: ShelfState) -> None:
        """Delete what is cached of a base in four bits, unless another entry is the same base."""
        if not cache_files(self.home):
            return
        bases = self._all(state)
        known_by = _fingerprint_of(bases.pop(entry.name))
        if known_by and all(_fingerprint_of(base) != known_by for base in bases.values()):
            delete_cached(self.home, known_by)

    def resolve(self, name: str) -> tuple[Path, BaseSettings]:
        """Return (path, what the artist settled) of a base on the shelf; raises BaseError."""
        state = self._file.read()
        base = self._all(state)[self._find(name, state).name]
        if name == "starter" and not (STARTER / "model_index.json").is_file():
            raise BaseError("The starter model is missing.", "Get Atelier again: styles/starter is empty.")
        return Path(base.source), base.settings

    def settings_of(self, path: Path) -> BaseSettings:
        """Return what the artist settled for a base by where it lies."""
        bases = self._all(self._file.read()).values()
        return next((base.settings for base in bases if base.source == str(path)), UNSET)

    def _find(self, name: str, state: ShelfState) -> BaseEntry:
        bases = self._all(state)
        if name not in bases:  # a Hub id goes by its last part, too, where only one base ends so
            ending = [candidate for candidate in bases if candidate.rpartition("/")[2] == name]
            name = ending[0] if len(ending) == 1 else name
        if name not in bases:
            raise BaseError(
                "There is no base “{name}” here.",
                "Here are: {allowed}. Add others with `bases add`.",
                name=name,
                allowed=", ".join(bases),
            )
        return self._entry(name, bases[name], state)

    def _entry(self, name: str, base: ShelvedBase, state: ShelfState) -> BaseEntry:
        source, settings = base.source, base.settings
        in_use, vae = state.in_use == name, str(settings.vae or "")
        try:
            facts = inspect_base(Path(source), settings)
        except BaseError as error:
            return BaseEntry(
                name, source, "", os.path.exists(source), in_use, vae=vae,
                quantize=settings.quantize or PLAIN, problem=error.text,
            )  # fmt: skip
        return BaseEntry(
            name, source, facts.family, True, in_use,
            prediction_type=facts.prediction_type, native_size_px=facts.native_size_px, size_gb=_size_gb(facts.path),
            licence=facts.merged.licences if facts.merged else licence_of(name),
            vae=vae, quantize=facts.quantize,
            merged=facts.merged is not None, notes=facts.notes,
        )  # fmt: skip

    def _all(self, state: ShelfState) -> dict[str, ShelvedBase]:
        """Return by name the starter, what is on the list, and what was put into the folder of bases by hand."""
        bases = {"starter": ShelvedBase(str(STARTER), state.starter)} | state.bases
        sources = {base.source for base in bases.values()}
        for path in sorted(self.home.bases.glob("*")):
            by_hand = path.suffix.lower() == ".safetensors" or os.path.lexists(path / "model_index.json")
            if by_hand and not path.name.startswith(".") and str(path) not in sources:
                bases.setdefault(plain_name(path), ShelvedBase(str(path)))
        return bases

    def _check_room(self, hub_id: str) -> None:
        needed = next((base.size_gb for base in RECOMMENDED if base.hub_id == hub_id), 2.0) * 1.05
        if not (hub_folder(hub_id, self.home) / "model_index.json").is_file():
            self.check_room(int(needed * 1e9), Text.as_it_is(hub_id))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.home.bases / ".shelf.lock", timeout=self.lock_seconds)
        try:
            with disk_errors(Path(lock.lock_file)):
                self.home.bases.mkdir(parents=True, exist_ok=True)
                lock.acquire()
        except Timeout as error:
            raise Failure(
                "Another Atelier has been changing the bases for {lock_seconds:g} seconds.",
                "Try again.",
                lock_seconds=self.lock_seconds,
            ) from error
        try:
            yield
        finally:
            lock.release()


def _whole(settings: BaseSettings) -> BaseSettings:
    """The settings with the whole path of a VAE, which is used where it lies."""
    return replace(settings, vae=expanded(str(settings.vae)).absolute()) if settings.vae else settings


def find_source(source: str | Path, home: Home) -> tuple[Path, BaseSettings]:
    """Return (path, what the artist settled) for the starter, a path, a name on the shelf or a fetched Hub id.

    Nothing is downloaded here: that is `BaseShelf.add`, which looks for room first. Raises BaseError.
    """
    text = str(source).strip()
    path = expanded(text)
    shelf = BaseShelf(home)
    if text in ("", "starter"):
        return shelf.resolve(text)
    if is_here(path):
        return path.resolve(), shelf.settings_of(path.resolve())
    if path.suffix.lower() in PICKLED:
        return path, UNSET
    if is_hub_id(text) and not any(entry.name == text and entry.installed for entry in shelf.list()):
        if not (hub_folder(text, home) / "model_index.json").is_file():
            raise BaseError("The base {text} is not here yet.", "`bases add {text}` fetches it.", text=text)
        return hub_folder(text, home), shelf.settings_of(hub_folder(text, home))
    return shelf.resolve(text)


def _fingerprint_of(base: ShelvedBase) -> str:
    """Return a base's fingerprint, empty where it can't be had."""
    from safetensors import SafetensorError

    try:
        facts = inspect_base(Path(base.source), base.settings)
        return fingerprint(facts.unet_files, facts.unet_prefix)
    except (AtelierError, OSError, ValueError, RuntimeError, SafetensorError):
        return ""


def plain_name(path: Path) -> str:
    """Return a file's name without its extension, a folder's whole name: `sd-2.1` has no extension."""
    return path.name if os.path.isdir(path) else path.stem


def _size_gb(path: Path) -> float:
    if not os.path.isdir(path):
        return round(os.path.getsize(path) / 1e9, 2)
    files = (os.path.join(here, name) for here, _, names in os.walk(path) for name in names)
    return round(sum(os.path.getsize(file) for file in files if os.path.isfile(file)) / 1e9, 2)
