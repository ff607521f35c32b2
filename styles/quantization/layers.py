"""Linear layers in four bits: which layers of a UNet they take the place of, how they are made, and what they take."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from styles.quantization.grouped_linear import GroupedLinear, packed
from styles.quantization.quantization import Quantization

if TYPE_CHECKING:
    from bitsandbytes.nn import Linear4bit

OWN_VERSION = "2"  # of the numbers that `qa4` comes to


def version_of(quantization: Quantization) -> str:
    """Return the version of what quantises, as it stands in the name of a file that was made by it."""
    if quantization.method == "qa4":
        return OWN_VERSION
    return f"bitsandbytes-{importlib.metadata.version('bitsandbytes')}"


def quantizable(unet: nn.Module, quantization: Quantization) -> dict[str, nn.Linear]:
    """Return the linear layers of a UNet that are kept in four bits, by their paths."""
    return {
        path: layer
        for path, layer in unet.named_modules()
        if type(layer) is nn.Linear and quantization.divides(layer.in_features)
    }


def quantized(weight: Tensor, quantization: Quantization) -> dict[str, Tensor]:
    """Return weights (out, in) in four bits, as the tensors by which they are kept; computed on their device."""
    if quantization.method == "qa4":
        return dict(zip(("weight", "scale", "offset"), packed(weight, quantization.group), strict=True))
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
    if quantization.method == "qa4":
        return GroupedLinear(tensors["weight"], tensors["scale"], tensors["offset"], bias, dtype)
    from bitsandbytes.nn import Linear4bit, Params4bit

    with torch.device("meta"):
        layer: Linear4bit = Linear4bit(
            plain.in_features,
            plain.out_features,
            bias=False,
            compute_dtype=dtype,
            compress_statistics=quantization.double,
            quant_type=quantization.method,
        )
    stats = {name: tensor for name, tensor in tensors.items() if name != "weight"}
    layer.weight = Params4bit.from_prequantized(tensors["weight"], stats, device="cpu", module=layer)
    # What it is dequantised to; as it was kept it would be rounded twice.
    layer.weight.quant_state.dtype = dtype
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias.to(dtype), False))
    # Else some processors pack the weights in another way when they are first used, in place.
    layer.support_avx512bf16_for_cpu = False
    return layer


def replace_layer(model: nn.Module, path: str, layer: nn.Module) -> None:
    """Put a layer in the place of the one at a path."""
    above, _, name = path.rpartition(".")
    setattr(model.get_submodule(above), name, layer)


def statistics_bytes(model: nn.Module) -> int:
    """Return how many bytes the scales of a model's layers in four bits take, which are no parameters."""
    return sum(_statistics_bytes(module) for module in model.modules())


def _statistics_bytes(module: Any) -> int:
    if isinstance(module, GroupedLinear):
        return module.scale.nbytes + module.offset.nbytes
    state = getattr(getattr(module, "weight", None), "quant_state", None)
    if state is None:
        return 0
    return sum(value.nbytes for value in state.as_dict(packed=True).values())
