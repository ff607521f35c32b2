"""Long operations of a CPU in slices, so that stopping is heard inside a single attention or convolution.

Of a large picture a single operation takes more than a second, and minutes at 4096 pixels. Each slice is a part of
the operation's own result: along queries, rows and lines nothing is summed up, so the numbers stay the same. (To
rounding: torch's convolutions choose another way for slices that are far shorter than these.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from styles.bases.stopping import stopped

if TYPE_CHECKING:
    from styles.bases.base import Base

SLICE_FLOP = 7e9  # floating point operations of one slice for each thread: about a quarter of a second
# Of an attention's slice, which is a multiple of the second: below, torch would cut its own blocks otherwise, and
# round otherwise.
LEAST_ROWS, ROWS_TOGETHER = 768, 256


def in_slices(
    base: Base, latents: int, pictures: int, cancelled: Callable[[], bool]
) -> AbstractContextManager[Any]:
    """Do the long operations of the block in slices, where the base has any at this size.

    `latents` are one picture's, height times width. On a CPU alone: an accelerator is not waited for at every
    operation. For calls without gradients, around as little as possible: all functions of torch pass through it.
    """
    if base.device.type != "cpu" or _longest_flop(base, latents, pictures) <= _slice_flop():
        return nullcontext()
    return _Slices(cancelled)


def _longest_flop(base: Base, latents: int, pictures: int) -> float:
    """About how many floating point operations the longest single one takes: attention or a convolution."""
    width = base.unet.config.block_out_channels[0]
    attention = 4 * pictures * latents**2 * width
    convolution = 2 * 9 * pictures * latents * 2 * width**2
    finest = base.vae.config.block_out_channels[:2]
    pixels = 2 * 9 * latents * base.vae_factor**2 * max(finest) ** 2
    return float(max(attention, convolution, pixels))


class _Slices(TorchFunctionMode):
    """Attention by its queries, convolutions by the rows of their result, products by the rows of their input."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        super().__init__()
        self._cancelled = cancelled

    def __torch_function__(
        self,
        function: Any,
        types: Any,
        arguments: Sequence[Any] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Any:
        self._look()
        settings = settings or {}
        sliced = _SLICED.get(function)
        if sliced is not None:
            result = sliced(self._look, *arguments, **settings)
            if result is not None:
                return result
        return function(*arguments, **settings)

    def _look(self) -> None:
        if self._cancelled():
            raise stopped()


def _attention(
    look: Callable[[], None],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *rest: Any,
    **settings: Any,
) -> Tensor | None:
    """Scaled dot-product attention over some of the queries at a time; None where it is short, or masked."""
    scale = settings.pop("scale", None)
    if (
        query.dim() != 4
        or query.shape[-1] != value.shape[-1]
        or mask is not None
        or any(rest)
        or any(map(_is_set, settings.values()))
    ):
        return None
    flop = 4 * query.numel() * key.shape[-2]
    rows = _rows(query.shape[-2], flop, ROWS_TOGETHER, LEAST_ROWS)
    if rows >= query.shape[-2]:
        return None
    # As torch lays its own result out.
    result = torch.empty_like(query)
    parts: list[tuple[slice, ...]] = [(slice(None), slice(None))]
    if flop * rows / query.shape[-2] > _slice_flop():  # each head of each picture on its own
        parts = [
            (slice(n, n + 1), slice(h, h + 1)) for n in range(query.shape[0]) for h in range(query.shape[1])
        ]
    for first, last in _ranges(query.shape[-2], rows, LEAST_ROWS):
        for part in parts:
            look()
            result[part][:, :, first:last] = F.scaled_dot_product_attention(
                query[part][:, :, first:last], key[part], value[part], scale=scale
            )
    return result


def _product(
    look: Callable[[], None], inputs: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor | None:
    """`inputs @ weight.T + bias` for some of the rows at a time; None where it is short."""
    count = inputs.numel() // max(1, inputs.shape[-1])
    rows = _rows(count, 2 * inputs.numel() * weight.shape[0], ROWS_TOGETHER, ROWS_TOGETHER)
    if rows >= count:
        return None
    flat = inputs.reshape(count, inputs.shape[-1])
    result = inputs.new_empty((count, weight.shape[0]))
    for first, last in _ranges(count, rows, 1):
        look()
        result[first:last] = F.linear(flat[first:last], weight, bias)
    return result.reshape(*inputs.shape[:-1], weight.shape[0])


def _convolution(
    look: Callable[[], None], inputs: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Tensor | None:  # fmt: skip
    """A convolution for some rows of its result at a time; None where it is short, or padded in a way of its own."""
    if inputs.dim() != 4 or isinstance(padding, str):
        return None
    (step, step_across), (margin, side), (spread, spread_across) = map(_pair, (stride, padding, dilation))
    reach = spread * (weight.shape[2] - 1) + 1  # rows of the input that one row of the result sees
    height = (inputs.shape[2] + 2 * margin - reach) // step + 1
    width = (inputs.shape[3] + 2 * side - spread_across * (weight.shape[3] - 1) - 1) // step_across + 1
    rows = _rows(height, 2 * weight.numel() * len(inputs) * height * width, 1, 1)
    if rows >= height:
        return None
    parts = []
    for first, last in _ranges(height, rows, 1):
        look()
        top, bottom = first * step - margin, (last - 1) * step - margin + reach
        seen = inputs[:, :, max(0, top) : min(inputs.shape[2], bottom)]
        seen = F.pad(seen, (0, 0, max(0, -top), max(0, bottom - inputs.shape[2])))
        parts.append(F.conv2d(seen, weight, bias, stride, (0, side), dilation, groups))
    return torch.cat(parts, dim=2)


_SLICED: dict[Any, Callable[..., Tensor | None]] = {
    F.scaled_dot_product_attention: _attention,
    F.linear: _product,
    F.conv2d: _convolution,
}


def _rows(count: int, flop: float, multiple: int, least: int) -> int:
    """How many of `count` rows, which take `flop` operations together, are done at once."""
    if flop <= _slice_flop():
        return count
    return max(least, int(count * _slice_flop() / flop) // multiple * multiple)


def _slice_flop() -> float:
    return SLICE_FLOP * torch.get_num_threads()


def _ranges(count: int, rows: int, least: int) -> Iterator[tuple[int, int]]:
    """`count` cut into pieces of `rows`; a rest of less than `least` goes with the piece before it."""
    first = 0
    while first < count:
        last = first + rows if count - first - rows >= least else count
        yield first, last
        first = last


def _is_set(setting: Any) -> bool:
    return setting is not None and setting is not False and not (isinstance(setting, float) and setting == 0)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
