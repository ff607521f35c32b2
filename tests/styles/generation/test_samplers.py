"""Samplers and schedule types: diffusers' own schedulers, set up for the base, and found by the names of others."""

import inspect
from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler

from styles.bases.base import Base, open_base
from styles.errors import RecipeError
from styles.generation.cost import unet_flop, work_flop
from styles.generation.generate import DenoisingStep, generate
from styles.generation.request import CreateRequest, SecondPass, fill_in, request_again
from styles.generation.samplers import (
    DEFAULT_SAMPLER,
    SAMPLERS,
    SCHEDULES,
    make_scheduler,
    sampler_named,
    set_steps,
)
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from tests.styles.painting import apart, paint, pipeline_of, pipeline_steps, pixels, style_for

PAIRS = [(sampler, schedule) for sampler, row in SAMPLERS.items() for schedule in row.schedules]
STEPS = 4


@pytest.fixture(scope="module")
def bases(
    tiny_base: Path, tiny_sd1: Path, tiny_sd2: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Base]:
    home = Home(tmp_path_factory.mktemp("home")).create()
    folders = {"starter": tiny_base, "sd1": tiny_sd1, "sd2": tiny_sd2}
    return {name: open_base(folder, home, device="cpu") for name, folder in folders.items()}


def request(
    sampler: str, schedule: str | None = None, steps: int = STEPS, **changes: object
) -> CreateRequest:
    return CreateRequest(
        "a red cat", seeds=(3,), steps=steps, guidance=4.0, guidance_rescale=0.0, sampler=sampler, schedule=schedule,
        width_px=48, height_px=32, **changes,
    )  # fmt: skip


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
def test_every_schedule_type_is_equal_to_the_pipeline_s(
    sampler: str, schedule: str, bases: dict[str, Base]
) -> None:
    base = bases["sd1"]
    pipeline = pipeline_of(base, sampler, schedule)
    theirs = pipeline(
        "a red cat", num_inference_steps=pipeline_steps(pipeline.scheduler, sampler, STEPS), guidance_scale=4.0,
        generator=[torch.Generator().manual_seed(3)], width=48, height=32,
    ).images[0]  # fmt: skip
    done = paint(base, request(sampler, schedule))[0]
    assert abs(pixels(done.image) - pixels(theirs)).max() <= 1
    assert done.recipe.schedule == schedule and not done.notes
    recipe = done.recipe
    if schedule == SAMPLERS[sampler].usual:
        recipe = replace(recipe, schedule="")  # as older ones are
        assert "schedule" not in recipe.to_json()
    again = paint(base, request_again(recipe))[0]
    assert again.image.tobytes() == done.image.tobytes()


@pytest.mark.parametrize(("sampler", "schedule"), PAIRS)
def test_a_schedule_type_is_what_its_scheduler_can_be_told(
    sampler: str, schedule: str, bases: dict[str, Base]
) -> None:
    row = SAMPLERS[sampler]
    taken = set(inspect.signature(getattr(diffusers, row.scheduler).__init__).parameters)
    assert set(row.options) <= taken
    scheduler = make_scheduler(bases["sd1"], sampler, schedule)
    set_steps(scheduler, sampler, 10)
    told = {name: scheduler.config.get(name) for name in SCHEDULES[schedule].options}
    if schedule in ("karras", "exponential"):
        assert told == dict(SCHEDULES[schedule].options)
        kept = (
            scheduler.sigmas[scheduler.sigmas > 0].unique().log()
        )  # evenly spread in the logarithm, or its power
        steps = (kept.flip(0) if schedule == "exponential" else (kept / 7).exp()).diff().abs()
        assert steps.std() / steps.mean() < 0.02
    if schedule == "sgm uniform":
        trailing = torch.linspace(1000, 0, 10 * row.evaluations // scheduler.order + 1)[:-1] - 1
        assert (scheduler.timesteps.unique().flip(0) - trailing).abs().max() <= 1


def test_without_a_schedule_type_a_sampler_takes_its_usual_one(bases: dict[str, Base]) -> None:
    for sampler, row in SAMPLERS.items():
        unasked, asked = (make_scheduler(bases["sd1"], sampler, schedule) for schedule in (None, row.usual))
        assert unasked.config == asked.config and row.usual in row.schedules
    for sampler, spacing in (("dpm++ 2m", "linspace"), ("ddim", "leading"), ("euler a", "linspace")):
        config = make_scheduler(bases["sd1"], sampler).config
        assert config.timestep_spacing == spacing
        assert config.get("use_karras_sigmas", False) == (sampler == "dpm++ 2m")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_with_zero_terminal_snr_every_sampler_begins_in_pure_noise(
    sampler: str, bases: dict[str, Base]
) -> None:
    base = bases["starter"]
    theirs = DDIMScheduler.from_config(base.scheduler_config, rescale_betas_zero_snr=True).alphas_cumprod
    for schedule in (None, *SCHEDULES):
        scheduler = make_scheduler(base, sampler, schedule)
        ours = scheduler.alphas_cumprod
        assert torch.allclose(ours[:-1], theirs[:-1], rtol=1e-3, atol=1e-8) and ours[-1] < 1e-7
        set_steps(scheduler, sampler, 10)
        assert scheduler.timesteps[0] == 999 and scheduler.timesteps[-1] > 0
        assert len(scheduler.timesteps[scheduler.timesteps > 925]) <= SAMPLERS[sampler].evaluations
    done = paint(base, request(sampler, SAMPLERS[sampler].schedules[0]))[0]
    assert apart(done, paint(base, request(sampler))[0]) == 0
    assert len(done.notes) == (done.recipe.schedule != SAMPLERS[sampler].schedules[0])


def test_a_schedule_type_that_a_sampler_does_not_take_is_said(bases: dict[str, Base]) -> None:
    base = bases["sd1"]
    done, plain = (paint(base, request("euler a", schedule))[0] for schedule in ("karras", None))
    assert (
        "“euler a” doesn't take the schedule type “karras”" in done.notes[0] and "“normal”" in done.notes[0]
    )
    assert done.image.tobytes() == plain.image.tobytes() and done.recipe == plain.recipe


@pytest.mark.parametrize("sampler", [name for name, row in SAMPLERS.items() if row.stochastic])
def test_noise_on_the_way_is_each_picture_s_own(sampler: str, bases: dict[str, Base]) -> None:
    base = bases["sd2"]
    both = paint(base, CreateRequest("a fish", seeds=(7, 9), steps=3, sampler=sampler))
    for done in both:
        alone = paint(base, CreateRequest("a fish", seeds=(done.recipe.seed,), steps=3, sampler=sampler))[0]
        assert apart(alone, done) <= 1
    assert apart(*both) > 5


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_steps_are_counted_as_the_artist_asked_for_them(sampler: str, bases: dict[str, Base]) -> None:
    base = bases["sd1"]
    style = style_for(base, 1)
    calls: list[int] = []
    hook = base.unet.register_forward_hook(lambda *_: calls.append(1))
    # At the first step alone: weight 1 there, 0 from the second on.
    part = BlendPart(style.id, 1.0, schedule=((0.0, 1.0), (0.2, 0.0)))
    asked = request(sampler, steps=5, blends=(Blend((part,)),), second_pass=SecondPass(1.5, 0.4))
    events = list(generate(base, asked, (style,)))
    hook.remove()
    steps = [event for event in events if isinstance(event, DenoisingStep)]
    assert [event.step for event in steps] == [*range(1, 8)] and {event.steps for event in steps} == {7}
    assert [event.share for event in steps] == [step / 7 for step in range(1, 8)]
    per_step = SAMPLERS[sampler].evaluations
    # Heun's last step of a run is a plain one.
    assert len(calls) == 7 * per_step - (2 if sampler == "heun" else 0)
    order, plain = (
        fill_in(base, replace(asked, sampler=name), (style,)) for name in (sampler, DEFAULT_SAMPLER)
    )
    assert order.steps == 7
    more = work_flop(base, order) - work_flop(base, plain)
    each = [unet_flop(base, run.width_px * run.height_px // base.vae_factor**2) for run in order.runs]
    assert more == pytest.approx((per_step - 1) * 2 * (5 * each[0] + 2 * each[1]))


def test_lcm_is_refused_more_steps_than_it_was_distilled_for(bases: dict[str, Base]) -> None:
    with pytest.raises(RecipeError, match="“lcm” takes at most 50 steps, not 51"):
        request("lcm", steps=51)
    with pytest.raises(RecipeError, match="at most 50 steps, not 60"):
        request("lcm", second_pass=SecondPass(steps=60))
    scheduler = make_scheduler(bases["sd1"], "lcm")
    set_steps(scheduler, "lcm", 50)
    assert len(scheduler.timesteps) == 50


@pytest.mark.parametrize(
    ("name", "schedule", "ours"),
    [
        # A1111 before 1.9, and since
        ("DPM++ 2M Karras", "", ("dpm++ 2m", "karras")),
        ("DPM++ 2M", "", ("dpm++ 2m", "normal")),
        ("DPM++ SDE Karras", "", ("dpm++ sde", "karras")),
        ("DPM++ 2M SDE Exponential", "", ("dpm++ 2m sde", "exponential")),
        ("Euler a", "", ("euler a", "normal")),
        ("UniPC", "", ("unipc", "normal")),
        ("LCM", "", ("lcm", "sgm uniform")),
        ("DDIM", "", ("ddim", "normal")),
        ("k_euler_a", "", ("euler a", "normal")),
        ("DPM++ 2M", "Karras", ("dpm++ 2m", "karras")),
        ("DPM++ 2M", "Automatic", ("dpm++ 2m", "karras")),
        ("DPM++ 2M SDE", "Automatic", ("dpm++ 2m sde", "exponential")),
        ("Euler", "SGM Uniform", ("euler", "sgm uniform")),
        ("Heun", "Uniform", ("heun", "normal")),
        ("DPM++ 2M", "Align Your Steps", ("dpm++ 2m", "")),
        ("LMS Karras", "", ("", "")),
        ("DPM++ 3M SDE", "Karras", ("", "karras")),
        # ComfyUI
        ("dpmpp_2m", "karras", ("dpm++ 2m", "karras")),
        ("euler_ancestral", "normal", ("euler a", "normal")),
        ("dpmpp_2m_sde_gpu", "sgm_uniform", ("dpm++ 2m sde", "sgm uniform")),
        ("dpmpp_sde", "simple", ("dpm++ sde", "sgm uniform")),
        ("uni_pc", "exponential", ("unipc", "exponential")),
        ("uni_pc_bh2", "normal", ("unipc", "normal")),
        ("lcm", "sgm_uniform", ("lcm", "sgm uniform")),
        ("euler", "beta", ("euler", "")),
        # InvokeAI
        ("dpmpp_2m_k", "", ("dpm++ 2m", "karras")),
        ("dpmpp_2m_sde", "", ("dpm++ 2m sde", "normal")),
        ("dpmpp_sde_k", "", ("dpm++ sde", "karras")),
        ("euler_a", "", ("euler a", "normal")),
        ("euler_k", "", ("euler", "karras")),
        ("heun_k", "", ("heun", "karras")),
        ("unipc", "", ("unipc", "normal")),
        ("", "", ("", "")),
    ],
)  # fmt: skip
def test_the_names_of_others(name: str, schedule: str, ours: tuple[str, str]) -> None:
    assert sampler_named(name, schedule) == ours


def test_what_we_call_them_to_others_reads_back() -> None:
    for sampler, schedule in PAIRS:
        names = SAMPLERS[sampler].a1111_name, SCHEDULES[schedule].a1111_name
        assert sampler_named(*names) == (sampler, schedule)
    assert len({row.a1111_name for row in SAMPLERS.values()}) == len(SAMPLERS)
