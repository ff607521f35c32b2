"""Styles of others for Stable Diffusion XL: brought in, mixed with their words, refused on other bases, handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from styles.bases.shelf import BaseShelf
from styles.generation.png_recipe import read_recipe
from styles.storage.home import Home
from tests.app.conftest import Atelier, Served

SMALL = ("--width", "64", "--height", "64", "--steps", "2", "--seed", "5")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two styles, one in the block names of sd-scripts with a word, a word alone, and a style for SD 1."""
    folder = tmp_path_factory.mktemp("theirs")
    blocks = {"input_blocks_4_1": "", "middle_block_1": "", "output_blocks_0_1": ""}
    ink = layers([f"lora_unet_{block}_transformer_blocks_0_attn2_to_k" for block in blocks], 2048, 64)
    ink |= layers(["lora_te1_text_model_encoder_layers_0_mlp_fc1"], 768, 64)
    ink |= layers(["lora_te2_text_model_encoder_layers_0_mlp_fc1"], 1280, 64)
    ink |= {f"bundle_emb.inkwash.clip_{end}": rows for end, rows in word().items()}
    save_file(ink, folder / "Ink.safetensors", {"ss_base_model_version": "sdxl_base_v1-0"})
    ours = "down_blocks.1.attentions.0.transformer_blocks.0.attn2"
    save_file(
        {
            f"unet.{ours}.to_v.lora_{side}.weight": torch.randn(*shape) * 0.1
            for side, shape in (("A", (2, 2048)), ("B", (64, 2)))
        },
        folder / "Oil.safetensors",
    )
    save_file({f"clip_{end}": rows for end, rows in word().items()}, folder / "nightsky.safetensors")
    old = layers(["lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"], 768, 32)
    save_file(old, folder / "Old.safetensors")
    return folder


def layers(names: list[str], inputs: int, outputs: int) -> dict[str, torch.Tensor]:
    tensors = {}
    for name in names:
        tensors[f"{name}.lora_down.weight"] = torch.randn(2, inputs) * 0.1
        tensors[f"{name}.lora_up.weight"] = torch.randn(outputs, 2) * 0.1
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    return tensors


def word() -> dict[str, torch.Tensor]:
    return {"l": torch.randn(2, 768), "g": torch.randn(2, 1280)}


def test_from_the_command_line(
    files: Path, tiny_sdxl: Path, tiny_sd1: Path, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    run = atelier(tmp_path / "home")
    brought = run("styles", "import", files, "--json").json["styles"]
    assert {card["name"]: card["family"] for card in brought} == {
        "Ink": "sdxl", "Oil": "sdxl", "nightsky": "sdxl", "Old": "sd1",
    }  # fmt: skip
    shown = run("styles", "show", "Ink")
    assert "Words:    inkwash" in shown.out and "te1 1, te2 1, unet 3" in shown.out

    paint = ("create", "a red cat, inkwash, under nightsky", *SMALL)
    mix = ("--style", "Ink=0.5", "--style", "Oil=-0.5", "--style", "nightsky")
    made = run(*paint, "--base", tiny_sdxl, *mix, "--out", tmp_path / "first", "--json").json["pictures"][0]
    plain = run("create", "a red cat", "--base", tiny_sdxl, *SMALL, "--json").json["pictures"][0]
    recipe = read_recipe(Path(made))
    assert recipe.family == "sdxl" and len(recipe.blend.parts) == 3
    assert Path(made).read_bytes() != Path(plain).read_bytes()
    again = run("create", "--from", made, "--base", tiny_sdxl, "--out", tmp_path / "again", "--json")
    assert Path(again.json["pictures"][0]).read_bytes() == Path(made).read_bytes()

    for base, style, said in (
        (tiny_sdxl, "Old", "“Old” is a style for Stable Diffusion 1; the open base “tiny-sdxl” is Stable Diffusion XL."),
        (tiny_sd1, "Ink", "“Ink” is a style for Stable Diffusion XL; the open base “tiny-sd1” is Stable Diffusion 1."),
        (tiny_sd1, "nightsky", "“nightsky” is a style for Stable Diffusion XL"),
    ):  # fmt: skip
        refused = run("create", "a cat", "--base", base, "--style", style, *SMALL)
        assert refused.code == 2 and said in refused.err and "Open a base of its family" in refused.err

    baked = run("styles", "bake", "Both", "--style", "Ink=0.5", "--style", "Oil=0.5", "--json")
    assert baked.code == 0, baked.err
    assert run("create", "a cat", "--base", tiny_sdxl, "--style", "Both", *SMALL).code == 0
    exported = run("styles", "export", "Ink", tmp_path / "out", "--words-apart")
    assert "diffusers: yes." in exported.out and "InvokeAI: yes." in exported.out
    assert (tmp_path / "out" / "Ink-words" / "inkwash.safetensors").is_file()
    told = run("styles", "export", "Ink", tmp_path / "out", "--words-apart", "--only-show").out
    assert "inkwash" in told


@pytest.fixture
def window_on_sdxl(served: Served, tiny_sdxl: Path) -> Iterator[BaseShelf]:
    shelf = BaseShelf(Home(served.home))
    before = shelf.in_use
    shelf.use(shelf.add(tiny_sdxl).name)
    yield shelf
    shelf.use(before)
    shelf.remove("tiny-sdxl")


def test_in_the_window(client: Any, files: Path, window_on_sdxl: BaseShelf, tmp_path: Path) -> None:
    from gradio_client.exceptions import AppError

    ask, small = client.predict, {"steps": 2, "width": 64, "height": 64, "seed": 4}
    cards = {}
    for name in ("Ink", "Oil", "Old"):
        told = ask(path=str(files / f"{name}.safetensors"), api_name="/import_style")
        cards |= {card["name"]: card for card in told["styles"]}
    assert (cards["Ink"]["family"], cards["Ink"]["tokens"]) == ("sdxl", ["inkwash"])
    picture = {"prompt": "a cat, inkwash", "weights": {"Ink": 0.5, "Oil": 0.5}, **small}
    assert Path(ask(**picture, api_name="/create")["pictures"][0]).is_file()
    strip = ask(style="Ink", weights=[0, 0.5, 1], picture=picture, api_name="/strip")
    assert strip["labels"] == ["Ink 0", "Ink 0.5", "Ink 1"] and Path(strip["sheet"]).is_file()
    assert (
        len(ask(styles=["Ink", "Oil"], picture=picture, columns=2, rows=2, api_name="/blend_map")["pictures"])
        == 4
    )
    pairs = ask(weights={"Ink": 1, "Oil": 0.5}, api_name="/conflicts")["pairs"]
    assert sorted(pairs[0]["names"]) == ["Ink", "Oil"]
    strength = ask(weights={"Ink": 1.0}, api_name="/strength")
    assert strength["styles"][0]["strength_at_1"] > 0
    with pytest.raises(AppError, match=r"“Old” is a style for Stable Diffusion 1.*is Stable Diffusion XL"):
        ask(prompt="a cat", weights={"Old": 1}, **small, api_name="/create")
    window_on_sdxl.use("tiny")
    with pytest.raises(AppError, match=r"“Ink” is a style for Stable Diffusion XL.*is the starter model"):
        ask(prompt="a cat", weights={"Ink": 1}, **small, api_name="/create")
    for name in cards:
        ask(name=name, api_name="/delete_style")
