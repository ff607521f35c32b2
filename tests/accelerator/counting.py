"""Kernels, bytes moved and peak memory of a piece of work, counted on meta tensors: they have shapes and no numbers.

As on CUDA: attention is one kernel that keeps what flash attention keeps, and autocast casts as CUDA's. Allocations are
rounded as torch's caching allocator rounds them; its cracks, cuDNN's workspaces and the CUDA context come on top (about a
fifth).
"""

from __future__ import annotations

import json
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from styles.bases.conditioning import Conditioning, reads_time_ids
from styles.bases.prediction import predict
from styles.quantization import autocast as own_layers
from styles.quantization.layers import layer_of, quantizable, quantized, replace_layer, statistics
from styles.quantization.quantization import PLAIN, QUANTIZATIONS, Quantization
from training.adapters import adapted
from training.plan import TrainingPlan

CONFIGS = Path(__file__).resolve().parents[2] / "styles" / "bases" / "files" / "configs"
META = torch.device("meta")
BLOCK_BYTES = 512
# What launches no kernel beside the views.
FREE_OPERATIONS = {
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "_unsafe_view",
    "detach",
    "lift_fresh",
}


class Counting(TorchDispatchMode):
    """Counts what happens to meta tensors in its block."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here

    def __init__(self, held: Sequence[Tensor] = ()) -> None:
        """`held` are tensors that lie on the device from the start."""
        super().__init__()
        self.kernels = 0
        self.moved_bytes = 0
        self.live_bytes = 0
        self.peak_bytes = 0
        self.operations: Counter[str] = Counter()
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        for tensor in held:
            self._note(tensor)

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._seen:
            return
        size = -(-storage.nbytes() // BLOCK_BYTES) * BLOCK_BYTES
        self._seen[storage] = size
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.live_bytes -= size

    def count(self, name: str, tensors: Sequence[Tensor]) -> None:
        """Count one kernel that reads or writes these tensors."""
        self.kernels += 1
        self.operations[name] += 1
        self.moved_bytes += sum(tensor.nbytes for tensor in tensors)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ == "gemm_4bit":
            from bitsandbytes.backends.default.ops import _gemm_4bit_default_impl

            # As CUDA does it with more than 1,536 rows: the whole layer is dequantised.
            with self:
                return _gemm_4bit_default_impl(*args, **(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        before, after = (
            [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.device == META]
            for tree in ((args, kwargs), out)
        )
        for tensor in (*before, *after):
            self._note(tensor)
        name = func.overloadpacket.__name__
        if (before or after) and not func.is_view and name not in FREE_OPERATIONS:
            self.count(name, (*before, *after))
        return out


class _FlashAttention(torch.autograd.Function):
    """One kernel that keeps queries, keys, values, its result and the softmax's logarithms for the way back."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = torch.empty((*query.shape[:-1], value.shape[-1]), dtype=query.dtype, device=META)
        logarithms = torch.empty(query.shape[:-1], dtype=torch.float32, device=META)
        ctx.save_for_backward(query, key, value, result, logarithms)
        _count("attention", [query, key, value, result])
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        query, key, value, result, logarithms = ctx.saved_tensors
        # Sums of the result times its gradient, and the three gradients.
        sums = torch.empty_like(logarithms)
        back = [torch.empty_like(tensor) for tensor in (query, key, value)]
        _count("attention backward", [query, key, value, result, *gradients, sums, *back])
        return tuple(back)


def _count(name: str, tensors: Sequence[Tensor]) -> None:
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    for mode in _get_current_dispatch_mode_stack():
        if isinstance(mode, Counting):
            mode.count(name, tensors)


@contextmanager
def as_on_cuda(autocast: torch.dtype | None = None) -> Iterator[None]:
    """Compute attention in one kernel, and cast as CUDA's autocast does to `autocast`, in the block."""
    casts: dict[int, Tensor] = {}

    def cast(value: Any, dtype: torch.dtype) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.dtype == dtype:
            return value
        if dtype == autocast and value.is_leaf and value.requires_grad:
            # Autocast casts a weight once for the whole block.
            if id(value) not in casts:
                casts[id(value)] = value.to(dtype)
            return casts[id(value)]
        return value.to(dtype)

    def casting(function: Callable[..., Tensor], dtype: torch.dtype) -> Callable[..., Tensor]:
        def call(*args: Any, **kwargs: Any) -> Tensor:
            if autocast is None:
                return function(*args, **kwargs)
            named = {name: cast(value, dtype) for name, value in kwargs.items()}
            return function(*(cast(value, dtype) for value in args), **named)

        return call

    def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        if autocast is not None:
            query, key, value = (cast(one, autocast) for one in (query, key, value))
        return _FlashAttention.apply(query, key, value)

    names = ("linear", "conv2d", "layer_norm", "group_norm", "scaled_dot_product_attention")
    before = {name: getattr(F, name) for name in names}
    half = autocast or torch.float32
    changed = {
        name: casting(before[name], half if name in ("linear", "conv2d") else torch.float32) for name in names
    }
    is_on = own_layers.is_on
    try:
        own_layers.is_on = lambda given: autocast is not None
        for name, function in (changed | {"scaled_dot_product_attention": attention}).items():
            setattr(F, name, function)
        yield
    finally:
        own_layers.is_on = is_on
        for name, function in before.items():
            setattr(F, name, function)


def unet_config(family: str) -> dict[str, Any]:
    """Return the config of a family's UNet: sd1, sd2, sdxl."""
    config: dict[str, Any] = json.loads((CONFIGS / family / "unet" / "config.json").read_text())
    return config


def meta_unet(config: dict[str, Any], dtype: torch.dtype) -> Any:
    """Return a UNet without numbers."""
    from diffusers import UNet2DConditionModel

    with META:
        unet = UNet2DConditionModel.from_config(config)
    return unet.to(dtype).eval().requires_grad_(False)


def quantize_meta(unet: Any, name: str) -> Any:
    """Put layers in four bits into a UNet without numbers; returns it."""
    way, dtype = QUANTIZATIONS[name], unet.dtype
    for path, layer in quantizable(unet, way).items():
        replace_layer(unet, path, _meta_layer(layer, way, dtype))
    return unet


def _meta_layer(layer: nn.Linear, way: Quantization, dtype: torch.dtype) -> nn.Module:
    groups = layer.weight.numel() // way.group
    if way.is_grouped:
        packed = {
            "weight": torch.empty(layer.out_features, layer.in_features // 2, dtype=torch.uint8, device=META)
        }
        shape = (layer.out_features, layer.in_features // way.group)
        packed |= {name: torch.empty(shape, dtype=torch.float16, device=META) for name in ("scale", "offset")}
        return layer_of(packed, layer.bias, layer, way, dtype)
    # A small one has all that there is, and only needs another size.
    small = quantized(torch.ones(1, way.group), way)
    made: Any = layer_of(small, layer.bias, layer, way, dtype)
    state = made.weight.quant_state
    state.to(META)
    state.shape = layer.weight.shape
    state.absmax = torch.empty(groups, dtype=state.absmax.dtype, device=META)
    if state.nested:
        state.state2.absmax = torch.empty(-(-groups // state.state2.blocksize), device=META)
    data = torch.empty(layer.weight.numel() // 2, 1, dtype=torch.uint8, device=META)
    made.weight = type(made.weight)(data, quant_state=state, bnb_quantized=True)
    return made


def meta_vae(family: str, dtype: torch.dtype) -> Any:
    """Return a family's VAE without numbers."""
    from diffusers import AutoencoderKL

    with META:
        vae = AutoencoderKL.from_config(json.loads((CONFIGS / family / "vae" / "config.json").read_text()))
    return vae.to(dtype).eval().requires_grad_(False)


def meta_inputs(
    unet: Any, batch: int, width_px: int, height_px: int, dtype: torch.dtype, rows: int = 1
) -> tuple[Tensor, Tensor, Conditioning]:
    """Return noisy latents of `batch` pictures, timesteps and the conditions of `rows` as many: 2 with guidance."""
    config, length = unet.config, batch * rows
    latents = torch.empty(batch, config.in_channels, height_px // 8, width_px // 8, dtype=dtype, device=META)
    states = torch.empty(length, 77, config.cross_attention_dim, dtype=dtype, device=META)
    if not reads_time_ids(unet):
        return latents, torch.empty((), dtype=torch.int64, device=META), Conditioning(states)
    width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    pooled = torch.empty(length, width, dtype=dtype, device=META)
    conditioning = Conditioning(states, pooled, torch.empty(length, 6, device=META))
    return latents, torch.empty((), dtype=torch.int64, device=META), conditioning


def count_training_step(
    config: dict[str, Any], plan: TrainingPlan, side_px: int, dtype: torch.dtype, quantize: str = PLAIN
) -> Counting:
    """Count a step of a plan's batch in squares of `side_px`, over a base in `dtype` that is under autocast.

    The peak is that of the whole step: the base's UNet, the layers in training with their gradients and optimizer
    states, and activations. Prepared latents and captions are left out.
    """
    unet = meta_unet(config, dtype)
    if quantize != PLAIN:
        quantize_meta(unet, quantize)
    if plan.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    with adapted(unet, plan) as weights:
        unet.train()
        states = [
            torch.empty_like(weight, requires_grad=False) for weight in weights.values() for _ in range(2)
        ]
        inputs, timestep, conditioning = meta_inputs(unet, plan.batch, side_px, side_px, dtype)
        target = torch.empty(inputs.shape, device=META)
        counted = Counting(
            [*unet.parameters(), *statistics(unet), *states, inputs, conditioning.states, target]
        )
        with counted, as_on_cuda(dtype if dtype != torch.float32 else None):
            (predict(unet, inputs, timestep, conditioning) - target).square().mean().backward()
    return counted


@torch.no_grad()
def count_painting_step(
    unet: Any, width_px: int, height_px: int, dtype: torch.dtype, *, pictures: int = 1, guided: bool = True
) -> Counting:
    """Count one call of a UNet on meta, as it is, for pictures of that size. The peak includes its weights."""
    inputs, timestep, conditioning = meta_inputs(
        unet, pictures, width_px, height_px, dtype, 2 if guided else 1
    )
    counted = Counting([*unet.parameters(), *statistics(unet), inputs, conditioning.states])
    with counted, as_on_cuda():
        predict(unet, inputs, timestep, conditioning, 7.0 if guided else None)
    return counted
