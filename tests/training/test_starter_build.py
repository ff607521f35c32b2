"""The starter's build, on a handful of drawings: a finished model is trained further."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from styles.bases import STARTER
from training.starter.build import further
from training.starter.stage import BuildPlan

UNET = "unet/diffusion_pytorch_model.safetensors"


def test_a_round_moves_the_unet_alone_and_is_taken_up_again(tmp_path: Path) -> None:
    model, state = tmp_path / "model", tmp_path / "state"
    shutil.copytree(STARTER, model)
    plan = BuildPlan(drawings=250, shape_steps=2, unet_steps=2, unet_batch=4, workers=1, learning_rate=1e-4)
    further(state, model, plan, torch.device("cpu"))
    for part in ("vae", "text_encoder"):
        (before,) = (STARTER / part).glob("*.safetensors")
        before, after = load_file(before), load_file(model / part / before.name)
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), part
    before, after = load_file(STARTER / UNET), load_file(model / UNET)
    assert before.keys() == after.keys()
    moved = [(after[name].float() - tensor.float()).abs().max().item() for name, tensor in before.items()]
    assert 0 < max(moved) < 1e-3, "two small steps change little, but something"

    kept = torch.load(state / "unet.pt", weights_only=True)["step"]
    further(state, model, plan, torch.device("cpu"))
    assert torch.load(state / "unet.pt", weights_only=True)["step"] == kept
    again = load_file(model / UNET)
    assert all(torch.equal(tensor, again[name]) for name, tensor in after.items())
