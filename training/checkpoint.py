"""States from which a run goes on: one safetensors file each, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.quantization.quantization import PLAIN, quantization_of
from styles.storage.atomic import write_bytes, write_text
from styles.storage.file_reading import open_file, read_text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from training.plan import TrainingPlan

KEPT = 2  # newest checkpoints kept; milestones stay besides
NAME = re.compile(r"step-[0-9]{6}\.safetensors")  # a plan has at most 100,000 steps
SPLIT = re.compile(r"(\d{1,4}) x (\d{1,4})( checkpointed)?")
MILESTONES = 4  # parts that the run is divided into


@dataclass(frozen=True)
class RunState:
    """What a checkpoint says besides its tensors."""

    step: int  # steps done
    seconds: float = 0.0  # spent in the loop
    learning_rate_factor: float = 1.0  # below 1 after roll-backs
    rollbacks: int = 0
    base_name: str = ""
    base_family: str = ""
    base_fingerprint: str = ""
    quantize: str = PLAIN  # how the base's linear layers were kept
    prediction_type: str = ""  # the base's
    base_layers: int = 0  # of cross-attention in its UNet; 0 where an older version didn't note it
    resolution_px: int = 0  # side of the square whose area every artwork got
    environment: dict[str, str] = field(default_factory=dict)  # what rounding depends on
    scaler: dict[str, Any] = field(default_factory=dict)  # fp16's loss scale

    @property
    def threads(self) -> int:
        """How many threads of the processor an operation took; 0 where that was not noted."""
        noted = self.environment.get("threads", "")
        return int(noted) if noted.isdecimal() else 0

    @property
    def split(self) -> tuple[int, int, bool] | None:
        """Batch, gradient accumulation and whether gradients were checkpointed; None where that was not noted."""
        noted = SPLIT.fullmatch(self.environment.get("batch", ""))
        return (int(noted[1]), int(noted[2]), bool(noted[3])) if noted else None


@dataclass(frozen=True)
class Checkpoint:
    """The style's weights and the optimizer's state after a step; tensors on the CPU in fp32."""

    progress: RunState
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]  # "<weight name>.step", ".exp_avg", ".exp_avg_sq"


def is_due(step: int, steps: int, every: int) -> bool:
    """Say whether a checkpoint belongs after `step`: at fixed intervals, at milestones, first and last."""
    return step % every == 0 or step == steps or step in milestones(steps)


def milestones(steps: int) -> set[int]:
    """Return the steps whose checkpoints are kept for good: the quarters of the run."""
    return {round(steps * part / MILESTONES) for part in range(1, MILESTONES + 1)}


def save(folder: Path, checkpoint: Checkpoint, steps: int) -> Path:
    """Write a checkpoint and drop older ones that are neither among the newest nor milestones."""
    from safetensors.torch import save

    path = folder / f"step-{checkpoint.progress.step:06d}.safetensors"
    tensors = {f"weights.{name}": value for name, value in checkpoint.weights.items()}
    tensors |= {f"optimizer.{name}": value for name, value in checkpoint.optimizer.items()}
    # Not `save_file`: what the system says of a full disk would not come through it.
    data = save(tensors, {"progress": json.dumps(asdict(checkpoint.progress))})
    # First the hash: of a run that is killed in between, the checkpoint before is taken.
    write_text(_hash_file(path), hashlib.sha256(data).hexdigest() + "\n")
    write_bytes(path, data)
    keep = {f"step-{step:06d}.safetensors" for step in milestones(steps)}
    for old in _files(folder)[:-KEPT]:
        if old.name not in keep:
            with suppress(PermissionError):  # Windows, while a virus scanner looks at it: the next time then
                old.unlink(missing_ok=True)
                _hash_file(old).unlink(missing_ok=True)
    return path


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; raises OSError, ValueError or SafetensorError for a damaged one, or a changed one."""
    from safetensors import safe_open

    if _has_changed(path):
        raise ValueError(path)
    weights: dict[str, Tensor] = {}
    optimizer: dict[str, Tensor] = {}
    with open_file(path), safe_open(path, "pt") as file:  # the first, since the library would wait for a pipe
        progress = RunState(**json.loads((file.metadata() or {}).get("progress", "")))
        for key in file.keys():  # noqa: SIM118 (no mapping)
            kind, name = key.split(".", 1)
            # A copy: else it stays mapped, and Windows deletes no mapped file.
            (weights if kind == "weights" else optimizer)[name] = file.get_tensor(key).clone()
    return Checkpoint(progress, weights, optimizer)


def latest(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is as it was saved, None without any."""
    return newest(folder)[0]


def newest(folder: Path) -> tuple[Checkpoint | None, list[int]]:
    """Return the newest checkpoint that is as it was saved, and the steps of newer ones that are not.

    One that a failing disk has damaged, or that something has changed, is passed over: the one before is as good a
    start.
    """
    damaged: list[int] = []
    for step in reversed(steps_in(folder)):
        if checkpoint := at(folder, step):
            return checkpoint, damaged
        damaged.append(step)
    return None, damaged


def steps_in(folder: Path) -> list[int]:
    """Return the steps that there are checkpoints of, in order."""
    return [_step(path) for path in _files(folder)]


def strays(folder: Path) -> list[Path]:
    """Return what lies among the checkpoints under a name much like theirs, such as a cloud's conflicted copy."""
    return sorted(set(folder.glob("step-*.safetensors")) - set(_files(folder)))


def at(folder: Path, step: int) -> Checkpoint | None:
    """Return the checkpoint after a step, None where there is none that is as it was saved."""
    from safetensors import SafetensorError

    try:
        return load(folder / f"step-{step:06d}.safetensors")
    except (OSError, ValueError, TypeError, SafetensorError):
        return None


def _hash_file(path: Path) -> Path:
    """Where the sha256 of a checkpoint's file stands, in hexadecimal; those of older versions have none."""
    return path.with_name(path.name + ".sha256")


def _has_changed(path: Path) -> bool:
    try:
        noted = read_text(_hash_file(path)).strip()
    except FileNotFoundError:
        return False
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() != noted


def _files(folder: Path) -> list[Path]:
    files = (path for path in folder.glob("step-*.safetensors") if NAME.fullmatch(path.name))
    return sorted((path for path in files if os.path.isfile(path)), key=_step)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def optimizer_tensors(optimizer: torch.optim.Optimizer, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return an optimizer's state by weight name, copied to the CPU; a whole number is a tensor without dimensions."""
    import torch

    return {
        f"{name}.{part}": torch.as_tensor(value).detach().cpu().clone()
        for name, weight in weights.items()
        for part, value in optimizer.state.get(weight, {}).items()
    }


def restore(checkpoint: Checkpoint, weights: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Set weights and optimizer to a checkpoint's state; raises KeyError when they are not its own."""
    for name, weight in weights.items():
        weight.data.copy_(checkpoint.weights[name])
        weight.grad = None
    names = {id(weight): name for name, weight in weights.items()}
    state: dict[int, dict[str, Tensor]] = {}
    for number, weight in enumerate(optimizer.param_groups[0]["params"]):
        prefix = f"{names[id(weight)]}."
        parts = {
            key.removeprefix(prefix): value.clone()
            for key, value in checkpoint.optimizer.items()
            if key.startswith(prefix)
        }
        if parts:
            state[number] = parts
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def split_words(plan: TrainingPlan) -> str:
    """Write how a step's pictures are split, as `RunState.split` reads it."""
    checkpointed = " checkpointed" if plan.gradient_checkpointing else ""
    return f"{plan.batch} x {plan.gradient_accumulation}{checkpointed}"


def environment(device: torch.device, dtype: torch.dtype, plan: TrainingPlan) -> dict[str, str]:
    """Return what a result's last bits depend on: machine, thread count, versions, how a step is split.

    The plan says how the base is kept.
    """
    from importlib.metadata import version

    import torch

    from styles.devices.cards import card_of

    name = platform.machine() if device.type == "cpu" else card_of(device).name
    quantization = quantization_of(plan.quantize)
    in_four_bits = {"base": f"{plan.quantize} {quantization.version}"} if quantization else {}
    return (
        {
            "device": f"{device.type} {name}",
            "dtype": str(dtype).removeprefix("torch."),
            "threads": str(torch.get_num_threads()),
            "batch": split_words(plan),
            "python": platform.python_version(),
        }
        | in_four_bits
        | {package: version(package) for package in ("torch", "diffusers", "peft", "accelerate")}
    )
