"""A training between two of its steps: layers, optimizer, prepared tensors, and how far it has come."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from styles.bases.base import Base
from styles.bases.offload import bring
from styles.bases.prediction import predict
from styles.errors import TrainingFailed, is_out_of_memory
from styles.mixing.layer_matching import cross_attention_layers
from training import checkpoint as checkpoints
from training.adapters import set_weight
from training.checkpoint import Checkpoint, RunState
from training.draws import Draw, draw
from training.encode import Bucket, Interrupted, Prepared, load
from training.job import Job
from training.loss import Objective, learning_rate_at, objective_of
from training.optimizers import OPTIMIZERS, check_optimizer
from training.plan import TrainingPlan

_PRECISION = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass
class Trainer:
    """What changes from step to step."""

    plan: TrainingPlan
    accelerator: Any
    unet: Any
    optimizer: Any
    weights: dict[str, Tensor]
    objective: Objective
    prepared: Prepared
    dtype: torch.dtype
    progress: RunState
    started: float  # monotonic seconds, set back by what earlier processes spent
    loss: Tensor  # sum since the last report, on the device
    unread: int = 0  # steps in that sum

    def take_step(self) -> None:
        """One optimizer step; where it is interrupted or runs out of memory, everything is as before it."""
        loss, parts, optimizer = self.loss.clone(), self.accelerator.step, self.optimizer.optimizer
        first = not optimizer.state
        try:
            self._take_step()
        except Exception as error:
            if not (isinstance(error, Interrupted) or is_out_of_memory(error)):
                raise
            self.loss, self.accelerator.step = loss, parts
            optimizer.zero_grad()  # accelerate's own does nothing between the parts of a step
            if first:
                # Made in the first step, and perhaps not for all weights.
                optimizer.state.clear()
            if scaler := getattr(self.accelerator, "scaler", None):
                # Else it refuses the next gradients, since it has unscaled these.
                scaler._per_optimizer_states.clear()
            self.unet.enable_adapters()
            set_weight(self.unet, 1.0)
            raise

    def _take_step(self) -> None:
        """Draw, predict, and go one step; nothing in it waits for the device.

        An opposite step trains at weight -1 towards 2 p - t, where p is the base's own prediction and t the usual
        target: what a style adds at 1 it takes away at -1. At the start its gradient is that of a usual step.
        """
        plan, step = self.plan, self.progress.step
        rate = learning_rate_at(plan, step) * self.progress.learning_rate_factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        opposite = bool(plan.opposite_every) and (step + 1) % plan.opposite_every == 0
        for part in range(plan.gradient_accumulation):
            with self.accelerator.accumulate(self.unet):
                drawn = draw(self.prepared, plan, step, part, self.objective.train_timesteps)
                noisy, target = self.objective.noisy(drawn)
                if opposite:
                    target = self._opposite(noisy, drawn, target)
                loss = self.objective.loss(self._predict(noisy, drawn), target, drawn.timesteps, drawn.mask)
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(self.weights.values(), plan.grad_clip)
                self.optimizer.step()
                self.optimizer.zero_grad()
                self.loss += loss.detach() / plan.gradient_accumulation
        if opposite:
            set_weight(self.unet, 1.0)
        self.unread += 1
        self.progress = replace(self.progress, step=step + 1)

    def rehearse(self) -> None:
        """Compute the next step's gradients and forget them, to see how long that takes; nothing is learnt."""
        drawn = draw(self.prepared, self.plan, self.progress.step, 0, self.objective.train_timesteps)
        noisy, target = self.objective.noisy(drawn)
        loss = self.objective.loss(self._predict(noisy, drawn), target, drawn.timesteps, drawn.mask)
        torch.autograd.grad(loss, list(self.weights.values()), allow_unused=True)

    def split(self, plan: TrainingPlan) -> None:
        """Go through the pictures of a step as this plan does from here on, which is the same in all else."""
        self.plan = plan
        self.accelerator.step, self.accelerator.gradient_accumulation_steps = 0, plan.gradient_accumulation
        _checkpoint_gradients(self.unet, plan)
        environment = self.progress.environment | {"batch": checkpoints.split_words(plan)}
        self.progress = replace(self.progress, environment=environment)

    def _predict(self, noisy: Tensor, drawn: Draw) -> Tensor:
        return predict(self.unet, noisy.to(self.dtype), drawn.timesteps, drawn.conditioning)

    def _opposite(self, noisy: Tensor, drawn: Draw, target: Tensor) -> Tensor:
        """Set the layers to weight -1 and return what they should predict there, (B, C, h, w) fp32."""
        self.unet.disable_adapters()  # not weight 0, which would still cost their matrix products
        with torch.no_grad():
            plain = self._predict(noisy, drawn)
        self.unet.enable_adapters()
        set_weight(self.unet, -1.0)
        return 2 * plain - target

    def read_loss(self) -> float:
        """Return the mean loss since the last reading; waits for the device."""
        mean = float(self.loss) / max(1, self.unread)
        self.loss.zero_()
        self.unread = 0
        return mean

    def is_healthy(self, loss: float) -> bool:
        """Say whether loss and weights are still numbers; waits for the device."""
        finite = torch.stack([weight.detach().isfinite().all() for weight in self.weights.values()]).all()
        return loss == loss and abs(loss) != float("inf") and bool(finite)

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def checkpoint(self) -> Checkpoint:
        scaler = getattr(self.accelerator, "scaler", None)
        progress = replace(
            self.progress,
            seconds=self.seconds(),
            scaler=scaler.state_dict() if scaler else {},
            environment=self.progress.environment | {"threads": str(torch.get_num_threads())},
        )
        weights = {name: weight.detach().cpu().clone() for name, weight in self.weights.items()}
        return Checkpoint(
            progress, weights, checkpoints.optimizer_tensors(self.optimizer.optimizer, self.weights)
        )

    def close(self) -> None:
        """Give the base its own forward back, and let the next training in this process choose its precision."""
        from accelerate.state import AcceleratorState

        unet = self.accelerator.unwrap_model(self.unet, keep_fp32_wrapper=False)
        unet.__dict__.pop("_is_accelerate_prepared", None)  # else the next `prepare` would leave out autocast
        unet.__dict__.pop("forward", None)
        self.accelerator.free_memory()
        # There is one per process, which refuses any other precision.
        AcceleratorState._reset_state(reset_partial_state=True)

    def restore(self, state: Checkpoint) -> None:
        checkpoints.restore(state, self.weights, self.optimizer.optimizer)
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler and state.progress.scaler:
            scaler.load_state_dict(state.progress.scaler)
        self.progress = replace(state.progress, environment=self.progress.environment)
        self.loss.zero_()
        self.unread = 0


def accelerator_for(device: torch.device, dtype: torch.dtype, gradient_accumulation: int) -> Any:
    """Return accelerate's Accelerator on a device; by itself it would take the first that it finds."""
    from accelerate import Accelerator
    from accelerate.utils import patch_environment

    with patch_environment(ACCELERATE_TORCH_DEVICE=str(device)):
        return Accelerator(
            mixed_precision=_PRECISION[dtype],
            gradient_accumulation_steps=gradient_accumulation,
            cpu=device.type == "cpu",
        )


def begin(job: Job, plan: TrainingPlan, base: Base, weights: dict[str, Tensor]) -> Trainer:
    """Make the trainer at step 0 of a prepared job, for the layers that are on the base."""
    check_optimizer(plan.optimizer, base.device)
    accelerator = accelerator_for(base.device, base.dtype, plan.gradient_accumulation)
    if accelerator.num_processes > 1:
        raise TrainingFailed(
            "Training on several devices at once is not there yet.", "Start it on one device."
        )
    bring(base, base.unet)
    unet = base.unet.train()  # gradient checkpointing works in this mode only; nothing else depends on it
    _checkpoint_gradients(unet, plan)
    optimizer = OPTIMIZERS[plan.optimizer](list(weights.values()), plan)
    prepared_unet, prepared_optimizer = accelerator.prepare(unet, optimizer)
    device = base.device
    progress = RunState(
        0,
        base_name=base.name,
        base_family=base.family,
        base_fingerprint=base.fingerprint,
        quantize=base.quantize,
        prediction_type=base.prediction_type,
        base_layers=cross_attention_layers(base.unet),
        resolution_px=plan.resolution_px or base.native_size_px,
        environment=checkpoints.environment(device, base.dtype, plan),
    )
    return Trainer(
        plan=plan,
        accelerator=accelerator,
        unet=prepared_unet,
        optimizer=prepared_optimizer,
        weights=weights,
        objective=objective_of(
            base.scheduler_config, base.prediction_type, base.zero_terminal_snr, plan, device
        ),
        prepared=_on_device(load(job), device, base.dtype),
        dtype=base.dtype,
        progress=progress,
        started=time.monotonic(),
        loss=torch.zeros((), device=device),
    )


def _checkpoint_gradients(unet: Any, plan: TrainingPlan) -> None:
    if plan.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    else:
        unet.disable_gradient_checkpointing()


def _bucket_on(bucket: Bucket, device: torch.device) -> Bucket:
    # `rows` stays on the CPU, as all that is drawn from.
    moved = {
        name: value.to(device) for name, value in vars(bucket).items() if value is not None and name != "rows"
    }
    return replace(bucket, **moved)


def _on_device(prepared: Prepared, device: torch.device, dtype: torch.dtype) -> Prepared:
    """Bring everything to the device once, so that no step waits for a transfer."""
    buckets = tuple(_bucket_on(bucket, device) for bucket in prepared.buckets)
    captions, previews, negative = (
        texts.to(device, dtype) for texts in (prepared.captions, prepared.previews, prepared.preview_negative)
    )
    return Prepared(buckets, captions, prepared.companions, previews, negative)
