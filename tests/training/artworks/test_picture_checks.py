"""What is seen of a picture before training: tried on drawn pictures, whose flaws are known."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from styles.bases.base import open_base
from styles.bases.files.inspection import inspect_base
from styles.storage.home import Home
from training.artworks.buckets import bucket_sizes, nearest_bucket
from training.artworks.opening import open_artwork
from training.artworks.picture_checks import (
    SOFT,
    TWIN_BITS,
    PictureCheck,
    framing,
    look_at,
    picture_hash,
    remarks,
    size_multiple_of,
)
from training.encode import size_multiple

PX, MULTIPLE = 128, 32


def scene(seed: int, size: tuple[int, int] = (400, 400)) -> Image.Image:
    """A few coloured discs and bars on paper."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, (240, 232, 215))
    draw = ImageDraw.Draw(image)
    for number in range(9):
        x, y = (int(rng.integers(0, side)) for side in size)
        reach = int(rng.integers(20, 90))
        colour = tuple(int(part) for part in rng.integers(0, 200, 3))
        (draw.ellipse if number % 2 else draw.rectangle)((x - reach, y - reach, x + reach, y + reach), colour)
    return image


def seen(image: Image.Image) -> PictureCheck:
    return look_at(image, image.size, PX)


def flaws(*looks: PictureCheck) -> list[list[str]]:
    return [[remark.flaw for remark in found] for found in remarks(looks, PX, MULTIPLE)]


def test_a_good_picture_is_passed_without_a_word() -> None:
    assert flaws(*(seen(scene(seed)) for seed in range(4))) == [[], [], [], []]


@pytest.mark.parametrize("seed", range(3))
def test_blur_is_seen_at_the_size_of_training_and_grows_with_the_blur(seed: int) -> None:
    shown = [seen(scene(seed).filter(ImageFilter.GaussianBlur(radius))).sharpness for radius in (0, 2, 6, 12)]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] > 10 * SOFT
    assert shown[1] > SOFT, "what the shrinking hides does no harm"
    assert shown[-1] < SOFT
    assert flaws(seen(scene(seed).filter(ImageFilter.GaussianBlur(16)))) == [["soft"]]


def test_a_soft_background_and_plain_paper_are_no_blur() -> None:
    portrait = scene(1).filter(ImageFilter.GaussianBlur(20))
    portrait.paste(scene(2).crop((100, 100, 300, 300)), (100, 100))
    pale = Image.blend(Image.new("RGB", (400, 400), "white"), scene(3), 0.35)
    plain = Image.new("RGB", (400, 400), "navy")
    assert math.isnan(seen(plain).sharpness)
    assert flaws(seen(portrait), seen(pale), seen(plain)) == [[], [], ["blank"]]


def test_a_small_picture_is_named_with_how_much_it_grows() -> None:
    ((remark,),) = remarks([seen(scene(0).resize((64, 64)))], PX, MULTIPLE)
    assert remark.flaw == "small" and remark.amount == pytest.approx(PX / 64)


def test_a_long_picture_loses_its_ends() -> None:
    wide, tall = remarks([seen(scene(0, (1200, 200))), seen(scene(1, (200, 1200)))], PX, MULTIPLE)
    assert [(remark.flaw, remark.sides) for remark in (*wide, *tall)] == [("cut", True), ("cut", False)]
    assert wide[0].amount == pytest.approx(framing((1200, 200), PX, MULTIPLE).lost)


def test_the_framing_is_that_of_the_training() -> None:
    for size in ((300, 200), (90, 400), (128, 128)):
        frame = framing(size, PX, MULTIPLE)
        assert frame.bucket_px == nearest_bucket(*size, bucket_sizes(PX, MULTIPLE))
        left, top, right, bottom = frame.box
        kept = (right - left) * size[0] / ((bottom - top) * size[1])
        assert kept == pytest.approx(frame.bucket_px[0] / frame.bucket_px[1])
        assert left == pytest.approx(1 - right) and top == pytest.approx(1 - bottom)


def test_other_takes_of_one_picture_are_twins_and_other_pictures_are_not() -> None:
    first = scene(5)
    takes = [
        first.resize((150, 150)),
        first.point(lambda value: min(255, int(value * 1.15))),
        first.filter(ImageFilter.GaussianBlur(3)),
        first.crop((6, 6, 396, 396)),
    ]
    for take in takes:
        assert (picture_hash(first) ^ picture_hash(take)).bit_count() <= TWIN_BITS
        assert flaws(seen(first), seen(scene(6)), seen(take))[2][-1] == "twin"
    hashes = [picture_hash(scene(seed)) for seed in range(12)]
    assert min((one ^ other).bit_count() for one, other in combinations(hashes, 2)) > 2 * TWIN_BITS
    *_, (twin,) = remarks([seen(first), seen(scene(6)), seen(takes[1])], PX, MULTIPLE)
    assert twin.other == 0


def test_the_grid_is_read_from_the_files_as_the_open_base_has_it(tiny_base: Path, tmp_path: Path) -> None:
    opened = open_base(tiny_base, Home(tmp_path), device="cpu")
    assert size_multiple_of(inspect_base(tiny_base)) == size_multiple(opened)


def test_an_empty_picture_and_a_very_dark_one_are_said(tmp_path: Path) -> None:
    """What is transparent, a first frame without anything, and greys of 12 bits in a file of 16."""
    Image.new("RGBA", (256, 256), (200, 30, 30, 0)).save(tmp_path / "clear.png")
    noise = Image.effect_noise((256, 256), 80)
    Image.new("L", (256, 256), 250).save(tmp_path / "first.gif", save_all=True, append_images=[noise])
    deep = np.asarray(noise, dtype=np.uint16) << 4
    Image.fromarray(deep).save(tmp_path / "deep.png")
    noise.save(tmp_path / "noise.png")
    drawing = Image.new("L", (256, 256), 255)
    ImageDraw.Draw(drawing).line((20, 20, 120, 90), fill=0, width=2)
    drawing.save(tmp_path / "line.png")
    said = {}
    for path in tmp_path.iterdir():
        image = open_artwork(path)
        (notes,) = remarks([look_at(image, image.size, 256)], 256, 64)
        said[path.name] = [note.flaw for note in notes]
    assert said.pop("deep.png")[0] == "dark"
    assert said == {"clear.png": ["blank"], "first.gif": ["blank"], "noise.png": [], "line.png": []}
