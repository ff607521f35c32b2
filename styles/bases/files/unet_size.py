"""How many bytes a base's UNet takes in each way of keeping it, counted from the headers of its files."""

from __future__ import annotations

import math

from styles.bases.files.inspection import BaseFacts
from styles.bases.files.weight_files import read_header
from styles.quantization.quantization import quantization_of


def unet_bytes(facts: BaseFacts, quantize: str, bytes_each: int) -> int:
    """Return the bytes of a UNet's weights kept that way; each weight that stays as it is takes `bytes_each`.

    Raises BaseError for a damaged file, SettingsError for a way that there is not.
    """
    quantization = quantization_of(quantize)
    total = 0.0
    for file in facts.unet_files:
        for name, entry in read_header(file)[0].items():
            if not name.startswith(facts.unet_prefix):
                continue
            shape = entry["shape"]
            # A table is a linear layer's; norms have a list, convolutions more.
            is_linear = name.endswith(".weight") and len(shape) == 2
            small = quantization is not None and is_linear and quantization.divides(shape[1])
            total += math.prod(shape) * (quantization.bits / 8 if quantization and small else bytes_each)
    return round(total)
