"""Folders that PEFT wrote: several networks in one, settings that can't be followed, and what is missing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from styles.errors import StyleFileError
from styles.formats.hub import HUB_WEIGHTS
from styles.formats.peft import is_peft_folder
from styles.formats.reader import read_card, read_style
from styles.library.export import ExportOrder, export_style
from styles.library.verify import verify

ATTENTION = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"


def adapter(folder: Path, path: str, inputs: int, outputs: int, config: Any = None, rank: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(inputs)
    name = f"base_model.model.{path}"
    tensors = {
        f"{name}.lora_A.weight": torch.randn(rank, inputs).half(),
        f"{name}.lora_B.weight": torch.randn(outputs, rank).half(),
    }
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    values = {"peft_type": "LORA", "r": rank, "lora_alpha": 2} if config is None else config
    text = values if isinstance(values, str) else json.dumps(values)
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    return folder


def test_all_networks_of_a_folder_are_one_style(tmp_path: Path) -> None:
    adapter(
        tmp_path, ATTENTION, 2048, 1280, {"r": 4, "lora_alpha": 2, "base_model_name_or_path": "some/sdxl"}
    )
    adapter(tmp_path / "text_encoder", TEXT.removeprefix("text_model."), 768, 768, {"r": 4, "lora_alpha": 4})
    adapter(tmp_path / "text_encoder_2", TEXT, 1280, 1280, {"r": 4, "lora_alpha": 8})
    style = read_style(tmp_path)
    assert {(layer.name, layer.scale) for layer in style.layers} == {
        (f"unet.{ATTENTION}", 0.5),
        (f"te1.{TEXT}", 1.0),
        (f"te2.{TEXT}", 2.0),
    }
    assert style.card == read_card(tmp_path) and style.card.family == "sdxl" and style.card.path == tmp_path
    assert (
        style.card.base_name == "some/sdxl" and style.card.name == tmp_path.name and not style.card.problems
    )
    digest = hashlib.sha256()
    for place in ("", "text_encoder", "text_encoder_2"):
        data = (tmp_path / place / "adapter_model.safetensors").read_bytes()
        digest.update(data[8 + int.from_bytes(data[:8], "little") :])
    assert style.id == digest.hexdigest()


def test_a_text_encoder_alone_or_below_is_told_by_its_width(tmp_path: Path) -> None:
    card = read_card(adapter(tmp_path / "a", TEXT, 1280, 1280))
    assert card.family == "sdxl" and card.layers == {"te2": 1}
    card = read_card(adapter(tmp_path / "b", TEXT, 768, 768))
    assert card.family == "unknown" and "Stable Diffusion 1 and Stable Diffusion XL alike" in card.problems[0]
    adapter(tmp_path / "c" / "text_encoder", TEXT, 1024, 1024)
    assert is_peft_folder(tmp_path / "c") and read_card(tmp_path / "c").family == "sd2"
    seen = verify(tmp_path / "c")
    assert seen.whole and [opening.opens for opening in seen.openings[:2]] == ["partly", "no"]
    exported = export_style(read_style(tmp_path / "c"), tmp_path / "out", ExportOrder(form="hub"))
    assert read_style(exported.paths[0] / HUB_WEIGHTS).card.layers == {"te": 1}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[" * 100_000, "settings of the style"),
        ("[]", "settings of the style"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "settings of the style"),
        (" " * (5 << 20), "settings of the style"),
        ({"peft_type": "IA3"}, "written as 'IA3'"),
        ({"peft_type": ["x"] * 1000}, "written as"),
        ({"use_dora": True}, r"DoRA.*use_dora"),
        ({"modules_to_save": ["x"]}, "whole layers besides its ranks"),
        ({"init_lora_weights": "pissa_niter_4"}, "changing the base's own weights"),
        ({"lora_alpha": float("nan")}, "strength or the rank"),
        ({"lora_alpha": True}, "strength or the rank"),
        ({"lora_alpha": 0}, "strength or the rank"),
        ({"r": 4.0}, "strength or the rank"),
        ({"alpha_pattern": {"to_k": "9"}}, "strength or the rank"),
        ({"rank_pattern": {"to_k": 10**9}}, "strength or the rank"),
        ({"rank_pattern": [4]}, "strength or the rank"),
        ({"alpha_pattern": {"(?=x)": 1}}, "isn't understood"),
        ({"r": 8}, "has rank 8, but it has 4"),
        ({"r": 4, "rank_pattern": {"to_k": 5}}, "has rank 5, but it has 4"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(tmp_path: Path, config: Any, said: str) -> None:
    folder = adapter(tmp_path / "x", ATTENTION, 768, 1280, config)
    for read in (read_card, read_style):
        with pytest.raises(StyleFileError, match=said):
            read(folder)


def test_what_is_not_told_is_as_in_peft(tmp_path: Path) -> None:
    # Alpha 8 is its default.
    assert read_card(adapter(tmp_path / "x", ATTENTION, 768, 1280, {})).strength == 2.0


def test_a_folder_without_tensors_or_settings_is_refused(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "x", ATTENTION, 768, 1280)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(StyleFileError, match="pickle file"):
        read_style(folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(StyleFileError, match="no file"):
        read_style(folder)
    (folder / "adapter_config.json").unlink()
    assert not is_peft_folder(folder)
    with pytest.raises(StyleFileError, match="is a folder, and no style"):
        read_card(folder)
