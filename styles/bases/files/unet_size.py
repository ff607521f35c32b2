"""How many bytes a base's UNet takes as it is and in four bits, counted from the headers of its files."""

from __future__ import annotations

from styles.bases.files.inspection import BaseFacts
from styles.bases.files.weight_files import read_header
from styles.quantization.quantization import quantization_of, stored_bytes


def unet_bytes(facts: BaseFacts, quantize: str, bytes_each: int) -> int:
    """Return the bytes of a UNet's weights in that quantization; each weight that stays as it is takes `bytes_each`.

    Raises BaseError for a damaged file, SettingsError for a quantization that there is not.
    """
    shapes = {
        name: entry["shape"]
        for file in facts.unet_files
        for name, entry in read_header(file)[0].items()
        if name.startswith(facts.unet_prefix)
    }
    return stored_bytes(shapes, quantization_of(quantize), bytes_each)
