"""What an artist would like to know of a picture before it is trained on: too small, soft, long, or there twice.

Everything is judged at the size that the training gives the picture, since a flaw that the shrinking hides does no
harm. These are hints, never refusals: a soft picture may be soft on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from styles.families import family_of
from training.artworks.buckets import bucket_multiple_px, bucket_sizes, crop_box, nearest_bucket

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from styles.bases.files.inspection import BaseFacts

Flaw = Literal["blank", "dark", "small", "soft", "cut", "twin"]

ENLARGED = 1.25  # times; a picture that must grow by more teaches its own blur
LOST = 0.22  # share of the picture outside its crop that is worth a word; a photo of 4:3 is not
SOFT = 0.03  # of `sharpness`: edges some seven pixels wide, where a good scan is a hundred times above
GROUND = 12  # levels of 255 in any colour; what differs by less from the most usual colour is its ground
BLANK = 0.001  # share of a picture beside its ground; with less, nothing is drawn
DARK = 40  # level of 255; where nearly nothing is lighter, greys of 12 bits may lie in 16
LOOKED_AT_PX = 512  # about, on the longer side, for both
TILE_PX = 32  # side of the squares that sharpness is read in
SHARPEST = 90  # percentile of the squares: what is meant to be sharp, whatever the background does
# What rounding to whole grey levels adds to the Laplacian's variance: weights 1, 1, 1, 1, -4.
ROUNDING = 20 / 12
CONTRAST = 10.0  # grey levels (standard deviation); a flatter square has no edge to judge
HASH_SIDE = 8
TWIN_BITS = 10  # of 128 that may differ between two takes of one picture


@dataclass(frozen=True)
class PictureCheck:
    """What was seen of one picture: its upright size, how sharp it is, and a hash of what it shows."""

    size_px: tuple[int, int]  # (width, height)
    sharpness: float  # see `sharpness`; NaN where nothing in the picture has an edge
    hash: int  # 128 bits, see `picture_hash`
    drawn: float = 1.0  # share of it that differs from its ground, 0..1
    lightest: float = 255.0  # level of 255 that a thousandth of it reaches


@dataclass(frozen=True)
class Framing:
    """How the training will see a picture: the size that it gets, and the part of it that is kept."""

    bucket_px: tuple[int, int]  # (width, height)
    box: tuple[float, float, float, float]  # left, top, right, bottom as shares of the picture, 0..1

    @property
    def lost(self) -> float:
        """The share of the picture outside the box, 0..1."""
        left, top, right, bottom = self.box
        return 1 - (right - left) * (bottom - top)


@dataclass(frozen=True)
class Remark:
    """One thing worth a word; `amount` is what `flaw` says it is."""

    flaw: Flaw
    amount: float = 0.0  # dark: its lightest level as a share of white; small: times that it is enlarged; cut: share lost, 0..1; soft: its sharpness
    sides: bool = False  # cut: at the left and right rather than at top and bottom
    other: int = -1  # twin: which picture it resembles, by its place


def look_at(image: Image, size_px: tuple[int, int], resolution_px: int) -> PictureCheck:
    """Look at an opened picture; `size_px` is its full upright size where `image` was decoded smaller.

    `resolution_px` is the side of the square whose area the training gives every picture.
    """
    grey = _grey_at(image, resolution_px)
    drawn, lightest = _ground_and_light(image)
    return PictureCheck(size_px, sharpness(grey), picture_hash(image), drawn, lightest)


def _ground_and_light(image: Image) -> tuple[float, float]:
    """Return the share of an RGB picture that differs from its ground, and the level that a thousandth of it reaches."""
    import numpy as np

    small = np.asarray(image.reduce(max(1, max(image.size) // LOOKED_AT_PX)), dtype=np.int16)  # (H, W, 3)
    lightest = float(np.percentile(small.max(axis=2), 99.9))
    # In a dark picture less is a difference.
    least = max(1.0, min(GROUND, lightest / 4))
    drawn = (np.abs(small - np.median(small, axis=(0, 1))).max(axis=2) > least).mean()
    return float(drawn), lightest


def framing(size_px: tuple[int, int], resolution_px: int, multiple_px: int) -> Framing:
    """Return the crop of a picture of this (width, height), as `training.encode.prepare` will choose it."""
    bucket = nearest_bucket(*size_px, bucket_sizes(resolution_px, multiple_px))
    left, top, right, bottom = crop_box(*size_px, bucket)
    width, height = size_px
    return Framing(bucket, (left / width, top / height, right / width, bottom / height))


def size_multiple_of(facts: BaseFacts) -> int:
    """Return what `training.encode.size_multiple` says of the open base, in px, from its files alone."""
    vae, unet = (config["block_out_channels"] for config in (facts.vae_config, facts.unet_config))
    return bucket_multiple_px(vae, unet, family_of(facts.family))


def remarks(looks: Sequence[PictureCheck], resolution_px: int, multiple_px: int) -> list[tuple[Remark, ...]]:
    """Return what is worth a word of each picture, in the order of `looks`."""
    twins = near_twins([look.hash for look in looks])
    return [
        (*_of_one(look, framing(look.size_px, resolution_px, multiple_px)), *_twin(twins.get(place)))
        for place, look in enumerate(looks)
    ]


def _of_one(look: PictureCheck, frame: Framing) -> list[Remark]:
    if look.drawn < BLANK:
        return [Remark("blank")]
    remarks = []
    if look.lightest < DARK:
        remarks.append(Remark("dark", look.lightest / 255))
    left, top, right, bottom = frame.box
    enlarged = frame.bucket_px[0] / max(1.0, (right - left) * look.size_px[0])
    if enlarged > ENLARGED:
        remarks.append(Remark("small", enlarged))
    elif look.sharpness < SOFT:  # a small one is soft by itself, and one word is enough
        remarks.append(Remark("soft", look.sharpness))
    if frame.lost > LOST:
        remarks.append(Remark("cut", frame.lost, sides=right - left < bottom - top))
    return remarks


def _twin(other: int | None) -> list[Remark]:
    return [] if other is None else [Remark("twin", other=other)]


def sharpness(grey: np.ndarray) -> float:
    """Say how sharp the sharpest parts of a picture are, about 0.0005 (out of focus) to 1 and above (fine lines).

    `grey` is (H, W) in 0..255. The variance of the Laplacian (Pech-Pacheco et al., ICPR 2000) over the variance of
    the grey itself, so that a pale drawing is not taken for a soft one; read in squares of TILE_PX, of which the
    SHARPEST-th percentile counts: a portrait before a soft background is sharp. NaN where all squares are plain.
    """
    import numpy as np

    grey = np.asarray(grey, dtype=np.float64)
    if min(grey.shape) < 4:
        return math.nan
    middle = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle
    ratios = []
    for top in range(0, max(1, middle.shape[0] - TILE_PX // 2), TILE_PX):
        for left in range(0, max(1, middle.shape[1] - TILE_PX // 2), TILE_PX):
            square = np.s_[top : top + TILE_PX, left : left + TILE_PX]
            spread = float(middle[square].var())
            if spread > CONTRAST**2:
                ratios.append(max(0.0, float(laplacian[square].var()) - ROUNDING) / spread)
    return float(np.percentile(ratios, SHARPEST)) if ratios else math.nan


def picture_hash(image: Image) -> int:
    """Return 128 bits of what a picture shows: where brightness rises to the right, and where it rises downwards.

    The difference hash (Krawetz, "Kind of Like That", 2013) in both directions: the same for another size, quality or
    exposure of the same picture, and far from that of another one.
    """
    import numpy as np
    from PIL.Image import Resampling

    side = HASH_SIDE
    grey = image.convert("L")
    across = np.asarray(grey.resize((side + 1, side), Resampling.BOX), dtype=np.int16)
    down = np.asarray(grey.resize((side, side + 1), Resampling.BOX), dtype=np.int16)
    bits = np.concatenate([(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_twins(hashes: Sequence[int]) -> dict[int, int]:
    """Return, for each picture that resembles an earlier one, the place of that earlier one."""
    twins: dict[int, int] = {}
    for place, here in enumerate(hashes):
        for earlier in range(place):
            if (here ^ hashes[earlier]).bit_count() <= TWIN_BITS:
                twins[place] = earlier
                break
    return twins


def _grey_at(image: Image, resolution_px: int) -> np.ndarray:
    """Return (H, W) greys of the picture at the size of training; never enlarged, which would soften it."""
    import numpy as np
    from PIL.Image import Resampling

    shrink = min(1.0, resolution_px / math.sqrt(image.width * image.height))
    size = max(1, round(image.width * shrink)), max(1, round(image.height * shrink))
    grey = image.convert("L")
    return np.asarray(grey if size == grey.size else grey.resize(size, Resampling.LANCZOS))
