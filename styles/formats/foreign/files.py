"""What a file is that is no style: a web page, a picture, a whole checkpoint, a VAE, a ControlNet, another model's style.

All of its names are looked at, and its metadata; a file that is a style in a way that can't be followed says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from styles.errors import StyleFileError
from styles.formats.foreign.models import Shapes, model_of
from styles.storage.names import clean_text
from styles.text import Text

# What bitsandbytes writes beside a weight in four bits; Forge's NF4 checkpoints have the same.
BITSANDBYTES = re.compile(r"\.(nested_)?(absmax|quant_map)$|\.quant_state\.bitsandbytes__\w+$")
GGUF = b"GGUF"  # how such a file begins, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
# What to do with a model that another program has brought to few bits.
AS_IT_WAS = Text(
    "Get the same checkpoint as .safetensors in fp16 or fp32, and add it as a base: Atelier brings it to four bits itself."
)
CONVERTING = (  # OLD.pt has to be a plain table of tensors, as nearly all are
    'python -c "import sys, torch, safetensors.torch as s; s.save_file({k: v.contiguous() for k, v in '
    'torch.load(sys.argv[1], weights_only=True).items()}, sys.argv[2])" OLD.pt NEW.safetensors'
)
PICKLE = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
ARCHIVES = (b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")
SQLITE = b"SQLite format 3\0"
LFS = b"version https://git-lfs"
LOOK = 512  # bytes that tell what a file is
AS_LORA = Text("Ask for it as a plain LoRA; the tool that made it can extract one.")

# Ways of changing a base that no ranks in a file can hold, since the base's own weights are in them, or that aren't
# read. LyCORIS, docs/Algo-Details.md and lycoris/modules; PEFT's names beside them.
OTHER_WAYS = {
    r"\.(dora_scale|lora_magnitude_vector(\.default)?(\.weight)?)$": Text(
        "a DoRA: besides its ranks it sets the length of the base's own weights, which no ranks can do"
    ),
    r"\.(oft|boft)_": Text("an OFT: it turns the base's own weights, which no ranks can do"),
    r"\.[ab][12m]\.weight$": Text(
        "a GLoRA: a part of its change is a product with the base's own weights, which no ranks can hold"
    ),
    r"\.on_input$|\.ia3_l$": Text("an (IA)³: it scales the base's own weights, which no ranks can do"),
    r"\.(lambda_layer|[pq]_layer\.weight)$": Text(
        "a T-LoRA as LyCORIS saves it: its change is what became of a part of the base's own weights, less that part, which isn't in the file"
    ),
    r"lora_embedding_[AB]$": Text("made for the table of words, not only for layers"),
}
ADAPTER = re.compile(
    r"lora|hada_|lokr_|\.diff(_b)?$|dora_scale|\.alpha$|oft_|\.on_input$|\.[ab][12m]\.weight$|\.set_weight$|"
    r"[pq]_layer|lambda_layer|\.[wb]_norm$|^(unet|text_encoder):\d+:"
)
CONTROL = r"^control_model\.|controlnet_cond_embedding|input_hint_block|lllite_|controlnet_(blocks|down|mid)|zero_convs"
# Rows for the tables of words of text encoders that no base here has.
WORDS = re.compile(r"(bundle_emb\..+\.)?(t5(xxl)?|llama|qwen\w*|gemma\w*|clip_[lgh])(_out)?", re.DOTALL)
OTHER_PARTS = {
    CONTROL: Text("a ControlNet"),
    r"^(image_proj|ip_adapter)(_model|_adapter)?\.": Text("an IP-Adapter"),
    r"^adapter\.(body|conv_in)\.|^body\.\d+\.(block\d|in_conv)": Text("a T2I-Adapter"),
    r"motion_modules|temporal_transformer": Text("a motion module, as AnimateDiff has it"),
    r"^base_model\.model\.model\.(layers|model|language_model)\.": Text("made for a language model"),
}
# Parts of a base by themselves; the whole file is nothing else.
PARTS_ALONE = (
    (
        r"(first_stage_model\.|vae\.)?(encoder|decoder|quant_conv|post_quant_conv|loss)\..*",
        r"(^|\.)(encoder|decoder)\.(conv_in|conv_out|down|up|mid|norm_out)",
        Text("a VAE"),
        Text("Give it to a base: `bases change NAME --vae FILE`, or in Settings."),
    ),
    (
        r".*",
        r"^(conv_in|down_blocks|up_blocks|mid_block)\.|^(input_blocks|output_blocks|middle_block)\.",
        Text("the UNet of a base alone"),
        Text("Add the checkpoint or the folder that it belongs to as a base."),
    ),
    (
        r".*",
        r"text_model\.(encoder|embeddings)\.|^encoder\.block\.\d+\.layer|^(model\.)?(layers\.\d+\.(self_attn|mlp)|embed_tokens)\.|"
        r"^cond_stage_model\.|^transformer\.resblocks\.",
        Text("a text encoder alone"),
        Text("Add the checkpoint or the folder that it belongs to as a base."),
    ),
    (
        r".*",
        r"^conv_first\.|\.(rdb|RDB)\d\.|^model\.\d+\.(sub\.|weight)|^upconv\d",
        Text("an upscaler"),
        Text("Get the style itself."),
    ),
)


def refuse_beginning(start: bytes, name: str) -> None:
    """Raise StyleFileError, saying what it is, for a file that begins as no safetensors file does.

    `start` are its first LOOK bytes, or as many as there are.
    """
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if name.lower().endswith(".zip"):
        raise StyleFileError(
            "“{name}” is an archive.", "Unpack it, and import the folder that comes out.", name=name
        )
    if start.startswith(GGUF):
        raise StyleFileError(
            "“{name}” is a GGUF file, a model in few bits, and no style.", AS_IT_WAS, name=name
        )
    if start.startswith(PICKLE):
        raise StyleFileError(
            "“{name}” is a pickle file (.pt, .ckpt, .bin), which could run code when it is opened.",
            "Ask for it as .safetensors, or make that of it on a computer that you can spare: {converting}",
            name=name,
            converting=CONVERTING,
        )
    if not start.strip(b"\0"):
        raise StyleFileError(
            "“{name}” is empty: the download has not begun, or was given up.", "Get it again.", name=name
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script")):
        raise StyleFileError(
            "“{name}” is a web page, which was saved instead of the style.",
            "Often the site wants you to sign in first: open the link in a browser, and save what it then offers.",
            name=name,
        )
    if text.startswith((b'{"', b"{'", b'["', b"{\n")):
        raise StyleFileError(
            "“{name}” is the answer of a web site, which was saved instead of the style: {text}",
            "Often the site wants you to sign in first: open the link in a browser, and save what it then offers.",
            name=name,
            text=clean_text(start.decode("utf-8", "replace"), 120),
        )
    if start.startswith(LFS):
        raise StyleFileError(
            "“{name}” is a note of Git LFS that stands for the style, and not the style.",
            "In the folder that you cloned, `git lfs pull` fetches it; or download the file from the site.",
            name=name,
        )
    if start.startswith(PICTURES) or start[8:12] == b"WEBP":
        raise StyleFileError("“{name}” is a picture.", "Get the style itself.", name=name)
    if start.startswith(SQLITE):
        raise StyleFileError(
            "“{name}” is a database, as Draw Things keeps its models, which others can't read.",
            "Ask for the style as .safetensors.",
            name=name,
        )
    if start.startswith(ARCHIVES):
        raise StyleFileError("“{name}” is an archive.", "Unpack it, and import what comes out.", name=name)


def is_quantized(keys: Iterable[str]) -> bool:
    """Whether the weights of a file with these keys are in four bits, as bitsandbytes and Forge save them."""
    return any(BITSANDBYTES.search(key) for key in keys)


def check_is_no_model(keys: Iterable[str], name: str) -> None:
    """Raise StyleFileError, saying what it is, for a file whose weights are in four bits; no style's are."""
    keys = set(keys)
    if is_quantized(keys):
        raise StyleFileError(
            "“{name}” is a model in four bits, as bitsandbytes and Forge save them (NF4, FP4), and no style.",
            AS_IT_WAS,
            name=name,
        )
    if any(key.endswith(".offset") and f"{key.removesuffix('.offset')}.scale" in keys for key in keys):
        raise StyleFileError(
            "“{name}” is the UNet of a base that styles were merged into, and no style.",
            "Add the folder that it lies in as a base.",
            name=name,
        )


def refusal(
    shapes: Shapes, metadata: Mapping[str, str], others: Shapes | None = None
) -> StyleFileError | None:
    """Return why a file can't be a style here, None where nothing is known against it.

    `others` are those of its tensors that belong to no layer, where that is known.
    """
    others = shapes if others is None else others
    if not any(ADAPTER.search(key) for key in shapes):
        return _of_weights(shapes, metadata)
    for mark, part in OTHER_PARTS.items():
        if key := _first(mark, others):
            return StyleFileError(
                "It is {kind}, no style; it holds {key}.", "Get the style itself.", kind=part, key=key
            )
    if model := model_of(others, metadata):
        return for_other_model(model, min(others, default=""))
    for mark, way in OTHER_WAYS.items():
        if key := _first(mark, others):
            return StyleFileError("It is {kind}; it holds {key}.", AS_LORA, kind=way, key=key)
    return None


def for_other_model(model: str, key: str = "") -> StyleFileError:
    """Return the refusal of a style for a model that Atelier doesn't have."""
    return StyleFileError(
        "It is for {model}; it holds {key}." if key else "It is for {model}, as it says itself.",
        "Atelier opens styles for Stable Diffusion 1, 2 and XL.",
        model=model,
        key=_shown(key),
    )


def _of_weights(shapes: Shapes, metadata: Mapping[str, str]) -> StyleFileError | None:
    """Return the refusal of a file of plain weights, which are no changes of any."""
    if all(WORDS.fullmatch(key) for key in shapes):
        return StyleFileError(
            "It is a textual inversion for another model: its words have rows for {parts}.",
            "Atelier opens words for Stable Diffusion 1, 2 and XL.",
            parts=clean_text(", ".join(sorted(shapes)), 120),
        )
    for mark, part in OTHER_PARTS.items():
        if _first(mark, shapes):
            return StyleFileError("It is {kind}, no style.", "Get the style itself.", kind=part)
    model = model_of({key: shape for key, shape in shapes.items() if len(shape) > 1}, metadata)
    if model:
        return StyleFileError(
            "It is {model} itself, a whole model and no style.",
            "Atelier's bases are Stable Diffusion 1, 2 and XL.",
            model=model,
        )
    if _first(r"^model\.diffusion_model\.", shapes):
        return StyleFileError("It is a whole checkpoint, not a style.", "Add it as a base instead.")
    for every, some, part, hint in PARTS_ALONE:
        if all(re.fullmatch(every, key) for key in shapes) and _first(some, shapes):
            return StyleFileError("It is {kind}, no style.", hint, kind=part)
    return None


def _first(mark: str, keys: Iterable[str]) -> str:
    return _shown(min((key for key in keys if re.search(mark, key)), default=""))


def _shown(key: str) -> str:
    return clean_text(key, 120)
