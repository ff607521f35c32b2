"""Aspect-ratio buckets: artworks keep their shape, and all pictures of one batch share a size."""

from __future__ import annotations

import math
from collections.abc import Sequence

from styles.families import Family

WIDEST = 2.5  # longest side over shortest; anything longer is cropped


def bucket_multiple_px(vae_channels: Sequence[int], unet_channels: Sequence[int], family: Family) -> int:
    """Return what both sides of a bucket must divide by, in px, for the levels of a base's VAE and UNet.

    Each level but the last halves the picture; SDXL was itself trained in steps of more (arXiv 2307.01952, appendix I).
    """
    return math.lcm(2 ** (len(vae_channels) + len(unet_channels) - 2), family.bucket_step_px)


def bucket_sizes(resolution_px: int, multiple_px: int) -> tuple[tuple[int, int], ...]:
    """List the (width, height) in px that artworks may get, all with about the area of a square of `resolution_px`.

    Sides are multiples of `multiple_px` (what the VAE and the UNet's levels divide by); no area is above the
    square's, so that no bucket needs more memory than it. After NovelAI's "aspect ratio bucketing" (2022).
    """
    square = max(multiple_px, round(resolution_px / multiple_px) * multiple_px)
    sizes = {(square, square)}
    for short in range(multiple_px, square, multiple_px):
        long = square * square // short // multiple_px * multiple_px
        # A bucket that wastes a quarter of the area only shows the artwork smaller than need be.
        if long <= WIDEST * short and long * short > 0.75 * square**2:
            sizes |= {(short, long), (long, short)}
    return tuple(sorted(sizes))


def nearest_bucket(width_px: int, height_px: int, sizes: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """Choose the size whose shape is nearest to the artwork's, by the ratio of the two aspect ratios."""
    aspect = math.log(width_px / height_px)
    return min(sizes, key=lambda size: (abs(math.log(size[0] / size[1]) - aspect), size))


def crop_box(width_px: int, height_px: int, bucket: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the largest centred (left, top, right, bottom) of the artwork that has the bucket's shape."""
    scale = min(width_px / bucket[0], height_px / bucket[1])
    width, height = bucket[0] * scale, bucket[1] * scale
    left, top = (width_px - width) / 2, (height_px - height) / 2
    return left, top, left + width, top + height
