"""Small style files in every way of writing that there is, as parts that a fuzz test can change."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIZES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I8": 1, "U8": 1, "BOOL": 1, "I64": 8, "F8_E4M3": 1}
KINDS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}


@dataclass
class Piece:
    """One tensor: its dtype by its name in a header, its shape and its bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass
class Draft:
    """A style before it is a file; with a `config` it is a PEFT folder."""

    kind: str
    tensors: dict[str, Piece]
    metadata: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] | None = None

    def header(self) -> dict[str, Any]:
        """Return the header as a plain dict, offsets in the order of the tensors."""
        header: dict[str, Any] = {"__metadata__": dict(self.metadata)} if self.metadata else {}
        position = 0
        for key, piece in self.tensors.items():
            end = position + len(piece.data)
            header[key] = {"dtype": piece.dtype, "shape": list(piece.shape), "data_offsets": [position, end]}
            position = end
        return header

    def section(self) -> bytes:
        return b"".join(piece.data for piece in self.tensors.values())


def file_of(header: str | bytes, section: bytes) -> bytes:
    """Return the file of a header's JSON and the bytes of its tensors."""
    text = header.encode("utf-8", "surrogatepass") if isinstance(header, str) else header
    return len(text).to_bytes(8, "little") + text + section


def piece(*shape: int, dtype: str = "F16", value: float | None = None) -> Piece:
    """A tensor of small numbers, all different, or of one value; zero bytes where the dtype holds no fractions."""
    count = int(np.prod(shape)) if shape else 1
    numbers = np.resize(np.linspace(-0.5, 0.5, 97), count) if value is None else np.full(count, value)
    with np.errstate(over="ignore"):  # 1e300 is infinite in half precision
        if dtype in KINDS:
            data = numbers.astype(KINDS[dtype]).tobytes()
        elif dtype == "BF16":
            data = (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        else:
            data = bytes(count * SIZES[dtype])
    return Piece(dtype, shape, data)


BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
SD1 = {  # path: (in, out), in the UNet of Stable Diffusion 1
    f"{BLOCK}.attn2.to_k": (768, 320),
    f"{BLOCK}.attn2.to_v": (768, 320),
    f"{BLOCK}.attn1.to_out.0": (320, 320),
}
STARTER = {f"{BLOCK}.attn2.to_k": (256, 64), f"{BLOCK}.attn2.to_q": (64, 64)}
SDXL_SGM = {  # kohya's SGM names
    "input_blocks_4_1_transformer_blocks_0_attn2_to_k": (2048, 640),
    "input_blocks_4_1_transformer_blocks_0_attn2_to_q": (640, 640),
}
TEXT = {"text_model.encoder.layers.0.self_attn.q_proj": (768, 768)}
CONV = ("down_blocks.0.resnets.0.conv1", 320, 320)


def seeds() -> list[Draft]:
    """Return a draft in each way of writing; all are styles that open."""
    return [
        own(),
        Draft("kohya", _kohya("lora_unet_", SD1) | _kohya("lora_te_", TEXT), FOREIGN),
        Draft("kohya starter", _kohya("lora_unet_", STARTER, dtype="F32")),
        Draft(
            "kohya sgm",
            _kohya("lora_unet_", SDXL_SGM, dtype="BF16") | _words("bundle_emb.ink."),
            {"ss_base_model_version": "sdxl_base_v1-0"},
        ),
        Draft("word for two encoders", _words(""), {"atelier_word": "<ink>"}),
        Draft("diffusers", _pairs("unet.", SD1, ".lora.down.weight", ".lora.up.weight")),
        Draft("diffusers with alpha", _peft("unet.", SD1) | _peft("text_encoder.", TEXT), ADAPTER),
        oldest(),
        Draft("locon", _locon(mid=False)),
        Draft("locon mid", _locon(mid=True)),
        Draft("loha", _loha(), {"ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "loha"}'}),
        Draft("loha mid", _loha_conv()),
        Draft("lokr", _lokr(), {"ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "lokr"}'}),
        numbered_text(),
        Draft("peft folder", _peft("base_model.model.", SD1), config=dict(CONFIG)),
    ]


def own() -> Draft:
    """A file as Atelier writes it, with all that a card can say."""
    import torch
    from PIL import Image

    from styles.formats.bake_record import BakeRecord, Parent
    from styles.formats.style import Style, StyleCard, StyleLayer
    from styles.formats.thumbnail import thumbnail_jpeg
    from styles.formats.writer import style_bytes

    noise = Image.frombytes("RGB", (16, 16), bytes(range(256)) * 3).resize((256, 256))
    bake = BakeRecord("svd", 0.1, ((f"unet.{BLOCK}.attn2.to_k", 0.1),), (Parent("one", "ab" * 32, 0.5),))
    training: dict[str, str | int | float] = {"steps": 200, "learning_rate": 1e-3, "preset": "balanced"}
    card = StyleCard(
        "Ink",
        "starter",
        2,
        trigger="inkwash",
        author="Ana",
        licence="CC-BY-4.0",
        tags=("ink", "wash"),
        training=training,
        bake=bake,
        thumbnail=thumbnail_jpeg(noise),
    )
    layers = [
        StyleLayer("unet", path, torch.full((2, into), 0.1), torch.full((out, 2), 0.2), 2.0)
        for path, (into, out) in STARTER.items()
    ]
    data = style_bytes(Style(card, tuple(layers)))
    start = 8 + int.from_bytes(data[:8], "little")
    header, section = json.loads(data[8:start]), data[start:]
    metadata = header.pop("__metadata__")
    tensors = {
        key: Piece(entry["dtype"], tuple(entry["shape"]), section[slice(*entry["data_offsets"])])
        for key, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    }
    return Draft("own", tensors, metadata)


def oldest() -> Draft:
    """What diffusers wrote at first."""
    tensors = {}
    for module, (into, out) in {"to_k": (768, 320), "to_out": (320, 320)}.items():
        stem = f"{BLOCK}.attn2.processor.{module}_lora"
        tensors |= {f"{stem}.down.weight": piece(2, into), f"{stem}.up.weight": piece(out, 2)}
    return Draft("oldest diffusers", tensors)


def numbered_text() -> Draft:
    """A numbered file of a text encoder, with a word of its own."""
    tensors = {"<s1>": piece(768, dtype="F32")}
    for number in range(4):
        tensors[f"text_encoder:{number}:up"] = piece(768, 1)
        tensors[f"text_encoder:{number}:down"] = piece(1, 768)
    metadata = {"text_encoder": '["CLIPAttention"]', "<s1>": "<embed>"}
    metadata |= {f"text_encoder:{number}:rank": "1" for number in range(4)}
    return Draft("numbered text", tensors, metadata)


def numbered_unet() -> Draft:
    """A numbered file of a whole UNet; large, as all of its 144 layers have to be there."""
    from styles.formats.cloneofsimo import unet_walk

    widths = {"c0": 320, "c1": 640, "c2": 1280, "words": 768}
    tensors = {}
    for number, place in enumerate(unet_walk({"attention", "geglu"})):
        into, out = (sum(widths[part] for part in parts) for parts in (place.into, place.out))
        tensors |= {f"unet:{number}:up": piece(out, 1), f"unet:{number}:down": piece(1, into)}
    return Draft("numbered unet", tensors, {"unet": '["CrossAttention", "Attention", "GEGLU"]'})


def jpeg(width: int = 64, height: int = 64) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(out, "JPEG", comment=b"hello")
    return out.getvalue()


FOREIGN = {
    "ss_output_name": "theirs",
    "ss_base_model_version": "sd_v1",
    "ss_sd_model_name": "C:\\models\\v1-5.safetensors",
    "ss_network_dim": "2",
    "ss_network_alpha": "1.0",
    "ss_unet_lr": "0.0001",
    "ss_max_train_steps": "1600",
    "ss_num_train_images": "12",
    "ss_tag_frequency": json.dumps({"10_ink": {"inkwash": 12, "a cat": 3}}),
    "modelspec.title": "theirs",
    "modelspec.tags": "ink, wash",
}
CONFIG = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 4,
    "use_rslora": False,
    "use_dora": False,
    "alpha_pattern": {"attn1.to_out.0": 1},
    "rank_pattern": {"attn1.to_out.0": 2},
    "target_modules": ["to_k", "to_v", "to_out.0"],
    "bias": "none",
    "base_model_name_or_path": "some/base",
}
ADAPTER = {
    "lora_adapter_metadata": json.dumps(
        {
            f"{root}.{key}": CONFIG[key]
            for root in ("unet", "text_encoder")
            for key in ("r", "lora_alpha", "alpha_pattern")
        }
    )
}


def _kohya(prefix: str, layers: dict[str, tuple[int, int]], dtype: str = "F16") -> dict[str, Piece]:
    tensors = {}
    for path, (into, out) in layers.items():
        name = prefix + path.replace(".", "_")
        tensors[f"{name}.lora_down.weight"] = piece(2, into, dtype=dtype)
        tensors[f"{name}.lora_up.weight"] = piece(out, 2, dtype=dtype)
        tensors[f"{name}.alpha"] = piece(dtype=dtype, value=1.0)
    return tensors


def _words(prefix: str) -> dict[str, Piece]:
    """Rows of one word for the two text encoders of Stable Diffusion XL."""
    return {f"{prefix}clip_g": piece(2, 1280), f"{prefix}clip_l": piece(2, 768)}


def _pairs(prefix: str, layers: dict[str, tuple[int, int]], down: str, up: str) -> dict[str, Piece]:
    tensors = {}
    for path, (into, out) in layers.items():
        tensors |= {f"{prefix}{path}{down}": piece(2, into), f"{prefix}{path}{up}": piece(out, 2)}
    return tensors


def _peft(prefix: str, layers: dict[str, tuple[int, int]]) -> dict[str, Piece]:
    return _pairs(prefix, layers, ".lora_A.weight", ".lora_B.weight")


def _locon(mid: bool) -> dict[str, Piece]:
    path, into, out = CONV
    name = "lora_unet_" + path.replace(".", "_")
    tensors = {
        f"{name}.alpha": piece(value=1.0),
        f"{name}.lora_down.weight": piece(2, into, *((1, 1) if mid else (3, 3))),
        f"{name}.lora_up.weight": piece(out, 2, 1, 1),
    }
    if mid:
        tensors[f"{name}.lora_mid.weight"] = piece(2, 2, 3, 3)
    return tensors | _kohya("lora_unet_", SD1)


def _loha() -> dict[str, Piece]:
    tensors = {}
    for path, (into, out) in SD1.items():
        name = "lora_unet_" + path.replace(".", "_")
        tensors[f"{name}.alpha"] = piece(value=1.0)
        for number in (1, 2):
            tensors[f"{name}.hada_w{number}_a"] = piece(out, 2)
            tensors[f"{name}.hada_w{number}_b"] = piece(2, into)
    return tensors


def _loha_conv() -> dict[str, Piece]:
    path, into, out = CONV
    name = "lora_unet_" + path.replace(".", "_")
    tensors = {f"{name}.alpha": piece(value=1.0)}
    for number in (1, 2):
        tensors[f"{name}.hada_t{number}"] = piece(2, 2, 3, 3)
        tensors[f"{name}.hada_w{number}_a"] = piece(2, out)
        tensors[f"{name}.hada_w{number}_b"] = piece(2, into)
    return tensors


def _lokr() -> dict[str, Piece]:
    tensors = {}
    for path, (into, out) in STARTER.items():
        name = "lora_unet_" + path.replace(".", "_")
        tensors[f"{name}.alpha"] = piece(value=1.0)
        tensors[f"{name}.lokr_w1"] = piece(8, 8)
        tensors[f"{name}.lokr_w2_a"] = piece(out // 8, 2)
        tensors[f"{name}.lokr_w2_b"] = piece(2, into // 8)
    return tensors
