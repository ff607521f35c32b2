"""The file of the shelf: where each base lies, what the artist settled for it, which one is in use."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styles.bases.base_settings import UNSET, BaseSettings
from styles.errors import BaseError
from styles.quantization.quantization import PLAIN, QUANTIZATIONS
from styles.storage.atomic import set_aside, write_text
from styles.storage.file_reading import changed_ns, read_json, why
from styles.storage.names import clean_text
from styles.text import Text


@dataclass(frozen=True)
class ShelvedBase:
    """Where a base lies, and what the artist settled for it."""

    source: str
    settings: BaseSettings = UNSET


@dataclass
class ShelfState:
    """What the file holds; `bases` by name, without the starter."""

    in_use: str = "starter"
    bases: dict[str, ShelvedBase] = field(default_factory=dict)
    starter: BaseSettings = UNSET  # which is kept in four bits, or as it is


class ShelfFile:
    """`shelf.json` of one home; what of it can't be read counts as not there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def version(self) -> object:
        """What changes with the file."""
        return changed_ns(self.path)

    @property
    def problem(self) -> BaseError | None:
        """What is wrong with the file; what `read` says holds all the same."""
        return self._read_and_judge()[1]

    def read(self) -> ShelfState:
        """Return what of the file can be used."""
        return self._read_and_judge()[0]

    def write(self, state: ShelfState) -> None:
        """Keep the state; a damaged file is set aside first."""
        if self.problem:
            set_aside(self.path)
        kept: dict[str, Any] = {
            "in_use": state.in_use,
            "bases": {name: _stored(base) for name, base in state.bases.items()},
            "starter": state.starter.quantize or PLAIN,
        }
        write_text(self.path, json.dumps(kept, indent=2))

    def _read_and_judge(self) -> tuple[ShelfState, BaseError | None]:
        try:
            stored = read_json(self.path)
        except (FileNotFoundError, NotADirectoryError):  # of the latter `Home.problems` tells
            return ShelfState(), None
        except (OSError, ValueError) as error:
            return ShelfState(), self._damaged(Text.as_it_is(why(error)))
        bases, in_use = (stored.get(key) if isinstance(stored, dict) else None for key in ("bases", "in_use"))
        if not isinstance(bases, dict) or not isinstance(in_use, str):
            return ShelfState(), self._damaged(Text("it is no list of bases"))
        odd = next((name for name, base in bases.items() if not _is_whole(base)), None)
        problem = None if odd is None else self._damaged(Text("at “{name}”", name=clean_text(odd, 80)))
        starter = stored.get("starter")
        if starter is not None and not _is_quantize(starter):
            problem = problem or BaseError(
                "{path} is damaged: how the starter is kept is not known, so that it is kept as it is.",
                "Choose again how it is kept; with the next change the file is set aside.",
                path=self.path,
            )
        state = ShelfState(
            in_use,
            {name: _shelved(base) for name, base in bases.items() if _is_whole(base)},
            BaseSettings(quantize=starter) if starter != PLAIN and _is_quantize(starter) else UNSET,
        )
        return state, problem

    def _damaged(self, why: Text) -> BaseError:
        return BaseError(
            "{path} is damaged ({reason}), so that not all of your bases are listed.",
            "Add them again; with the next change it is set aside. The bases themselves are not touched.",
            path=self.path,
            reason=why,
        )


def _is_quantize(stored: Any) -> bool:
    return isinstance(stored, str) and stored in (PLAIN, *QUANTIZATIONS)


def _is_whole(stored: Any) -> bool:
    """Whether a value of the list says where a base is."""
    return (
        isinstance(stored, dict)
        and isinstance(stored.get("source"), str)
        and isinstance(stored.get("prediction_type"), str | None)
        and isinstance(stored.get("zero_terminal_snr"), bool | None)
        and isinstance(stored.get("vae"), str | None)
        and (stored.get("quantize") is None or _is_quantize(stored["quantize"]))
    )


def _shelved(stored: dict[str, Any]) -> ShelvedBase:
    vae = stored.get("vae")
    settings = BaseSettings(
        stored.get("prediction_type"),
        stored.get("zero_terminal_snr"),
        Path(vae) if vae else None,
        stored.get("quantize"),
    )
    return ShelvedBase(stored["source"], settings)


def _stored(base: ShelvedBase) -> dict[str, Any]:
    """The value of the list for a base; what came later is left out where it says nothing."""
    later = {
        "zero_terminal_snr": base.settings.zero_terminal_snr,
        "vae": str(base.settings.vae or "") or None,
        "quantize": base.settings.quantize,
    }
    return {
        "source": base.source,
        "prediction_type": base.settings.prediction_type,
        **{key: value for key, value in later.items() if value is not None},
    }
