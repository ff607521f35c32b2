"""The end of a run: its last checkpoint becomes a style in the library."""

from __future__ import annotations

import time
from pathlib import Path

from styles.atomic import write_text
from styles.library import Library
from styles.style import Style, StyleCard
from styles.style_file import write_style
from styles.thumbnail import thumbnail_jpeg
from training.adapters import style_layers
from training.checkpoint import Checkpoint
from training.events import Finished
from training.job import Job


def finish(job: Job, last: Checkpoint) -> Finished:
    """Write the style into the job folder and the library, once however often it is called; no base is needed."""
    plan, progress = job.plan, last.progress
    style = write_style(style_of(job, last), job.folder / "style.safetensors")
    library, note = Library(job.home), job.folder / "added.txt"
    card = _noted(library, note, style.id)  # of a run that was killed right after its style was added
    if card is None:
        card = library.add(style)
        write_text(note, str(card.path))
    return Finished(
        step=progress.step,
        style_path=str(card.path),
        style_id=card.id,
        style_name=card.name,
        seconds=progress.seconds,
        stopped=progress.step < plan.steps,
    )


def _noted(library: Library, note: Path, style_id: str) -> StyleCard | None:
    """Return the style that this job has added already. Another job's is never taken, even if it is the same."""
    try:
        path = note.read_text(encoding="utf-8")
    except OSError:
        return None
    here = next((card for card in library.cards() if str(card.path) == path), None)
    card = library.find(library.handle(here)) if here else None
    return card if card and card.id == style_id else None


def style_of(job: Job, last: Checkpoint) -> Style:
    """Return a checkpoint's weights as a style with its card."""
    plan, progress = job.plan, last.progress
    layers = style_layers(last.weights, plan.alpha)
    training: dict[str, str | int | float] = {
        "artworks": len(job.artworks()),
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
    if progress.learning_rate_factor != 1.0:
        training["learning_rate_factor"] = progress.learning_rate_factor
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
        layers={"unet": len(layers)},
        training=training,
        base_name=progress.base_name,
        base_fingerprint=progress.base_fingerprint,
        thumbnail=_thumbnail(job.folder / "previews"),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    return Style(card, layers)


def _thumbnail(previews: Path) -> bytes | None:
    """Make a small JPEG of the newest preview's first picture."""
    from PIL import Image

    newest = sorted(previews.glob("step-*-0.png"))[-1:]
    if not newest or newest[0].name.startswith("step-000000"):
        return None
    with Image.open(newest[0]) as image:
        return thumbnail_jpeg(image)
