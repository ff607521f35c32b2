"""What a training that goes on from a style leaves as it is: layers of text encoders, and words for prompts.

A small file in the job holds them, since the style may be gone from the library before the training ends. Captions
are read with them, and the finished style has them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from styles.formats.kohya import ALPHA, DOWN, UP, kohya_name
from styles.formats.reader import read_style
from styles.formats.style import Style
from styles.formats.textual_inversion import bundled
from styles.storage.atomic import write_bytes
from training.job import Job

if TYPE_CHECKING:
    from styles.bases.base import Base
    from styles.mixing.prompt_words import Vocabulary

FILE = "untrained.safetensors"


def keep_untrained(job: Job, style: Style) -> None:
    """Keep in the job what it leaves as it is of the style that it goes on from; raises DiskFullError."""
    import torch
    from safetensors.torch import save

    tensors = bundled(style.embeddings)
    for layer in style.layers:
        if layer.network != "unet":
            name = kohya_name(layer.network, layer.path)
            tensors[name + DOWN], tensors[name + UP] = layer.down.contiguous(), layer.up.contiguous()
            tensors[name + ALPHA] = torch.tensor(layer.alpha)
    if tensors:
        write_bytes(job.folder / FILE, save(tensors))


def untrained(job: Job) -> Style | None:
    """Return what `keep_untrained` kept, None where that was nothing; raises StyleFileError for a damaged file."""
    path = job.folder / FILE
    if not path.is_file():
        return None
    style = read_style(path)
    return replace(style, card=replace(style.card, name=job.plan.name))


@contextmanager
def reading_with(base: Base, style: Style | None) -> Iterator[Vocabulary]:
    """Let the base's text encoders read as with the style at weight 1, and yield its words, for the time of the block.

    Raises WrongFamilyError for a style of another base.
    """
    from styles.mixing.model_patcher import blended
    from styles.mixing.prompt_words import NO_WORDS, check_words, vocabulary

    if style is None:
        yield NO_WORDS
        return
    check_words(base, [style])
    with blended(base, [style]) as mix:
        mix.set_gains([1.0])
        yield vocabulary(base, [(style.id, style)])
