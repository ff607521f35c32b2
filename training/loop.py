"""The training run itself: a generator of events over a job folder."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from styles.base import Base, open_base
from styles.errors import OutOfMemory, TrainingFailed
from styles.library import Library
from training import checkpoint as checkpoints
from training.adapters import adapted, continue_style, set_weight
from training.checkpoint import Checkpoint, Progress
from training.draws import Draw, draw
from training.encode import Interrupted, Prepared, check_trainable, load, prepare
from training.events import (
    CheckpointSaved,
    Finished,
    Paused,
    PhaseStarted,
    PreviewReady,
    RolledBack,
    StepDone,
    TrainingEvent,
    Warned,
)
from training.job import Job
from training.loss import Objective, learning_rate_at, objective_of
from training.plan import TrainingPlan
from training.preview import paint_previews
from training.result import finish

MOST_ROLLBACKS = 4
ROLLBACK_FACTOR = 0.5  # of the learning rate
_PRECISION = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}


def train(
    job: Job,
    *,
    base: Base | None = None,
    device: str = "auto",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[TrainingEvent]:
    """Train the job's style from where it stands to its end, or until it is asked to pause or to stop.

    Yields what happens; the caller appends it to the journal. The last event is Paused or Finished; by then the style
    lies in the library. `cancelled()` means pause; it and the job's requests are looked at in every phase. Only the
    process that holds the job's lock may call this. `base` is an open base to train on (left bit-identical), else the
    plan's is opened. Raises from styles.errors; the checkpoints stay, so that the job can be started again.
    """

    def asked() -> Literal["pause", "stop"] | None:
        return job.requested() or ("pause" if cancelled() else None)

    start = checkpoints.latest(job.folder / "checkpoints")
    try:
        if asked():
            raise Interrupted
        yield from _run(job, base, device, start, asked)
    except Interrupted:
        request, start = asked() or "pause", checkpoints.latest(job.folder / "checkpoints")
        done = start.progress.step if start else 0
        job.request("resume")
        if request == "pause":
            yield Paused(done)
        elif start and done:
            yield PhaseStarted("style")
            yield finish(job, start)
        else:
            yield Finished(0, "", "", job.name, 0.0, stopped=True)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise _advised(job.plan) from error


def _run(
    job: Job,
    given: Base | None,
    device: str,
    start: Checkpoint | None,
    asked: Callable[[], Literal["pause", "stop"] | None],
) -> Iterator[TrainingEvent]:
    plan = job.plan
    yield PhaseStarted("base")
    base = given or open_base(plan.base, job.home, device=device, safety_checker=False)
    check_trainable(base, plan)
    if start and start.progress.base_fingerprint != base.fingerprint:
        raise TrainingFailed(
            f"{base.name} is not the base that this training began with.",
            "Bring that base back, or start anew.",
        )
    vae_parameter = next(base.vae.parameters())
    place, kind = vae_parameter.device, vae_parameter.dtype
    try:
        if kind != torch.float32:
            base.vae.float()  # half-precision encoding loses fine texture, and it happens once
        yield from prepare(base, job, plan, lambda: asked() is not None)
        # The loop needs no text encoder any more, and the VAE only for previews.
        base = replace(base, text_encoders=(), tokenizers=())
        if base.device.type != "cpu":
            base.vae.to("cpu")
        gc.collect()
        _free_device(base.device)
        with adapted(base.unet, plan) as weights:
            yield from _loop(job, plan, base, weights, start, asked)
    finally:
        if given:
            base.vae.to(place)
            if kind != torch.float32:
                base.vae.to(kind)
    yield PhaseStarted("style")
    last = checkpoints.latest(job.folder / "checkpoints")
    assert last is not None
    yield finish(job, last)


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
    progress: Progress
    started: float  # monotonic seconds, set back by what earlier processes spent
    loss: Tensor  # sum since the last report, on the device
    unread: int = 0  # steps in that sum

    def take_step(self) -> None:
        """One optimizer step; nothing in it waits for the device.

        An opposite step trains at weight -1 towards what lies as far from the base's own prediction on the other side,
        so that the slider goes on below 0 as above it: what a style adds at 1 it takes away at -1.
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
                loss = self.objective.loss(self._predict(noisy, drawn), target, drawn.timesteps)
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

    def _predict(self, noisy: Tensor, drawn: Draw) -> Tensor:
        return self.unet(noisy.to(self.dtype), drawn.timesteps, drawn.embeddings, return_dict=False)[0]

    def _opposite(self, noisy: Tensor, drawn: Draw, target: Tensor) -> Tensor:
        """Set the layers to weight -1 and return what they should predict there, (B, C, h, w) fp32."""
        self.unet.disable_adapters()  # not weight 0, which would still cost their matrix products
        with torch.no_grad():
            plain = self._predict(noisy, drawn).float()
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
            self.progress, seconds=self.seconds(), scaler=scaler.state_dict() if scaler else {}
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
        AcceleratorState._reset_state(
            reset_partial_state=True
        )  # one per process, refuses any other precision

    def restore(self, state: Checkpoint) -> None:
        checkpoints.restore(state, self.weights, self.optimizer.optimizer)
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler and state.progress.scaler:
            scaler.load_state_dict(state.progress.scaler)
        self.progress = replace(state.progress, environment=self.progress.environment)
        self.loss.zero_()
        self.unread = 0


def _loop(
    job: Job,
    plan: TrainingPlan,
    base: Base,
    weights: dict[str, Tensor],
    start: Checkpoint | None,
    asked: Callable[[], Literal["pause", "stop"] | None],
) -> Iterator[TrainingEvent]:
    """Take the steps; ends when the last checkpoint is the result. Raises Interrupted after saving on a request."""
    if plan.continue_from and start is None:  # a checkpoint holds all; the style may be gone by then
        continue_style(weights, Library(job.home).open(plan.continue_from), plan)
    trainer = begin(job, plan, base, weights)
    try:
        yield from _steps(job, base, trainer, start, asked)
    finally:
        trainer.close()


def _steps(
    job: Job,
    base: Base,
    trainer: Trainer,
    start: Checkpoint | None,
    asked: Callable[[], Literal["pause", "stop"] | None],
) -> Iterator[TrainingEvent]:
    plan, folder = trainer.plan, job.folder / "checkpoints"
    saved, took_from = -1, 0
    if start:
        yield from _note_changes(start.progress.environment, trainer.progress.environment)
        trainer.restore(start)
        trainer.started = time.monotonic() - start.progress.seconds
        saved = took_from = trainer.progress.step
    began = time.monotonic()
    yield PhaseStarted("training", trainer.progress.step, plan.steps)
    while True:
        step, request = trainer.progress.step, asked()
        saving = saved != step and (
            request is not None or checkpoints.is_due(step, plan.steps, plan.checkpoint_every)
        )
        if trainer.unread and (saving or step % plan.report_every == 0):
            loss = trainer.read_loss()
            if not trainer.is_healthy(loss):
                event = _roll_back(trainer, folder)
                saved = event.to_step
                yield event
                continue
            rate = trainer.optimizer.param_groups[0]["lr"]
            pace = (time.monotonic() - began) / max(1, step - took_from)
            yield StepDone(
                step, plan.steps, loss, rate, trainer.seconds(), max(0.0, pace * (plan.steps - step))
            )
        if saving:
            path = checkpoints.save(folder, trainer.checkpoint(), plan.steps)
            saved = step
            yield CheckpointSaved(step, path.relative_to(job.folder).as_posix())
        if request:
            raise Interrupted
        if _preview_due(job, plan, step):
            try:
                previews = _previews(job, base, trainer, lambda: asked() is not None)
            except Interrupted:
                continue  # what was learnt up to here is saved first
            yield previews
        if step == plan.steps:
            return
        trainer.take_step()


def begin(job: Job, plan: TrainingPlan, base: Base, weights: dict[str, Tensor]) -> Trainer:
    """Make the trainer at step 0 of a prepared job, for the layers that are on the base."""
    from accelerate import Accelerator

    accelerator = Accelerator(
        mixed_precision=_PRECISION[base.dtype],
        gradient_accumulation_steps=plan.gradient_accumulation,
        cpu=base.device.type == "cpu",
    )
    if accelerator.num_processes > 1:
        raise TrainingFailed(
            "Training on several devices at once is not there yet.", "Start it on one device."
        )
    unet = base.unet.train()  # gradient checkpointing works in this mode only; nothing else depends on it
    if plan.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    else:
        unet.disable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(
        list(weights.values()),
        lr=plan.learning_rate,
        weight_decay=plan.weight_decay,
        fused=base.device.type in ("cpu", "cuda"),  # one kernel for all layers instead of several for each
    )
    prepared_unet, prepared_optimizer = accelerator.prepare(unet, optimizer)
    device = base.device
    progress = Progress(
        0,
        base_name=base.name,
        base_family=base.family,
        base_fingerprint=base.fingerprint,
        prediction_type=base.prediction_type,
        resolution_px=plan.resolution_px or base.native_size_px,
        environment=checkpoints.environment(device, base.dtype),
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


def _on_device(prepared: Prepared, device: torch.device, dtype: torch.dtype) -> Prepared:
    """Bring everything to the device once, so that no step waits for a transfer."""
    buckets = tuple(
        replace(b, mean=b.mean.to(device), std=b.std.to(device), captions=b.captions.to(device))
        for b in prepared.buckets
    )
    texts = (prepared.embeddings, prepared.previews, prepared.companions)
    return Prepared(buckets, *(text.to(device, dtype) for text in texts))


def _note_changes(before: dict[str, str], now: dict[str, str]) -> Iterator[Warned]:
    changed = [
        f"{name} {before.get(name, 'unknown')} -> {now[name]}"
        for name in now
        if before.get(name) != now[name]
    ]
    if changed:
        yield Warned(
            f"Going on under other conditions: {', '.join(changed)}.",
            "The style comes out as good, but not the same to the last bit as without the break.",
        )


def _roll_back(trainer: Trainer, folder: Any) -> RolledBack:
    """Return to the newest checkpoint with a lower learning rate; raises TrainingFailed after too many times."""
    failed_at, before = trainer.progress.step, trainer.progress
    state = checkpoints.latest(folder)
    rollbacks = before.rollbacks + 1
    if state is None or rollbacks > MOST_ROLLBACKS:
        raise TrainingFailed(
            f"The numbers of the training overflowed {rollbacks} times, last at step {failed_at}.",
            "Use a much lower learning rate, or look whether one of the artworks is damaged.",
        )
    factor = min(before.learning_rate_factor, state.progress.learning_rate_factor) * ROLLBACK_FACTOR
    trainer.restore(state)
    trainer.progress = replace(trainer.progress, learning_rate_factor=factor, rollbacks=rollbacks)
    return RolledBack(
        failed_at, state.progress.step, factor, "the loss or the weights were no longer finite numbers"
    )


def _preview_due(job: Job, plan: TrainingPlan, step: int) -> bool:
    if not plan.preview_every or not plan.preview_prompts:
        return False
    due = step % plan.preview_every == 0 or step == plan.steps
    return due and not (job.folder / _preview_path(step, len(plan.preview_prompts) - 1)).exists()


def _preview_path(step: int, number: int) -> str:
    return f"previews/step-{step:06d}-{number}.png"


def _previews(job: Job, base: Base, trainer: Trainer, cancelled: Callable[[], bool]) -> PreviewReady:
    from styles.atomic import replacing

    plan, prepared = trainer.plan, trainer.prepared
    step = trainer.progress.step
    images = paint_previews(base, trainer.unet, prepared.previews, prepared.embeddings[:1], plan, cancelled)
    paths = []
    for number, image in enumerate(images):
        paths.append(_preview_path(step, number))
        with replacing(job.folder / paths[-1]) as temporary:
            image.save(temporary)
    return PreviewReady(step, tuple(paths), plan.preview_prompts)


def _free_device(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the device's memory, or the computer's, was too small."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()  # the CPU's and MPS's allocators raise plain RuntimeErrors
    return any(sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory"))


def _advised(plan: TrainingPlan) -> OutOfMemory:
    advice = []
    if plan.batch > 1:
        advice.append(f"a batch of {max(1, plan.batch // 2)} with twice the gradient accumulation")
    if not plan.gradient_checkpointing:
        advice.append("gradient checkpointing")
    advice.append("a smaller resolution")
    return OutOfMemory(
        f"The device's memory is too small for a batch of {plan.batch} on this base.",
        f"Close other programs that use the device, or train with {', '.join(advice)}. What was learnt so far is kept.",
    )
