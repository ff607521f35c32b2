"""What a training run tells the world: one frozen dataclass per kind of event, one JSON line each in the journal."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from styles.quantization.quantization import PLAIN
from styles.storage.field_types import has_its_types
from styles.storage.file_reading import json_of
from styles.text import NO_TEXT, Text, text_from_json, text_to_json


@dataclass(frozen=True)
class PhaseStarted:
    """A phase has begun, or has come further: the same phase is told again with `done` raised."""

    phase: str  # "base" | "artworks" | "captions" | "latents" | "training" | "style"
    done: int = 0
    total: int = 0  # 0: the phase has no countable parts


@dataclass(frozen=True)
class Warned:
    """Something the artist should know that does not stop the run."""

    message: Text
    hint: Text = NO_TEXT


@dataclass(frozen=True)
class StepDone:
    """Progress of the loop, told every few steps because reading the loss waits for the device."""

    step: int
    steps: int
    loss: float  # mean since the last such event
    learning_rate: float
    seconds: float  # spent in the training loop so far, over all resumes
    seconds_left: float  # estimate, previews included


@dataclass(frozen=True)
class PreviewReady:
    """Preview pictures of one step; `paths` are relative to the job folder, in the order of `prompts`."""

    step: int
    paths: tuple[str, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class CheckpointSaved:
    """A state from which the run can go on; `path` is relative to the job folder."""

    step: int
    path: str


@dataclass(frozen=True)
class ThreadsChosen:
    """From this step on an operation takes so many threads of the processor, which its last bits depend on."""

    step: int
    threads: int


@dataclass(frozen=True)
class MemoryFitted:
    """How the base is kept and the pictures of a step are gone through from here on, by the memory that is free."""

    batch: int
    gradient_accumulation: int
    gradient_checkpointing: bool
    needed_bytes: int
    free_bytes: int
    reason: Text = NO_TEXT  # why it is other than planned, and what that costs; empty where it is as planned
    quantize: str = PLAIN  # how the base is kept


@dataclass(frozen=True)
class RolledBack:
    """The loss or the weights were no longer numbers: the run went back to its last good checkpoint."""

    step: int
    to_step: int
    learning_rate_factor: float  # what the plan's learning rate is multiplied with from now on
    reason: Text


@dataclass(frozen=True)
class Paused:
    """The run has saved a checkpoint (or had nothing to save) and its process ends; starting it again goes on."""

    step: int


@dataclass(frozen=True)
class Finished:
    """The run is over; `style_path` is the file in the library, empty when stopped before the first step."""

    step: int
    style_path: str
    style_id: str
    style_name: str
    seconds: float
    stopped: bool = False  # True: stopped by the artist before the planned number of steps


@dataclass(frozen=True)
class Failed:
    """The run has ended without a style; `log` is the file that holds the technical details."""

    message: Text
    hint: Text
    log: str = ""
    exit_code: int = 1


TrainingEvent = (
    PhaseStarted
    | Warned
    | StepDone
    | PreviewReady
    | CheckpointSaved
    | ThreadsChosen
    | MemoryFitted
    | RolledBack
    | Paused
    | Finished
    | Failed
)

_KINDS: dict[str, type[TrainingEvent]] = {
    kind.__name__: kind
    for kind in (
        PhaseStarted,
        Warned,
        StepDone,
        PreviewReady,
        CheckpointSaved,
        ThreadsChosen,
        MemoryFitted,
        RolledBack,
        Paused,
        Finished,
        Failed,
    )
}


def to_json_line(event: TrainingEvent) -> str:
    """Write an event as one line of JSON without the line end."""
    values = {
        name: text_to_json(value) if isinstance(value, Text) else value
        for name, value in asdict(event).items()
    }
    return json.dumps({"event": type(event).__name__, **values}, ensure_ascii=False, allow_nan=False)


def from_json_line(line: str) -> TrainingEvent | None:
    """Read one journal line; None when it is half written or of a kind that this version does not know."""
    try:
        said = json_of(line)
        kind = _KINDS[said.pop("event")]
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items()}
        for field in fields(kind):
            if field.type == "Text" and field.name in values:
                values[field.name] = text_from_json(values[field.name])
        event = kind(**values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return event if has_its_types(event) else None
