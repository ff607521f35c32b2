"""What changes in a prompt on the way: which words at which step, and the pictures that come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from styles.bases.base import Base, open_base
from styles.generation.prompt_changes import prompt_at
from styles.generation.prompts import encode_prompts
from styles.generation.request import CreateRequest, SecondPass, request_again
from styles.storage.home import Home
from tests.styles.painting import apart, paint, pipeline_of, pixels, wording_style

LONG = "red " * 80


@pytest.fixture(scope="module")
def base(tiny_sd1: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return open_base(tiny_sd1, Home(tmp_path_factory.mktemp("home")), device="cpu")


@pytest.mark.parametrize(
    ("prompt", "at_each_step"),
    [
        ("a [cat:dog:0.5] x", ["a cat x", "a cat x", "a dog x", "a dog x"]),
        ("a [cat:dog:.25]", ["a cat", "a dog", "a dog", "a dog"]),
        ("a [cat:dog:3]", ["a cat", "a cat", "a cat", "a dog"]),
        ("[cat:0.5]", ["", "", "cat", "cat"]),
        ("[cat::0.5]", ["cat", "cat", "", ""]),
        # With a point it is a share: all of the steps, not the first.
        ("[cat:dog:1.0]", ["cat"] * 4),
        ("[cat:dog:1]", ["cat", "dog", "dog", "dog"]),
        ("[a|b|]", ["a", "b", "", "a"]),
        ("[a:[b|c]:0.5]", ["a", "a", "b", "c"]),
        ("([a|(b:1.3)]:1.2) [d]", ["(a:1.2) [d]", "((b:1.3):1.2) [d]"] * 2),
        ("[(a:1.3):<s1:3f2a>:2]", ["(a:1.3)", "(a:1.3)", "<s1:3f2a>", "<s1:3f2a>"]),
        ("((( a] [b|c]", ["((( a] b", "((( a] c"] * 2),
    ],
)
def test_what_a_prompt_says_at_each_step(prompt: str, at_each_step: list[str]) -> None:
    assert [prompt_at(prompt, step, 4) for step in (1, 2, 3, 4)] == at_each_step


@pytest.mark.parametrize(
    "prompt",
    ["", "a cat", "[cat] (dog:1.2)", "[a:b:c:0.5]", "[a|b:0.5]", "[x:y]", "\\[a|b\\]", "[a|b", "[a (b|c] d", "a|b:0.5]"],
)  # fmt: skip
def test_what_changes_nothing_stays_as_it_is_written(prompt: str) -> None:
    assert {prompt_at(prompt, step, 4) for step in (1, 2, 3, 4)} == {prompt}


def test_a_second_pass_goes_on_counting() -> None:
    assert [prompt_at("[a:b:0.5]", step, 4, earlier=6) for step in (1, 4)] == ["b", "b"]
    assert [prompt_at("[a:b:1.5]", step, 4, earlier=6) for step in (1, 2, 3, 4)] == ["a", "a", "b", "b"]
    assert [prompt_at("[a:b:7]", step, 4, earlier=6) for step in (1, 2)] == ["a", "b"]


def test_the_longest_prompts_are_read_to_their_end() -> None:
    """In a moment: where the time grew with the square of the length, or as a power of it, this would not end."""
    longest = ["[" * 10_000 + "]" * 10_000, "[a|b]" * 4000, "[" * 20_000, "[a:" * 4000 + "0.5]" * 2000]
    for prompt in longest:
        assert len(prompt_at(prompt, 1, 4)) <= len(prompt)


def how(**more: Any) -> dict[str, Any]:
    return {
        "seeds": (3,),
        "steps": 4,
        "guidance": 5.0,
        "sampler": "ddim",
        "width_px": 64,
        "height_px": 40,
        **more,
    }


def test_the_picture_is_the_pipelines_whose_states_are_changed_on_the_way(base: Base) -> None:
    (ours,) = paint(base, CreateRequest("a [cat:blue fish:0.5]", "red", guidance_rescale=0.0, **how()))
    negative, first, then = (encode_prompts(base, [text]).states for text in ("red", "a cat", "a blue fish"))

    def change(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {"prompt_embeds": torch.cat([negative, then])} if step == 1 else tensors

    theirs = pipeline_of(base, "ddim")(
        prompt_embeds=first,
        negative_prompt_embeds=negative,
        num_inference_steps=4,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(3),
        width=64,
        height=40,
        callback_on_step_end=change,
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
    ).images[0]
    assert abs(pixels(ours.image) - pixels(theirs)).max() <= 1
    (plain,) = paint(base, CreateRequest("a cat", "red", guidance_rescale=0.0, **how()))
    assert apart(plain, ours) > 1 and not ours.notes


def test_a_prompt_that_changes_into_itself_is_that_prompt(base: Base) -> None:
    for sampler in ("ddim", "heun"):  # with two evaluations a step, both read the same
        whole, changing, letters = (
            paint(base, CreateRequest(text, seeds=(3,), steps=3, sampler=sampler, prompt_signs=signs))[0]
            for text, signs in (("a cat", True), ("a [cat|cat]", True), ("a [cat|cat]", False))
        )
        assert apart(whole, changing) == 0 and apart(whole, letters) > 0


def test_what_changes_keeps_the_shape_of_its_longest_step_and_comes_again(base: Base) -> None:
    style = wording_style(base, 5)
    request = CreateRequest(
        ("a cat", f"a [{LONG}|fish]"), "[red:0.5]", second_pass=SecondPass(1.5, 0.5), **how(seeds=(3, 4))
    )
    for styles in ((), (style,)):
        pictures = paint(base, request, styles)
        assert [picture.recipe.batch_shape[0] for picture in pictures] == [1, 1]
        for picture in pictures:
            (again,) = paint(base, request_again(picture.recipe), styles)
            assert apart(again, picture) == 0
