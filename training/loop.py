"""The training run itself: a generator of events over a job folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from styles.bases.base import Base, open_base
from styles.bases.stopping import at_most_every, models_of, stopping
from styles.bases.vae import in_fp32
from styles.devices.memory import give_back, limit_memory
from styles.devices.threads import Pace, fastest, is_chosen, use
from styles.errors import Cancelled, OutOfMemory, TrainingFailed, is_out_of_memory
from styles.library.library import Library
from styles.library.missing import card_of
from styles.quantization.quantization import quantization_words
from styles.text import NO_TEXT, Text
from training import checkpoint as checkpoints
from training.adapters import adapted, check_continued, continue_style
from training.checkpoint import Checkpoint
from training.encode import Interrupted, check_trainable, prepare
from training.events import (
    CheckpointSaved,
    Finished,
    Paused,
    PhaseStarted,
    PreviewReady,
    RolledBack,
    StepDone,
    ThreadsChosen,
    TrainingEvent,
)
from training.fitting import fit_to, fitted_again, has_room, less, memory_full
from training.job import Job
from training.opening import how_to_open
from training.placement import placed
from training.plan import TrainingPlan
from training.preview import is_preview_due, keep_previews, paint_previews
from training.result import finish
from training.run_notes import NO_PREVIEW, changed_conditions, passed_over, slowed_down
from training.step_times import StepTimes
from training.trainer import Trainer, begin
from training.untrained import keep_untrained

if TYPE_CHECKING:
    from PIL.Image import Image

LOOK_SECONDS = 0.1  # between two looks at the requests within a step
MOST_ROLLBACKS = 4
ROLLBACK_FACTOR = 0.5  # of the learning rate


def train(
    job: Job,
    *,
    base: Base | None = None,
    device: str = "auto",
    precision: str = "auto",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[TrainingEvent]:
    """Train the job's style from where it stands to its end, or until it is asked to pause or to stop.

    Yields what happens; the caller appends it to the journal. The last event is Paused or Finished; by then the style
    lies in the library. `cancelled()` means pause; it and the job's requests are looked at in every phase and within
    each step. Only the process that holds the job's lock may call this. `base` is an open base to train on (left
    bit-identical), else the plan's is opened on that device. With the precision "auto" a training goes on in the one that
    it began with. Raises from styles.errors; the checkpoints stay, so that the job can be
    started again.
    """

    def asked() -> Literal["pause", "stop"] | None:
        return job.requested() or ("pause" if cancelled() else None)

    start, damaged = checkpoints.newest(job.folder / "checkpoints")
    try:
        if damaged:
            yield passed_over(damaged, start)
        if asked():
            raise Interrupted
        yield from _run(job, base, (device, precision), start, asked)
    except (Interrupted, Cancelled):  # the latter while the base was being opened
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
    except Exception as error:
        if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
            raise
        raise memory_full(job.plan) from error


def _run(
    job: Job,
    given: Base | None,
    where: tuple[str, str],
    start: Checkpoint | None,
    request_of: Callable[[], Literal["pause", "stop"] | None],
) -> Iterator[TrainingEvent]:
    plan = job.plan
    yield PhaseStarted("base")
    base, opened = given, NO_TEXT
    if base is None:
        place = placed(*where, start)
        yield from place.notes
        limit_memory(place.device)
        quantize, opened = how_to_open(plan, job.home, place, start)
        base = open_base(
            plan.base,
            job.home,
            device=place.device,
            dtype=place.dtype,
            safety_checker=False,
            quantize=quantize,
            cancelled=lambda: request_of() is not None,
        )
    check_trainable(base, plan)
    if start and start.progress.base_fingerprint != base.fingerprint:
        raise TrainingFailed(
            "{base} is not the base that this training began with.",
            "Bring that base back, or start anew.",
            base=base.name,
        )
    if start and start.progress.quantize != base.quantize:
        raise TrainingFailed(
            "This training began with {base} {before}, and now it is opened {now}.",
            "Open it {before}, or start anew.",
            base=base.name,
            before=quantization_words(start.progress.quantize),
            now=quantization_words(base.quantize),
        )
    plan, fitted = fit_to(base, replace(plan, quantize=base.quantize), start, opened)
    if fitted is not None:
        yield fitted
    if start:
        use(start.progress.threads)
    continued = None
    # A checkpoint holds all; the style may be gone by then.
    if plan.continue_from and start is None:
        library = Library(job.home)
        # Where it went while the job waited, it is named.
        continued = library.open(library.handle(card_of(library, plan.continue_from)))
        check_continued(continued, plan)
        keep_untrained(job, continued)
    seldom = at_most_every(LOOK_SECONDS, lambda: request_of() is not None)  # a request is a file
    # Half-precision encoding loses fine texture, and it happens once.
    with in_fp32(base.vae):
        with stopping(models_of(base), seldom, Interrupted):
            yield from prepare(base, job, plan, lambda: request_of() is not None)
        # The loop needs no text encoder any more, and the VAE only for previews.
        base = replace(base, text_encoders=(), tokenizers=())
        if base.device.type != "cpu":
            base.vae.to("cpu")
        give_back(base.device)
        with adapted(base.unet, plan) as weights, stopping(models_of(base), seldom, Interrupted):
            if continued is not None:
                continue_style(weights, continued, plan)
            yield from _loop(job, plan, base, weights, start, request_of)
    yield PhaseStarted("style")
    last = checkpoints.latest(job.folder / "checkpoints")
    assert last is not None
    yield finish(job, last)


def _loop(
    job: Job,
    plan: TrainingPlan,
    base: Base,
    weights: dict[str, Tensor],
    start: Checkpoint | None,
    request_of: Callable[[], Literal["pause", "stop"] | None],
) -> Iterator[TrainingEvent]:
    """Take the steps; ends when the last checkpoint is the result. Raises Interrupted after saving on a request."""
    trainer = begin(job, plan, base, weights)
    try:
        yield from _steps(job, base, trainer, start, request_of)
    finally:
        trainer.close()


def _steps(
    job: Job,
    base: Base,
    trainer: Trainer,
    start: Checkpoint | None,
    request_of: Callable[[], Literal["pause", "stop"] | None],
) -> Iterator[TrainingEvent]:
    plan, folder = trainer.plan, job.folder / "checkpoints"
    saved, took_from = -1, 0
    if start:
        yield from changed_conditions(start.progress.environment, trainer.progress.environment)
        trainer.restore(start)
        trainer.started = time.monotonic() - start.progress.seconds
        saved = took_from = trainer.progress.step
    measures, steps_pace = base.device.type == "cpu" and not is_chosen(), Pace()
    times, unpainted, full = StepTimes(), -1, False
    if measures and not start:  # who goes on takes as many as before, so that the bits are the same
        yield from _choose_threads(trainer, request_of)
    began = time.monotonic()
    yield PhaseStarted("training", trainer.progress.step, plan.steps)
    while True:
        step, request = trainer.progress.step, request_of()
        saving = saved != step and (
            request is not None or full or checkpoints.is_due(step, plan.steps, plan.checkpoint_every)
        )
        if trainer.unread and (saving or step % plan.report_every == 0):
            with times.taken():
                loss = trainer.read_loss()
            yield from slowed_down(times, base.device)
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
        if full:
            raise memory_full(trainer.plan)
        if step != unpainted and is_preview_due(job, plan, step):
            try:
                previews = _previews(job, base, trainer, lambda: request_of() is not None)
            except Interrupted:
                continue  # what was learnt up to here is saved first
            if previews is None:
                unpainted = step
            yield previews or NO_PREVIEW
        if step == plan.steps:
            return
        step_began = time.monotonic()
        try:
            with times.taken(1):
                taken = has_room(trainer.take_step)
        except Interrupted:
            continue  # the step is taken back; what was learnt before it is saved first
        if not taken:
            smaller = less(trainer.plan)
            full = smaller is None
            give_back(base.device)
            if smaller is not None:
                trainer.split(smaller)
                times.begin_anew()
                yield fitted_again(base, smaller, step)
            continue
        if measures and steps_pace.has_changed(time.monotonic() - step_began):
            yield from _choose_threads(trainer, request_of)
            steps_pace.begin_anew()


def _choose_threads(
    trainer: Trainer, request_of: Callable[[], Literal["pause", "stop"] | None]
) -> Iterator[ThreadsChosen]:
    """Take the number of threads that steps are fastest with now; a request leaves it as it is."""

    def rehearse() -> None:
        if request_of():
            raise Interrupted
        trainer.rehearse()

    before = torch.get_num_threads()
    with contextlib.suppress(Interrupted):  # the loop looks at the request next, and saves before it ends
        if (threads := fastest(rehearse)) != before:
            yield ThreadsChosen(trainer.progress.step, threads)


def _roll_back(trainer: Trainer, folder: Any) -> RolledBack:
    """Return to the newest checkpoint with a lower learning rate; raises TrainingFailed after too many times."""
    failed_at, before = trainer.progress.step, trainer.progress
    state = checkpoints.latest(folder)
    rollbacks = before.rollbacks + 1
    if state is None or rollbacks > MOST_ROLLBACKS:
        raise TrainingFailed(
            "The numbers of the training overflowed {rollbacks} times, last at step {failed_at}.",
            "Use a much lower learning rate, or look whether one of the artworks is damaged."
            if trainer.dtype == torch.float32
            else "Choose fp32 as the precision, in the settings, and resume it; if it stays so, use a much lower learning rate, or look whether one of the artworks is damaged.",
            rollbacks=rollbacks,
            failed_at=failed_at,
        )
    factor = min(before.learning_rate_factor, state.progress.learning_rate_factor) * ROLLBACK_FACTOR
    trainer.restore(state)
    trainer.progress = replace(trainer.progress, learning_rate_factor=factor, rollbacks=rollbacks)
    return RolledBack(
        failed_at, state.progress.step, factor, Text("the loss or the weights were no longer finite numbers")
    )


def _previews(job: Job, base: Base, trainer: Trainer, cancelled: Callable[[], bool]) -> PreviewReady | None:
    """Paint and keep the previews of this step; None where there was too little memory for them."""
    plan, prepared = trainer.plan, trainer.prepared
    images: list[Image] = []

    def paint() -> None:
        images.extend(
            paint_previews(base, trainer.unet, prepared.previews, prepared.preview_negative, plan, cancelled)
        )

    if has_room(paint):
        return keep_previews(job, plan, trainer.progress.step, images)
    give_back(base.device)
    return None
