"""A UNet whose linear layers are in four bits, loaded without ever holding the whole of it as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from styles.bases.inspection import BaseFacts
from styles.bases.loading import unet_tensors
from styles.bases.parts import check_loaded
from styles.quantization.kept_weights import kept_file, kept_weights
from styles.quantization.layers import layer_of, quantizable, replace_layer
from styles.quantization.quantization import Quantization
from styles.storage.home import Home


def load_quantized_unet(
    facts: BaseFacts,
    quantization: Quantization,
    dtype: torch.dtype,
    home: Home,
    fingerprint: str,
    look: Callable[[], None],
) -> Any:
    """Return the UNet of a base with its linear layers quantised, on the CPU; all else has that precision.

    Quantised from the numbers in its files, whatever the precision is. `look` is called before each layer that is.
    Raises BaseError, and what the libraries raise.
    """
    from diffusers import UNet2DConditionModel

    tensors = unet_tensors(facts)
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(facts.unet_config)
    plain = quantizable(unet, quantization)
    _check_shapes(unet, tensors, facts.path.name)
    weights = kept_weights(
        kept_file(home, fingerprint, quantization),
        fingerprint,
        {path: (layer.out_features, layer.in_features) for path, layer in plain.items()},
        lambda path: tensors[f"{path}.weight"],
        quantization,
        look,
    )
    quantised = {f"{path}.weight" for path in plain}
    rest = {name: tensor for name, tensor in tensors.items() if name not in quantised}
    unet.load_state_dict(rest, strict=False, assign=True)
    unet.to(dtype)
    for path, layer in plain.items():
        replace_layer(unet, path, layer_of(weights[path], layer.bias, layer, quantization, dtype))
    return unet


def _check_shapes(unet: Any, tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise BaseError where a tensor is missing or of another shape; the model is on no device yet."""
    wrong = [
        key
        for key, value in unet.named_parameters()
        if key not in tensors or tensors[key].shape != value.shape
    ]
    check_loaded(unet, {"missing_keys": wrong}, name, "unet")
