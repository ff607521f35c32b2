"""Which cards a base paints on, by the bytes counted at each stage: with all of its parts there, and with those at work."""

from __future__ import annotations

import pytest

from styles.families import family_of
from tests.accelerator.painting_stages import APART, CONTEXT_BYTES, fits, stages

# GB of the stages, in the order of `stages`: all parts on the card, and those at work; two styles of rank 32.
TABLE = {
    "sd1": ((2.87, 0.38), (3.06, 2.04), (2.90, 1.88), (3.32, 0.75), (3.32, 0.75)),
    "sd2": ((2.76, 0.87), (3.16, 2.31), (2.88, 2.03), (3.82, 1.41), (3.19, 0.78)),
    "sdxl": ((7.86, 2.39), (8.42, 6.45), (7.77, 5.80), (11.59, 4.82), (8.58, 1.81)),
}
# The smallest cards, in GB.
ALL_RESIDENT = {"sd1": 4, "sd2": 6, "sdxl": 12}
OFFLOADED = {"sd1": 4, "sd2": 4, "sdxl": 8}
SPARING = {"sd1": 4, "sd2": 4, "sdxl": 6}


# The same as NF4, and the smallest card with the parts at work alone.
NF4 = {
    "sd1": ((2.47, 0.38), (2.65, 1.63), (2.50, 1.48), (2.92, 0.75), (2.92, 0.75)),
    "sd2": ((2.32, 0.87), (2.71, 1.86), (2.44, 1.59), (3.38, 1.41), (2.75, 0.78)),
    "sdxl": ((4.54, 2.39), (5.07, 3.10), (4.46, 2.49), (8.28, 4.82), (5.27, 1.81)),
}
SPARING_NF4_GB = 4


@pytest.mark.slow
@pytest.mark.parametrize("family", NF4)
def test_painting_over_nf4_fits_a_card_of_4_gb(family: str) -> None:
    counted = stages(family, quantize="nf4")
    seen = [(stage.resident / 1e9, stage.offloaded / 1e9) for stage in counted]
    for pair, expected in zip(seen, NF4[family], strict=True):
        assert pair == pytest.approx(expected, rel=0.02, abs=0.02)
    most = max(stage.resident for stage in counted if stage.name not in (APART, "decoding in tiles"))
    least = max(stage.offloaded for stage in counted if stage.name not in ("denoising", "decoding"))
    assert family_of(family).painting_nf4_gb == pytest.approx(
        [(size + CONTEXT_BYTES) / 1e9 for size in (most, least)], abs=0.06
    )
    assert fits(least, SPARING_NF4_GB)


@pytest.mark.slow
@pytest.mark.parametrize("family", TABLE)
def test_painting_with_two_styles_fits_the_cards_that_are_named(family: str) -> None:
    counted = stages(family)
    seen = [(stage.resident / 1e9, stage.offloaded / 1e9) for stage in counted]
    for pair, expected in zip(seen, TABLE[family], strict=True):
        assert pair == pytest.approx(expected, rel=0.02, abs=0.02)
    usual = [stage for stage in counted if stage.name not in (APART, "decoding in tiles")]
    sparing = [stage for stage in counted if stage.name not in ("denoising", "decoding")]
    needed = max(stage.resident for stage in usual), max(stage.offloaded for stage in sparing)
    assert family_of(family).painting_gb == pytest.approx(
        [(most + CONTEXT_BYTES) / 1e9 for most in needed], abs=0.06
    )
    assert fits(max(stage.resident for stage in usual), ALL_RESIDENT[family])
    assert fits(max(stage.offloaded for stage in usual), OFFLOADED[family])
    assert fits(max(stage.offloaded for stage in sparing), SPARING[family])
