"""Styles that are trained over groups of inputs (QA-LoRA), beside the paper's own few lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styles.bases.base import Base, open_base
from styles.errors import PlanError
from styles.formats.reader import read_style
from styles.formats.style import Style
from styles.library.export import ExportOrder, export_style
from styles.library.library import Library
from styles.mixing.base_merge import merge_base
from styles.mixing.model_patcher import blended
from styles.quantization.column_groups import columns_repeat, style_repeats
from styles.quantization.grouped_linear import GroupedLinear
from styles.storage.home import Home
from tests.styles.making import PlainBase, inputs, noise_pred, random_style, unet_of
from tests.training.conftest import small_plan
from training import checkpoint
from training.adapters import adapted, continue_style, set_weight, style_layers
from training.events import Finished, Paused, PreviewReady, StepDone
from training.job import Job
from training.loop import train

WIDTH = 256  # of the starter's words
NOTHING = Path("unused")


def opened(folder: Path, home: Path, quantize: str = "qa4-16") -> Base:
    return open_base(folder, Home(home).create(), device="cpu", quantize=quantize)


def in_training(weights: dict[str, Tensor], seed: int = 1) -> None:
    """Give all weights numbers as after some steps."""
    generator = torch.Generator().manual_seed(seed)
    for weight in weights.values():
        weight.data = 0.1 * torch.randn(weight.shape, generator=generator)


def papers_adapter(module: nn.Linear, down: Tensor, up: Tensor, scale: float) -> Callable[..., Tensor]:
    """arXiv 2309.14717, algorithm 1: `QA(x) * (D_in // L) @ lora_A.T @ lora_B.T * s`, with L groups."""
    size = module.in_features // down.shape[1]
    pool = nn.AvgPool1d(size)

    def added(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + (pool(given[0]) * size) @ down.T @ up.T * scale

    return added


@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_a_step_has_the_gradients_of_the_papers_lines(
    weight: float, tiny_base: Path, home_folder: Path
) -> None:
    base, plan = opened(tiny_base, home_folder), small_plan(NOTHING, rank=4, alpha=2.0)
    latents, states = inputs(width=WIDTH)
    with adapted(base.unet, plan) as weights:
        in_training(weights)
        set_weight(base.unet, weight)
        assert {name.rpartition(".down.")[2] for name in weights if ".down" in name} == {"16"}
        before = {name: value.detach().clone() for name, value in weights.items()}
        ours = base.unet(latents, 500, states).sample
        ours.square().mean().backward()
        gradients = {name: value.grad for name, value in weights.items()}
    leaves = {name: value.requires_grad_() for name, value in before.items()}
    hooks = []
    for name in [name for name in leaves if ".down" in name]:
        path = name.removesuffix(".down.16")
        module = base.unet.get_submodule(path)
        adapter = papers_adapter(module, leaves[name], leaves[f"{path}.up"], weight * 2.0 / 4)
        hooks.append(module.register_forward_hook(adapter))
    theirs = base.unet(latents, 500, states).sample
    theirs.square().mean().backward()
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        torch.testing.assert_close(
            gradients[name], leaf.grad, rtol=1e-3, atol=1e-5 * float(leaf.grad.abs().max())
        )


def test_layers_that_no_group_divides_are_trained_as_plain_ones(tiny_base: Path, home_folder: Path) -> None:
    base = opened(tiny_base, home_folder, "qa4-64")
    plan = small_plan(NOTHING, rank=4, layers="transformer")
    random_state = torch.random.get_rng_state()
    with adapted(base.unet, plan) as weights:
        for name, value in weights.items():
            path, _, kind = name.partition(".down")
            if kind or name.endswith(".down"):
                module = base.unet.get_submodule(path).get_base_layer()
                grouped = isinstance(module, GroupedLinear)
                assert kind == (".64" if grouped else "")
                width = module.in_channels if isinstance(module, nn.Conv2d) else module.in_features
                assert value.shape[:2] == (4, width // 64 if grouped else width)
        kinds = {name.rpartition(".")[2] for name in weights}
        assert kinds == {"down", "64", "up"}
    assert torch.equal(torch.random.get_rng_state(), random_state)


def follow(job: Job, base: Base) -> list[Any]:
    with job.held():
        for event in train(job, base=base):
            job.append(event)
    return job.events()


@pytest.fixture(scope="module")
def grouped_style(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, artworks: Path) -> Style:
    """One that was trained over groups of 32, paused and resumed on its way, with opposite steps and accumulation."""
    home = Home(tmp_path_factory.mktemp("home")).create()
    base = open_base(tiny_base, home, device="cpu", quantize="qa4-32")
    short = {"steps": 4, "opposite_every": 2, "preview_every": 4, "preview_steps": 1}
    plan = small_plan(tiny_base, quantize="qa4-32", gradient_accumulation=2, **short)
    whole, broken = (Job.create(home.jobs, plan, [artworks]) for _ in range(2))
    events = follow(whole, base)
    assert any(isinstance(event, PreviewReady) for event in events)
    with broken.held():
        for event in train(broken, base=base):
            broken.append(event)
            if isinstance(event, StepDone) and event.step == 2:
                broken.request("pause")
    assert isinstance(broken.events()[-1], Paused)
    finished = follow(broken, base)[-1]
    last = [checkpoint.latest(job.folder / "checkpoints") for job in (whole, broken)]
    assert last[0] and last[1] and last[0].weights.keys() == last[1].weights.keys()
    assert all(torch.equal(one, last[1].weights[name]) for name, one in last[0].weights.items())
    assert isinstance(finished, Finished) and finished.style_id == events[-1].style_id
    return read_style(broken.folder / "style.safetensors")


def test_a_style_says_its_groups_and_is_an_ordinary_one_whose_columns_repeat(grouped_style: Style) -> None:
    assert grouped_style.card.training["quantize"] == "qa4-32"
    assert style_repeats(grouped_style, 32) and style_repeats(grouped_style, 16)
    assert not style_repeats(grouped_style, 64)
    assert all(columns_repeat(layer.down, 32) and layer.up.abs().max() > 0 for layer in grouped_style.layers)


def test_a_style_goes_on_over_its_own_groups_and_smaller_ones(
    grouped_style: Style, tiny_base: Path, home_folder: Path
) -> None:
    latents, states = inputs(width=WIDTH)
    for quantize in ("qa4-32", "qa4-16"):
        base = opened(tiny_base, home_folder, quantize)
        with blended(base, [grouped_style]) as mix:
            mix.set_gains([1.0])
            mixed = noise_pred(base.unet, latents, states)
        plain = noise_pred(base.unet, latents, states)
        plan = small_plan(NOTHING, rank=3, alpha=1.5, quantize=quantize)
        with adapted(base.unet, plan) as weights:
            continue_style(weights, grouped_style, plan)
            begun = noise_pred(base.unet, latents, states)
            again = Style(grouped_style.card, style_layers(weights, plan.alpha))
        assert (begun - mixed).abs().max() < 1e-5 < 1e-3 < (mixed - plain).abs().max()
        assert style_repeats(again, int(quantize[-2:]))


def test_a_style_without_such_groups_is_told_what_to_go_on_with(
    grouped_style: Style, tiny_base: Path, home_folder: Path
) -> None:
    ungrouped = random_style(unet_of(tiny_base), family="starter", rank=2)
    for style, quantize in ((ungrouped, "qa4-16"), (grouped_style, "qa4-64")):
        base = opened(tiny_base, home_folder, quantize)
        plain = small_plan(NOTHING)
        with adapted(base.unet, plain) as weights:
            # By the plan, before a base is opened, and by the base itself.
            for plan in (small_plan(NOTHING, quantize=quantize), plain):
                with pytest.raises(PlanError, match="was not trained over groups of") as refused:
                    continue_style(weights, style, plan)
                assert "Go on with the base as it is" in str(refused.value.hint)


def test_other_programs_make_the_same_of_what_is_exported(
    grouped_style: Style, tiny_base: Path, tmp_path: Path
) -> None:
    from diffusers import StableDiffusionPipeline

    unet, given = unet_of(tiny_base), inputs(width=WIDTH)
    with blended(PlainBase(unet, "starter"), [grouped_style]) as mix:
        mix.set_gains([1.0])
        ours = noise_pred(unet, *given)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base, local_files_only=True)
    file = export_style(grouped_style, tmp_path).paths[0]
    pipeline.load_lora_weights(tmp_path, weight_name=file.name, use_safetensors=True)
    theirs = noise_pred(pipeline.unet, *given)
    assert (ours - theirs).abs().max() < 1e-4 < 1e-2 < (ours - noise_pred(unet, *given)).abs().max()
    # And comes back with its groups, in whatever form.
    folder = export_style(grouped_style, tmp_path, ExportOrder("hub")).paths[0]
    assert style_repeats(read_style(file), 32) and style_repeats(
        read_style(folder / "pytorch_lora_weights.safetensors"), 32
    )


def test_a_merged_base_paints_as_its_style_and_is_trained_on(
    grouped_style: Style, tiny_base: Path, artworks: Path, home_folder: Path
) -> None:
    home, given = Home(home_folder).create(), inputs(width=WIDTH)
    base = opened(tiny_base, home_folder, "qa4-32")
    with blended(base, [grouped_style]) as mix:
        mix.set_gains([0.8])
        mixed = noise_pred(base.unet, *given)
    plain = noise_pred(base.unet, *given)
    merge_base(home, tiny_base, [(grouped_style, 0.8)], "Mine")
    merged = noise_pred(open_base("Mine", home, device="cpu").unet, *given)
    assert (merged - mixed).norm() < 2e-3 * (mixed - plain).norm()
    # By its name alone, as the plan says nothing of how it is kept.
    plan = small_plan(Path("Mine"), steps=2, preview_every=0, continue_from=grouped_style.id)
    Library(home).add(grouped_style)
    job = Job.create(home.jobs, plan, [artworks])
    with job.held():
        events = list(train(job, device="cpu"))
    assert isinstance(events[-1], Finished)
    trained = read_style(job.folder / "style.safetensors")
    assert trained.card.training["quantize"] == "qa4-32" and trained.card.base_name == "Mine"
    assert style_repeats(trained, 32)
