"""Bases of their own, made of a base and styles: written, opened, painted with, trained on, merged further."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from styles.bases.base import Base, open_base
from styles.bases.base_settings import BaseSettings
from styles.bases.files.merged_base import CARD, UNET_FILE
from styles.bases.shelf import BaseShelf, find_source
from styles.bases.working_memory import weight_bytes
from styles.errors import (
    BadInput,
    BaseError,
    BlendError,
    DiskFullError,
    OutOfMemory,
    WrongFamilyError,
)
from styles.formats.style import Style
from styles.generation.generate import PictureDone, generate
from styles.generation.request import CreateRequest
from styles.mixing.bake import BakePlan, bake
from styles.mixing.base_merge import merge_base
from styles.mixing.blend import Blend, BlendPart
from styles.quantization.column_groups import style_repeats
from styles.quantization.grouped_linear import GroupedLinear
from styles.quantization.quantization import QUANTIZATIONS
from styles.storage.home import Home
from tests.styles.making import random_style
from tests.styles.mixing.test_group_merge import grouped, grouped_styles
from tests.styles.original_layout import copy_configs, save_original_layout
from tests.tiny import tiny_base_folder, write_vocabulary

WEIGHTS = (0.7, 0.4)


@pytest.fixture
def home(home_folder: Path) -> Home:
    return Home(home_folder).create()


def opened(source: str | Path, home: Home, quantize: str | None = None, **more: Any) -> Base:
    return open_base(
        source, home, device="cpu", dtype="fp32", quantize=quantize, safety_checker=False, **more
    )


def painted(
    base: Base, styles: tuple[Style, ...] = (), weights: tuple[float, ...] = ()
) -> np.ndarray[Any, Any]:
    request = CreateRequest("a red cat", weights=(weights,) if weights else (), seeds=(4,), steps=3)
    (picture,) = (event.image for event in generate(base, request, styles) if isinstance(event, PictureDone))
    return np.asarray(picture, dtype=np.float64)


@pytest.mark.parametrize("kind", ["starter", "tiny_sd1", "tiny_sdxl", "single file"])
def test_it_paints_as_the_mix_after_saving_and_opening(
    kind: str, request: pytest.FixtureRequest, home: Home, tmp_path: Path
) -> None:
    source: Any = "starter" if kind == "starter" else None
    more: dict[str, Any] = {}
    if kind == "single file":
        folder, source = request.getfixturevalue("tiny_sd1"), tmp_path / "one.safetensors"
        save_original_layout(folder, source)
        write_vocabulary(home.bases / "clip-tokenizer")
        more["config_folder"] = copy_configs(folder, tmp_path / "configs")
    source = source or request.getfixturevalue(kind)
    base = opened(source, home, "qa4-32", **more)
    styles = grouped_styles(base, 32)
    mixed, plain = painted(base, tuple(styles), WEIGHTS), painted(base)
    merge_base(home, source, list(zip(styles, WEIGHTS, strict=True)), "Mine", **more)
    again = opened("Mine", home)
    # Of 255 levels.
    difference, change = np.abs(painted(again) - mixed), np.abs(mixed - plain)
    assert difference.max() <= 1 < 4 <= change.max() and difference.mean() < 0.02 * change.mean()
    for same in (
        "family",
        "prediction_type",
        "zero_terminal_snr",
        "native_size_px",
        "zeros_for_empty_prompt",
    ):
        assert getattr(again, same) == getattr(base, same)
    assert again.quantize == "qa4-32" and again.fingerprint != base.fingerprint


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, tiny_sd1: Path) -> tuple[Home, list[Style]]:
    """A home with the base `Mine`, made of one of two styles on `Tiny`; with both styles."""
    home = Home(tmp_path_factory.mktemp("home")).create()
    shutil.copytree(tiny_sd1, home.bases / "Tiny")
    styles = grouped_styles(opened("Tiny", home, "qa4-32"), 32)
    card = replace(styles[0].card, id="ab" * 32, trigger="inky", author="Ana", licence="CC-BY-NC-4.0")
    styles[0] = replace(styles[0], card=card)
    done = merge_base(home, "Tiny", [(styles[0], 0.8)], "Mine")
    assert [str(note) for note in done.notes if "money" in note or "commercial" in note]
    return home, styles


def test_the_shelf_says_what_it_is_of(merged: tuple[Home, list[Style]], tiny_sd1: Path) -> None:
    home, _ = merged
    shelf = BaseShelf(home)
    (entry,) = (one for one in shelf.list() if one.name == "Mine")
    (parent,) = (one for one in shelf.list() if one.name == "Tiny")
    assert (entry.family, entry.native_size_px, entry.prediction_type) == ("sd1", 64, "epsilon")
    assert entry.quantize == "qa4-32" and entry.state == "here" and entry.size_gb <= parent.size_gb
    assert entry.licence == "Tiny: unknown; ink 0: CC-BY-NC-4.0"
    assert "Merged of Tiny with ink 0 at 0.8 (“inky”), in four bits with groups of 32" in str(entry.notes[0])
    told = json.loads((home.bases / "Mine" / CARD).read_text(encoding="utf-8"))
    assert told["format"] == 1 and told["base_fingerprint"] == opened("Tiny", home).fingerprint
    assert told["styles"] == [
        {"name": "ink 0", "id": "ab" * 32, "weight": 0.8, "trigger": "inky", "author": "Ana", "licence": "CC-BY-NC-4.0"}
    ]  # fmt: skip
    assert shelf.use("Mine").in_use and shelf.keep_as("Mine", "qa4-32").quantize == "qa4-32"
    assert find_source("Mine", home)[1].quantize == "qa4-32"
    for way in ("none", "nf4", "qa4-16"):
        for asked in (
            lambda: opened("Mine", home, way),  # noqa: B023
            lambda: shelf.keep_as("Mine", way),  # noqa: B023
            lambda: open_base("Mine", home, settings=BaseSettings(quantize=way)),  # noqa: B023
        ):
            with pytest.raises(BaseError, match="in four bits with groups of 32, as it was merged"):
                asked()


def test_it_takes_the_bytes_of_the_base_that_it_was(merged: tuple[Home, list[Style]]) -> None:
    home, _ = merged
    before, after = (opened(name, home, "qa4-32").unet for name in ("Tiny", "Mine"))
    layers = [path for path, module in before.named_modules() if isinstance(module, GroupedLinear)]
    sizes = [
        sum(
            tensor.nbytes
            for path in layers
            for tensor in (unet.get_submodule(path).weight, *unet.get_submodule(path).buffers())
        )
        for unet in (before, after)
    ]
    weights = sum(module.in_features * module.out_features for module in map(before.get_submodule, layers))
    assert sizes[0] == sizes[1] and 8 * sizes[1] / weights == QUANTIZATIONS["qa4-32"].bits == 5
    file = load_file(home.bases / "Mine" / UNET_FILE)
    assert sum(one.nbytes for one in file.values()) == weight_bytes(after)


def test_it_is_mixed_with_further_styles_and_merged_further(merged: tuple[Home, list[Style]]) -> None:
    home, (first, second) = merged
    mine = opened("Mine", home)
    mixed = painted(mine, (second,), (0.6,))
    before = BaseShelf(home).version
    done = merge_base(home, "Mine", [(second, 0.6)], "Both")
    assert BaseShelf(home).version != before
    difference = np.abs(painted(opened("Both", home)) - mixed)
    assert difference.max() <= 1 and difference.mean() < 0.02 * np.abs(painted(mine) - mixed).mean()
    said = str(done.entry.notes[0])
    assert "Merged of Tiny with ink 0 at 0.8 (“inky”), ink 1 at 0.6" in said
    told = json.loads((home.bases / "Both" / CARD).read_text(encoding="utf-8"))
    assert told["base_fingerprint"] == opened("Tiny", home).fingerprint
    # What was trained for the base that it was fits it still.
    assert painted(mine, (first,), (0.5,)).shape == mixed.shape


def test_what_can_not_be_is_refused_and_nothing_is_left(
    merged: tuple[Home, list[Style]], tiny_sd1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, (style, _) = merged
    before = sorted(path.name for path in home.bases.iterdir())
    loose = random_style(opened("Tiny", home).unet, "loose")
    fine = grouped(loose, 16)
    for source, styles, name, kind, words in (
        ("Tiny", [(loose, 1.0)], "New", WrongFamilyError, "was not trained over groups of 16"),
        ("Mine", [(loose, 1.0)], "New", WrongFamilyError, "was not trained over groups of 32"),
        ("Mine", [(fine, 1.0)], "New", WrongFamilyError, "was not trained over groups of 32"),
        ("starter", [(style, 1.0)], "New", WrongFamilyError, "is a style for Stable Diffusion 1"),
        ("Tiny", [(style, 0.0)], "New", BlendError, "at weight 0"),
        ("Tiny", [], "New", BlendError, "no style to merge"),
        ("Tiny", [(style, 1.0)], "tiny", BaseError, "already a base “tiny”"),
        ("Tiny", [(style, 1.0)], "Starter", BaseError, "already a base"),
        ("Tiny", [(style, 1.0)], "quantized", BaseError, "already a base"),
        ("Tiny", [(style, 1.0)], "../up", BadInput, "a name is not a path"),
        ("Nowhere", [(style, 1.0)], "New", BaseError, "no base “Nowhere”"),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            merge_base(home, source, styles, name)

    def full(*given: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("styles.mixing.base_merge.merge_styles", full)
    with pytest.raises(OutOfMemory, match="does not fit into the computer's memory"):
        merge_base(home, "Tiny", [(style, 1.0)], "New")
    monkeypatch.undo()

    monkeypatch.setattr("styles.mixing.base_merge.other_bytes", lambda facts: 1 << 60)
    with pytest.raises(DiskFullError, match="The merged base needs about"):
        merge_base(home, "Tiny", [(style, 1.0)], "New")
    assert sorted(path.name for path in home.bases.iterdir()) == before


@pytest.mark.parametrize("method", ["exact", "squeezed", "ties", "dare"])
def test_a_bake_says_its_groups_where_it_keeps_them(home: Home, tiny_sd1: Path, method: str) -> None:
    shutil.copytree(tiny_sd1, home.bases / "Tiny")
    base = opened("Tiny", home)
    styles = [
        replace(style, card=replace(style.card, training={"quantize": "qa4-32"}, id=str(n) * 64))
        for n, style in enumerate(grouped_styles(base, 32))
    ]
    blend = Blend(tuple(BlendPart(style.id, 0.5) for style in styles))
    baked = bake(blend, styles, BakePlan("Both", method, rank=4 if method == "squeezed" else None))
    keeps = style_repeats(baked, 32)
    assert baked.card.training.get("quantize") == ("qa4-32" if keeps else None)
    assert keeps or method in ("ties", "dare")
    if keeps:
        assert merge_base(home, "Tiny", [(baked, 1.0)], "Mine").entry.name == "Mine"
    else:
        with pytest.raises(WrongFamilyError, match="was baked, and does not keep groups") as refused:
            merge_base(home, "Tiny", [(baked, 1.0)], "Mine")
        assert "bake them exactly" in refused.value.hint
    other = [styles[0], replace(styles[1], card=replace(styles[1].card, training={"quantize": "qa4-16"}))]
    assert "quantize" not in bake(blend, other, BakePlan("Two")).card.training


def test_what_was_settled_of_a_base_is_in_it(home: Home, tmp_path: Path) -> None:
    """Another VAE, another precision, files beside those that are needed; a name that tells of few steps."""
    folder = tiny_base_folder(tmp_path / "dream-lcm", "sd1", dtype=torch.float16)
    other = tiny_base_folder(tmp_path / "other", "sd1", seed=5)
    (folder / "vae" / "old.bin").write_bytes(b"no")
    settings = BaseSettings(vae=other / "vae", quantize="qa4-16")
    BaseShelf(home).add(folder, settings=settings)
    base = opened("dream-lcm", home)
    (style,) = grouped_styles(base, 32, 1)
    mixed = painted(base, (style,), (1.0,))
    merge_base(home, "dream-lcm", [(style, 1.0)], "Mine")
    again = opened("Mine", home)
    assert again.quantize == "qa4-16" and np.abs(painted(again) - mixed).max() <= 1
    assert again.few_steps == base.few_steps is not None
    assert load_file(home.bases / "Mine" / UNET_FILE)["conv_in.weight"].dtype == torch.float16
    assert not list((home.bases / "Mine").rglob("*.bin"))


def test_a_damaged_one_or_one_of_a_newer_version_says_so(
    merged: tuple[Home, list[Style]], home: Home
) -> None:
    folder = home.bases / "Mine"
    shutil.copytree(merged[0].bases / "Mine", folder)
    card, unet = folder / CARD, folder / UNET_FILE
    text, data = card.read_text(encoding="utf-8"), unet.read_bytes()
    for changed, words in (
        (text.replace('"format": 1', '"format": 2'), "was merged by a newer Atelier"),
        (text.replace("qa4-32", "nf4"), "its card, merged.json, can't be read"),
        (text.replace("0.8", '"much"'), "its card, merged.json, can't be read"),
        (text[:-20], "its card, merged.json, can't be read"),
        (text.replace("qa4-32", "qa4-16"), "lacks"),
    ):  # fmt: skip
        card.write_text(changed, encoding="utf-8")
        with pytest.raises(BaseError, match=words):
            opened("Mine", home)
    card.write_text(text, encoding="utf-8")
    unet.write_bytes(data[:-1000])
    with pytest.raises(BaseError, match="is cut off"):
        opened("Mine", home)
    (entry,) = (one for one in BaseShelf(home).list() if one.name == "Mine")
    assert entry.state == "damaged" and "is cut off" in entry.problem
    tensors = load_file(merged[0].bases / "Mine" / UNET_FILE)
    first = next(name for name in tensors if name.endswith(".offset"))
    values = tensors[first]
    for wrong in (values[:1], values.to(torch.uint8), torch.full_like(values, torch.nan)):
        save_file(tensors | {first: wrong.contiguous()}, unet)
        with pytest.raises(BaseError, match="lacks 1 tensors of its unet") as refused:
            opened("Mine", home)
        assert refused.value.hint == "Merge it anew."
    unet.unlink()
    with pytest.raises(BaseError, match=r"can't be read as safetensors"):
        opened("Mine", home)
