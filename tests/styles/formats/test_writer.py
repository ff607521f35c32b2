"""The style file: reads back equal, opens elsewhere, tells nothing private, and refuses what is broken."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import shlex
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from styles.errors import DiskFullError, StyleFileError
from styles.formats.reader import read_card, read_style
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.formats.thumbnail import thumbnail_jpeg
from styles.formats.writer import style_bytes, write_style
from styles.mixing.model_patcher import blended
from tests.styles.library_files import LAYER
from tests.styles.making import PlainBase, inputs, noise_pred, random_style, unet_of
from tests.tiny import tiny_base_folder

NAME = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture(scope="module")
def style(tiny_sd1: Path) -> Style:
    card = StyleCard(
        "Cats & Ink 墨",
        "sd1",
        4,
        trigger="inkwash",
        author="Ana “A.” Ñandú",
        licence="CC-BY-4.0",
        description="Two lines\nof text",
        suggested_weight=0.8,
        training={
            "steps": 200,
            "learning_rate": 3e-3,
            "alpha": 2.0,
            "preset": "balanced",
            "artworks": 8,
            "resolution_px": 64,
        },
        base_name="stable-diffusion-v1-5/stable-diffusion-v1-5",
        base_fingerprint="ab" * 32,
        thumbnail=thumbnail_jpeg(Image.new("RGB", (300, 200), "teal")),
        created="2026-01-02",
    )
    return replace(random_style(unet_of(tiny_sd1), alpha=2.0), card=card)


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: dict[str, Any] | bytes, section: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + section


def test_reads_back_equal(style: Style, tmp_path: Path) -> None:
    path = tmp_path / "ink.safetensors"
    written = write_style(style, path)
    read = read_style(path)
    assert read.card == written.card == read_card(path)
    private = {"id": read.id, "created": ""}
    assert read.card == replace(style.card, **private, layers={"unet": len(style.layers)}, strength=0.5)
    ours = {layer.path: layer for layer in style.layers}
    assert [layer.path for layer in read.layers] == [layer.path for layer in written.layers]
    for layer, again in zip(read.layers, written.layers, strict=True):
        mine = ours[layer.path]
        assert layer.network == "unet" and layer.alpha == mine.alpha and layer.scale == 0.5
        for side in ("down", "up"):
            assert getattr(layer, side).dtype == torch.float16
            assert torch.equal(getattr(layer, side), getattr(mine, side).half())
            assert torch.equal(getattr(layer, side), getattr(again, side))
    # What was read writes the same bytes again: the id is stable.
    assert write_style(read, tmp_path / "again.safetensors").id == read.id
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_holds_what_other_tools_look_for_and_nothing_else(style: Style, tmp_path: Path) -> None:
    path = tmp_path / "ink.safetensors"
    id = write_style(style, path).id
    data = path.read_bytes()
    header, section = parts(data)
    assert len(data) - len(section) <= 1 << 20
    with safe_open(path, framework="pt") as file:  # the safetensors library agrees with our header
        metadata, keys = file.metadata(), list(file.keys())
    assert all(key.startswith("lora_unet_") for key in keys) and len(keys) == 3 * len(style.layers)
    assert {tuple(t.shape) for k, t in load_file(path).items() if k.endswith(".alpha")} == {()}
    assert {entry["dtype"] for key, entry in header.items() if key != "__metadata__"} == {"F16"}
    assert "lora_adapter_metadata" not in metadata
    sha256 = hashlib.sha256(section).hexdigest()
    assert id == sha256 == metadata["sshs_model_hash"] and metadata["modelspec.hash_sha256"] == f"0x{sha256}"
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(b"").hexdigest()[:8]  # as for all files under 1 MiB
    expected = {
        "ss_base_model_version": "sd_v1",
        "ss_v2": "False",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "2.0",
        "ss_output_name": "Cats_Ink",
        "ss_max_train_steps": "200",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "Cats & Ink 墨",
        "modelspec.license": "CC-BY-4.0",
        "modelspec.trigger_phrase": "inkwash",
        "modelspec.resolution": "64x64",
    }
    assert {key: metadata[key] for key in expected} == expected
    assert metadata["modelspec.thumbnail"].startswith("data:image/jpeg;base64,/9j/")


def test_captions_folders_and_dates_stay_at_home(style: Style, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET place"
    photo = io.BytesIO()
    Image.new("RGB", (256, 256)).save(photo, "JPEG", exif=exif)
    card = replace(
        style.card,
        base_name="/home/SECRET/bases/photo.safetensors",
        training={
            "prompts": "SECRET",
            "folder": "/home/SECRET",
            "started_at": 1700000000,
            "preset": "/home/SECRET",
            "steps": 5,
        },
        thumbnail=photo.getvalue(),
        created="2026-SECRET",
        path=Path("/home/SECRET/x"),
    )
    data = style_bytes(replace(style, card=card))
    header, _ = parts(data)
    assert b"SECRET" not in data and "1700000000" not in json.dumps(header)
    path = tmp_path / "x.safetensors"
    read = write_style(replace(style, card=card), path).card
    assert read.base_name == "photo.safetensors" and read.training == {"steps": 5}
    assert read.thumbnail is not None and b"SECRET" not in read.thumbnail
    assert write_style(style, path, with_date=True).card.created == "2026-01-02"


@pytest.fixture(scope="module")
def sdxl_of_two_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SDXL with as many layers in a block as the real one: the original block names count them."""
    return tiny_base_folder(tmp_path_factory.mktemp("bases") / "sdxl", "sdxl", layers=2)


@pytest.mark.parametrize(
    ("family", "marks", "names"),
    [
        ("sd1", ("attn2",), "lora_unet_down_blocks_0_attentions_0_transformer"),
        ("sdxl", ("attn", "ff.net", "proj_", "encoder"), "lora_unet_down_blocks_1_attentions_0_transformer"),
        ("sdxl", ("",), "lora_unet_input_blocks_4_1_transformer"),
    ],
)
def test_opens_in_plain_diffusers_with_the_same_effect(
    tiny_sd1: Path, sdxl_of_two_layers: Path, tmp_path: Path, family: str, marks: tuple[str, ...], names: str
) -> None:
    from diffusers import DiffusionPipeline

    ours = DiffusionPipeline.from_pretrained(tiny_sd1 if family == "sd1" else sdxl_of_two_layers)
    ours.set_progress_bar_config(disable=True)
    two = family == "sdxl"
    encoders = (ours.text_encoder, ours.text_encoder_2) if two else (ours.text_encoder,)
    layers = random_style(ours.unet, marks=marks).layers
    for network, encoder in zip(("te1", "te2") if two else ("te",), encoders, strict=True):
        layers += replaced_network(random_style(encoder, marks=marks).layers, network)
    write_style(Style(StyleCard("Ink", family, 4), layers), tmp_path / "ink.safetensors")
    assert any(key.startswith(names) for key in load_file(tmp_path / "ink.safetensors"))

    def effects() -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        image = ours("a red cat", num_inference_steps=3, generator=generator, output_type="np").images
        latents, words = inputs(1, ours.unet.config.cross_attention_dim)
        sizes = {"text_embeds": words[:, 0, :1280], "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
        with torch.no_grad():
            noise_pred = ours.unet(latents, 500, words, added_cond_kwargs=sizes).sample
        return torch.from_numpy(image), noise_pred

    plain = effects()
    base = PlainBase(ours.unet, family, text_encoders=encoders)
    with blended(base, [read_style(tmp_path / "ink.safetensors")]) as mix:
        mix.set_gains([1.0])
        blend = effects()
    assert all(map(torch.equal, effects(), plain))
    ours.load_lora_weights(tmp_path, weight_name="ink.safetensors", use_safetensors=True)
    (image, noise_pred), changed = effects(), blend[0] - plain[0]
    assert changed.abs().max() > 2 / 255
    assert (image - blend[0]).abs().max() < 1e-4 and (noise_pred - blend[1]).abs().max() < 1e-5


def replaced_network(layers: tuple[StyleLayer, ...], network: str) -> tuple[StyleLayer, ...]:
    return tuple(replace(layer, network=network) for layer in layers if "encoder" in layer.path)


def test_a_large_file_has_the_legacy_hash_of_its_middle(tiny_sd1: Path) -> None:
    big = random_style(unet_of(tiny_sd1), rank=32, marks=("attn", "ff.net"))
    data = style_bytes(big)
    assert len(data) > 1 << 20
    header, section = parts(data)
    ss = {k: v for k, v in header["__metadata__"].items() if k.startswith("ss_")}
    assert header["__metadata__"]["sshs_legacy_hash"] != hashlib.sha256(b"").hexdigest()[:8] and ss
    assert hashlib.sha256(section).hexdigest() == header["__metadata__"]["sshs_model_hash"]


def test_an_alpha_that_fp16_would_round_stays_exact(style: Style, tmp_path: Path) -> None:
    layers = tuple(replace(layer, alpha=1 / 3) for layer in style.layers)
    read = write_style(replace(style, layers=layers), tmp_path / "x.safetensors")
    assert all(layer.alpha == pytest.approx(1 / 3, rel=1e-7) for layer in read.layers)


def kohya_file(path: Path, metadata: dict[str, str] | None = None, **changes: Any) -> Path:
    tensors: dict[str, Any] = {
        NAME + ".lora_down.weight": torch.randn(4, 768),
        NAME + ".lora_up.weight": torch.randn(64, 4),
        NAME + ".alpha": torch.tensor(1.0),
    }
    for end, value in changes.items():
        tensors[f"{NAME}.{end}" if end == "alpha" else f"{NAME}.lora_{end}.weight"] = value
    save_file({k: v.contiguous() for k, v in tensors.items() if v is not None}, path, metadata)
    return path


def test_reads_what_other_tools_write(tmp_path: Path) -> None:
    metadata = {
        "ss_output_name": "theirs",
        "ss_unet_lr": "0.0001",
        "ss_max_train_steps": "1600",
        "ss_num_train_images": "nonsense",
        "ss_tag_frequency": json.dumps({"x": {"a caption": 3}}),
        "ss_sd_model_name": "C:\\models\\v1-5.safetensors",
        "modelspec.author": "someone",
    }
    card = read_card(kohya_file(tmp_path / "a.safetensors", metadata))
    assert (card.name, card.family, card.rank, card.author) == ("theirs", "sd1", 4, "someone")
    assert card.training == {"learning_rate": 1e-4, "steps": 1600}
    assert card.base_name == "v1-5.safetensors" and card.layers == {"unet": 1} and not card.problems


@pytest.mark.parametrize("alpha", [None, torch.tensor(0.0)])
def test_a_missing_alpha_or_0_is_the_rank(tmp_path: Path, alpha: Any) -> None:
    style = read_style(kohya_file(tmp_path / "a.safetensors", alpha=alpha))
    assert style.layers[0].scale == 1.0
    assert ("how strong" if alpha is None else "alpha is 0") in style.card.problems[0]


@pytest.mark.parametrize(
    "width, family", [(256, "starter"), (768, "sd1"), (1024, "sd2"), (2048, "sdxl"), (96, "own-64x96-1")]
)
def test_the_shape_proves_the_family(tmp_path: Path, width: int, family: str) -> None:
    path = kohya_file(
        tmp_path / "a.safetensors", {"ss_base_model_version": "sd_v1"}, down=torch.randn(4, width)
    )
    card = read_card(path)
    assert card.family == family
    assert bool(card.problems) == (family != "sd1")


@pytest.mark.parametrize("told", [True, False], ids=["with settings", "without"])
def test_what_diffusers_writes_for_sdxl_does_here_what_it_does_there(
    tiny_sdxl: Path, tmp_path: Path, told: bool
) -> None:
    from diffusers import StableDiffusionXLPipeline
    from diffusers.training_utils import _collate_lora_metadata
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    # Without settings in the file the alpha is the rank.
    alpha = 8 if told else 4
    targets = {"unet": ["to_k", "to_v", "to_out.0"], "text_encoder": ["q_proj", "fc1"]}

    def opened() -> dict[str, Any]:
        pipe = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)
        return {name: getattr(pipe, name) for name in ("unet", "text_encoder", "text_encoder_2")}

    def effects(parts: dict[str, Any]) -> list[torch.Tensor]:
        unet, *encoders = parts.values()
        ids = torch.arange(10).reshape(2, 5)
        with torch.no_grad():
            states = [encoder(ids, output_hidden_states=True).hidden_states[-2] for encoder in encoders]
        return [noise_pred(unet, *inputs(width=2048)), *states]

    bare, parts = opened(), opened()
    for name, part in parts.items():
        modules = targets[name.removesuffix("_2")]
        config = LoraConfig(r=4, lora_alpha=alpha, init_lora_weights=False, target_modules=modules)
        inject_adapter_in_model(config, part)
    layers = {f"{name}_lora_layers": get_peft_model_state_dict(part) for name, part in parts.items()}
    about = _collate_lora_metadata(parts) if told else {}
    StableDiffusionXLPipeline.save_lora_weights(tmp_path, **layers, weight_name="theirs.safetensors", **about)
    style = read_style(tmp_path / "theirs.safetensors")
    assert style.card.family == "sdxl" and style.card.layers.keys() == {"unet", "te1", "te2"}
    plain = effects(bare)
    unet, *encoders = bare.values()
    with blended(PlainBase(unet, "sdxl", text_encoders=tuple(encoders)), [style]) as mix:
        mix.set_gains([1.0])
        ours = effects(bare)
    for mine, reference, before in zip(ours, effects(parts), plain, strict=True):
        torch.testing.assert_close(mine, reference, atol=1e-5, rtol=1e-5)
        assert (reference - before).abs().max() > 1e-3


@pytest.mark.parametrize("form", ["lora_A.weight lora_B.weight", "lora.down.weight lora.up.weight", "oldest"])
def test_reads_the_names_of_diffusers(tmp_path: Path, style: Style, form: str) -> None:
    tensors = {}
    for layer in style.layers:
        down, up = f"unet.{layer.path}.{form.split()[0]}", f"unet.{layer.path}.{form.split()[-1]}"
        if form == "oldest":
            place, module = layer.path.removesuffix(".0").rsplit(".", 1)
            down, up = (f"{place}.processor.{module}_lora.{side}.weight" for side in ("down", "up"))
        tensors |= {down: layer.down, up: layer.up}
    path = tmp_path / "theirs.safetensors"
    told = {
        "unet.lora_alpha": 8,
        "unet.r": 4,
        "unet.alpha_pattern": {"mid_block.attentions.0.transformer_blocks.0.attn2.to_k": 1},
    }
    for metadata, alphas in (({}, {4.0}), ({"lora_adapter_metadata": json.dumps(told)}, {8.0, 1.0})):
        save_file(tensors, path, metadata)
        read = read_style(path)
        assert read.card.family == "sd1" and bool(read.card.problems) == (not metadata)
        ours = {layer.path: layer for layer in style.layers}
        assert {layer.path for layer in read.layers} == set(ours) and {
            layer.alpha for layer in read.layers
        } == alphas
        assert all(torch.equal(layer.down, ours[layer.path].down) for layer in read.layers)
    told["unet.use_rslora"] = True
    save_file(tensors, path, {"lora_adapter_metadata": json.dumps(told)})
    assert {layer.scale for layer in read_style(path).layers} == {8 / 4**0.5, 1 / 4**0.5}
    for bad in (
        "[" * 100_000,
        "[]x",
        '{"unet.lora_alpha": "x"}',
        '{"unet.lora_alpha": -1}',
        '{"unet.lora_alpha": 1, "unet.alpha_pattern": 3}',
    ):
        save_file(tensors, path, {"lora_adapter_metadata": bad})
        with pytest.raises(StyleFileError, match="strength"):
            read_card(path)
    save_file(tensors | {"unet.conv_in.weight": torch.ones(2)}, path)
    assert "also holds unet.conv_in, which" in read_card(path).problems[0]


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "sd_v2_v"}, "sd2"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "sd2"),
        ({}, "unknown"),
    ],
)
def test_without_cross_attention_the_metadata_says_it(
    tmp_path: Path, metadata: dict[str, str], family: str
) -> None:
    name = NAME.replace("attn2", "attn1")
    save_file(
        {
            f"{name}.lora_down.weight": torch.ones(4, 64),
            f"{name}.lora_up.weight": torch.ones(64, 4),
            f"{name}.alpha": torch.tensor(4.0),
        },
        tmp_path / "a.safetensors",
        metadata,
    )
    card = read_card(tmp_path / "a.safetensors")
    assert card.family == family and bool(card.problems) == (family == "unknown")


def test_text_of_strangers_is_only_text(tmp_path: Path) -> None:
    metadata = {
        "modelspec.title": "../../evil\x00\x1b[31m\u202egnp.exe\n<script>",
        "modelspec.author": "x" * 100_000,
        "modelspec.thumbnail": "data:image/jpeg;base64,!!!!",
        "atelier_card": '{"suggested_weight": NaN, "training": {"steps": [1], "seed": 1e999}, "trigger": 7}',
    }
    card = read_card(kohya_file(tmp_path / "a.safetensors", metadata))
    assert card.name == "../../evil[31mgnp.exe <script>" and len(card.author) == 200
    assert (
        card.thumbnail is None and card.training == {} and card.suggested_weight == 1.0 and card.trigger == ""
    )
    json.dumps(card.to_json(), allow_nan=False)
    assert "thumbnail" not in card.to_json()
    deep = {"atelier_card": "[" * 100_000}
    assert read_card(kohya_file(tmp_path / "b.safetensors", deep)).name == "b"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"down": torch.ones(0, 768), "up": torch.ones(64, 0)}, "none that a style has"),  # rank 0
        ({"down": torch.ones(800, 768), "up": torch.ones(64, 800)}, "rank 800"),  # above the layer's width
        ({"up": torch.ones(64, 5)}, "don't fit"),
        ({"down": torch.ones(768)}, "don't fit"),
        ({"up": torch.ones(64, 4, 3, 3)}, "don't fit"),
        ({"down": torch.ones(4, 768).int()}, "I32"),
        ({"alpha": torch.ones(4)}, "not a single number"),
        ({"alpha": torch.tensor(float("nan"))}, "no numbers"),
        ({"down": torch.full((4, 768), float("nan"))}, "no numbers"),
        ({"up": None}, "only half"),
    ],
)
def test_layers_that_make_no_sense_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(StyleFileError, match=said):
        read_style(kohya_file(tmp_path / "a.safetensors", **changes))


@pytest.fixture(scope="module")
def good(style: Style) -> bytes:
    return style_bytes(replace(style, layers=style.layers[:2]))


def refused(data: bytes, folder: Path) -> str:
    path = folder / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(StyleFileError) as caught:
        read_card(path)
    with pytest.raises(StyleFileError):
        read_style(path)
    return str(caught.value)


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_a_header_of_any_length_is_a_header(length: int, tmp_path: Path) -> None:
    """The first bytes of these are a pickle's, too."""
    section = bytes(2 * (256 + 8) * 2 + 2)
    key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    shapes = {f"{key}.lora_down.weight": [2, 256], f"{key}.lora_up.weight": [8, 2], f"{key}.alpha": []}
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode().ljust(length)
    path = tmp_path / "style.safetensors"
    path.write_bytes(struct.pack("<Q", length) + text + section)
    assert read_card(path).family == "starter"


def test_files_that_are_broken_are_refused_by_their_header(good: bytes, tmp_path: Path) -> None:
    header, section = parts(good)
    key = next(key for key in header if key.endswith("lora_down.weight"))

    def changed(**changes: Any) -> bytes:
        return joined(header | {key: header[key] | changes}, section)

    begin, end = header[key]["data_offsets"]
    assert "is empty" in refused(b"", tmp_path)
    assert "is empty" in refused(bytes(2000), tmp_path)
    assert "no safetensors" in refused(b"hello, I am a picture", tmp_path)
    assert "pickle" in refused(b"PK\x03\x04" + bytes(100), tmp_path)
    assert "pickle" in refused(b"\x80\x02}q" + bytes(100), tmp_path)
    archive = tmp_path / "styles.ZIP"
    archive.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(StyleFileError, match="is an archive"):
        read_style(archive)
    assert "no safetensors" in refused(struct.pack("<Q", 1 << 62) + b"{}", tmp_path)
    assert "no safetensors" in refused(good[:200], tmp_path)
    assert "only a part of it is there" in refused(good[:-2], tmp_path)
    assert "should take" in refused(good + b"\0\0", tmp_path)
    assert "can't be read" in refused(joined(b"{nonsense", section), tmp_path)
    assert "can't be read" in refused(joined(b"[" * 200_000, section), tmp_path)
    assert "can't be read" in refused(joined(b'{"a":1,"a":2}', section), tmp_path)
    assert "not a table" in refused(joined(b"[1, 2]", section), tmp_path)
    assert "not text" in refused(joined(header | {"__metadata__": {"a": 1}}, section), tmp_path)
    assert "no tensors" in refused(joined({"__metadata__": {}}, b""), tmp_path)
    assert "doesn't fit its bytes" in refused(changed(shape=[9, 9]), tmp_path)
    assert "damaged" in refused(changed(shape=[-1, 768]), tmp_path)
    assert "damaged" in refused(changed(shape=[10**30, 768]), tmp_path)
    assert "damaged" in refused(changed(data_offsets=[begin]), tmp_path)
    assert "overlap" in refused(changed(data_offsets=[begin + 2, end + 2]), tmp_path)
    assert "F8_E8M0" in refused(changed(dtype="F8_E8M0"), tmp_path)
    many = {f"t{i}": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]} for i in range(20_001)}
    assert "20001 tensors" in refused(joined(many, b""), tmp_path)


def test_the_line_that_converts_a_pickle_does(tmp_path: Path) -> None:
    tensors = {
        f"{LAYER}.lora_down.weight": torch.randn(2, 256),
        f"{LAYER}.lora_up.weight": torch.randn(2, 64).T,
    }
    torch.save(tensors, tmp_path / "OLD.pt")
    with pytest.raises(StyleFileError, match="run code") as told:
        read_style(tmp_path / "OLD.pt")
    command = shlex.split(told.value.hint.partition("spare: ")[2])
    assert command.pop(0) == "python"
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True)
    (layer,) = read_style(tmp_path / "NEW.safetensors").layers
    assert torch.equal(layer.up, tensors[f"{LAYER}.lora_up.weight"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 3000), value=st.integers(0, 255), cut=st.integers(0, 4000))
def test_a_damaged_header_is_refused_or_read_but_never_crashes(
    good: bytes, tmp_path: Path, position: int, value: int, cut: int
) -> None:
    data = bytearray(good)
    data[position % len(data)] = value
    path = tmp_path / "x.safetensors"
    path.write_bytes(data[: len(data) - cut] if cut < 50 else data)
    with contextlib.suppress(StyleFileError):
        read_style(path)


def test_what_is_not_there_or_not_finite_is_told(style: Style, tmp_path: Path) -> None:
    with pytest.raises(StyleFileError, match="no file"):
        read_card(tmp_path / "none.safetensors")
    with pytest.raises(StyleFileError, match="is a folder, and no style"):
        read_card(tmp_path)
    broken = replace(style.layers[0], up=style.layers[0].up * float("inf"))
    with pytest.raises(StyleFileError, match="diverged"):
        write_style(replace(style, layers=(broken,)), tmp_path / "x.safetensors")
    with pytest.raises(StyleFileError, match="without layers"):
        write_style(replace(style, layers=()), tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_behind(
    style: Style, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "ink.safetensors"
    path.write_bytes(b"the old one")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"ink\.safetensors"):
        write_style(style, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ink.safetensors"]
    assert path.read_bytes() == b"the old one"
