"""A VAE instead of a base's own, and the precision that one holds in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from styles.bases.base import Base, open_base
from styles.bases.base_settings import UNSET, BaseSettings
from styles.bases.files.vae_files import inspect_vae, load_vae
from styles.bases.shelf import BaseShelf
from styles.bases.vae import decode
from styles.devices.precision import vae_dtype
from styles.errors import BaseError
from styles.generation.request import CreateRequest
from styles.storage.home import Home
from tests.styles.original_layout import copy_configs, original_vae, save_original_layout
from tests.styles.painting import paint
from tests.tiny import tiny_base_folder, write_vocabulary

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with another VAE."""
    return tiny_base_folder(tmp_path_factory.mktemp("other") / "other", "sdxl", seed=5)


@pytest.fixture(scope="module")
def vaes(other: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same VAE in all the ways that it may come."""
    folder = tmp_path_factory.mktemp("vaes")
    tensors = load_file(other / "vae" / WEIGHTS)
    shutil.copytree(other / "vae", folder / "folder")
    original = original_vae(tensors, 3)
    save_file(original, folder / "original.safetensors")
    save_file(
        {f"first_stage_model.{name}": one for name, one in original.items()}, folder / "part.safetensors"
    )
    save_file(tensors, folder / "diffusers.safetensors")
    return {
        "base": other,
        "folder": folder / "folder",
        "file in the folder": folder / "folder" / WEIGHTS,
        "original": folder / "original.safetensors",
        "of a checkpoint": folder / "part.safetensors",
        "diffusers": folder / "diffusers.safetensors",
    }


def same(one: Any, other: Any) -> bool:
    weights = one.state_dict()
    return all(torch.equal(weights[name], value) for name, value in other.state_dict().items())


@pytest.mark.parametrize(
    "way", ["base", "folder", "file in the folder", "original", "of a checkpoint", "diffusers"]
)
def test_a_vae_is_the_same_in_every_way_that_it_may_come(
    way: str, vaes: dict[str, Path], other: Path, tiny_sdxl: Path
) -> None:
    facts = inspect_vae(vaes[way], tiny_sdxl / "vae")
    assert same(load_vae(facts, torch.float32), AutoencoderKL.from_pretrained(other / "vae"))


def test_a_base_takes_another_vae_and_gives_it_back(
    vaes: dict[str, Path], other: Path, tiny_sdxl: Path, home: Home
) -> None:
    shelf = BaseShelf(home)
    entry = shelf.add(tiny_sdxl, name="mine", settings=BaseSettings(vae=vaes["original"]))
    assert not entry.problem and entry.vae == str(vaes["original"])
    with_it, plain = open_base("mine", home, device="cpu"), open_base(other, home, device="cpu")
    assert same(with_it.vae, plain.vae) and with_it.vae_fingerprint and not plain.vae_fingerprint
    # By its path, too.
    assert same(open_base(tiny_sdxl, home, device="cpu").vae, plain.vae)
    shelf.change("mine", UNSET)
    own = open_base("mine", home, device="cpu")
    assert not same(own.vae, plain.vae) and not own.vae_fingerprint
    assert own.fingerprint == with_it.fingerprint
    assert json.loads((home.bases / "shelf.json").read_text())["bases"]["mine"] == {
        "source": str(tiny_sdxl),
        "prediction_type": None,
    }


def test_a_picture_tells_by_which_vae_it_was_made(vaes: dict[str, Path], tiny_sdxl: Path, home: Home) -> None:
    request = CreateRequest("a red cat", seeds=(3,), steps=2)
    bases = [
        open_base(tiny_sdxl, home, device="cpu", settings=BaseSettings(vae=vae))
        for vae in (None, vaes["folder"])
    ]
    own, with_it = (paint(base, request)[0] for base in bases)
    assert own.recipe.vae == "" and "vae" not in own.recipe.to_json()
    assert with_it.recipe.vae == bases[1].vae_fingerprint
    assert own.image.tobytes() != with_it.image.tobytes()


def test_a_single_file_without_a_vae_takes_one(
    vaes: dict[str, Path], other: Path, tiny_sdxl: Path, home: Home, tmp_path: Path
) -> None:
    write_vocabulary(home.bases / "clip-tokenizer")
    file = tmp_path / "xl.safetensors"
    save_original_layout(tiny_sdxl, file)
    save_file({name: one for name, one in load_file(file).items() if "first_stage" not in name}, file)
    shelf = BaseShelf(home)
    with pytest.raises(BaseError, match=r"lacks parts of a base: VAE\. Give its VAE, `bases add xl"):
        shelf.add(file)
    base = open_base(
        file, home, device="cpu", settings=BaseSettings(vae=vaes["original"]),
        config_folder=copy_configs(tiny_sdxl, tmp_path / "configs"),
    )  # fmt: skip
    assert same(base.vae, open_base(other, home, device="cpu").vae)


def with_config(folder: Path, vae: Path, **values: Any) -> Path:
    shutil.copytree(vae, folder)
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_is_no_vae_for_a_base_is_refused(
    vaes: dict[str, Path], tiny_sdxl: Path, home: Home, tmp_path: Path
) -> None:
    folder, whole = vaes["folder"], load_file(vaes["original"])
    (tmp_path / "vae.pt").write_bytes(b"\x80")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    save_file(
        whole | {"decoder.conv_in.weight": torch.zeros(32, 16, 3, 3)}, tmp_path / "channels.safetensors"
    )
    save_file(whole | {"decoder.up.3.upsample.conv.weight": torch.zeros(1)}, tmp_path / "factor.safetensors")
    cases = {
        tmp_path / "vae.pt": "run any code",
        tmp_path / "nothing.safetensors": "nothing any more at",
        tmp_path / "other.safetensors": "holds no VAE of Stable Diffusion",
        tmp_path / "channels.safetensors": "another kind of base: channels: 16 instead of 4",
        tmp_path / "factor.safetensors": "pixels for one latent: 8 instead of 4",
        with_config(tmp_path / "sd1", folder, scaling_factor=0.5): "scale of its latents",
        with_config(tmp_path / "nan", folder, scaling_factor=float("nan")): "scale of latents is no number",
        with_config(tmp_path / "mean", folder, latents_mean=[0.0] * 4, latents_std=[2.0] * 4): "scale of its",
        with_config(tmp_path / "tiny", folder, _class_name="AutoencoderTiny"): "is a AutoencoderTiny, not an",
        tmp_path: r"vae/config\.json is missing",
    }
    shelf = BaseShelf(home)
    shelf.add(tiny_sdxl, name="mine")
    for vae, said in cases.items():
        with pytest.raises(BaseError, match=said):
            shelf.change("mine", BaseSettings(vae=vae))
    assert shelf.resolve("mine")[1] == UNSET
    with pytest.raises(BaseError, match="nothing of it can be changed"):
        shelf.change("starter", UNSET)
    # What the header alone doesn't show.
    save_file(
        {name: one for name, one in whole.items() if name != "decoder.norm_out.weight"},
        tmp_path / "half.safetensors",
    )
    shelf.change("mine", BaseSettings(vae=tmp_path / "half.safetensors"))
    with pytest.raises(
        BaseError, match=r"lacks 1 tensors of its VAE, such as decoder\.conv_norm_out\.weight"
    ):
        open_base("mine", home, device="cpu")


def test_a_vae_that_vanished_is_told_in_the_list(vaes: dict[str, Path], tiny_sdxl: Path, home: Home) -> None:
    moved = shutil.copy(vaes["original"], home.root / "vae.safetensors")
    shelf = BaseShelf(home)
    shelf.add(tiny_sdxl, name="mine", settings=BaseSettings(vae=moved))
    moved.unlink()
    entry = next(entry for entry in shelf.list() if entry.name == "mine")
    assert "where a VAE lay" in entry.problem and entry.vae == str(moved)
    assert not shelf.change("mine", UNSET).problem


@pytest.mark.parametrize(
    ("config", "dtype", "becomes"),
    [
        ({"force_upcast": True}, torch.float16, torch.float32),
        ({"force_upcast": True}, torch.bfloat16, torch.bfloat16),
        ({"force_upcast": True}, torch.float32, torch.float32),
        ({"force_upcast": False}, torch.float16, torch.float16),
        ({}, torch.float16, torch.float16),
    ],
)
def test_a_vae_that_overflows_is_not_taken_in_fp16(
    config: dict[str, Any], dtype: torch.dtype, becomes: torch.dtype
) -> None:
    assert vae_dtype(config, dtype, torch.device("cpu")) == becomes


def test_with_bf16_in_hardware_it_takes_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a card whose torch says so; here the meta device stands for one, which computes nothing."""
    from styles.devices import precision

    for has, becomes in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "convolves", lambda *_, has=has: has)
        assert vae_dtype({"force_upcast": True}, torch.float16, torch.device("meta")) == becomes


def test_a_picture_of_such_a_vae_is_decoded_once(tiny_sdxl: Path, home: Home, tmp_path: Path) -> None:
    """Whose activations are beyond 65504, as those of Stable Diffusion XL's own."""
    weights = load_file(tiny_sdxl / "vae" / WEIGHTS)
    large = "decoder.mid_block.resnets.0.conv1.weight"
    vae = shutil.copytree(tiny_sdxl / "vae", tmp_path / "vae")
    save_file(weights | {large: weights[large] * 1e6}, vae / WEIGHTS)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def opened(**values: Any) -> Base:
        (vae / "config.json").write_text(
            json.dumps(json.loads((tiny_sdxl / "vae" / "config.json").read_text()) | values)
        )
        return open_base(tiny_sdxl, home, device="cpu", dtype="fp16", settings=BaseSettings(vae=vae))

    counts = {}
    for upcast in (True, False):
        base, calls = opened(force_upcast=upcast), []
        base.vae.decoder.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        assert base.unet.dtype == torch.float16
        assert torch.isfinite(decode(base.vae, latents)).all()
        counts[upcast] = len(calls)
    assert counts == {True: 1, False: 2}
