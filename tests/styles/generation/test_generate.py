"""The denoising loop: equal to the pipeline's, watchable, stoppable, and the same picture again."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from styles.bases.base import Base, open_base
from styles.errors import (
    BlendError,
    Cancelled,
    Failure,
    OutOfMemory,
    PromptError,
    RecipeError,
    WrongFamilyError,
)
from styles.formats.style import Style
from styles.generation import finishing
from styles.generation.generate import DenoisingStep, PictureDone, _automatic_batch, generate
from styles.generation.png_recipe import png_bytes, read_recipe, save_picture
from styles.generation.request import CreateRequest, fill_in, request_again
from styles.generation.samplers import DEFAULT_SAMPLER, SAMPLERS, make_scheduler
from styles.library.library import Library
from styles.mixing.model_patcher import ModelPatcher
from styles.storage.home import Home
from tests.styles.out_of_memory import MEMORY_FULL
from tests.styles.painting import paint, pipeline_of, pipeline_steps, pixels, style_for, wording_style
from tests.tiny import tiny_base_folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home")).create()


@pytest.fixture(scope="module")
def base(tiny_base: Path, home: Home) -> Base:
    return open_base(tiny_base, home, device="cpu")


@pytest.fixture(scope="module")
def bases(base: Base, tiny_sd1: Path, tiny_sd2: Path, tiny_sdxl: Path, home: Home) -> dict[str, Base]:
    return {
        "starter": base,
        "sd1": open_base(tiny_sd1, home, device="cpu"),
        "sd2": open_base(tiny_sd2, home, device="cpu"),
        "sdxl": open_base(tiny_sdxl, home, device="cpu"),
    }


@pytest.fixture(params=["starter", "sdxl"])
def either(bases: dict[str, Base], request: pytest.FixtureRequest) -> Base:
    """A base of one text encoder, and one of two."""
    return bases[request.param]


@pytest.mark.parametrize("family", ["starter", "sd1", "sd2"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equal_to_the_pipeline(family: str, sampler: str, bases: dict[str, Base]) -> None:
    base = bases[family]
    seeds = (3, 11)
    request = CreateRequest(
        "a red cat",
        "a blue house",
        seeds=seeds,
        steps=5,
        guidance=6.0,
        guidance_rescale=0.4,
        sampler=sampler,
        width_px=64,
        height_px=40,
    )
    ours = paint(base, request)
    pipeline = pipeline_of(base, sampler)
    theirs = pipeline(
        ["a red cat"] * 2,
        negative_prompt=["a blue house"] * 2,
        num_inference_steps=pipeline_steps(pipeline.scheduler, sampler, 5),
        guidance_scale=6.0,
        guidance_rescale=0.4,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        width=64,
        height=40,
    ).images
    for done, image in zip(ours, theirs, strict=True):
        assert done.image.size == (64, 40)
        assert pixels(done.image).std() > 1  # a picture, not a plain sheet
        assert abs(pixels(done.image) - pixels(image)).max() <= 1


def test_an_exported_style_paints_the_same_picture_in_plain_diffusers(starter: Path, tmp_path: Path) -> None:
    library = Library(Home(tmp_path / "home").create())
    base = open_base(starter, library.home, device="cpu")
    plain = StableDiffusionPipeline.from_pretrained(
        starter, safety_checker=None, requires_safety_checker=False
    )
    plain.to(torch.float32)
    plain.set_progress_bar_config(disable=True)
    guidance, rescale = base.default_guidance
    for name in ("cyanotype", "ochre dabs"):
        request = CreateRequest(
            "a red house", seeds=(7,), steps=2, sampler="ddim", weights=((1.0,),), width_px=64, height_px=64
        )
        ours = paint(base, request, (library.open(name),))[0].image
        file = library.export(name, tmp_path).paths[0]
        plain.load_lora_weights(tmp_path, weight_name=file.name, use_safetensors=True)
        pictures = []
        for scale in (1.0, 0.0):
            picture = plain(
                "a red house",
                num_inference_steps=2,
                guidance_scale=guidance,
                guidance_rescale=rescale,
                generator=torch.Generator().manual_seed(7),
                width=64,
                height=64,
                cross_attention_kwargs={"scale": scale},
            ).images[0]
            pictures.append(pixels(picture))
        plain.unload_lora_weights()
        assert abs(pixels(ours) - pictures[0]).max() <= 1
        assert abs(pictures[1] - pictures[0]).max() > 50, "the style is seen"


def test_equal_to_the_pipeline_without_guidance(base: Base) -> None:
    ours = paint(base, CreateRequest("a boat", seeds=(5,), steps=3, guidance=1.0))[0].image
    theirs = pipeline_of(base, DEFAULT_SAMPLER)(
        "a boat",
        num_inference_steps=3,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(5),
        width=64,
        height=64,
    ).images[0]
    assert abs(pixels(ours) - pixels(theirs)).max() <= 1


def test_samplers_suit_the_base(bases: dict[str, Base]) -> None:
    scheduler = make_scheduler(bases["starter"])
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[0] == 999 and not scheduler.config.use_karras_sigmas
    assert (scheduler.timesteps > 925).sum() <= 2
    scheduler = make_scheduler(bases["sd1"])
    assert scheduler.config.use_karras_sigmas and scheduler.config.prediction_type == "epsilon"
    assert make_scheduler(bases["sd2"], "ddim").config.prediction_type == "v_prediction"
    for base in bases.values():
        assert make_scheduler(base, "ddim").config.clip_sample is False
    with pytest.raises(RecipeError, match="no sampler “plms”"):
        make_scheduler(base, "plms")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_is_a_picture_whatever_its_neighbours(sampler: str, base: Base) -> None:
    alone = paint(base, CreateRequest("a fish", seeds=(7,), steps=3, sampler=sampler))[0]
    among = paint(base, CreateRequest("a fish", seeds=(1, 7, 9), steps=3, sampler=sampler))
    apart = paint(base, CreateRequest("a fish", seeds=(1, 7, 9), steps=3, sampler=sampler, batch=2))
    assert abs(pixels(alone.image) - pixels(among[1].image)).max() <= 1
    assert abs(pixels(apart[1].image) - pixels(among[1].image)).max() <= 1
    assert abs(pixels(among[0].image) - pixels(among[1].image)).max() > 5
    assert [done.recipe.batch_shape[0] for done in apart] == [2, 2, 1]
    assert [done.recipe.batch_index for done in apart] == [0, 1, 0]


def test_every_picture_has_its_own_weights(either: Base) -> None:
    styles = (style_for(either, 1), style_for(either, 2))
    strip = paint(
        either,
        CreateRequest("a tree", seeds=(4,) * 4, steps=3, weights=((0, 0), (1, 0), (0, 1), (0.5, -0.5))),
        styles,
    )
    for done, row in zip(strip, ((0, 0), (1, 0), (0, 1), (0.5, -0.5)), strict=True):
        single = paint(either, CreateRequest("a tree", seeds=(4,), steps=3, weights=(row,)), styles)[0]
        assert abs(pixels(done.image) - pixels(single.image)).max() <= 1
        assert [done.recipe.blend.weight_of(style.id) for style in styles] == list(row)
    bare = paint(either, CreateRequest("a tree", seeds=(4,), steps=3))[0]
    assert abs(pixels(bare.image) - pixels(strip[0].image)).max() <= 1
    assert abs(pixels(bare.image) - pixels(strip[1].image)).max() > 5
    turned = paint(either, CreateRequest("a tree", seeds=(4,), steps=3, weights=((1, 0),)), styles[:2])[0]
    swapped = paint(either, CreateRequest("a tree", seeds=(4,), steps=3, weights=((0, 1),)), styles[::-1])[0]
    assert turned.image.tobytes() == swapped.image.tobytes() and turned.recipe == swapped.recipe


def test_text_encoder_layers_act_per_picture(either: Base) -> None:
    style = wording_style(either, 9)
    off, on = paint(either, CreateRequest("a cat", seeds=(4, 4), steps=3, weights=((0.0,), (1.0,))), (style,))
    bare = paint(either, CreateRequest("a cat", seeds=(4, 4), steps=3))[0]
    assert abs(pixels(off.image) - pixels(bare.image)).max() <= 1
    assert abs(pixels(on.image) - pixels(bare.image)).max() > 1


def test_prompts_may_differ_within_a_batch(either: Base) -> None:
    both = paint(either, CreateRequest(("a cat", "a boat in blue"), seeds=(4, 4), steps=3))
    for done, prompt in zip(both, ("a cat", "a boat in blue"), strict=True):
        single = paint(either, CreateRequest(prompt, seeds=(4,), steps=3))[0]
        assert done.recipe.prompt == prompt
        assert abs(pixels(done.image) - pixels(single.image)).max() <= 1


def test_the_same_picture_again_from_its_png(either: Base, tmp_path: Path) -> None:
    styles = (style_for(either, 1), style_for(either, 2))
    request = CreateRequest(
        "a moon", "red", seeds=(1, 2, 3), steps=3, sampler="euler a", weights=((1, 0.1), (0.3, 0.7), (0, 1))
    )
    first = paint(either, request, styles)[1]
    path = save_picture(first.image, first.recipe, tmp_path)
    recipe = read_recipe(path)
    assert recipe == first.recipe
    again = paint(either, request_again(recipe), styles[::-1])
    assert len(again) == 1 and again[0].index == 0
    assert png_bytes(again[0].image, again[0].recipe) == path.read_bytes()


def test_steps_come_with_small_previews(either: Base) -> None:
    events = list(generate(either, CreateRequest("a cat", seeds=(1, 2, 3), steps=4, batch=2)))
    steps = [event for event in events if isinstance(event, DenoisingStep)]
    assert [event.step for event in steps] == [1, 2, 3, 4] * 2
    assert [event.first for event in steps] == [0] * 4 + [2] * 4
    assert [event.index for event in events if isinstance(event, PictureDone)] == [0, 1, 2]
    shares = [event.share for event in steps]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert [image.size for image in steps[0].previews] == [(16, 16)] * 2
    assert len(steps[-1].previews) == 1


def test_cancel_between_steps_leaves_the_base_as_it_was(either: Base) -> None:
    before = {name: value.clone() for name, value in either.unet.state_dict().items()}
    seen: list[object] = []
    with pytest.raises(Cancelled):
        for event in generate(
            either, CreateRequest("a cat", steps=9), (style_for(either, 1),), cancelled=lambda: bool(seen)
        ):
            seen.append(event)
    assert len(seen) == 1
    running = generate(either, CreateRequest("a cat", steps=9), (style_for(either, 1),))
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert all("forward" not in vars(module) for module in either.unet.modules())
    assert all(torch.equal(before[name], value) for name, value in either.unet.state_dict().items())


def test_pictures_that_are_no_numbers_are_said_and_the_others_kept(base: Base) -> None:
    style = style_for(base, 1, strength=1e30)
    done = []
    with pytest.raises(Failure, match=r"1 of 2 pictures.*NaN.*number 2") as told:
        for event in generate(
            base, CreateRequest("a cat", seeds=(1, 2), steps=2, weights=((0.0,), (4.0,))), (style,)
        ):
            done += [event] if isinstance(event, PictureDone) else []
    assert [event.index for event in done] == [0]
    assert "fp32" not in told.value.hint


def test_where_memory_is_not_told_a_batch_is_bounded(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(base, device=torch.device("mps"))
    order = fill_in(base, CreateRequest("a cat", seeds=tuple(range(300)), together=True, batch=0), ())
    latents = (order.runs[0].width_px // base.vae_factor) ** 2
    for free, most in ((None, 8 * 64 * 64), (10**15, 300 * latents), (0, latents)):
        monkeypatch.setattr("styles.generation.generate.free_bytes", lambda device, free=free: free)
        assert _automatic_batch(card, order) == most // latents


def test_in_half_precision_the_advice_is_another_precision_first(tiny_base: Path, home: Home) -> None:
    base = open_base(tiny_base, home, device="cpu", dtype="bf16")
    with pytest.raises(Failure, match="NaN") as told:
        paint(base, CreateRequest("a cat", steps=1, weights=((4.0,),)), (style_for(base, 1, strength=1e30),))
    assert told.value.hint.startswith("Choose fp32")


def test_a_vae_that_overflows_in_half_precision_decodes_in_fp32(tiny_base: Path, home: Home) -> None:
    base = open_base(tiny_base, home, device="cpu", dtype="bf16")
    normal = paint(base, CreateRequest("a cat", steps=2))[0]
    decode = base.vae.decode

    def overflowing(latents: torch.Tensor) -> object:
        result = decode(latents)
        if latents.dtype != torch.float32:
            result.sample[:] = math.nan
        return result

    base.vae.decode = overflowing
    rescued = paint(base, CreateRequest("a cat", steps=2))[0]
    assert base.vae.dtype == torch.bfloat16
    assert abs(pixels(normal.image) - pixels(rescued.image)).max() <= 8
    assert normal.recipe.dtype == "bf16"


def test_black_pictures_are_said(base: Base, tmp_path: Path, home: Home) -> None:
    own = open_base(tiny_base_folder(tmp_path / "dark"), home, device="cpu")
    own.vae.decoder.conv_out.weight.zero_()
    own.vae.decoder.conv_out.bias.fill_(-2)
    assert "black" in paint(own, CreateRequest("a cat", steps=1))[0].notes[0]


def test_the_safety_checker_hides_and_can_be_turned_off(tmp_path: Path, home: Home) -> None:
    folder = tiny_base_folder(tmp_path / "checked", "sd1", safety_checker=True)
    base = open_base(folder, home, device="cpu")
    clean = paint(base, CreateRequest("a cat", steps=1))[0]
    assert not clean.hidden and clean.recipe.safety_checker
    base.safety_checker.concept_embeds_weights.fill_(-1.0)  # everything is too much for it now
    hidden = paint(base, CreateRequest("a cat", steps=1))[0]
    assert hidden.hidden and "safety checker" in hidden.notes[0]
    assert hidden.image.getextrema() == ((0, 0),) * 3
    off = paint(base, CreateRequest("a cat", steps=1, safety_checker=False))[0]
    assert not off.hidden and off.image.tobytes() == clean.image.tobytes()
    assert open_base(folder, home, device="cpu", safety_checker=False).safety_checker is None


def test_a_card_without_room_for_the_safety_checker_loses_no_picture(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_base(tiny_base_folder(tmp_path / "checked", "sd1", safety_checker=True), home, device="cpu")
    full = replace(
        base, device=torch.device("meta")
    )  # stands for a card, from which the checker has been sent away

    def no_room(*_: object) -> None:
        raise OutOfMemory("full", "")

    monkeypatch.setattr(finishing, "bring", no_room)
    picture = Image.new("RGB", (64, 64), "white")
    assert finishing._unsafe(full, picture) is False
    base.safety_checker.concept_embeds_weights.fill_(-1.0)
    assert finishing._unsafe(full, picture) is True


def test_a_long_prompt_says_what_was_cut(base: Base) -> None:
    done = paint(base, CreateRequest("a red cat " * 30 + "zebra", steps=1))[0]
    assert len(done.notes) == 1 and done.notes[0].endswith("zebra”.")
    assert not paint(base, CreateRequest("a red cat", steps=1))[0].notes


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"seeds": ()}, RecipeError, "0 pictures"),
        ({"seeds": (-1,)}, RecipeError, "The seed is -1"),
        ({"steps": 0}, RecipeError, "number of steps is 0"),
        ({"guidance": math.nan}, RecipeError, "guidance is nan"),
        ({"guidance_rescale": 2.0}, RecipeError, "rescale is 2"),
        ({"sampler": "magic"}, RecipeError, "no sampler"),
        ({"weights": ((math.nan,),)}, RecipeError, "weight is nan"),
        ({"weights": ((math.inf,),)}, RecipeError, "weight is inf"),
        ({"weights": ((1.0,), (1.0,))}, BlendError, "2 rows of weights for 1"),
        ({"weights": ((1.0,),)}, BlendError, "1 weights for 0 styles"),
        ({"width_px": 100}, RecipeError, "width of 100 px.*multiple of 8"),
        ({"height_px": 4}, RecipeError, "height of 4 px"),
        ({"width_px": 8192, "height_px": 8192}, RecipeError, "more than can be painted"),
        ({"prompt": "x" * 30_000}, PromptError, "30000 characters"),
        ({"prompt": ("a", "b")}, PromptError, "2 prompts for 1"),
    ],
)
def test_bad_requests_are_refused_before_anything_runs(
    changes: dict, error: type[Exception], said: str, base: Base
) -> None:
    with pytest.raises(error, match=said):
        next(generate(base, replace(CreateRequest("a cat"), **changes)))


def test_too_little_memory_is_said_when_smaller_batches_do_not_help(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, rows = base.unet.forward, []

    def small(inputs: torch.Tensor, *arguments: object, **settings: object) -> object:
        rows.append(len(inputs))
        if len(inputs) > room:
            raise torch.OutOfMemoryError("out of memory")
        return forward(inputs, *arguments, **settings)

    monkeypatch.setattr(base.unet, "forward", small)
    room = 2
    done = paint(base, CreateRequest("a cat", seeds=(1, 2, 3), steps=1))
    assert [picture.index for picture in done] == [0, 1, 2] and rows == [6, 2, 2, 2]
    room = 1
    rows.clear()
    apart = paint(base, CreateRequest("a cat", seeds=(1,), steps=1))[0]
    assert rows == [2, 1, 1], "the two halves of guidance, one after the other"
    assert abs(pixels(apart.image) - pixels(done[0].image)).max() <= 1
    with pytest.raises(OutOfMemory, match=r"too little memory for 3 pictures of 64x64"):
        paint(base, CreateRequest("a cat", seeds=(1, 2, 3), steps=1, batch=3))
    room = 0
    with pytest.raises(OutOfMemory, match=r"too little memory for 1 pictures of 64x64"):
        paint(base, CreateRequest("a cat"))


def test_memory_that_shrinks_between_two_pictures_loses_none_that_is_finished(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = CreateRequest("a cat", seeds=(1, 2), steps=1, batch=1)
    forward, shrunk = base.unet.forward, True
    done: list[PictureDone] = []

    def small(*arguments: object, **settings: object) -> object:
        if done and shrunk:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(*arguments, **settings)

    monkeypatch.setattr(base.unet, "forward", small)
    with pytest.raises(OutOfMemory, match="too little memory for 1 pictures") as told:
        for event in generate(base, request):
            done += [event] if isinstance(event, PictureDone) else []
    assert [one.index for one in done] == [0] and "close other programs" in told.value.hint
    shrunk = False
    again = paint(base, request)
    assert again[0].image.tobytes() == done[0].image.tobytes() and len(again) == 2


def test_styles_that_find_no_room_get_that_of_all_but_the_unet(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    styles = (style_for(base, 1),)
    request = CreateRequest("a cat", steps=1, weights=((1.0,),))
    normal = paint(base, request, styles)[0]
    put, left, room = ModelPatcher._put, [], False

    def full(mix: ModelPatcher, new: list[Style]) -> None:
        if not room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        put(mix, new)

    def leave(models: list[torch.nn.Module], device: torch.device) -> None:
        nonlocal room
        left.extend(models)
        room = True

    monkeypatch.setattr(ModelPatcher, "_put", full)
    monkeypatch.setattr("styles.generation.generate.send_away", leave)
    assert paint(base, request, styles)[0].image.tobytes() == normal.image.tobytes()
    assert (
        base.vae in left
        and base.unet not in left
        and not any("forward" in vars(m) for m in base.unet.modules())
    )
    room = False
    monkeypatch.setattr("styles.generation.generate.send_away", lambda models, device: None)
    with pytest.raises(OutOfMemory, match=r"too little memory to put “.*” on the base"):
        paint(base, request, styles)


def test_a_decoding_that_has_no_room_paints_nothing_again(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = CreateRequest("a cat", seeds=(1, 2), steps=2, width_px=96, height_px=64)
    normal = paint(base, request)
    forward, rows, room = base.unet.forward, [], 16

    def counted(inputs: torch.Tensor, *arguments: object, **settings: object) -> object:
        rows.append(len(inputs))
        return forward(inputs, *arguments, **settings)

    def small(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        if max(inputs[0].shape[-2:]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(base.unet, "forward", counted)
    hook = base.vae.decoder.register_forward_pre_hook(small)
    try:
        tiled = paint(base, request)
        assert rows == [4, 4] and "in tiles" in tiled[0].notes[0]
        base.vae.enable_tiling()
        for one, whole in zip(tiled, normal, strict=True):
            assert one.recipe == whole.recipe and one.image.size == (96, 64)
            assert one.image.tobytes() != whole.image.tobytes()
        again = paint(base, request)
        assert [one.image.tobytes() for one in again] == [one.image.tobytes() for one in tiled]
        base.vae.disable_tiling()
        room = 8
        with pytest.raises(OutOfMemory, match=r"too little memory to decode a picture of 96x64 px"):
            paint(base, request)
        assert rows == [4] * 6
    finally:
        hook.remove()
        base.vae.disable_tiling()


def test_a_picture_is_decoded_on_the_processor_where_the_device_has_no_room_for_the_vae(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = CreateRequest("a cat", steps=1)
    (normal,) = paint(base, request)

    def bring(base: Base, *models: object, **settings: object) -> None:
        raise OutOfMemory("This base needs 1 GB at once.")

    monkeypatch.setattr("styles.generation.finishing.bring", bring)
    (done,) = paint(base, request)
    assert done.image.tobytes() == normal.image.tobytes()
    assert len(done.notes) == len(normal.notes) + 1 and "worked on the processor" in done.notes[-1]


@pytest.mark.parametrize("device", MEMORY_FULL)
def test_a_batch_that_is_too_large_for_any_devices_memory_is_halved(
    device: str, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = CreateRequest("a cat", seeds=(1, 2), steps=1)
    one_by_one = paint(base, replace(request, batch=1))
    forward, sizes = base.unet.forward, []

    def small(inputs: torch.Tensor, *arguments: object, **settings: object) -> object:
        sizes.append(len(inputs) // 2)
        if len(inputs) > 2:
            raise MEMORY_FULL[device]
        return forward(inputs, *arguments, **settings)

    monkeypatch.setattr(base.unet, "forward", small)
    done = paint(base, request)
    assert sizes == [2, 1, 1]
    assert [one.image.tobytes() for one in done] == [one.image.tobytes() for one in one_by_one]


def test_a_weight_out_of_range_or_a_foreign_style_is_refused_at_once(base: Base) -> None:
    with pytest.raises(BlendError, match=r"5\.0 is not a weight"):
        generate(base, CreateRequest("a cat", weights=((5.0,),)), (style_for(base, 1),))
    style = style_for(base, 1)
    foreign = Style(replace(style.card, family="sd1"), style.layers)
    with pytest.raises(WrongFamilyError, match="Stable Diffusion 1"):
        generate(base, CreateRequest("a cat", weights=((1.0,),)), (foreign,))


def test_odd_sizes_and_one_step_work(bases: dict[str, Base]) -> None:
    for base in bases.values():
        for sampler in SAMPLERS:
            done = paint(base, CreateRequest("", steps=1, width_px=72, height_px=24, sampler=sampler))[0]
            assert done.image.size == (72, 24)


def test_the_starter_paints(starter: Path, home: Home) -> None:
    base = open_base(starter, home, device="cpu")
    *_, last, done = generate(base, CreateRequest("a red house on a blue background", seeds=(1,), steps=8))
    assert isinstance(done, PictureDone) and isinstance(last, DenoisingStep)
    assert done.image.size == (128, 128) and not done.notes
    assert pixels(done.image).std() > 10
    small = pixels(done.image.resize((16, 16), Image.Resampling.BOX))
    assert abs(pixels(last.previews[0]) - small).mean() < 25  # the preview looks like the picture
