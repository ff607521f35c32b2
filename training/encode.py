"""Captions and artworks turned once into the tensors that the loop draws from, kept in the job folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.errors import JobError, PlanError
from styles.families import family_of
from styles.formats.triggers import with_trigger
from styles.storage.atomic import write_bytes
from styles.storage.file_reading import open_file
from styles.text import Text, quoted
from training.artworks.buckets import bucket_multiple_px, bucket_sizes, crop_box, nearest_bucket
from training.events import PhaseStarted, Warned
from training.job import Job
from training.plan import TrainingPlan
from training.untrained import reading_with, untrained

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from styles.bases.base import Base
    from styles.bases.conditioning import Conditioning
    from styles.generation.prompts import PromptReading
    from styles.mixing.prompt_words import Vocabulary
    from training.artworks.dataset import Artwork


# Of the file with the prepared tensors; one of another is made anew.
FORMAT = 2


class Interrupted(Exception):
    """A request or a cancel was seen inside a phase; the caller decides what it means."""


@dataclass(frozen=True)
class Bucket:
    """The latents of all artworks of one size; with flipping the second half holds the mirrored ones."""

    mean: Tensor  # (N, C, h, w) fp32, scaled as the UNet sees them
    std: Tensor  # (N, C, h, w) fp32
    # (N,) int64, rows of Prepared.captions; -1: any of its companions, drawn anew each time.
    captions: Tensor
    # (N, 6) fp32, see `styles.bases.conditioning`
    time_ids: Tensor
    # (M,) int64, the rows above as often as they are shown; None: each once.
    rows: Tensor | None = None
    # (N, 1, h, w) fp32 in 0..1, how much each place of the latents counts; None: all of them alike.
    masks: Tensor | None = None


@dataclass(frozen=True)
class Prepared:
    """All that the loop needs of artworks and captions."""

    buckets: tuple[Bucket, ...]
    captions: Conditioning  # the empty one, each artwork's, then the companions
    companions: int  # how many of the last rows these are
    previews: Conditioning  # of the preview prompts
    preview_negative: Conditioning  # a single row, of the empty prompt where there is none


@dataclass(frozen=True)
class _Row:
    """One artwork in a bucket: mean and std of its latents (1 or 2, C, h, w), its caption's row, (1 or 2, 6) time ids.

    Its mask is (1 or 2, 1, h, w).
    """

    mean: Tensor
    std: Tensor
    caption: int
    time_ids: Tensor
    repeats: int
    mask: Tensor | None


def prepare(
    base: Base, job: Job, plan: TrainingPlan, cancelled: Callable[[], bool]
) -> Iterator[PhaseStarted | Warned]:
    """Encode what the job does not hold already, telling each picture; the result lies in the job (see `load`).

    Captions that are longer than the base reads are warned about.

    The text encoder's and the VAE's work is the same for every step, so it is done once (facts: seconds are lost on
    VAE and text encoder in the loop). Raises Interrupted between two pictures, PictureError, JobError, DiskFullError.
    """
    captions, companions = _texts(job, plan)
    unchanged = untrained(job)
    path = job.folder / "prepared.safetensors"
    key = _key(base, job, plan, captions, companions, unchanged.id if unchanged else "")
    if _holds(path, key):
        return
    tensors: dict[str, Tensor] = {}
    yield PhaseStarted("captions")
    with reading_with(base, unchanged) as words:
        _encode_texts(base, plan, captions, companions, words, tensors)
    yield from _cut_captions(base, [*captions, *companions], words, _reading(plan))
    if cancelled():
        raise Interrupted
    artworks = job.artworks()
    sizes = bucket_sizes(plan.resolution_px or base.native_size_px, size_multiple(base))
    buckets: dict[tuple[int, int], list[_Row]] = {}
    warned: set[Text] = set()
    yield PhaseStarted("latents", 0, len(artworks))
    for number, artwork in enumerate(artworks):
        if cancelled():
            raise Interrupted
        bucket = nearest_bucket(*artwork.size_px, sizes)
        image = artwork.load(bucket)
        notes: list[Text] = []
        mean, std = _encode_image(base, image, plan.flip, notes)
        for note in notes:
            if note not in warned:
                warned.add(note)
                yield Warned(note, Text("Close other programs."))
        row = -1 if _has_companions(artwork.caption, plan) else number + 1
        time_ids = _time_ids(artwork, bucket, plan.flip)
        mask = _mask(artwork, mean, plan) if artwork.mask is not None else None
        rows = buckets.setdefault(bucket, [])
        rows.append(_Row(mean, std, row, time_ids, artwork.repeats, mask))
        yield PhaseStarted("latents", number + 1, len(artworks))
    _collect(buckets, tensors)
    _write(path, tensors, key)


def load(job: Job) -> Prepared:
    """Read what `prepare` has made."""
    from safetensors.torch import load_file

    from styles.bases.conditioning import Conditioning

    tensors = load_file(job.folder / "prepared.safetensors")
    count = sum(name.endswith(".mean") for name in tensors)
    buckets = tuple(
        Bucket(
            *(tensors[f"{n}.{part}"] for part in ("mean", "std", "captions", "time_ids")),
            *(tensors.get(f"{n}.{part}") for part in ("rows", "masks")),
        )
        for n in range(count)
    )
    captions, previews = (
        Conditioning(tensors[name], tensors.get(f"{name}.pooled")) for name in ("embeddings", "previews")
    )
    negative = captions[:1]
    if "preview_negative" in tensors:
        negative = Conditioning(tensors["preview_negative"], tensors.get("preview_negative.pooled"))
    return Prepared(buckets, captions, int(tensors["companions"]), previews, negative)


def size_multiple(base: Base) -> int:
    """Return what both sides of a bucket must divide by, in px."""
    return bucket_multiple_px(
        base.vae.config.block_out_channels, base.unet.config.block_out_channels, family_of(base.family)
    )


def _encode_texts(
    base: Base,
    plan: TrainingPlan,
    captions: list[str],
    companions: list[str],
    words: Vocabulary,
    tensors: dict[str, Tensor],
) -> None:
    import torch

    from styles.bases.conditioning import Conditioning
    from styles.generation.prompts import count_chunks, encode_prompts

    previews, reading = plan.preview_prompts or ("",), _reading(plan)
    negative = [plan.preview_negative] if plan.preview_negative else []
    # All are as long as the longest: any two may stand in one batch.
    chunks = count_chunks(base, [*captions, *companions, *previews, *negative], words, reading)

    def put(name: str, texts: Sequence[str]) -> None:
        # One text at a time: how many artworks there are must not change what it rounds to.
        rows = [
            encode_prompts(base, [text], [words], reading, chunks).to(torch.device("cpu"), torch.float32)
            for text in texts
        ]
        together = Conditioning.cat(rows)
        tensors[name] = together.states
        if together.pooled is not None:
            tensors[f"{name}.pooled"] = together.pooled

    put("embeddings", [*captions, *companions])
    put("previews", previews)
    if negative:
        put("preview_negative", negative)
    tensors["companions"] = torch.tensor(len(companions))


def _reading(plan: TrainingPlan) -> PromptReading:
    from styles.generation.prompts import PromptReading

    return PromptReading(plan.prompt_signs, plan.clip_skip)


def _texts(job: Job, plan: TrainingPlan) -> tuple[list[str], list[str]]:
    """Return the empty caption with the artworks' own, and what an artwork without one is shown with."""
    captions = ["", *(artwork.caption for artwork in job.artworks())]
    needed = any(_has_companions(caption, plan) for caption in captions[1:])
    return captions, [with_trigger(text, plan.trigger) for text in plan.companions if needed]


def _has_companions(caption: str, plan: TrainingPlan) -> bool:
    """Say whether an artwork has no caption but the trigger, so that the plan's companions stand beside that."""
    return bool(plan.companions) and caption.strip().casefold() == plan.trigger.strip().casefold()


def _cut_captions(
    base: Base, texts: list[str], words: Vocabulary, reading: PromptReading
) -> Iterator[Warned]:
    from styles.generation.prompts import LONGEST_QUOTE, cut_words

    cuts = [cut for text in texts if (cut := cut_words(base, text, words, reading))]
    if cuts:
        shown = Text.joined(", ", map(quoted, cuts[:3]))
        yield Warned(
            Text(
                "{count} of the captions are longer than {base} reads; left out: {shown}{more}.",
                count=len(cuts),
                base=base.name,
                shown=shown,
                more=" …" if len(cuts) > 3 else "",
            ),
            Text("Shorten them if that matters."),
        )
    odd = dict.fromkeys(phrase for text in texts for phrase in reading.parse(text).not_read)
    if odd:
        shown = Text.joined(", ", [quoted(phrase[:LONGEST_QUOTE]) for phrase in [*odd][:3]])
        yield Warned(Text("In the captions, {phrases} is read as plain words.", phrases=shown))


def _encode_image(base: Base, image: Image, flip: bool, notes: list[Text]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the latents, each (1 or 2, C, h, w): every step samples them afresh.

    `notes` as for `styles.bases.vae.encode`.
    """
    import numpy as np
    import torch

    from styles.bases.offload import bring
    from styles.bases.vae import encode
    from styles.bases.working_memory import encoding_bytes

    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 127.5 - 1.0).permute(2, 0, 1)[None]
    if flip:
        pixels = torch.cat([pixels, pixels.flip(3)])  # (2, 3, H, W)
    work = len(pixels) * encoding_bytes(base.vae, image.width * image.height)
    bring(base, base.vae, work_bytes=work)
    mean, std = encode(base.vae, pixels, notes)
    return mean.cpu(), std.cpu()


def _mask(artwork: Artwork, latents: Tensor, plan: TrainingPlan) -> Tensor:
    """Return how much each place of an artwork's latents counts, (1 or 2, 1, h, w) fp32: the mask, averaged over areas.

    Nothing counts less than the plan's `unmasked_weight`, as OneTrainer's setting of that name has it.
    """
    import numpy as np
    import torch

    height, width = latents.shape[2:]
    grey = np.asarray(artwork.load_mask((width, height)), dtype=np.float32) / 255
    mask = torch.from_numpy(grey)[None, None].clamp(min=plan.unmasked_weight)
    return torch.cat([mask, mask.flip(3)]) if plan.flip else mask


def _time_ids(artwork: Artwork, bucket: tuple[int, int], flip: bool) -> Tensor:
    """Return (1 or 2, 6) fp32, see `picture_time_ids`: the artwork's own size, and the part of it that is learnt."""
    from styles.bases.conditioning import picture_time_ids

    width, height = artwork.size_px
    left, top, right, _ = crop_box(width, height, bucket)
    scale = bucket[0] / (right - left)
    # A mirrored artwork has cut off on the left what is cut off on the right; the crop is centred, so both are the same.
    crop = round(left * scale), round(top * scale)
    return picture_time_ids(*bucket, original_px=(width, height), crop_px=crop).repeat(2 if flip else 1, 1)


def _collect(buckets: dict[tuple[int, int], list[_Row]], tensors: dict[str, Tensor]) -> None:
    import torch

    # Only how often one is shown beside another counts; where all are alike, none is.
    shared = math.gcd(*(row.repeats for rows in buckets.values() for row in rows))
    for number, rows in enumerate(buckets[size] for size in sorted(buckets)):
        captions = torch.tensor([row.caption for row in rows for _ in range(len(row.mean))])
        tensors[f"{number}.mean"] = torch.cat([row.mean for row in rows])
        tensors[f"{number}.std"] = torch.cat([row.std for row in rows])
        tensors[f"{number}.captions"] = captions
        tensors[f"{number}.time_ids"] = torch.cat([row.time_ids for row in rows])
        times = torch.tensor([row.repeats // shared for row in rows for _ in range(len(row.mean))])
        if bool((times > 1).any()):
            tensors[f"{number}.rows"] = torch.arange(len(times)).repeat_interleave(times)
        if any(row.mask is not None for row in rows):
            whole = torch.ones(1, 1, *rows[0].mean.shape[2:])
            masks = [
                whole.expand(len(row.mean), -1, -1, -1) if row.mask is None else row.mask for row in rows
            ]
            tensors[f"{number}.masks"] = torch.cat(masks)


def _key(
    base: Base, job: Job, plan: TrainingPlan, captions: list[str], companions: list[str], unchanged: str
) -> str:
    """Name everything that the prepared tensors depend on."""
    digest = hashlib.sha256()
    numbers: dict[str, Any] = {
        "format": FORMAT,
        "base": base.fingerprint,
        "resolution_px": plan.resolution_px or base.native_size_px,
        "flip": plan.flip,
        "previews": plan.preview_prompts,
        "reading": (plan.prompt_signs, plan.clip_skip),
        "texts": (captions, companions),
    }
    if plan.preview_negative:
        numbers["preview_negative"] = plan.preview_negative
    if base.vae_fingerprint:
        numbers["vae"] = base.vae_fingerprint
    if unchanged:
        numbers["untrained"] = unchanged
    artworks = job.artworks()
    if any(artwork.repeats > 1 for artwork in artworks):
        numbers["repeats"] = [artwork.repeats for artwork in artworks]
    if masked := [number for number, artwork in enumerate(artworks) if artwork.mask]:
        numbers["masks"] = (masked, plan.unmasked_weight)
    digest.update(json.dumps(numbers).encode())
    for path in [path for artwork in artworks for path in (artwork.path, artwork.mask) if path]:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise JobError(
                "{training} has lost its artworks.", "Start the training anew.", training=job.folder.name
            ) from error
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def _holds(path: Path, key: str) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with open_file(path), safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("key") == key
    except (OSError, SafetensorError):
        return False


def _write(path: Path, tensors: dict[str, Tensor], key: str) -> None:
    from safetensors.torch import save

    # Not `save_file`: what the system says of a full disk would not come through it.
    write_bytes(path, save({name: value.contiguous() for name, value in tensors.items()}, {"key": key}))


def check_trainable(base: Base, plan: TrainingPlan) -> None:
    """Raise PlanError when the plan was made for another kind of base than the one that is open."""
    if base.family != plan.base_family:
        raise PlanError(
            "The plan is for a base of family {base_family}, but {base} is {family}.",
            "Start the training anew with this base.",
            base_family=plan.base_family,
            base=base.name,
            family=base.family,
        )
    if base.prediction_type not in ("epsilon", "v_prediction"):
        raise PlanError(
            "{base} predicts {prediction_type}.",
            "Only noise (epsilon) and v-prediction can be trained.",
            base=base.name,
            prediction_type=base.prediction_type,
        )
