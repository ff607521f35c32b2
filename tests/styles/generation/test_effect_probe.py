"""Measuring how strong a style is: the relative change of the predicted noise, on a walk of the base's own."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from styles.bases.base import Base, open_base
from styles.errors import Cancelled, Failure, OutOfMemory
from styles.formats.style import Style
from styles.generation.effect_probe import Probe, _predict, effects_key, walk
from styles.generation.samplers import make_scheduler
from styles.mixing.blend import STRONGEST
from styles.mixing.model_patcher import blended
from styles.mixing.strength import FULL
from styles.storage.home import Home
from tests.styles.making import random_style
from tests.styles.out_of_memory import MEMORY_FULL
from tests.styles.painting import wording_style

PROMPTS = ("a red house", "a cat")


@pytest.fixture(scope="module")
def bases(
    tiny_base: Path, tiny_sd1: Path, tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Base]:
    home = Home(tmp_path_factory.mktemp("home"))
    return {
        "starter": open_base(tiny_base, home, device="cpu"),  # v-prediction, zero terminal SNR
        "sd1": open_base(tiny_sd1, home, device="cpu"),  # epsilon
        "sdxl": open_base(tiny_sdxl, home, device="cpu"),  # epsilon, and conditions beside the text states
    }


@pytest.fixture(scope="module")
def probes(bases: dict[str, Base]) -> dict[str, Probe]:
    return {family: walk(base, PROMPTS, places=2) for family, base in bases.items()}


def gentle(base: Base, seed: int, factor: float = 0.2, marks: str = "attn2") -> Style:
    style = random_style(base.unet, f"Style {seed}", family=base.family, seed=seed, alpha=4.0, marks=marks)
    return replace(style, layers=tuple(replace(layer, up=layer.up * factor) for layer in style.layers))


@pytest.mark.parametrize("family", ["starter", "sd1", "sdxl"])
def test_is_the_relative_change_of_the_noise(probes: dict[str, Probe], family: str) -> None:
    probe = probes[family]
    base, style = probe.base, gentle(probe.base, 1)
    alphas = make_scheduler(base, "ddim").alphas_cumprod

    def relative_change(weight: float) -> float:
        squares = []
        for place in probe.places:
            predictions = []
            for gain in (0.0, weight):
                with blended(base, [style]) as mix, torch.no_grad():
                    mix.set_gains([gain])
                    states, added = probe.conditioning.states, probe.conditioning.added
                    noise_pred = base.unet(place.inputs, place.timestep, states, added_cond_kwargs=added)
                    predictions.append(noise_pred.sample)
            alpha = alphas[int(place.timestep)]
            if family == "starter":
                predictions = [alpha**0.5 * v + (1 - alpha) ** 0.5 * place.inputs for v in predictions]
            bare, styled = predictions
            squares += [((s - b).norm() / b.norm()).square() for b, s in zip(bare, styled, strict=True)]
        return float(torch.stack(squares).mean().sqrt())

    found = probe.effect(style)
    full = min(FULL / relative_change(1.0), STRONGEST)  # the weight near which it is measured
    assert found.size == pytest.approx(relative_change(full) / full, rel=1e-4)
    assert found.size > 1e-3
    assert torch.tensor(found.sketch).norm() == pytest.approx(found.size, rel=1e-5)
    # The walk starts at pure noise, where nothing is compared, and comes down evenly.
    steps = [int(place.timestep) for place in probe.places]
    assert steps == sorted(steps, reverse=True) and 500 < steps[0] < 750 and 250 < steps[1] < 400


def test_the_same_again_and_the_base_as_it_was(bases: dict[str, Base], probes: dict[str, Probe]) -> None:
    base, style = bases["starter"], gentle(bases["starter"], 1)
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    again = walk(base, PROMPTS, places=2).effect(style)
    assert again == probes["starter"].effect(style)
    assert all(torch.equal(value, before[name]) for name, value in base.unet.state_dict().items())
    assert walk(base, PROMPTS, seed=1, places=2).effect(style) != again
    empty = replace(style, layers=tuple(replace(layer, up=layer.up * 0) for layer in style.layers))
    assert probes["starter"].effect(empty).size == 0.0


def test_equal_strength_is_equal_effect(probes: dict[str, Probe]) -> None:
    """Ten-fold different styles, brought to one strength, change the prediction alike."""
    probe = probes["sd1"]
    styles = [gentle(probe.base, seed, factor) for seed, factor in ((1, 0.05), (2, 0.15), (3, 1.0))]
    effects = [probe.effect(style) for style in styles]
    sizes = [effect.size for effect in effects]
    assert max(sizes) > 5 * min(sizes)
    target = min(sizes) / FULL
    reached = [
        float(probe.change((style,), (effect.weight_for(target),)).norm())
        for style, effect in zip(styles, effects, strict=True)
    ]
    assert max(reached) < 1.3 * min(reached)


def test_the_sketches_tell_what_a_mix_does(probes: dict[str, Probe]) -> None:
    probe = probes["sd1"]
    first, second = gentle(probe.base, 1, 0.1), gentle(probe.base, 2, 0.1)
    near = replace(first, layers=tuple(replace(x, up=x.up * 0.9) for x in first.layers))
    for pair in ((first, second), (first, near)):
        real = float(probe.change(pair, (1.0, 1.0)).norm())
        sketches = [torch.tensor(probe.effect(style).sketch) for style in pair]
        assert float((sketches[0] + sketches[1]).norm()) == pytest.approx(real, rel=0.15)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_style_of_the_text_encoders_counts(probes: dict[str, Probe], family: str) -> None:
    style = wording_style(probes[family].base, 4)
    effects = [probes[family].effect(replace(style, layers=(layer,))).size for layer in style.layers]
    assert len(effects) == len(probes[family].base.text_encoders) and min(effects) > 1e-5


def test_stops_when_asked(bases: dict[str, Base], probes: dict[str, Probe]) -> None:
    with pytest.raises(Cancelled):
        walk(bases["sd1"], PROMPTS, cancelled=lambda: True)
    with pytest.raises(Cancelled):
        probes["sd1"].effect(gentle(bases["sd1"], 1), cancelled=lambda: True)


@pytest.mark.parametrize("device", MEMORY_FULL)
def test_measures_in_smaller_batches_where_memory_demands_it(
    device: str, probes: dict[str, Probe], monkeypatch: pytest.MonkeyPatch
) -> None:
    unet, place = probes["sd1"].base.unet, probes["sd1"].places[0]
    forward, sizes, room = unet.forward, [], 1

    def small(inputs: torch.Tensor, *arguments: object, **settings: object) -> object:
        sizes.append(len(inputs))
        if len(inputs) > room:
            raise MEMORY_FULL[device]
        return forward(inputs, *arguments, **settings)

    monkeypatch.setattr(unet, "forward", small)
    found = _predict(
        probes["sd1"].base, place.inputs, place.timestep, probes["sd1"].conditioning, lambda: False
    )
    assert sizes == [2, 1, 1]
    assert torch.allclose(found, place.prediction, atol=1e-4)
    room = 0
    with pytest.raises(OutOfMemory, match="too little memory to measure"):
        _predict(probes["sd1"].base, place.inputs, place.timestep, probes["sd1"].conditioning, lambda: False)


def test_effects_are_kept_under_all_of_a_base_that_they_depend_on(bases: dict[str, Base]) -> None:
    base, other = bases["sd1"], bases["starter"]
    encoder = copy.deepcopy(base.text_encoders[0])
    next(encoder.parameters()).data[0] += 1.0
    changed = (
        replace(base, fingerprint="0" * 64),
        replace(base, text_encoders=(encoder,)),
        replace(base, tokenizers=other.tokenizers),
        replace(base, prediction_type="v_prediction"),
        replace(base, zero_terminal_snr=True),
        replace(base, native_size_px=128),
        replace(base, scheduler_config=base.scheduler_config | {"beta_end": 0.02}),
    )
    assert len({effects_key(one) for one in (base, *changed)}) == 1 + len(changed)
    assert effects_key(replace(base, name="another name", folder=None)) == effects_key(base)


def test_a_style_that_gives_no_numbers_is_not_measured(probes: dict[str, Probe]) -> None:
    style = gentle(probes["sd1"].base, 1, factor=1e30)
    with pytest.raises(Failure, match=r"Style 1.*no numbers"):
        probes["sd1"].effect(style)
