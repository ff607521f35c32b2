"""How far a training is, folded from the events of its journal."""

from __future__ import annotations

from dataclasses import dataclass, replace

from styles.text import Text
from training.events import (
    CheckpointSaved,
    Failed,
    Finished,
    MemoryFitted,
    Paused,
    PhaseStarted,
    PreviewReady,
    RolledBack,
    StepDone,
    TrainingEvent,
    Warned,
)

WAITING = Text("Waiting to start")
PHASE_WORDS = {
    "base": Text("Opening the base"),
    "captions": Text("Reading the captions"),
    "latents": Text("Encoding the artworks"),
    "training": Text("Training"),
    "style": Text("Writing the style"),
}


@dataclass(frozen=True)
class Progress:
    """What there is to show of one training at one moment."""

    phase: Text = WAITING
    step: int = 0
    furthest: int = 0  # step that it has come to before it went back, if it did
    steps: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None
    losses: tuple[tuple[int, float], ...] = ()  # (step, loss)
    previews: tuple[PreviewReady, ...] = ()  # by step
    warnings: tuple[Text, ...] = ()
    finished: Finished | None = None
    failed: Failed | None = None
    paused: bool = False

    @property
    def ended(self) -> bool:
        """Nothing more will come from the process that wrote this journal."""
        return self.finished is not None or self.failed is not None or self.paused

    @property
    def nothing_learnt(self) -> bool:
        """It was stopped before its first step, so that there is no style."""
        return self.finished is not None and not self.finished.style_path

    @property
    def share(self) -> float:
        """How much of the training steps has been done, 0 to 1; going back a few steps takes nothing away."""
        return min(1.0, max(self.step, self.furthest) / self.steps) if self.steps else 0.0

    def after(self, event: TrainingEvent) -> Progress:
        """The progress once `event` has happened."""
        going = replace(self, paused=False, failed=None, finished=None)
        match event:
            case PhaseStarted():
                words = PHASE_WORDS.get(event.phase) or Text.as_it_is(event.phase)
                if event.total and event.phase != "training":
                    words = Text("{phase} {done} of {total}", phase=words, done=event.done, total=event.total)
                return replace(going, phase=words)
            case Warned():
                return replace(
                    self,
                    warnings=(*self.warnings, Text.joined(" ", filter(None, [event.message, event.hint]))),
                )
            case StepDone():
                losses = tuple(point for point in self.losses if point[0] < event.step)
                return replace(
                    going, phase=Text("Training"), step=event.step, steps=event.steps, seconds=event.seconds,
                    seconds_left=event.seconds_left, losses=(*losses, (event.step, event.loss)),
                )  # fmt: skip
            case PreviewReady():
                kept_previews = tuple(preview for preview in self.previews if preview.step < event.step)
                return replace(self, previews=(*kept_previews, event))
            case CheckpointSaved():
                return self
            case MemoryFitted():
                # As planned there is nothing to say.
                return replace(self, warnings=(*self.warnings, *filter(None, [event.reason])))
            case RolledBack():
                note = Text(
                    "Went back from step {step} to {to_step}: {reason}",
                    step=event.step,
                    to_step=event.to_step,
                    reason=event.reason,
                )
                losses = tuple(point for point in self.losses if point[0] <= event.to_step)
                furthest = max(self.furthest, event.step)
                return replace(
                    self,
                    step=event.to_step,
                    furthest=furthest,
                    losses=losses,
                    warnings=(*self.warnings, note),
                )
            case Paused():
                return replace(self, paused=True, phase=Text("Paused"), step=event.step, seconds_left=None)
            case Finished():
                phase = Text("Stopped, the style is kept") if event.stopped else Text("Finished")
                if not event.style_path:
                    phase = Text("Stopped before the first step, so there is no style")
                elif event.step < self.step:  # chosen later on, among the checkpoints
                    phase = Text("Finished; the style is that of step {step}", step=event.step)
                return replace(
                    going,
                    finished=event,
                    phase=phase,
                    step=max(self.step, event.step),
                    seconds=event.seconds,
                    seconds_left=None,
                )
            case Failed():
                return replace(self, failed=event, phase=Text("Failed"), seconds_left=None)
        return self


def words_for_seconds(seconds: float) -> str:
    """A time as a person would say it."""
    if seconds < 55:
        return f"{max(1, round(seconds / 5) * 5)} s" if seconds >= 10 else f"{max(1, round(seconds))} s"
    if seconds < 3600:
        return f"{max(1, round(seconds / 60))} min"
    return f"{int(seconds // 3600)} h {round(seconds % 3600 / 60):02d} min"
