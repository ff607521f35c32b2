"""bitsandbytes' linear layer in four bits (QLoRA, arXiv 2305.14314), as a base keeps it; needs bitsandbytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from bitsandbytes import matmul_4bit
from bitsandbytes.nn import Linear4bit, Params4bit
from bitsandbytes.nn.modules import fix_4bit_weight_quant_state_from_module
from torch import Tensor, nn

from styles.quantization.autocast import in_dtype_of
from styles.quantization.quantization import Quantization


class FrozenLinear4bit(Linear4bit):
    """A `Linear4bit` whose forward pass changes nothing of it.

    bitsandbytes' own writes another bias where the input has another precision, and on some processors packs the weights
    in another way when it is first used, in place: a base would not stay bit-identical.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return `W x + b`, (..., out), in the input's dtype; under autocast as any linear layer in what is computed in."""
        fix_4bit_weight_quant_state_from_module(self)
        weight: Any = self.weight
        result: Tensor = matmul_4bit(x.to(self.compute_dtype), weight, weight.quant_state, bias=self.bias)
        return in_dtype_of(x, result)


def frozen_linear(
    tensors: Mapping[str, Tensor],
    bias: Tensor | None,
    plain: nn.Linear,
    quantization: Quantization,
    dtype: torch.dtype,
) -> FrozenLinear4bit:
    """Return the layer that takes the place of `plain`, from its tensors in four bits; it computes in `dtype`."""
    with torch.device("meta"):
        layer = FrozenLinear4bit(
            plain.in_features,
            plain.out_features,
            bias=False,
            compute_dtype=dtype,
            compress_statistics=quantization.double,
            quant_type=quantization.method,
        )
    stats: dict[str, Any] = {name: tensor for name, tensor in tensors.items() if name != "weight"}
    layer.weight = Params4bit.from_prequantized(tensors["weight"], stats, device="cpu", module=layer)
    # Else the two hold each other, and their memory until it is looked for.
    layer.weight.module = None
    # What it is dequantised to; as it was kept it would be rounded twice.
    layer.weight.quant_state.dtype = dtype
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias.to(dtype), False))
    return layer
