"""The captions that a style was trained with: they lie in its job's folder, never in its file."""

from __future__ import annotations

from collections import Counter

from styles.errors import AtelierError
from styles.storage.home import Home
from training.events import Finished
from training.job import Job, jobs_in


def captions_of(home: Home, style_id: str) -> dict[str, int]:
    """Count on how many artworks each part of a caption stood, parts being what commas divide.

    So does sd-scripts for `ss_tag_frequency`, where other programs look for trigger words. Empty where no training of
    this home made the style, or its artworks are gone.
    """
    for job in reversed(jobs_in(home.jobs)):
        try:
            if _made(job) == style_id != "":
                return _counted(job)
        except (AtelierError, OSError):
            continue
    return {}


def _made(job: Job) -> str:
    return next((event.style_id for event in reversed(job.events()) if isinstance(event, Finished)), "")


def _counted(job: Job) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for artwork in job.artworks():
        parts = (part.strip() for part in artwork.caption.split(","))
        counts.update(dict.fromkeys((part for part in parts if part), 1))
    return dict(counts.most_common())
