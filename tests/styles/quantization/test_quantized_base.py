"""Bases whose linear layers are in four bits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from app.disk import disk_use
from styles.bases.base import open_base
from styles.bases.prediction import predict
from styles.bases.shelf import BaseShelf
from styles.bases.working_memory import weight_bytes
from styles.errors import Cancelled, SettingsError
from styles.quantization.layers import quantizable
from styles.quantization.quantization import QUANTIZATIONS, Quantization, quantization_of
from styles.quantization.weight_cache import cache_file, cache_files, cached_weights, clear_cache
from styles.storage.home import Home

BOTH = ("nf4", "qa4-16")


@pytest.mark.parametrize("name", QUANTIZATIONS)
def test_bits_of_each_weight_are_those_of_the_tensors(name: str, starter: Path, home_folder: Path) -> None:
    home, way = Home(home_folder).create(), QUANTIZATIONS[name]
    plain = open_base("starter", home, device="cpu").unet
    layers = quantizable(plain, way)
    before = sum(layer.weight.nbytes for layer in layers.values())
    weights = sum(layer.weight.numel() for layer in layers.values())
    quantised = weight_bytes(open_base("starter", home, device="cpu", quantize=name).unet)
    bits = 8 * (quantised - (weight_bytes(plain) - before)) / weights
    # What a layer has once, its table of levels and the numbers of its last block, is more in small layers.
    assert way.bits <= bits < way.bits + 0.35


def test_nf4_is_what_bitsandbytes_makes_of_a_layer(starter: Path, home_folder: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    home = Home(home_folder).create()
    plain = open_base("starter", home, device="cpu").unet
    ours = open_base("starter", home, device="cpu", quantize="nf4").unet
    for path, layer in quantizable(plain, QUANTIZATIONS["nf4"]).items():
        theirs = Linear4bit(
            layer.in_features, layer.out_features, bias=layer.bias is not None, compute_dtype=torch.float32,
            quant_type="nf4",
        )  # fmt: skip
        theirs.load_state_dict(layer.state_dict())
        theirs.to("cpu")
        assert torch.equal(ours.get_submodule(path).weight.data, theirs.weight.data)


@pytest.mark.parametrize("quantize", BOTH)
def test_weights_are_quantised_once_and_never_trusted_for_another_base(
    quantize: str, tiny_base: Path, tmp_path: Path, home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(home_folder).create()
    first = open_base(tiny_base, home, device="cpu", quantize=quantize)
    file = cache_file(home, first.fingerprint, QUANTIZATIONS[quantize])
    assert file.is_file()

    made = 0

    def counted(*given: object) -> object:
        nonlocal made
        made += 1
        return original(*given)

    import styles.quantization.layers as module

    original = module.quantized
    monkeypatch.setattr(module, "quantized", counted)
    again = open_base(tiny_base, home, device="cpu", quantize=quantize)
    assert made == 0
    expected, answers = _predicted(first.unet), _predicted(again.unet)
    assert torch.equal(expected, answers)
    # Cut off, and of another base: made anew, with the same numbers.
    shutil.copy(file, kept := tmp_path / "kept")
    file.write_bytes(file.read_bytes()[:-100])
    assert torch.equal(expected, _predicted(open_base(tiny_base, home, device="cpu", quantize=quantize).unet))
    assert made > 0 and file.stat().st_size == kept.stat().st_size
    file.write_bytes(kept.read_bytes().replace(first.fingerprint.encode(), b"0" * 64))
    made = 0
    assert torch.equal(expected, _predicted(open_base(tiny_base, home, device="cpu", quantize=quantize).unet))
    assert made > 0
    # Rewritten by something else: a layer is missing, a tensor has another shape.
    with safe_open(kept, framework="pt") as opened:
        about = opened.metadata()
    tensors = load_file(kept)
    name = next(name for name in tensors if name.endswith("#weight"))
    for changed in (
        {key: value for key, value in tensors.items() if key != name},
        {key: value for key, value in tensors.items() if key.partition("#")[0] != name.partition("#")[0]},
        tensors | {name: tensors[name][:1].clone()},
    ):
        save_file(changed, file, about)
        made = 0
        again = open_base(tiny_base, home, device="cpu", quantize=quantize)
        assert made > 0 and torch.equal(expected, _predicted(again.unet))


def test_what_is_kept_is_not_believed_of_another_way_version_or_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its name says: such a file may have been copied or renamed by hand."""
    file, way, weight = tmp_path / "kept.safetensors", QUANTIZATIONS["qa4-16"], torch.randn(4, 64)

    def made(fingerprint: str = "a", way: Quantization = way, path: str = "one") -> bool:
        read: list[str] = []
        cached_weights(
            file,
            fingerprint,
            {path: (4, 64)},
            lambda path: read.append(path) or weight,
            way,
            lambda share: None,
        )
        return bool(read)

    assert made() and not made()
    assert made("b") and made() and not made()
    assert made(way=QUANTIZATIONS["qa4-32"]) and made() and not made()
    assert made(path="two") and made() and not made()
    monkeypatch.setattr(Quantization, "version", property(lambda self: "newer"))
    assert made() and not made()


def test_a_layer_that_no_group_divides_stays_as_it_is() -> None:
    layers = nn.ModuleDict({"whole": nn.Linear(64, 3), "odd": nn.Linear(40, 3)})
    assert list(quantizable(layers, QUANTIZATIONS["nf4"])) == ["whole"]


def test_a_way_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="can't be kept as “int4”"):
        quantization_of("int4")
    assert quantization_of("none") is None


def _predicted(unet: nn.Module) -> torch.Tensor:
    from styles.bases.conditioning import Conditioning

    width = unet.config.cross_attention_dim
    latents = torch.randn(1, unet.config.in_channels, 8, 8, generator=torch.Generator().manual_seed(1))
    states = torch.randn(1, 77, width, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return predict(unet, latents, torch.tensor(500), Conditioning(states))


def test_what_is_kept_goes_with_its_last_base_and_with_another_version(
    tiny_base: Path, tmp_path: Path, home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(home_folder).create()
    shelf = BaseShelf(home)
    shutil.copytree(tiny_base, tmp_path / "same")
    names = [shelf.add(folder).name for folder in (tiny_base, tmp_path / "same")]
    known_by = open_base(tiny_base, home, device="cpu", quantize="nf4").fingerprint
    open_base(tiny_base, home, device="cpu", quantize="nf4-single")
    open_base("starter", home, device="cpu", quantize="qa4-32")
    assert len(cache_files(home, known_by)) == 2 and len(cache_files(home)) == 3
    monkeypatch.setattr(Quantization, "version", property(lambda self: "bitsandbytes-99.0"))
    open_base(tiny_base, home, device="cpu", quantize="nf4")
    ends = sorted(file.stem.partition("-")[2] for file in cache_files(home, known_by))
    assert ends[0] == "nf4-bitsandbytes-99.0" and ends[1].startswith("nf4-single-") and len(ends) == 2
    shelf.remove(names[0])
    assert len(cache_files(home, known_by)) == 2, "the other entry is the same base"
    shelf.remove(names[1])
    assert len(cache_files(home, known_by)) == 0 and len(cache_files(home)) == 1
    use = disk_use(home)
    assert use.quantized == clear_cache(home) > 0 and disk_use(home).quantized == 0


def test_quantising_that_is_broken_off_leaves_nothing(tiny_base: Path, home_folder: Path) -> None:
    home, looks = Home(home_folder).create(), iter([False] * 6)
    with pytest.raises(Cancelled):
        open_base(tiny_base, home, device="cpu", quantize="nf4", cancelled=lambda: next(looks, True))
    assert not (home.bases / "quantized").exists()
