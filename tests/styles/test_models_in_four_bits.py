"""Models that are in four bits already are told by what they are, wherever they are dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file, save_file

from styles.bases.base import open_base
from styles.bases.files.inspection import inspect_base
from styles.bases.files.merged_base import UNET_FILE
from styles.bases.shelf import BaseShelf
from styles.errors import BaseError, StyleFileError
from styles.formats.reader import read_card, read_style
from styles.library.library import Library
from styles.mixing.base_merge import merge_base
from styles.storage.home import Home
from tests.styles.mixing.test_group_merge import grouped_styles
from tests.styles.original_layout import save_original_layout

ADVICE = "Atelier brings it to four bits itself"


def nf4(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors with one layer as bitsandbytes writes it."""
    name = next(name for name in tensors if name.endswith("attn2.to_k.weight"))
    out, inputs = tensors[name].shape
    layer = Linear4bit(inputs, out, bias=False, quant_type="nf4")
    layer.load_state_dict({"weight": tensors[name]})
    layer.to("cpu")
    stem = name.removesuffix("weight")
    return {key: value for key, value in tensors.items() if key != name} | {
        stem + key: value for key, value in layer.state_dict().items()
    }


def refused(path: Path, home: Home) -> str:
    """What is said of a file as a base and as a style, which is the same in all ways that it can come in."""
    with pytest.raises(BaseError) as as_base:
        BaseShelf(home).add(path)
    with pytest.raises(BaseError):
        open_base(path, home)
    with pytest.raises(StyleFileError) as as_style:
        read_style(path)
    with pytest.raises(StyleFileError):
        read_card(path)
    report = Library(home).import_files([path])
    assert not report.styles and str(as_style.value.message) in str(report.refused[0].reason)
    assert ADVICE in str(as_base.value.hint) and ADVICE in str(as_style.value.hint)
    return f"{as_base.value.message} {as_style.value.message}"


def test_checkpoints_of_forge(tiny_sd1: Path, tmp_path: Path) -> None:
    home, file = Home(tmp_path / "home").create(), tmp_path / "dream-nf4.safetensors"
    save_original_layout(tiny_sd1, file)
    save_file({name: one.contiguous() for name, one in nf4(load_file(file)).items()}, file)
    assert refused(file, home).count("four bits") == 2
    unet = tiny_sd1 / "unet" / "diffusion_pytorch_model.safetensors"
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in tiny_sd1.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(tiny_sd1)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(tiny_sd1)).write_bytes(path.read_bytes())
    save_file(nf4(load_file(unet)), folder / "unet" / unet.name)
    with pytest.raises(BaseError, match="is in four bits already, as bitsandbytes"):
        inspect_base(folder)


@pytest.mark.parametrize("name", ["dream-Q4_0.gguf", "dream.safetensors"])
def test_gguf_files(name: str, tmp_path: Path) -> None:
    # Magic, version 3, no tensors, no metadata.
    (tmp_path / name).write_bytes(b"GGUF" + bytes([3]) + bytes(19))
    assert refused(tmp_path / name, Home(tmp_path / "home").create()).count("GGUF") == 2


def test_a_merged_base_is_no_style(tiny_sd1: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    (style,) = grouped_styles(open_base(tiny_sd1, home, device="cpu", quantize="qa4-16"), 16, 1)
    merge_base(home, tiny_sd1, [(style, 1.0)], "Mine")
    with pytest.raises(StyleFileError, match="the UNet of a base that styles were merged into"):
        read_style(home.bases / "Mine" / UNET_FILE)
    report = Library(home).import_files([home.bases / "Mine"])
    assert not report.styles and "merged into" in " ".join(str(one.reason) for one in report.refused)
