"""Artworks to train on, in hands that the starter was never shown; Atelier brings two such sets along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from training.starter.captions import caption
from training.starter.hands import draw
from training.starter.scenes import sample_scene

BUNDLED_HANDS = ("cyanotype", "ochre dabs")
_SUBJECTS = ("house", "boat", "cat", "flower", "tree", "bird", "mushroom", "car")
_BACKGROUNDS = ("meadow", "sea", "room", "desert", "snow", "sunset", "paper", "night")
_SIZE_PX = 256


def draw_artworks(hand: str, folder: Path) -> None:
    """Write a hand's `01.png` to `08.png` into `folder`, each with its caption in a `.txt` beside it.

    The captions name what is seen and leave the colours out, as someone who works in one ink would.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, (subject, background) in enumerate(zip(_SUBJECTS, _BACKGROUNDS, strict=True), start=1):
        rng = np.random.default_rng([number, len(hand)])
        scene = sample_scene(rng, subject=subject, background=background, pair_share=0.0)
        picture = draw(scene, hand, number, size_px=_SIZE_PX)
        Image.fromarray(picture).save(folder / f"{number:02}.png", optimize=True)
        text = caption(scene, None, None, coloured=False)
        (folder / f"{number:02}.txt").write_text(text + "\n", encoding="utf-8")
