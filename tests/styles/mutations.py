"""Ways to spoil a style file, from its tensors down to single bits; all chance comes from the generator given."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

from tests.styles.seed_files import SIZES, Draft, Piece, file_of, jpeg, piece

DEEP = [f"{'[' * n}{']' * n}" for n in (3, 60, 900, 990, 5000)] + [
    '{"a":' * 950 + "1" + "}" * 950,
    "[" * 3000,
]
HUGE = ["9" * 400, "-" + "9" * 400, "9" * 5000, "1e999", "-1e999", "NaN", "Infinity", "1" * 300 + ".5", "-0"]
TEXTS = [
    "",
    "../../../etc/passwd",
    "..\\..\\con",
    "/etc/passwd",
    "a\0b",
    "<img src=x onerror=alert(1)>",
    "\u202egnp.exe",
    "\ud800",
    "\udc80x",
    "😀" * 50,
    "x" * 5000,
    "\x1b[31m\x07",
    "{}",
    "[",
    "null",
    "-1",
    "0",
    "inf",
    "%s%n{0}{name}",
    "\n\r\t \u2028",
    "__metadata__",
    "é" * 10 + "\u0301" * 300,
    "0x" + "f" * 64,
    "e" * 64,
    *HUGE,
    *DEEP,
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    1.5,
    2**31,
    2**63,
    2**64,
    10**30,
    [],
    {},
    [[]],
    {"a": {}},
]
VALUES += [[0], [-1], [1.0], [True], [2**40, 2**40], [0, 0], "F16", "F99", "x", [None], {"dtype": "F16"}]
METADATA = [
    "modelspec.title",
    "modelspec.author",
    "modelspec.description",
    "modelspec.license",
    "modelspec.date",
    "modelspec.architecture",
    "modelspec.trigger_phrase",
    "modelspec.tags",
    "modelspec.merged_from",
    "modelspec.thumbnail",
    "modelspec.hash_sha256",
    "modelspec.prediction_type",
    "sshs_model_hash",
    "ss_output_name",
    "ss_base_model_version",
    "ss_sd_model_name",
    "ss_network_dim",
    "ss_network_alpha",
    "ss_network_args",
    "ss_network_module",
    "ss_num_train_images",
    "ss_num_epochs",
    "ss_seed",
    "ss_unet_lr",
    "ss_max_train_steps",
    "ss_tag_frequency",
    "ss_dataset_dirs",
    "lora_adapter_metadata",
    "atelier_card",
    "unet",
    "text_encoder",
    "<s1>",
]
ENDS = [
    ".alpha",
    ".lora_down.weight",
    ".lora_up.weight",
    ".lora_mid.weight",
    ".lora_A.weight",
    ".lora_B.weight",
    ".lora.down.weight",
    ".dora_scale",
    ".hada_w1_a",
    ".hada_w2_b",
    ".hada_t1",
    ".lokr_w1",
    ".lokr_w2",
    ".lokr_t2",
    ".lokr_w1_a",
    ".diff",
    ".bias",
    ".oft_blocks",
    ":up",
    ":down",
]
STRANGE_KEYS = [
    "<s1>",
    "<s2>",
    "<>",
    "emb_params",
    "string_to_param.*",
    "unet:0:up",
    "unet:999999999999:down",
    "text_encoder:0:down",
    "text_encoder:-1:up",
    "unet:\u0661:up",
    "lora_unet_",
    "lora_te_text_model_encoder_layers_99999999999999999999_self_attn_q_proj.lora_up.weight",
    "lora_unet_output_blocks_99_9_transformer_blocks_0_attn2_to_k.lora_down.weight",
    "lora_unet_middle_block_7_in_layers_2.lora_down.weight",
    "model.diffusion_model.input_blocks.0.0.weight",
    "base_model.model..lora_A.weight",
    "unet..lora_A.weight",
]
SHAPES = [
    (),
    (0,),
    (1,),
    (2,),
    (1, 1),
    (0, 768),
    (2, 0),
    (1, 1, 1, 1),
    (2, 2, 2, 2, 2),
    (1, 768, 1),
    (65535,),
]
SHAPES += [(768, 1), (300, 300), (1, 60000), (60000, 1), (4, 4, 100, 100), (2, 768, 3, 3), (768, 768)]
NUMBERS = [0.0, -0.0, -1.0, 1e-7, 6e-8, 65504.0, 7e4, 1e30, -1e30, 1e38, 1e300, math.nan, math.inf, -math.inf]


def spoiled(rng: Random, draft: Draft) -> tuple[bytes, str | None, list[str]]:
    """Return (file, PEFT settings or None, what was done) of a draft that was spoiled in one to four ways."""
    draft = copy.copy(draft)
    draft.tensors, draft.metadata = dict(draft.tensors), dict(draft.metadata)
    done: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(CHANGES)
        done.append(change.__name__)
        change(rng, draft)
    raw: dict[str, str] = {}
    header = draft.header()
    if rng.random() < 0.3:
        done.append("header")
        header = spoil_entry(rng, header, raw) if rng.random() < 0.7 else spoil_json(rng, header, raw)
    text = dumped(header, raw, rng)
    if rng.random() < 0.05:
        done.append("twice")
        text = _with_repeat(rng, text)
    if rng.random() < 0.03:
        done.append("blanks")
        text = rng.choice((" ", "\n", "\ufeff", "", "\0")) + text + rng.choice((" " * 7, "\0", "\n", "}", ""))
    data = file_of(text, draft.section())
    if rng.random() < 0.15:
        done.append("bytes")
        data = spoil_bytes(rng, data)
    config = None
    if draft.config is not None:
        config = dumped(draft.config, {}, rng)
        if rng.random() < 0.5:
            done.append("config")
            raw = {}
            config = dumped(spoil_json(rng, draft.config, raw), raw, rng)
            if rng.random() < 0.2:
                config = spoil_text(rng, config)
    return data, config, done


def drop_tensor(rng: Random, draft: Draft) -> None:
    if len(draft.tensors) > 1:
        del draft.tensors[rng.choice(list(draft.tensors))]


def add_tensor(rng: Random, draft: Draft) -> None:
    stem = _stem(rng.choice(list(draft.tensors)))
    key = rng.choice(STRANGE_KEYS) if rng.random() < 0.4 else stem + rng.choice(ENDS)
    draft.tensors[key] = _any_piece(rng)


def rename_tensor(rng: Random, draft: Draft) -> None:
    keys = list(draft.tensors)
    old = rng.choice(keys)
    way = rng.randrange(6)
    if way == 0:
        new = rng.choice(TEXTS)
    elif way == 1:
        new = _stem(old) + rng.choice(ENDS)
    elif way == 2:
        new = rng.choice(TEXTS)[:300] + old
    elif way == 3:
        new = old.replace(
            rng.choice("0123_.:k"), rng.choice(["9", "", "__", "..", "/", "\0", "99999999", "¹"]), 1
        )
    elif way == 4:
        new = spoil_text(rng, old)
    else:
        other = rng.choice(keys)
        draft.tensors[old], draft.tensors[other] = draft.tensors[other], draft.tensors[old]
        return
    draft.tensors = {new if key == old else key: value for key, value in draft.tensors.items()}


def reshape_tensor(rng: Random, draft: Draft) -> None:
    key = rng.choice(list(draft.tensors))
    before = draft.tensors[key]
    if rng.random() < 0.5 and before.shape:
        sides = list(before.shape)
        if rng.random() < 0.4:
            sides.reverse()
        else:
            sides[rng.randrange(len(sides))] = rng.choice((0, 1, 2, 3, 5, 8, 64, 300))
        shape = tuple(sides)
    else:
        shape = rng.choice(SHAPES)
    if math.prod(shape) <= 1 << 20:
        draft.tensors[key] = piece(*shape, dtype=before.dtype)


def widen_rank(rng: Random, draft: Draft) -> None:
    """Give all tensors of a layer another inner size that fits, or another outer one."""
    old = rng.choice((1, 2, 8))
    new = rng.choice((1, 3, 40, 64, 100, 200, 400))
    for key, before in draft.tensors.items():
        shape = tuple(new if side == old else side for side in before.shape)
        if shape != before.shape and math.prod(shape) <= 1 << 17:
            draft.tensors[key] = piece(*shape, dtype=before.dtype)


def retype_tensor(rng: Random, draft: Draft) -> None:
    dtype = rng.choice(list(SIZES))
    for key, before in draft.tensors.items():
        if rng.random() < 0.5:
            draft.tensors[key] = piece(*before.shape, dtype=dtype)


def hostile_numbers(rng: Random, draft: Draft) -> None:
    value = rng.choice(NUMBERS)
    keys = list(draft.tensors)
    if rng.random() < 0.4:
        keys = [key for key in keys if key.endswith(".alpha")] or keys
    chosen = keys if rng.random() < 0.2 else [rng.choice(keys)]
    for key in chosen:
        before = draft.tensors[key]
        dtype = rng.choice(("F16", "BF16", "F32", "F64", before.dtype))
        draft.tensors[key] = piece(*before.shape, dtype=dtype, value=value)


def odd_alpha(rng: Random, draft: Draft) -> None:
    key = _stem(rng.choice(list(draft.tensors))) + ".alpha"
    shape = rng.choice([(), (1,), (1, 1), (2,), (0,), (1, 1, 1, 1)])
    draft.tensors[key] = piece(
        *shape, dtype=rng.choice(("F16", "F32", "F64", "I64")), value=rng.choice(NUMBERS)
    )


def hostile_text(rng: Random, draft: Draft) -> None:
    for _ in range(rng.randint(1, 3)):
        draft.metadata[rng.choice(METADATA)] = rng.choice(TEXTS)


def metadata_that_is_no_text(rng: Random, draft: Draft) -> None:
    draft.metadata[rng.choice(METADATA)] = rng.choice(VALUES)


def hostile_key_of_metadata(rng: Random, draft: Draft) -> None:
    draft.metadata[rng.choice(["", "ss_", "modelspec.", "atelier_"]) + rng.choice(TEXTS)] = rng.choice(TEXTS)


def hostile_json(rng: Random, draft: Draft) -> None:
    """Spoil the JSON that stands as text in the metadata: our own card, counts of tags, PEFT's settings."""
    key = rng.choice(list(INSIDE))
    value, there = INSIDE[key], str(draft.metadata.get(key, ""))
    with contextlib.suppress(ValueError):
        if len(there) < 2000 and "[[[" not in there:
            value = json.loads(there)
    raw: dict[str, str] = {}
    for _ in range(rng.randint(1, 3)):
        value = spoil_json(rng, value, raw)
    draft.metadata[key] = dumped(value, raw, rng)


def hostile_thumbnail(rng: Random, draft: Draft) -> None:
    picture = bytearray(jpeg(*rng.choice(((64, 64), (256, 256), (1, 1), (500, 3)))))
    way = rng.randrange(7)
    if way == 0:
        picture = picture[: rng.randrange(len(picture))]
    elif way == 1:
        for _ in range(rng.randint(1, 6)):
            picture[rng.randrange(2, len(picture))] = rng.randrange(256)
    elif way == 2:  # a huge picture, by its own word
        start = picture.find(b"\xff\xc0")
        picture[start + 5 : start + 9] = rng.choice(
            (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x30\x00\x30\x00")
        )
    elif way == 3:
        place = picture.find(b"\xff\xfe")
        picture[place + 2 : place + 4] = rng.choice((b"\x00\x00", b"\xff\xff", b"\x00\x01"))
    elif way == 4:
        picture = bytearray(b"\xff\xd8\xff" + rng.randbytes(200))
    elif way == 5:
        exif = b"Exif\0\0" + rng.choice(
            (b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + rng.randbytes(60))
        )
        picture[2:2] = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    kind = rng.choice(("image/jpeg",) * 6 + ("image/svg+xml", "text/html", "image/png", ""))
    text = base64.b64encode(picture).decode("ascii")
    if way == 6:
        text = spoil_text(rng, text)
    draft.metadata["modelspec.thumbnail"] = (
        rng.choice(("data:",) * 6 + ("javascript:", "")) + f"{kind};base64,{text}"
    )


def no_metadata(rng: Random, draft: Draft) -> None:
    draft.metadata = {}


CHANGES: list[Callable[[Random, Draft], None]] = [
    drop_tensor,
    add_tensor,
    rename_tensor,
    rename_tensor,
    reshape_tensor,
    reshape_tensor,
    widen_rank,
    retype_tensor,
    hostile_numbers,
    odd_alpha,
    hostile_text,
    hostile_text,
    metadata_that_is_no_text,
    hostile_key_of_metadata,
    hostile_json,
    hostile_json,
    hostile_thumbnail,
    no_metadata,
]
INSIDE: dict[str, Any] = {
    "atelier_card": {
        "format": 1,
        "name": "Ink",
        "trigger": "inkwash",
        "tags": ["ink", "wash"],
        "suggested_weight": 0.8,
        "training": {"steps": 200, "learning_rate": 1e-3},
        "bake": {
            "method": "svd",
            "error": 0.1,
            "layer_errors": {"unet.x": 0.1},
            "parents": [{"name": "a", "id": "b", "weight": 0.5}],
            "seed": 3,
        },
    },
    "ss_tag_frequency": {"10_ink": {"inkwash": 12, "a cat": 3}},
    "ss_network_args": {"algo": "loha", "conv_dim": "4"},
    "lora_adapter_metadata": {"unet.lora_alpha": 4, "unet.r": 2, "unet.alpha_pattern": {"attn2.to_k": 1}},
    "unet": ["CrossAttention", "Attention", "GEGLU"],
    "text_encoder": ["CLIPAttention"],
}


def _stem(key: str) -> str:
    for end in ENDS:
        if key.endswith(end):
            return key.removesuffix(end)
    return key.rsplit(".", 1)[0]


def _any_piece(rng: Random) -> Piece:
    return piece(*rng.choice(SHAPES[:10]), dtype=rng.choice(list(SIZES)))


def hostile(rng: Random, raw: dict[str, str]) -> Any:
    """A value that has no place where it comes; what json can't write is put in afterwards, by a mark."""
    way = rng.random()
    if way < 0.5:
        return rng.choice(VALUES)
    if way < 0.75:
        return rng.choice(TEXTS)
    mark = f"@{len(raw)}@"
    raw[f'"{mark}"'] = rng.choice(DEEP + HUGE)
    return mark


def spoil_json(rng: Random, value: Any, raw: dict[str, str]) -> Any:
    """Return JSON with one node of it replaced, removed, added or renamed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        way = rng.random()
        if way < 0.6:
            return value | {key: spoil_json(rng, value[key], raw)}
        if way < 0.75:
            return {k: v for k, v in value.items() if k != key}
        if way < 0.85:
            return {rng.choice(TEXTS) if k == key else k: v for k, v in value.items()}
        return value | {rng.choice(TEXTS): hostile(rng, raw)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        way = rng.random()
        if way < 0.7:
            return [*value[:place], spoil_json(rng, value[place], raw), *value[place + 1 :]]
        if way < 0.85 or len(str(value)) > 200:
            return value[:place] + value[place + 1 :]
        return value * rng.choice((2, 3, 1000))
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
        return value + rng.choice((-2, -1, 1, 2, 4, 2**33, -(2**33), 0.5))
    return hostile(rng, raw)


def spoil_entry(rng: Random, header: dict[str, Any], raw: dict[str, str]) -> dict[str, Any]:
    """Return a header with one tensor's entry spoiled: a lie about offsets, shape or dtype."""
    key = rng.choice([key for key in header if key != "__metadata__"])
    entry = dict(header[key])
    way = rng.randrange(5)
    if way == 0:
        entry["data_offsets"] = [
            offset + rng.choice((-4, -1, 0, 1, 2, 2**31, 2**32)) for offset in entry["data_offsets"]
        ]
    elif way == 1:
        other = rng.choice([key for key in header if key != "__metadata__"])
        entry["data_offsets"] = header[other]["data_offsets"]
    elif way == 2:
        entry["shape"] = [*entry["shape"], rng.choice((1, 0, 2, 2**32))]
    elif way == 3:
        entry["dtype"] = rng.choice([*SIZES, "f16", "F16 ", "BF16\0", "U64", ""])
    else:
        entry = spoil_json(rng, entry, raw)
    return header | {key: entry}


def dumped(value: Any, raw: dict[str, str], rng: Random) -> str:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    for mark, replacement in raw.items():
        text = text.replace(mark, replacement)
    return text


def _with_repeat(rng: Random, text: str) -> str:
    """Let a name occur twice, once perhaps in other letters of JSON."""
    place = text.find('"', rng.randrange(len(text)))
    end = text.find('"', place + 1)
    if place < 0 or end < place + 2:
        return text.replace("{", '{"a":1,"a":2,', 1)
    name = text[place + 1 : end]
    other = f"\\u{ord(name[0]):04x}{name[1:]}" if rng.random() < 0.5 and ord(name[0]) < 65536 else name
    return text.replace("{", f'{{"{other}":{{"dtype":"F16","shape":[0],"data_offsets":[0,0]}},', 1)


def spoil_text(rng: Random, text: str) -> str:
    if not text:
        return "x"
    place = rng.randrange(len(text))
    return (
        text[:place]
        + rng.choice(["", "\0", '"', "\\", "/", "é", "\ud800", "}", "9", ",,", " "])
        + text[place + 1 :]
    )


def spoil_bytes(rng: Random, data: bytes) -> bytes:
    way = rng.randrange(6)
    if way == 0:
        return data[: rng.randrange(len(data))]
    if way == 1:
        return data + rng.randbytes(rng.choice((1, 2, 8, 1000)))
    if way == 2:
        length = int.from_bytes(data[:8], "little") + rng.choice((-8, -1, 1, 2, 8, 1000, 2**24, 2**31, 2**62))
        return (length % 2**64).to_bytes(8, "little") + data[8:]
    if way == 3:
        return rng.choice((b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"GGUF", b"\x89PNG", bytes(8))) + data[4:]
    flipped = bytearray(data)
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(min(header, len(data)) if way == 4 else len(data))
        flipped[place] ^= 1 << rng.randrange(8)
    return bytes(flipped)
