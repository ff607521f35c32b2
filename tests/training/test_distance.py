"""The style distance is a measure: it names the hand that drew a set of pictures, and means what it says."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from training import distance as d
from training.distance import StyleStatistics, distance, gap_closed, look, nearest
from training.starter.hands import HANDS, HELD_OUT, draw
from training.starter.scenes import sample_scene

SETS = 2  # of 8 pictures in each hand


def drawn(hand: str, first: int, count: int) -> np.ndarray:
    scenes = [sample_scene(np.random.default_rng([first + i, 9]), pair_share=0.0) for i in range(count)]
    return np.stack([draw(scene, hand, first + i) for i, scene in enumerate(scenes)])


@pytest.fixture(scope="module")
def references() -> dict[str, StyleStatistics]:
    """Each hand over scenes of its own, so that nothing but the hand is alike."""
    hands = (*HANDS, *HELD_OUT)
    return {hand: look(drawn(hand, 1000 * number, 32)) for number, hand in enumerate(hands)}


@pytest.mark.slow
def test_it_names_the_hand_that_drew_a_set(references: dict[str, StyleStatistics]) -> None:
    wrong = []
    for number, hand in enumerate(references):
        for part in range(SETS):
            named = nearest(drawn(hand, 1000 * number + 500 + 8 * part, 8), references)
            if named != hand:
                wrong.append((hand, named))
    assert len(wrong) / (SETS * len(references)) <= 0.05, wrong


@pytest.mark.slow
def test_two_hands_are_about_one_apart(references: dict[str, StyleStatistics]) -> None:
    raw = [d.raw_parts(a, b) for a, b in combinations(references.values(), 2)]
    units = {
        "palette": d.PALETTE_UNIT,
        "orientation": d.ORIENTATION_UNIT,
        "strength": d.STRENGTH_UNIT,
        "energy": d.ENERGY_UNIT,
        "sparsity": d.SPARSITY_UNIT,
        "gram": d.GRAM_UNIT,
    }
    for part, unit in units.items():
        assert np.median([parts[part] for parts in raw]) == pytest.approx(unit, rel=0.2), part


def test_a_set_is_no_distance_from_itself_and_order_plays_no_part() -> None:
    pictures = drawn("mosaic", 0, 6)
    assert distance(pictures, pictures).overall == 0
    assert distance(pictures[::-1].copy(), pictures).overall < 1e-4
    other = drawn("ink", 0, 6)
    assert distance(pictures, other).overall == pytest.approx(distance(other, pictures).overall)


def test_each_part_sees_its_own() -> None:
    pictures = drawn("flat", 0, 8)
    recoloured = distance(pictures[..., [2, 0, 1]], pictures)
    assert recoloured.palette > 0.5 > 2 * max(recoloured.gradient, recoloured.texture)
    turned = distance(np.rot90(pictures, axes=(1, 2)).copy(), pictures)
    assert turned.palette == pytest.approx(0, abs=1e-4)
    assert turned.gradient > 0.3
    pixels = np.random.default_rng(0).permutation(pictures.reshape(8, -1, 3), axis=1)
    shuffled = distance(pixels.reshape(pictures.shape), pictures)
    assert shuffled.texture > 1.3
    assert shuffled.gradient > 1 > shuffled.palette


def test_detail_finer_than_four_pixels_hardly_counts() -> None:
    pictures = drawn("oil", 0, 8)
    fine = np.where(np.indices((128, 128)).sum(0)[..., None] % 2, 6, -6)
    noisy = np.clip(pictures.astype(int) + fine, 0, 255).astype(np.uint8)
    assert distance(noisy, pictures).overall < 0.1


def test_it_falls_along_the_way_to_the_reference() -> None:
    start, end = drawn("flat", 0, 8).astype(float), drawn("cyanotype", 0, 8).astype(float)
    way = [
        distance((start + (end - start) * share).astype(np.uint8), end.astype(np.uint8))
        for share in (0, 0.5, 1)
    ]
    for part in d.PARTS:
        values = [step.part(part) for step in way]
        assert values == sorted(values, reverse=True), part


def test_the_share_of_a_gap() -> None:
    assert gap_closed(1.0, 1.0, 0.2) == 0
    assert gap_closed(1.0, 0.2, 0.2) == pytest.approx(1)
    assert gap_closed(1.0, 0.6, 0.2) == pytest.approx(0.5)
    assert gap_closed(1.0, 1.4, 0.2) == pytest.approx(-0.5)
    assert gap_closed(0.2, 0.1, 0.2) == 0


@pytest.mark.parametrize(
    "pictures",
    [
        np.zeros((2, 16, 16, 3), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
    ],
)
def test_it_refuses_what_it_cannot_measure(pictures: np.ndarray) -> None:
    with pytest.raises(ValueError, match="ictures"):
        look(pictures)


def test_one_plain_colour_gives_numbers() -> None:
    plain = np.full((2, 64, 96, 3), 128, np.uint8)
    assert np.isfinite(distance(plain, drawn("flat", 0, 2)).overall)
