"""Painting from a picture: how it is kept, brought to size, and turned into the latents to start from."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import PictureError, RecipeError, memory_errors
from styles.generation.settings import MAX_PIXELS, MAX_SIDE_PX
from styles.storage.atomic import write_bytes
from styles.storage.home import Home
from styles.storage.names import SHA256
from styles.text import Text

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from styles.bases.base import Base

STEEPEST = 8  # width to height or height to width, of a picture whose shape decides the size


@dataclass(frozen=True, eq=False)
class SourcePicture:
    """A picture to start from, 8-bit RGB; `sha256` is of its size and pixels, whatever file they came in."""

    image: Image = field(repr=False)
    sha256: str

    @classmethod
    def of(cls, image: Image) -> SourcePicture:
        """Take any Pillow picture: upright, what is transparent on white, shrunk where it is larger than can be painted."""
        from PIL import Image as pillow
        from PIL import ImageOps

        # Each step copies it, so that none is done in vain.
        upright = ImageOps.exif_transpose(image) if image.getexif().get(0x0112, 1) != 1 else image
        if upright.has_transparency_data:
            layered = upright.convert("RGBA")
            upright = pillow.new("RGBA", layered.size, "white")
            upright.alpha_composite(layered)
        plain = upright if upright.mode == "RGB" else upright.convert("RGB")
        if min(plain.size) < 1:
            raise PictureError("The picture to start from has no pixels.", "Choose another one.")
        shrink = min(1.0, math.sqrt(MAX_PIXELS / (plain.width * plain.height)), MAX_SIDE_PX / max(plain.size))
        if shrink < 1:
            size = (max(1, int(plain.width * shrink)), max(1, int(plain.height * shrink)))
            plain = plain.resize(size, pillow.Resampling.LANCZOS)
        if plain is image:
            plain = plain.copy()
        plain.info.clear()  # nothing private of the file goes along
        digest = hashlib.sha256(f"RGB {plain.width}x{plain.height} ".encode() + plain.tobytes())
        return cls(plain, digest.hexdigest())


def sources_folder(home: Home) -> Path:
    """Where the pictures that others were painted from are kept: a recipe holds only their hash."""
    return home.pictures / "sources"


def source_path(sha256: str, home: Home) -> Path:
    """Where the picture of that hash is kept, or would be; raises RecipeError for what is no hash."""
    if not SHA256.fullmatch(sha256):  # it comes from a file, and is about to be a path
        raise RecipeError("The recipe names the picture that it started from in no way that can be found.")
    return sources_folder(home) / f"{sha256}.png"


def keep_source(source: SourcePicture, home: Home) -> Path:
    """Keep a copy for painting again, once, as PNG named by its hash; raises DiskFullError, BadInput."""
    path = source_path(source.sha256, home)
    if not path.is_file():
        buffer = io.BytesIO()
        source.image.save(buffer, format="PNG")
        write_bytes(path, buffer.getvalue())
    return path


def kept_source(sha256: str, home: Home) -> SourcePicture:
    """Return the picture that a recipe names; raises RecipeError where it is not kept here or was changed since."""
    from PIL import Image as pillow

    path = source_path(sha256, home)
    try:
        with pillow.open(path, formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError("too large")
            source = SourcePicture.of(image)
    except FileNotFoundError as error:
        raise RecipeError(
            "The picture that this one was painted from is not here ({file}).",
            "Copy it into {folder}, from the home in which the picture was made.",
            file=path.name,
            folder=path.parent,
        ) from error
    # Pillow's decoders raise anything of damaged bytes: KeyError, TypeError, struct.error, ...
    except Exception as error:
        raise RecipeError(
            "The picture that this one was painted from is damaged ({file}).",
            "Copy it again into {folder}.",
            file=path.name,
            folder=path.parent,
        ) from error
    if source.sha256 != sha256:
        raise RecipeError(
            "The picture that this one was painted from is not the same any more ({file}).",
            "Copy it again into {folder}.",
            file=path.name,
            folder=path.parent,
        )
    return source


def fitted_size(
    source: SourcePicture, native_px: int, multiple_px: int, width_px: int, height_px: int
) -> tuple[int, int]:
    """Complete a size of which 0 means "as the picture": its shape, at about the base's native area."""
    shape = min(max(source.image.width / source.image.height, 1 / STEEPEST), STEEPEST)
    if width_px and height_px:
        return width_px, height_px
    if width_px:
        wished = (float(width_px), width_px / shape)
    elif height_px:
        wished = (height_px * shape, float(height_px))
    else:
        wished = (native_px * math.sqrt(shape), native_px / math.sqrt(shape))
    rounded = [max(multiple_px, round(side / multiple_px) * multiple_px) for side in wished]
    return width_px or rounded[0], height_px or rounded[1]


def first_step(steps: int, strength: float) -> int:
    """Return the step to begin with: strength 1 does all steps, 0 none, and anything above 0 at least one."""
    return steps - (max(1, round(steps * strength)) if strength > 0 else 0)


def encode_source(
    base: Base,
    source: SourcePicture,
    width_px: int,
    height_px: int,
    cancelled: Callable[[], bool] = lambda: False,
    notes: list[Text] | None = None,
) -> Tensor:
    """Return the scaled latents (1, C, H/f, W/f) in fp32 on the CPU; the picture covers the size, cut at the middle.

    The mean of the VAE's answer and no draw from it: a seed decides the noise alone. In fp32 where half precision
    overflows; `notes` as for `styles.bases.vae.encode`. Raises PictureError where even that gives no numbers, OutOfMemory.
    """
    import numpy
    import torch
    from PIL import Image as pillow
    from PIL import ImageOps

    from styles.bases.offload import bring
    from styles.bases.slices import in_slices
    from styles.bases.vae import encode
    from styles.bases.working_memory import encoding_bytes

    fitted = ImageOps.fit(source.image, (width_px, height_px), pillow.Resampling.LANCZOS)
    values = numpy.asarray(fitted, dtype=numpy.float32) / 127.5 - 1.0
    pixels = torch.from_numpy(values).permute(2, 0, 1)[None]  # (1, 3, H, W) in -1..1
    full = Text(
        "{device} has too little memory to read a picture of {width_px}x{height_px} px.",
        device=base.device,
        width_px=width_px,
        height_px=height_px,
    )
    latents_count = (width_px // base.vae_factor) * (height_px // base.vae_factor)
    slices = in_slices(base, latents_count, 1, cancelled)
    with memory_errors(full, "Choose a smaller size, or close other programs."), slices:
        bring(base, base.vae, work_bytes=encoding_bytes(base.vae, width_px * height_px))
        latents, _ = encode(base.vae, pixels, notes)
    if not bool(torch.isfinite(latents).all()):
        raise PictureError("The base makes no numbers of this picture (NaN).", "Choose another picture.")
    return latents.cpu()
