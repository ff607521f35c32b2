"""A home for mixing: a tiny base in use, two styles that have nothing to do with each other, and one's opposite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from styles.bases.base import open_base
from styles.bases.shelf import BaseShelf
from styles.formats.kohya import kohya_name
from styles.formats.style import Style
from styles.library.library import Library
from styles.storage.home import Home
from tests.styles.painting import style_for


def home_for_mixing(folder: Path, tiny_base: Path) -> Path:
    """Write the home with the styles Ink, Oil and Anti, all clearly seen at weight 1, and return its folder."""
    home = Home(folder).create()
    shelf = BaseShelf(home)
    shelf.use(shelf.add(tiny_base).name)
    base = open_base(tiny_base, home, device="cpu")
    library = Library(home)
    ink, oil = style_for(base, 1, strength=0.2), style_for(base, 2, strength=0.2)
    anti = replace(ink, layers=tuple(replace(layer, up=-layer.up) for layer in ink.layers))
    for name, style in (("Ink", ink), ("Oil", oil), ("Anti", anti)):
        library.add(replace(style, card=replace(style.card, name=name, trigger=name.lower())))
    return folder


def lacking(style: Style) -> Style:
    """The style with one more layer, that no tiny base has."""
    elsewhere = replace(style.layers[0], path="up_blocks.7.attentions.0.transformer_blocks.0.attn2.to_k")
    return replace(style, card=replace(style.card, name="Elsewhere"), layers=(*style.layers, elsewhere))


def style_file_of_rank(path: Path, style: Style, rank: int) -> Path:
    """A style's file of one layer with a rank that its own writer would not let pass."""
    first = style.layers[0]
    save_file(
        {
            f"{kohya_name('unet', first.path)}.lora_down.weight": torch.ones(rank, first.down.shape[1]),
            f"{kohya_name('unet', first.path)}.lora_up.weight": torch.ones(first.up.shape[0], rank),
            f"{kohya_name('unet', first.path)}.alpha": torch.tensor(1.0),
        },
        path,
    )
    return path
