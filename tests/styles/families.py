"""The real networks of each family without their weights, on torch's meta device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

import styles

HERE = Path(styles.__file__).parent
FOLDERS = {
    "starter": HERE / "starter",
    "sd1": HERE / "bases" / "files" / "configs" / "sd1",
    "sd2": HERE / "bases" / "files" / "configs" / "sd2",
    "sdxl": HERE / "bases" / "files" / "configs" / "sdxl",
}
ENCODERS = {"sdxl": {"te1": "text_encoder", "te2": "text_encoder_2"}}


def networks(family: str) -> dict[str, Any]:
    """The family's UNet and text encoders by the names that styles give them."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    found = {}
    with torch.device("meta"):
        config = json.loads((FOLDERS[family] / "unet" / "config.json").read_text())
        found["unet"] = UNet2DConditionModel.from_config(config)
        for network, part in ENCODERS.get(family, {"te": "text_encoder"}).items():
            values = json.loads((FOLDERS[family] / part / "config.json").read_text())
            kind = CLIPTextModelWithProjection if network == "te2" else CLIPTextModel
            found[network] = kind(CLIPTextConfig(**values))
    return found


def layers(family: str) -> dict[tuple[str, str], torch.nn.Module]:
    """(network, path): module, for every layer that a style can change, with the paths that styles use."""
    found: dict[tuple[str, str], torch.nn.Module] = {}
    for network, model in networks(family).items():
        for path, module in model.named_modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
                if network != "unet" and not path.startswith(("text_model.", "text_projection")):
                    path = f"text_model.{path}"
                found[network, path] = module
    return found
