"""One prediction with guidance and its rescale, on a UNet that answers in numbers to check by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from styles.bases.conditioning import Conditioning
from styles.bases.prediction import predict


def unet(inputs: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, return_dict: bool) -> tuple[Tensor]:
    """The inputs times each picture's first number of the states."""
    assert not return_dict and len(inputs) == len(encoder_hidden_states)
    return (inputs * encoder_hidden_states[:, 0, 0, None, None, None],)


def states(*numbers: float) -> Conditioning:
    return Conditioning(torch.tensor(numbers)[:, None, None].expand(-1, 3, 5))


def test_guidance_goes_from_the_negative_prompt_through_the_prompt() -> None:
    inputs, timestep = torch.randn(2, 4, 8, 8), torch.tensor(500)
    assert torch.equal(predict(unet, inputs, timestep, states(2, 3))[1], inputs[1] * 3)
    guided = predict(unet, inputs, timestep, states(1, 1, 2, 3), 7.5)
    expected = inputs * torch.tensor([1 + 7.5 * 1, 1 + 7.5 * 2])[:, None, None, None]
    assert torch.allclose(guided, expected, atol=1e-5)


def test_the_rescale_gives_each_picture_the_deviation_of_its_own_prompt() -> None:
    inputs, timestep = torch.randn(2, 4, 8, 8), torch.tensor(500)
    arguments: tuple[Any, ...] = (unet, inputs, timestep, states(1, 1, 2, 3))
    whole = predict(*arguments, 7.5, 1.0)
    assert torch.allclose(whole.std((1, 2, 3)), inputs.std((1, 2, 3)) * torch.tensor([2.0, 3.0]), atol=1e-4)
    half = predict(*arguments, 7.5, 0.5)
    assert torch.allclose(half, (whole + predict(*arguments, 7.5)) / 2, atol=1e-5)


def test_half_precision_is_answered_in_fp32() -> None:
    inputs = torch.randn(1, 4, 8, 8).half()
    assert (
        predict(unet, inputs, torch.tensor(1), states(1).to(torch.device("cpu"), torch.float16)).dtype
        == torch.float32
    )
