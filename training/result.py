"""The end of a run: its last checkpoint becomes a style in the library, and later another one if the artist likes."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from styles.errors import JobError
from styles.formats.style import Style, StyleCard
from styles.formats.writer import write_style
from styles.library.library import Library
from styles.library.side_files import thumbnail_of
from styles.quantization.quantization import PLAIN
from styles.storage.atomic import write_text
from styles.storage.file_reading import read_text
from training import checkpoint as checkpoints
from training.adapters import style_layers
from training.checkpoint import Checkpoint
from training.events import Finished, PreviewReady
from training.job import Job
from training.untrained import untrained

# What an artist may have changed on the card since; all else is the checkpoint's own.
WRITTEN = ("trigger", "author", "licence", "rights", "description", "suggested_weight", "tags")


def finish(job: Job, last: Checkpoint) -> Finished:
    """Write the style into the job folder and the library, once however often it is called; no base is needed."""
    plan, progress = job.plan, last.progress
    style = write_style(style_of(job, last), job.folder / "style.safetensors")
    library = Library(job.home)
    path, added = _noted(job)
    # Of a run that was killed right after its style was added. Another job's is never taken, even if it is the same.
    card = _style_at(library, path, style.id)
    if card is None and added == style.id:  # renamed since, or deleted: then it stays so
        card = next(iter(library.with_ids([style.id])), None)
    elif card is None:
        card = library.add(style, lambda path: _note(job, path))
        _note(job, card.path, card.id)
    return Finished(
        step=progress.step,
        style_path=str(card.path) if card else path,
        style_id=style.id,
        style_name=card.name if card else plan.name,
        seconds=progress.seconds,
        stopped=progress.step < plan.steps,
    )


def choices(job: Job) -> list[int]:
    """Return the steps that a style can be made from again: those with a checkpoint and a preview, and the last."""
    steps = checkpoints.steps_in(job.folder / "checkpoints")
    shown = {event.step for event in job.events() if isinstance(event, PreviewReady)}
    return [step for step in steps if step and (step in shown or step == steps[-1])]


def keep(job: Job, step: int) -> Finished:
    """Make the style of a finished job anew from the checkpoint after `step`, and note that in its journal.

    The style that it had goes to the trash; the new one takes over its name, and what was written on its card since.
    Raises JobError where that checkpoint is gone or the job has no style, DiskFullError.
    """
    with job.held():
        last = next((event for event in reversed(job.events()) if isinstance(event, Finished)), None)
        if last is None or not last.style_path:
            raise JobError(
                "“{training}” has no style yet.", "Wait until its training is finished.", training=job.name
            )
        chosen = checkpoints.at(job.folder / "checkpoints", step)
        if chosen is None:
            raise JobError("The checkpoint of step {step} is gone.", "Choose another one.", step=step)
        library = Library(job.home)
        before = _style_at(library, last.style_path, last.style_id)
        style = style_of(job, chosen)
        if before is not None:
            before_values = {name: getattr(before, name) for name in WRITTEN}
            style = replace(style, card=replace(style.card, name=before.name, **before_values))
        style = write_style(style, job.folder / "style.safetensors")
        if before is not None and before.id == style.id:
            return last
        # Of a call that was killed in the middle of what follows.
        card = _style_at(library, _noted(job)[0], style.id) or _style_at(library, last.style_path, style.id)
        replaces = before is not None or card is not None
        card = card or library.add(style, lambda path: _note(job, path))
        if before is not None:  # only now: a full disk must not leave the artist without any
            library.delete(library.handle(before))
        if replaces:
            card = library.rename(library.handle(card), Path(last.style_path).stem)
        _note(job, card.path, card.id)
        finished = replace(last, step=step, style_path=str(card.path), style_id=card.id, style_name=card.name)
        job.append(finished)
        return finished


def _note(job: Job, path: Path | None, style_id: str = "") -> None:
    """Note where the job's style is to lie in the library, and its id once it lies there."""
    write_text(job.folder / "added.txt", f"{path}\n{style_id}")


def _noted(job: Job) -> tuple[str, str]:
    """Return the place and the id that were noted last, empty where there is none."""
    try:
        path, _, style_id = read_text(job.folder / "added.txt").partition("\n")
    except (OSError, ValueError):
        return "", ""
    return path, style_id


def _style_at(library: Library, path: str, style_id: str) -> StyleCard | None:
    """Return the style at a place in the library, None where another one or none lies there.

    A place outside the library was noted before the home was moved: then the style of the same file name is meant.
    """
    place = Path(path)
    moved = not place.is_relative_to(library.folder)
    for card in library.cards():
        if path and card.path and (card.path.name == place.name if moved else card.path == place):
            style = library.find(library.handle(card))
            return style if style.id == style_id else None
    return None


def style_of(job: Job, last: Checkpoint) -> Style:
    """Return a checkpoint's weights as a style with its card."""
    plan, progress = job.plan, last.progress
    unchanged = untrained(job)
    layers = style_layers(last.weights, plan.alpha) + (unchanged.layers if unchanged else ())
    artworks = job.artworks()
    training: dict[str, str | int | float] = {
        "artworks": len(artworks),
        "preset": plan.preset,
        "steps": progress.step,
        "batch": plan.batch * plan.gradient_accumulation,
        "rank": plan.rank,
        "alpha": plan.alpha,
        "learning_rate": plan.learning_rate,
        "layers": plan.layers,
        "seed": plan.seed,
        "seconds": round(progress.seconds, 1),
        "prediction_type": progress.prediction_type,
        "resolution_px": progress.resolution_px,
    }
    if progress.base_layers:
        training["base_layers"] = progress.base_layers
    if progress.quantize != PLAIN:
        training["quantize"] = progress.quantize
    if progress.learning_rate_factor != 1.0:
        training["learning_rate_factor"] = progress.learning_rate_factor
    if plan.opposite_every:
        training["opposite_every"] = plan.opposite_every
    if plan.clip_skip != 1:
        training["clip_skip"] = plan.clip_skip
    if masked := sum(artwork.mask is not None for artwork in artworks):
        training |= {"masked": masked, "unmasked_weight": plan.unmasked_weight}
    if plan.continue_from:
        training["continued_from"] = plan.continue_from
    card = StyleCard(
        name=plan.name,
        family=progress.base_family,
        rank=plan.rank,
        trigger=plan.trigger,
        author=plan.author,
        licence=plan.licence,
        rights=plan.rights,
        layers=dict(Counter(layer.network for layer in layers)),
        training=training,
        base_name=progress.base_name,
        base_fingerprint=progress.base_fingerprint,
        thumbnail=_thumbnail(job.folder / "previews", progress.step),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    return Style(card, layers, unchanged.embeddings if unchanged else {})


def _thumbnail(previews: Path, step: int) -> bytes | None:
    """Make a small JPEG of the first picture of the newest preview that the style had come to by `step`."""
    for path in sorted(previews.glob("step-*-0.png"), reverse=True):
        at = path.name.split("-")[1]
        if at.isdecimal() and 0 < int(at) <= step and (small := thumbnail_of(path)):
            return small
    return None
