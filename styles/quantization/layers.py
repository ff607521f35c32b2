"""Linear layers in four bits: which layers of a UNet they take the place of, how they are made, and what they take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from styles.quantization.grouped_linear import GroupedLinear, packed
from styles.quantization.quantization import GROUPED_TENSORS, Quantization, stored_bytes


def quantizable(unet: nn.Module, quantization: Quantization) -> dict[str, nn.Linear]:
    """Return the linear layers of a UNet that are kept in four bits, by their paths."""
    return {
        path: layer
        for path, layer in unet.named_modules()
        if type(layer) is nn.Linear and quantization.divides(layer.in_features)
    }


def quantized(weight: Tensor, quantization: Quantization) -> dict[str, Tensor]:
    """Return weights (out, in) in four bits, as the tensors by which they are kept; computed on their device."""
    if quantization.is_grouped:
        return dict(zip(GROUPED_TENSORS, packed(weight, quantization.group), strict=True))
    from bitsandbytes.functional import quantize_4bit

    data, state = quantize_4bit(
        weight.contiguous(),
        blocksize=quantization.group,
        compress_statistics=quantization.double,
        quant_type=quantization.method,
    )
    return {"weight": data, **state.as_dict(packed=True)}


def layer_of(
    tensors: Mapping[str, Tensor],
    bias: Tensor | None,
    plain: nn.Linear,
    quantization: Quantization,
    dtype: torch.dtype,
) -> nn.Module:
    """Return the layer that takes the place of `plain`, from what `quantized` returned; it computes in `dtype`."""
    if quantization.is_grouped:
        return GroupedLinear(tensors["weight"], tensors["scale"], tensors["offset"], bias, dtype)
    from styles.quantization.frozen_linear import frozen_linear

    return frozen_linear(tensors, bias, plain, quantization, dtype)


def replace_layer(model: nn.Module, path: str, layer: nn.Module) -> None:
    """Put a layer in the place of the one at a path."""
    above, _, name = path.rpartition(".")
    setattr(model.get_submodule(above), name, layer)


def statistics(model: nn.Module) -> Iterator[Tensor]:
    """Yield the scales of a model's layers in four bits, which are no parameters."""
    for module in model.modules():
        if isinstance(module, GroupedLinear):
            yield from (module.scale, module.offset)
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            yield from (state.absmax, state.code)
            if state.nested:
                yield from (state.offset, state.state2.absmax, state.state2.code)


def saved_bytes(model: nn.Module, quantization: Quantization) -> int:
    """Return how many bytes less the weights of a model that is kept as it is take in four bits."""
    weights = dict(model.named_parameters())
    shapes = {name: weight.shape for name, weight in weights.items()}
    bytes_each = next(iter(weights.values())).itemsize
    return stored_bytes(shapes, None, bytes_each) - stored_bytes(shapes, quantization, bytes_each)
