"""A training as HTML: where it stands, its previews side by side, the queue behind it. Names are escaped here."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from app.i18n import say, translated, unsaid
from app.train.progress import Progress, words_for_seconds
from app.train.trainings import JobCard
from styles.storage.file_reading import open_file
from styles.storage.picture_budget import check_shown
from training.events import PreviewReady
from training.job import Job, State

STATES: dict[State, str] = {
    "waiting": unsaid("waiting"),
    "running": unsaid("training"),
    "paused": unsaid("paused"),
    "finished": unsaid("finished"),
    "failed": unsaid("failed"),
    "interrupted": unsaid("interrupted"),
    "damaged": unsaid("damaged"),
}
SMOOTHING = 0.15  # of the loss: the share of each new reading
LARGEST_PX = 512  # of a preview on the page


def progress_card(
    progress: Progress, title: str = "", request: str | None = None, notes: Sequence[str] = ()
) -> str:
    """A training at a glance: phase, step, time left, loss, warnings; `asked` is a request not yet followed."""
    phase = translated(progress.phase)
    if request == "pause":
        phase = say("Pausing: what is learnt so far is being saved")
    elif request == "stop":
        phase = say("Stopping: the style is being made from what is learnt so far")
    numbers = []
    if progress.steps:
        numbers.append(say("Step {step} of {steps} in all", step=progress.step, steps=progress.steps))
    if progress.seconds_left is not None and not progress.ended and not request:
        numbers.append(say("about {time} left", time=words_for_seconds(progress.seconds_left)))
    elif progress.ended and progress.seconds:
        numbers.append(say("{time} of training", time=words_for_seconds(progress.seconds)))
    # A run that was stopped early stays as far as it came; one that tells no steps has come to its end.
    share = progress.share if progress.steps or not progress.finished or progress.nothing_learnt else 1.0
    parts = [
        f'<div class="title">{escape(title)}</div>' if title else "",
        f'<div class="phase" role="status">{escape(phase)}</div>',
        f'<div class="numbers">{escape(" · ".join(numbers)) or "&nbsp;"}</div>',
        f'<div class="bar" role="progressbar" aria-label="{escape(say("Training progress"))}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{share * 100:.0f}"><span style="width:{share * 100:.1f}%"></span></div>',
    ]
    if progress.failed:
        log = progress.failed.log
        problem = f"{translated(progress.failed.message)} {translated(progress.failed.hint)}".strip()
        if log and log not in problem:
            problem += " " + say("The details are in {file}.", file=log)
        parts.append(f'<div class="failure">{escape(problem)}</div>')
    parts += [
        f'<div class="warning">{escape(translated(one))}</div>' for one in (*progress.warnings[-3:], *notes)
    ]
    parts.append(loss_curve(progress.losses, progress.step if progress.finished else progress.steps))
    return f'<div class="progress-card">{"".join(parts)}</div>'


def loss_curve(losses: Sequence[tuple[int, float]], steps: int) -> str:
    """The loss over the steps as an SVG: as read, faint, and smoothed."""
    if len(losses) < 2:
        return ""
    smooth, mean = [], losses[0][1]
    for step, loss in losses:
        mean += SMOOTHING * (loss - mean)
        smooth.append((step, mean))
    low, high = min(loss for _, loss in losses), max(loss for _, loss in losses)
    spread = (high - low) or 1.0
    last_step = max(steps, losses[-1][0])

    def points(values: Iterable[tuple[int, float]]) -> str:
        return " ".join(
            f"{1000 * step / last_step:.1f},{96 - 92 * (loss - low) / spread:.1f}" for step, loss in values
        )

    caption = say(
        "Loss, smoothed: {now}. It need not fall far; trust the pictures.", now=f"{smooth[-1][1]:.3f}"
    )
    return (
        f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{escape(say("Loss over the steps"))}">'
        f'<polyline class="raw" points="{points(losses)}"/><polyline class="line" points="{points(smooth)}"/></svg>'
        f'<div class="axis"><span>{escape(caption)}</span><span>{last_step}</span></div>'
    )


def no_training() -> str:
    """What stands there before the first training: how to choose artworks."""
    advice = [
        say("Choose pictures in one hand: the same medium, the same way of drawing."),
        say("Let them show different things, so that the style is learnt and not the motif."),
        say("Leave out frames, signatures and what you would not want to see again."),
    ]
    items = "".join(f"<li>{escape(one)}</li>" for one in advice)
    return f'<div class="advice"><h3>{escape(say("What makes a good set"))}</h3><ul>{items}</ul></div>'


def film(
    job: Job, previews: Sequence[PreviewReady], choices: Sequence[int] = (), chosen: int | None = None
) -> str:
    """The previews in columns, one for each step from 0 on, all from the same seeds.

    With `choices` a column of such a step has a button that makes the style from it; `kept` is the step that it is of.
    """
    columns = [_column(job, preview, preview.step in choices, preview.step == chosen) for preview in previews]
    if chosen is not None and choices and chosen not in {preview.step for preview in previews}:
        columns.append(_column(job, PreviewReady(chosen, (), ()), True, True))
    if not columns:
        return ""
    prompts = ", ".join(f"“{prompt}”" for prompt in previews[-1].prompts) if previews else ""
    caption = say(
        "Each column has the same seeds, so that only the style differs. Prompts: {prompts}.", prompts=prompts
    )
    if len(choices) > 1:
        caption = say("Which one do you like best? The style is made from it.") + " " + caption
    return (
        f'<div class="film" role="region" tabindex="0" aria-label="{escape(say("Previews"))}">{"".join(columns)}</div>'
        f'<p class="film-said">{escape(caption)}</p>'
    )


def _column(job: Job, preview: PreviewReady, choosable: bool, chosen: bool) -> str:
    label = say("before") if preview.step == 0 else say("step {step}", step=preview.step)
    pictures = "".join(
        _preview(job, path, f"{label}: {prompt}")
        for path, prompt in zip(preview.paths, preview.prompts, strict=False)
    )
    pictures = pictures or f'<span class="none">{escape(say("no preview"))}</span>'
    foot = ""
    if chosen:
        foot = f'<span class="kept">{escape(say("kept"))}</span>'
    elif choosable:
        words = escape(say("Keep the style of step {step}", step=preview.step))
        foot = f'<button type="button" data-do="keep" data-step="{preview.step}" aria-label="{words}">{escape(say("Keep this"))}</button>'
    return f'<figure class="{"kept" if chosen else ""}"><figcaption>{escape(label)}</figcaption>{pictures}{foot}</figure>'


def _preview(job: Job, path: str, label: str) -> str:
    from PIL import Image

    try:
        # By its name alone: what a journal says is no way to other folders.
        file = job.folder / "previews" / Path(path).name
        with open_file(file) as opened, Image.open(opened, formats=("PNG",)) as picture:
            check_shown(picture)
            small = picture.convert("RGB")
    # Pillow's decoders raise anything of damaged bytes: KeyError, TypeError, struct.error, ...
    except Exception:
        return ""  # a preview that someone deleted is no reason to show none
    small.thumbnail((LARGEST_PX, LARGEST_PX))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=88)
    data = base64.b64encode(out.getvalue()).decode("ascii")
    return (
        f'<button type="button" class="larger" data-do="larger" aria-label="{escape(say("Larger: {what}", what=label))}">'
        f'<img alt="{escape(label)}" src="data:image/jpeg;base64,{data}"></button>'
    )


def queue_list(waiting: Sequence[Job], held: bool) -> str:
    """The trainings that wait, with buttons to change their order."""
    if not waiting:
        return ""
    rows = "".join(_waiting(job, place, len(waiting)) for place, job in enumerate(waiting))
    head = f"<h3>{escape(say('Waiting'))}</h3>"
    if held:
        words = escape(say("The queue waits while a training is paused."))
        head += f'<p>{words} <button type="button" data-do="release">{escape(say("Go on with the queue"))}</button></p>'
    return f'<div class="waiting">{head}<ol>{rows}</ol></div>'


def _waiting(job: Job, place: int, count: int) -> str:
    name = job.name
    sentence = (
        ("sooner", "↑", say("{name} sooner", name=name), place == 0),
        ("later", "↓", say("{name} later", name=name), place == count - 1),
        ("leave", "×", say("Take {name} out of the queue", name=name), False),
    )
    buttons = "".join(
        f'<button type="button" data-do="{do}" data-job="{escape(job.folder.name)}" aria-label="{escape(words)}" '
        f'title="{escape(words)}"{" disabled" if off else ""}>{sign}</button>'
        for do, sign, words, off in sentence
    )
    return f"<li><span>{escape(name)}</span>{buttons}</li>"


def job_words(card: JobCard) -> str:
    """How a training stands, on one line, for a list to choose from."""
    if card.progress.nothing_learnt:
        state = say("stopped before it began")
    else:
        state = say(STATES[card.state])
    whole = card.state == "finished" and card.progress.share == 1
    far = f"{card.progress.share:.0%}" if card.progress.steps and not whole else ""
    return " · ".join(text for text in (card.name, state, far) if text)
