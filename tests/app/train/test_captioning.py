"""Captions by a model on this machine: found, asked in a process of its own, and never fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from app.train.captioning import Captioning
from app.train.draft import Draft
from app.train.looks import Grid
from styles.errors import BadInput
from styles.storage.home import Home
from training.artworks.captioner import captioners

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[DEC]",
    "[ENC]",
    "a",
    "red",
    "blue",
    "boat",
    "house",
    "sea",
]


def tiny_captioner(folder: Path) -> Path:
    """A random BLIP of a few thousand weights, which describes pictures in WORDS."""
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder.mkdir(parents=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = sizes | {
        "vocab_size": len(WORDS), "encoder_hidden_size": 16, "max_position_embeddings": 64, "bos_token_id": 5,
        "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0,
    }  # fmt: skip
    config = BlipConfig(text_config=text, vision_config=sizes | {"image_size": 32, "patch_size": 16})
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab_file=str(vocabulary))
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path / "home").create()


@pytest.fixture
def draft(home: Home, tmp_path: Path) -> Draft:
    """A draft of three pictures, one with a caption."""
    for name, colour in (("one.png", "teal"), ("two.png", "navy"), ("three.png", "olive")):
        Image.new("RGB", (70, 70), colour).save(tmp_path / name)
    (tmp_path / "two.txt").write_text("my own words", encoding="utf-8")
    draft = Draft(home)
    files = [tmp_path / name for name in ("one.png", "two.png", "three.png", "two.txt")]
    list(draft.add(files, Grid(64, 16)))
    return draft


def test_without_a_captioner_that_is_said(home: Home, draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.artworks.captioner._hub_cache", lambda: home.root / "no such cache")
    captioning = Captioning(home, draft)
    assert captioning.available() == []
    with pytest.raises(BadInput, match="no captioning model"):
        captioning.start()


def test_only_captioners_with_safe_weights_are_offered(home: Home, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    for place, kind, weights in (
        (
            cache / "models--ada--describes" / "snapshots" / "1",
            "BlipForConditionalGeneration",
            "model.safetensors",
        ),
        (
            cache / "models--ada--pickled" / "snapshots" / "1",
            "BlipForConditionalGeneration",
            "pytorch_model.bin",
        ),
        (cache / "models--ada--reads" / "snapshots" / "1", "VisionEncoderDecoderModel", "model.safetensors"),
        (home.root / "captioners" / "mine", "GitForCausalLM", "model.safetensors"),
    ):
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps({"architectures": [kind]}), encoding="utf-8")
        (place / weights).touch()
    assert [one.name for one in captioners(home, cache)] == ["mine", "ada/describes"]


@pytest.mark.slow
def test_what_has_no_caption_is_described_and_what_has_one_is_left(home: Home, draft: Draft) -> None:
    tiny_captioner(home.root / "captioners" / "tiny")
    captioning = Captioning(home, draft)
    captioning.start("tiny")
    assert captioning.progress.total == 2
    captioning._thread.join(300)  # type: ignore[union-attr]
    assert captioning.progress.problem == "" and captioning.progress.done == 2
    written = {artwork.name: artwork.caption for artwork in draft.artworks(Grid(64, 16))}
    assert written["two.png"] == "my own words"
    # Random weights may say nothing; what they say is of their words.
    assert set((written["one.png"] + " " + written["three.png"]).split()) <= set(WORDS)
    captioning.stop()


def test_a_captioner_that_can_not_be_opened_says_so(home: Home, draft: Draft) -> None:
    broken = home.root / "captioners" / "broken"
    broken.mkdir(parents=True)
    (broken / "config.json").write_text('{"architectures": ["GitForCausalLM"]}', encoding="utf-8")
    (broken / "model.safetensors").write_bytes(b"nothing")
    from training.artworks.captioner import describe

    with pytest.raises(BadInput, match="broken"):
        list(describe(broken, draft.paths()))
