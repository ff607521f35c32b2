"""A UNet whose linear layers are in four bits, loaded without ever holding the whole of it as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from styles.bases.files.inspection import BaseFacts
from styles.bases.files.loading import unet_tensors
from styles.bases.files.merged_base import MERGE_ANEW, is_packed
from styles.bases.files.part_loading import FETCH_AGAIN, check_loaded
from styles.quantization.layers import layer_of, quantizable, replace_layer
from styles.quantization.quantization import GROUPED_TENSORS, Quantization
from styles.quantization.weight_cache import Weights, cache_file, cached_weights
from styles.storage.home import Home
from styles.text import Text


def load_quantized_unet(
    facts: BaseFacts,
    quantization: Quantization,
    dtype: torch.dtype | None,
    home: Home,
    fingerprint: str,
    look: Callable[[float], None],
) -> Any:
    """Return the UNet of a base with its linear layers quantised, on the CPU; all else has that precision.

    Quantised from the numbers in its files, whatever the precision is; None leaves that as it is in the files. A merged
    base holds its layers in four bits. `look` is told the share that is quantised, 0..1, before each layer. Raises
    BaseError, and what the libraries raise.
    """
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(facts.unet_config)
    plain = quantizable(unet, quantization)
    tensors = unet_tensors(facts)
    if facts.merged is None:
        _check_tensors(unet, tensors, _shapes_of(unet), facts.path.name, FETCH_AGAIN)
        weights = _quantized(facts, plain, tensors, quantization, home, fingerprint, look)
    else:
        shapes = _merged_shapes(unet, plain, quantization)
        _check_tensors(unet, tensors, shapes, facts.path.name, MERGE_ANEW)
        weights = {path: {name: tensors[f"{path}.{name}"] for name in GROUPED_TENSORS} for path in plain}
    in_four_bits = {f"{path}.{name}" for path in plain for name in GROUPED_TENSORS}
    rest = {name: tensor for name, tensor in tensors.items() if name not in in_four_bits}
    unet.load_state_dict(rest, strict=False, assign=True)
    if dtype is not None:
        unet.to(dtype)
    for path, layer in plain.items():
        computed_in = dtype or (torch.float32 if layer.bias is None else layer.bias.dtype)
        replace_layer(unet, path, layer_of(weights[path], layer.bias, layer, quantization, computed_in))
    return unet


def _quantized(
    facts: BaseFacts,
    plain: Mapping[str, nn.Linear],
    tensors: Mapping[str, Tensor],
    quantization: Quantization,
    home: Home,
    fingerprint: str,
    look: Callable[[float], None],
) -> Weights:
    return cached_weights(
        cache_file(home, fingerprint, quantization),
        fingerprint,
        {path: (layer.out_features, layer.in_features) for path, layer in plain.items()},
        lambda path: tensors[f"{path}.weight"],
        quantization,
        look,
    )


def _shapes_of(unet: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in unet.named_parameters()}


def _merged_shapes(
    unet: Any, plain: Mapping[str, nn.Linear], quantization: Quantization
) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors in the file of a merged base."""
    shapes = _shapes_of(unet)
    for path, layer in plain.items():
        groups = layer.in_features // quantization.group
        shapes[f"{path}.weight"] = (layer.out_features, layer.in_features // 2)
        shapes[f"{path}.scale"] = shapes[f"{path}.offset"] = (layer.out_features, groups)
    return shapes


def _check_tensors(
    unet: Any, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], name: str, hint: Text
) -> None:
    """Raise BaseError where a tensor is missing, of another shape, or not of the numbers that it should be of."""
    wrong = [
        key
        for key, shape in shapes.items()
        if key not in tensors or tensors[key].shape != shape or not _is_of_kind(key, tensors[key], shapes)
    ]
    check_loaded(unet, {"missing_keys": [_weight_of(key) for key in wrong]}, name, "unet", hint)


def _is_of_kind(key: str, tensor: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    if is_packed(key, shapes):
        return tensor.dtype == torch.uint8
    if is_packed(_weight_of(key), shapes) and not tensor.isfinite().all():
        return False
    return tensor.dtype.is_floating_point


def _weight_of(key: str) -> str:
    """The weight that a group's number belongs to, which is no parameter itself."""
    path, _, name = key.rpartition(".")
    return f"{path}.weight" if name in GROUPED_TENSORS else key
