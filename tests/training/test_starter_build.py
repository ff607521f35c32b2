"""The starter's build, on a handful of drawings: from nothing, and a finished model trained further."""

import json
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from styles.bases.base import open_base
from styles.bases.shelf import STARTER
from styles.storage.home import Home
from training.starter.build import build, further
from training.starter.stage import BuildPlan

pytestmark = pytest.mark.slow

UNET = "unet/diffusion_pytorch_model.safetensors"


def test_a_round_moves_the_unet_alone_and_is_taken_up_again(tmp_path: Path) -> None:
    model, state = tmp_path / "model", tmp_path / "state"
    shutil.copytree(STARTER, model)
    plan = BuildPlan(drawings=40, shape_steps=2, unet_steps=2, unet_batch=4, workers=1, learning_rate=1e-4)
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


def test_the_starter_is_made_from_nothing_and_finished_stages_are_kept(tmp_path: Path) -> None:
    model, state = tmp_path / "model", tmp_path / "state"
    work = {field.name: 2 for field in fields(BuildPlan) if field.name.endswith(("_steps", "_batch"))}
    plan = BuildPlan(drawings=40, textures=8, workers=1, **work)
    build(state, model, plan, torch.device("cpu"))
    base = open_base(model, Home(tmp_path / "home").create(), device="cpu")
    assert (base.family, base.prediction_type, base.zero_terminal_snr) == ("starter", "v_prediction", True)
    config = json.loads((STARTER / "unet" / "config.json").read_text())
    assert json.loads((model / "unet" / "config.json").read_text()) == config

    stamps = {path: path.stat().st_mtime_ns for path in state.iterdir()}
    written = (model / UNET).read_bytes()
    build(state, model, plan, torch.device("cpu"))
    assert {path: path.stat().st_mtime_ns for path in state.iterdir()} == stamps
    assert (model / UNET).read_bytes() == written
