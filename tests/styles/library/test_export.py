"""An export opens in diffusers and PEFT layer by layer, tells nothing private, and leaves nothing when it fails."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageColor
from PIL.PngImagePlugin import PngInfo
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from styles.errors import BadInput, DiskFullError, Failure, StyleFileError
from styles.formats.bake_record import BakeRecord, Parent
from styles.formats.half_precision import even_alphas
from styles.formats.metadata import card_texts
from styles.formats.reader import read_style
from styles.formats.style import Style, StyleCard
from styles.formats.textual_inversion import word_file
from styles.formats.thumbnail import thumbnail_jpeg
from styles.formats.writer import write_style
from styles.library.edit import edit_card
from styles.library.export import ExportOrder, Sharing, compare, export_style, what_others_will_see
from styles.library.library import Library
from styles.library.model_card import ExamplePicture, model_card
from styles.mixing.model_patcher import blended
from styles.storage.home import Home
from styles.storage.names import tag_name
from tests.styles.making import PlainBase, random_layer

SECRETS = {
    "captions": {"ss_tag_frequency": '{"SECRET caption": {"SECRET": 3}}'},
    "names": {"ss_dataset_dirs": '{"/home/SECRET": 1}', "ss_session_id": "SECRET"},
    "dates": {"ss_training_started_at": "SECRET 1700000000", "modelspec.date": "SECRET"},
    "both": {"ss_datasets": '[{"SECRET": 1}]'},
    "never": {"ss_anything": "SECRET", "mine": "/home/SECRET/x"},
}


@pytest.fixture(scope="module")
def pipe(tiny_sd1: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(tiny_sd1)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def style(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Style:
    """All kinds of layers of the UNet and the text encoder, with different ranks and alphas, as a file of the library."""
    torch.manual_seed(3)
    layers = []
    for network, module_tree, marks in (
        (
            "unet",
            pipe.unet,
            ("attn2", "attn1.to_q", "proj_in", "conv1", "ff.net", "time_emb_proj", "downsamplers"),
        ),
        ("te", pipe.text_encoder, ("q_proj", "out_proj", "fc1")),
    ):
        for path, module in module_tree.named_modules():
            plain = isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
            if plain and any(mark in path for mark in marks):
                rank, alpha = (4, 2.0) if len(layers) % 3 else (6, 5.0)
                full = path if network == "unet" else f"text_model.{path.removeprefix('text_model.')}"
                layers.append(random_layer(full, module, rank, alpha, network))
    card = StyleCard(
        "Ink & Łódź 墨",
        "sd1",
        4,
        trigger="inkwash, wet",
        author="Ana",
        licence="cc by 4.0",
        rights="I made the artworks myself.",
        description="Wet ink.",
        suggested_weight=0.8,
        training={"artworks": 8, "steps": 200},
        base_name="SECRET-photo.safetensors",
        base_fingerprint="ab" * 32,
        thumbnail=thumbnail_jpeg(Image.effect_noise((300, 200), 60).convert("RGB")),
    )
    folder = tmp_path_factory.mktemp("library")
    path = folder / "Ink.safetensors"
    from styles.formats.kohya import ALPHA, DOWN, UP, kohya_name

    tensors = {}
    for layer in layers:
        name = kohya_name(layer.network, layer.path)
        tensors |= {name + DOWN: layer.down, name + UP: layer.up, name + ALPHA: torch.tensor(layer.alpha)}
    write_style(Style(card, tuple(layers)), path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    secrets = {key: value for group in SECRETS.values() for key, value in group.items()}
    save_file(tensors, path, metadata | secrets)  # fp32 with mixed alphas, as another tool would
    read = read_style(path)
    assert len({layer.alpha for layer in read.layers}) == 2
    return read


def delta(layer: Any) -> torch.Tensor:
    return layer.up.double().flatten(1) @ layer.down.double().flatten(1) * layer.scale


def module_of(root: Any, path: str) -> Any:
    modules = dict(root.named_modules())
    return modules.get(path) or modules[path.removeprefix("text_model.")]


def deltas_agree(style: Style, unet: Any, text_encoder: Any | None) -> None:
    for layer in style.layers:
        root = unet if layer.network == "unet" else text_encoder
        if root is None:
            continue
        module = module_of(root, layer.path)
        (name,) = module.lora_A.keys()
        theirs = module.get_delta_weight(name).detach().double().flatten(1)
        mine = delta(layer)
        assert (theirs - mine).norm() < 2e-3 * mine.norm(), layer.name


@contextmanager
def loaded(pipe: Any, folder: Path, file: str) -> Iterator[None]:
    pipe.load_lora_weights(folder, weight_name=file, use_safetensors=True)
    try:
        yield
    finally:
        pipe.unload_lora_weights()


def picture(pipe: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    images = pipe("a red cat", num_inference_steps=2, generator=generator, output_type="np").images
    return torch.from_numpy(images)


def test_a_file_opens_in_diffusers_layer_by_layer_with_the_same_picture(
    pipe: Any, style: Style, tmp_path: Path
) -> None:
    done = export_style(style, tmp_path)
    (path,) = done.paths
    assert path.name == "Ink_Łódź_墨.safetensors" and done.tag == "<lora:Ink_Łódź_墨:0.8>"
    assert {opening.tool: opening.opens for opening in done.opens} == dict.fromkeys(
        ("A1111", "Forge", "ComfyUI", "InvokeAI", "diffusers"), "yes"
    )
    assert 0 < done.difference < 2.0**-10
    read = read_style(path)
    assert read.id == done.id
    # One alpha for each network: diffusers gives all others the wrong strength.
    assert {len({one.alpha for one in read.layers if one.network == net}) for net in ("unet", "te")} == {1}
    assert {tuple(tensor.shape) for key, tensor in load_file(path).items() if key.endswith(".alpha")} == {()}
    plain = picture(pipe)
    with blended(PlainBase(pipe.unet, text_encoders=(pipe.text_encoder,)), [style]) as mix:
        mix.set_gains([1.0])
        ours = picture(pipe)
    with loaded(pipe, tmp_path, path.name):
        deltas_agree(style, pipe.unet, pipe.text_encoder)
        theirs = picture(pipe)
    assert (theirs - plain).abs().max() > 0.02 and (theirs - ours).abs().max() < 5e-3
    assert torch.equal(picture(pipe), plain)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_folder_for_the_hub_is_loaded_whole_by_the_pipelines_own_call(
    pipe: Any, style: Style, tiny_sdxl: Path, tmp_path: Path, family: str, caplog: pytest.LogCaptureFixture
) -> None:
    from diffusers import StableDiffusionXLPipeline

    if family == "sdxl":
        pipe = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)
        pipe.set_progress_bar_config(disable=True)
        style = xl_style(pipe)
    encoders = [pipe.text_encoder, getattr(pipe, "text_encoder_2", None)][: 1 + (family == "sdxl")]
    done = export_style(style, tmp_path, ExportOrder("hub"))
    (folder,) = done.paths
    assert {opening.tool: opening.opens for opening in done.opens}["diffusers"] == "yes"
    read = read_style(folder / "pytorch_lora_weights.safetensors")
    assert read.id == done.id and read.card.trigger == style.card.trigger
    mine, theirs = ({layer.name: delta(layer) for layer in one.layers} for one in (style, read))
    assert mine.keys() == theirs.keys()
    assert all((mine[name] - theirs[name]).norm() < 2e-3 * mine[name].norm() for name in mine)
    plain = picture(pipe)
    with blended(PlainBase(pipe.unet, family, text_encoders=tuple(encoders)), [style]) as mix:
        mix.set_gains([1.0])
        ours = picture(pipe)
    pipe.load_lora_weights(folder)  # as the page says
    try:
        counts = {"unet": layers_in(pipe.unet)}
        for network, encoder in zip(("te1", "te2") if family == "sdxl" else ("te",), encoders, strict=True):
            counts[network] = layers_in(encoder)
            deltas_agree(of_network(style, network), encoder, encoder)
        deltas_agree(of_network(style, "unet"), pipe.unet, None)
        assert counts == Counter(layer.network for layer in style.layers)
        loaded = picture(pipe)
    finally:
        pipe.unload_lora_weights()
    assert (loaded - plain).abs().max() > 0.02 and (loaded - ours).abs().max() < 5e-3
    assert torch.equal(picture(pipe), plain)


def layers_in(model: Any) -> int:
    from peft.tuners.lora import LoraLayer

    return sum(isinstance(module, LoraLayer) for module in model.modules())


def of_network(style: Style, network: str) -> Style:
    """The layers of one network, as those of the one text encoder that a base may have."""
    return replace(style, layers=tuple(layer for layer in style.layers if layer.network == network))


def xl_style(pipe: Any) -> Style:
    """Layers of all kinds, with those that diffusers loses of a file with kohya's names, ranks and alphas mixed."""
    layers = []
    for network, tree, marks in (
        ("unet", pipe.unet, ("attn2", "add_embedding", "time_embedding", "conv_in", "conv_shortcut")),
        ("te1", pipe.text_encoder, ("q_proj",)),  # attention alone
        ("te2", pipe.text_encoder_2, ("v_proj", "fc1")),
    ):
        for path, module in tree.named_modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and any(mark in path for mark in marks):
                rank, alpha = (4, 2.0) if len(layers) % 3 else (6, 5.0)
                full = path if network == "unet" else f"text_model.{path.removeprefix('text_model.')}"
                layers.append(random_layer(full, module, rank, alpha, network))
    return Style(StyleCard("Ink", "sdxl", 4, trigger="inkwash"), tuple(layers))


def test_the_page_of_a_folder_for_the_hub_is_what_the_hub_reads(style: Style, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    colours = (("a red house, inkwash", "red"), ("", "blue"))
    painted = tuple(ExamplePicture(prompt, png(colour)) for prompt, colour in colours)
    card = replace(style.card, tags=("ink", "wash: wet"), description="Wet <script>&[ink](x)")
    done = export_style(replace(style, card=card), tmp_path, ExportOrder("hub", pictures=painted))
    (folder,) = done.paths
    page = ModelCard.load(folder / "README.md")
    said = page.data.to_dict()
    assert {"ink", "wash: wet", "text-to-image", "lora"} <= set(said.pop("tags"))
    assert said.pop("widget") == [
        {"text": "a red house, inkwash", "output": {"url": "images/1.png"}},
        {"text": "inkwash, wet", "output": {"url": "images/2.png"}},
    ]
    assert said == {
        "base_model": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "base_model_relation": "adapter",
        "instance_prompt": "inkwash, wet",
        "library_name": "diffusers",
        "license": "cc-by-4.0",
        "pipeline_tag": "text-to-image",
    }
    assert "<script" not in page.text.replace("\\<", "") and "Wet" in page.text and "SECRET" not in page.text
    for number, (_, colour) in enumerate(colours, 1):
        with Image.open(folder / "images" / f"{number}.png") as image:
            assert (
                image.format == "PNG"
                and not image.info
                and image.getpixel((9, 9)) == ImageColor.getrgb(colour)
            )
    # Without pictures its thumbnail stands there; without a thumbnail, a trigger or a base there is less to say.
    bare = replace(card, thumbnail=None, trigger="", licence="for friends: ask", family="starter")
    data = model_card(bare, "Ink", ())
    assert list(data) == ["README.md"]
    (tmp_path / "README.md").write_bytes(data["README.md"])
    said = ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert (said["license"], said["license_name"]) == ("other", "for-friends-ask")
    assert not said.keys() & {"widget", "instance_prompt", "base_model"}
    alone = export_style(style, tmp_path / "alone", ExportOrder("hub")).paths[0]
    assert (alone / "images" / "1.png").is_file()


def png(colour: str) -> bytes:
    """A picture that tells more than its pixels."""
    info = PngInfo()
    info.add_text("parameters", "SECRET")
    out = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def test_nothing_private_leaves_unless_the_artist_says_so(style: Style, tmp_path: Path) -> None:
    def told(name: str, sharing: Sharing, form: str = "file") -> tuple[bytes, dict[str, str]]:
        done = export_style(style, tmp_path / name, ExportOrder(form, side_files=True, sharing=sharing))
        files = [one for one in (tmp_path / name).rglob("*") if one.is_file()]
        weights = next(one for one in files if one.suffix == ".safetensors")
        with safe_open(weights, "pt") as file:
            metadata = file.metadata()
        shown = {row.key.split(":")[0] for row in done.shown if row.where.endswith(weights.name)}
        assert metadata.keys() <= shown  # every entry was listed
        assert done.shown == what_others_will_see(style, ExportOrder(form, side_files=True, sharing=sharing))
        # What is private is marked, and only that tells a secret.
        secret = {row.key for row in done.shown if "SECRET" in row.value}
        assert secret <= {row.key for row in done.shown if row.private}
        return b"".join(one.read_bytes() for one in files), metadata

    for form in ("file", "hub"):
        data, metadata = told(f"nothing {form}", Sharing(), form)
        assert b"SECRET" not in data and b"1700000000" not in data
        assert "modelspec.date" not in metadata and json.loads(metadata["atelier_card"])["base_fingerprint"]
    for name in ("captions", "names", "dates"):
        data, metadata = told(name, Sharing(**{name: True}))
        groups = {group for group, keys in SECRETS.items() if keys.items() & metadata.items()}
        assert groups == {name} and b"SECRET" in data
    _, metadata = told("all", Sharing(True, True, True))
    assert SECRETS["both"].keys() <= metadata.keys() and not SECRETS["never"].keys() & metadata.keys()
    assert "SECRET-photo" in metadata["ss_sd_model_name"]
    own = ExportOrder(sharing=Sharing(captions=True), captions={"a wet cat": 2})
    row = next(row for row in what_others_will_see(style, own) if row.key == "ss_tag_frequency")
    assert json.loads(row.value) == {"Ink_Łódź_墨": {"a wet cat": 2}} and row.private
    shy = replace(own, sharing=Sharing())
    assert "wet cat" not in str(what_others_will_see(style, shy))


def test_side_files_say_what_a1111_and_invokeai_read(style: Style, tmp_path: Path) -> None:
    done = export_style(style, tmp_path, ExportOrder(side_files=True))
    endings = (".safetensors", ".json", ".png")
    assert [path.name for path in done.paths] == [f"Ink_Łódź_墨{ending}" for ending in endings]
    side = json.loads(done.paths[1].read_text("utf-8"))
    assert side == {
        "description": "Wet ink.",
        "sd version": "SD1",
        "activation text": "inkwash, wet",
        "preferred weight": 0.8,
        "negative text": "",
        "notes": "By Ana. Licence: CC-BY-4.0. I made the artworks myself. Made for Stable Diffusion 1.",
    }
    with Image.open(done.paths[2]) as image:
        assert image.size == (256, 256) and image.format == "PNG" and not image.info


def test_nothing_is_written_over(style: Style, tmp_path: Path) -> None:
    (tmp_path / "INK_łódź_墨.png").write_bytes(b"mine")
    done = export_style(style, tmp_path, ExportOrder(side_files=True))
    assert {path.stem for path in done.paths} == {"Ink_Łódź_墨-2"} and done.tag == "<lora:Ink_Łódź_墨-2:0.8>"
    assert export_style(style, tmp_path).paths[0].name == "Ink_Łódź_墨.safetensors"
    assert export_style(style, tmp_path).paths[0].name == "Ink_Łódź_墨-3.safetensors"
    assert (tmp_path / "INK_łódź_墨.png").read_bytes() == b"mine"
    with safe_open(done.paths[0], "pt") as file:
        assert file.metadata()["ss_output_name"] == "Ink_Łódź_墨-2"
    with pytest.raises(BadInput, match="is not a folder"):
        export_style(style, done.paths[0])
    with pytest.raises(BadInput, match="no form"):
        ExportOrder("zip")


def test_a_failed_export_leaves_nothing(
    style: Style, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = replace(style, layers=(replace(style.layers[0], up=style.layers[0].up * 1.1), *style.layers[1:]))
    with pytest.raises(Failure, match=re.escape(style.layers[0].name)):
        compare(style, worse)
    with pytest.raises(Failure, match="1 layers are missing"):
        compare(style, replace(style, layers=style.layers[1:]))
    assert compare(style, style) < 1e-6

    def damaged(path: Path) -> Style:
        return worse

    with monkeypatch.context() as patch:
        patch.setattr("styles.library.export.read_style", damaged)
        with pytest.raises(Failure, match="doesn't read back"):
            export_style(style, tmp_path / "new", ExportOrder(side_files=True))
    assert not list((tmp_path / "new").iterdir())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError):
        export_style(style, tmp_path / "new", ExportOrder("hub", side_files=True))
    assert not list((tmp_path / "new").iterdir())


def test_a_folder_that_can_not_be_used_is_refused(style: Style, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "in it", tmp_path / ("long" * 90), Path("/proc/x")):
        with pytest.raises(BadInput, match=re.escape(str(folder))):
            export_style(style, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_the_artist_should_know_is_told(style: Style, tmp_path: Path) -> None:
    assert any("different alphas" in note for note in export_style(style, tmp_path).notes)
    record = BakeRecord("exact", 0.0, (), (Parent("Chalk", "a" * 64, 1.0, "Bo", "CC-BY-ND-4.0"),))
    bare = replace(style.card, licence="", rights="", bake=record)
    words = {"<s1>": torch.zeros(1, 768)}
    notes = " ".join(export_style(replace(style, card=bare, embeddings=words), tmp_path).notes)
    assert "no licence" in notes and "forbids to share" in notes and "<s1>" in notes


@pytest.mark.parametrize(
    ("order", "words_in"),
    [
        (ExportOrder(), []),
        (ExportOrder(words_apart=True, side_files=True), ["s1.safetensors", "v1.5_ink.safetensors"]),
        (ExportOrder("hub"), ["s1.safetensors", "v1.5_ink.safetensors"]),
    ],
)
def test_words_leave_in_the_file_or_beside_it(
    style: Style, pipe: Any, tmp_path: Path, order: ExportOrder, words_in: list[str]
) -> None:
    words = {"<s1>": torch.randn(3, 768), "v1.5 ink": torch.randn(768).half().float()[None]}
    style = replace(style, embeddings=words)
    done = export_style(style, tmp_path, replace(order, name="Ink"))
    hub = order.form == "hub"
    back = dict(
        read_style(done.paths[0] / "pytorch_lora_weights.safetensors" if hub else done.paths[0]).embeddings
    )
    assert bool(back) is not bool(words_in)
    apart = tmp_path / "Ink-words"
    assert sorted(path.name for path in apart.glob("*")) == words_in
    for path in apart.glob("*"):
        assert apart in done.paths
        back |= read_style(path).embeddings
    assert back.keys() == words.keys() and all(torch.equal(back[word], words[word]) for word in words)
    seen = {(one.where, one.value) for one in done.shown if one.key == "words"}
    assert len(seen) == (len(words_in) or 1) and all("s1" in value or "ink" in value for _, value in seen)
    assert any("<s1>, v1.5 ink" in note and ("Ink-words" in note) is bool(words_in) for note in done.notes)
    # Where another name or file of the same export stands already, it gets a number with all that belongs to it.
    again = export_style(style, tmp_path, replace(order, name="Ink"))
    assert again.paths[0].name.startswith("Ink-2") and not {*again.paths} & {*done.paths}
    opens = {one.tool: one.opens for one in done.opens}
    if order == ExportOrder():
        assert opens["A1111"] == "yes" and opens["ComfyUI"] == "partly" and opens["diffusers"] == "no"
        with pytest.raises(ValueError):
            pipe.load_lora_weights(tmp_path, weight_name="Ink.safetensors", use_safetensors=True)
        damaged = replace(style, embeddings=words | {"<s1>": words["<s1>"] + 1e-7})
        with pytest.raises(Failure, match="words are not the same"):
            compare(damaged, read_style(done.paths[0]))
        with pytest.raises(Failure, match="words are not the same"):
            compare(replace(style, embeddings={}), read_style(done.paths[0]))
    elif order.form == "file":
        assert opens["diffusers"] == opens["A1111"] == "yes"
        rows = pipe.text_encoder.get_input_embeddings().weight
        pipe.load_textual_inversion(str(apart / "s1.safetensors"))
        rows = pipe.text_encoder.get_input_embeddings().weight
        number = pipe.tokenizer.convert_tokens_to_ids("<s1>")
        assert torch.allclose(rows[number : number + 3].float(), words["<s1>"], atol=1e-6)
        pipe.unload_textual_inversion()


@pytest.mark.parametrize("apart", [False, True])
def test_words_for_two_text_encoders_leave_with_their_names(
    style: Style, tmp_path: Path, apart: bool
) -> None:
    words = {"<s1>": torch.randn(3, 2048), "墨": torch.randn(1, 2048)}
    to_k = random_layer(
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_k", torch.nn.Linear(2048, 64), 4, 4.0
    )
    card = replace(style.card, family="sdxl")
    done = export_style(Style(card, (to_k,), words), tmp_path, ExportOrder(name="Ink", words_apart=apart))
    back = dict(read_style(done.paths[0]).embeddings)
    for path in (tmp_path / "Ink-words").glob("*"):
        assert set(load_file(path)) == {"clip_l", "clip_g"}
        back |= read_style(path).embeddings
    assert back.keys() == words.keys() and all(torch.equal(back[word], words[word]) for word in words)
    shown = [one.value for one in done.shown if one.key == "words"]
    assert shown == (["<s1>", "墨"] if apart else ["<s1>, 墨"]) and not any(one.private for one in done.shown)
    opens = {one.tool: one.opens for one in done.opens}
    assert opens["A1111"] == "yes" and opens["diffusers"] == ("yes" if apart else "no")


def test_words_without_layers_are_handed_on_as_they_are(style: Style, tmp_path: Path) -> None:
    path = tmp_path / "s1.safetensors"
    path.write_bytes(word_file("<s1>", torch.randn(2, 768)))
    for form in ("file", "hub"):
        with pytest.raises(StyleFileError, match="words for prompts alone") as refused:
            export_style(read_style(path), tmp_path / "out", ExportOrder(form))
        assert str(path) in refused.value.hint and not list((tmp_path / "out").glob("*"))


def test_one_alpha_changes_nothing_that_a_style_does() -> None:
    torch.manual_seed(0)
    layer = random_layer(
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_k", torch.nn.Linear(20, 10), 3, 3.0
    )
    many = [
        layer,
        layer,
        replace(layer, alpha=1.0),
        replace(layer, alpha=-7.0),
        replace(layer, alpha=0.1),
        replace(layer, alpha=9e5),
        replace(layer, up=layer.up * 0, alpha=5.0),
        replace(layer, alpha=0.0),
        replace(layer, network="te", alpha=4.0),
    ]
    even = even_alphas(many)
    for before, after in zip(many, even, strict=True):
        assert (delta(before) - delta(after)).norm() <= 1e-6 * delta(before).norm()
        halves = replace(after, down=after.down.half(), up=after.up.half())
        assert (delta(before) - delta(halves)).norm() <= 2.0**-11 * 1.5 * delta(before).norm()
    assert {layer.alpha for layer in even[:8]} == {3.0} and even[8].alpha == 4.0
    assert even[0] is many[0]
    tiny = replace(layer, alpha=1e-6)
    assert even_alphas([layer, layer, tiny])[2] is tiny  # fp16 would lose its digits
    huge = replace(layer, down=layer.down * 1e5, up=layer.up * 1e3)
    # Its numbers are at their end.
    assert even_alphas([layer, layer, replace(huge, alpha=1.0)])[2].alpha == 1.0
    spoilt = replace(layer, up=layer.up * float("nan"))
    assert even_alphas([spoilt])[0] is spoilt  # and refused where it is written
    for odd in (huge, replace(layer, up=layer.up * 1e-5), replace(layer, down=layer.down * 1e-5)):
        (fit,) = even_alphas([odd])
        assert torch.equal(delta(fit), delta(odd))  # a power of two rounds nothing
        halves = replace(fit, down=fit.down.half(), up=fit.up.half())
        assert (delta(odd) - delta(halves)).norm() <= 2.0**-11 * 2 * delta(odd).norm()


def test_a_layer_that_was_hardly_trained_is_exported(tmp_path: Path, style: Style) -> None:
    first, *rest = (replace(layer, alpha=4.0) for layer in style.layers)
    hardly = replace(
        style, layers=(replace(first, down=first.down.float(), up=first.up.float() * 3e-7), *rest)
    )
    for form in ("file", "hub"):
        done = export_style(hardly, tmp_path / form, ExportOrder(form))
        assert done.difference < 2.0**-10 and not any("alphas" in note for note in done.notes)
    odd = replace(style, layers=(replace(first, alpha=first.alpha * 2), *rest))
    told = {form: export_style(odd, tmp_path / form, ExportOrder(form)).notes for form in ("file", "hub")}
    assert [any("alphas" in note for note in notes) for notes in told.values()] == [True, False]


def test_a_picture_is_turned_as_its_camera_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture = Image.new("RGB", (256, 256), "blue")
    picture.paste("red", (0, 0, 256, 128))
    out = io.BytesIO()
    picture.save(out, "JPEG", exif=exif)
    with Image.open(out) as image, Image.open(io.BytesIO(thumbnail_jpeg(image))) as small:
        red, _, blue = small.getpixel((128, 20))
        assert blue > 200 and red < 60 and not small.getexif()


@pytest.mark.parametrize(
    ("name", "file", "said_elsewhere"),
    [
        ("ochre dabs", "ochre_dabs", True),
        ("a__b (2)", "a_b_2", True),
        ("墨 と Łódź", "墨_と_Łódź", False),
        ("Été", "Été", False),
        ("none", "my_none", True),
    ],
)
def test_an_export_keeps_its_name_and_is_found_by_it(
    style: Style, tmp_path: Path, name: str, file: str, said_elsewhere: bool
) -> None:
    named = replace(style, card=replace(style.card, name=name))
    done = export_style(named, tmp_path)
    assert done.paths[0].stem == file and done.tag == f"<lora:{file}:0.8>"
    assert any("can't say its name" in note for note in done.notes) is not said_elsewhere
    assert any("<lora:NAME:1>" in reason for one in done.opens for reason in one.reasons) is False
    library = Library(Home(tmp_path / "home").create())
    library.add(named)
    assert library.find(file).name == library.find(tag_name(name, name)).name == name


def test_other_programs_read_trigger_and_weight_in_it_and_no_caption(style: Style, tmp_path: Path) -> None:
    """The managers of ComfyUI read `ss_tag_frequency` alone, SwarmUI `lora_default_weight`."""
    skipping = replace(style, card=replace(style.card, training={"clip_skip": 2}))
    done = export_style(skipping, tmp_path)
    with safe_open(done.paths[0], "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["ss_tag_frequency"]) == {"trigger": {"inkwash": 1, "wet": 1}}
    assert metadata["modelspec.lora_default_weight"] == "0.8" and metadata["ss_clip_skip"] == "2"
    (row,) = (row for row in done.shown if row.key == "ss_tag_frequency")
    assert row.kind == "card" and not row.private
    # Read by their names alone, as in a file of another program.
    del metadata["atelier_card"]
    texts = card_texts(metadata, "x")
    assert (texts["trigger"], texts["suggested_weight"]) == ("inkwash, wet", 0.8)
    assert texts["training"]["clip_skip"] == 2
    # It follows an edit, unlike counts of captions.
    edit_card(done.paths[0], {"trigger": "pen"})
    with safe_open(done.paths[0], "pt") as file:
        assert json.loads(file.metadata()["ss_tag_frequency"]) == {"trigger": {"pen": 1}}
    edit_card(done.paths[0], {"trigger": ""})
    with safe_open(done.paths[0], "pt") as file:
        assert "ss_tag_frequency" not in file.metadata()
