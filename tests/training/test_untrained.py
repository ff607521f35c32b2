"""What a training leaves as it is of the style that it goes on from: read with, and there again in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from styles.bases.base import Base, open_base
from styles.errors import PlanError
from styles.formats.reader import read_style
from styles.formats.style import Style, StyleCard
from styles.generation.prompts import encode_prompts
from styles.library.library import Library
from styles.mixing.model_patcher import blended
from styles.mixing.prompt_words import vocabulary
from styles.storage.home import Home
from tests.styles.painting import style_for, wording_style
from training import encode
from training.events import CheckpointSaved, Finished
from training.job import Job
from training.loop import train


@pytest.fixture(scope="module")
def bases(tiny_sd1: Path, tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Base]:
    home = Home(tmp_path_factory.mktemp("home"))
    return {
        "sd1": open_base(tiny_sd1, home, device="cpu"),
        "sdxl": open_base(tiny_sdxl, home, device="cpu"),
    }


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_text_encoders_and_words_are_read_with_and_kept(
    family: str, bases: dict[str, Base], make_job: Callable[..., Job]
) -> None:
    base = bases[family]
    width = sum(encoder.config.hidden_size for encoder in base.text_encoders)
    layers = style_for(base, 1).layers + wording_style(base, 2).layers
    words = {"<s1>": torch.randn(2, width)}
    job = make_job(Path("unused"), family)
    library = Library(job.home)
    begun = library.open(library.add(Style(StyleCard("Ink", family, 2), layers, words)).name)

    job = make_job(
        Path("unused"), family, name="Ink more", continue_from=begun.id, steps=2, preview_every=0,
        trigger="<s1>", checkpoint_every=1,
    )  # fmt: skip
    events = train(job, base=base)
    for event in events:
        if isinstance(event, CheckpointSaved):
            break
    library.delete(begun.id)  # the job holds all that it needs
    prepared = encode.load(job).captions
    texts = ["", *(artwork.caption for artwork in job.artworks())]
    of_words = vocabulary(base, [(begun.id, begun)])
    encoders = tuple(layer for layer in begun.layers if layer.network != "unet")
    with blended(base, [replace(begun, layers=encoders)]) as mix:
        mix.set_gains([1.0])
        wanted = [encode_prompts(base, [text], [of_words]) for text in texts]
    for row, conditioning in enumerate(wanted):
        torch.testing.assert_close(prepared.states[row], conditioning.states[0])
        if conditioning.pooled is not None and prepared.pooled is not None:
            torch.testing.assert_close(prepared.pooled[row], conditioning.pooled[0])
    assert not torch.allclose(prepared.states[1], encode_prompts(base, [texts[1]]).states[0], atol=1e-3)

    (done,) = [event for event in events if isinstance(event, Finished)]
    style = read_style(Path(done.style_path))
    kept = [layer for layer in style.layers if layer.network != "unet"]
    assert [layer.name for layer in kept] == [layer.name for layer in encoders]
    for layer, old in zip(kept, encoders, strict=True):
        assert layer.alpha == old.alpha and torch.equal(layer.up, old.up)
        assert torch.equal(layer.down, old.down)
    assert style.embeddings.keys() == words.keys() and torch.equal(style.embeddings["<s1>"], words["<s1>"])
    assert {layer.name for layer in layers} <= {layer.name for layer in style.layers}
    assert style.card.tokens == ("<s1>",) and style.card.layers.keys() == {layer.network for layer in layers}


def test_a_style_of_text_encoders_alone_is_nothing_to_go_on_from(
    bases: dict[str, Base], make_job: Callable[..., Job]
) -> None:
    base = bases["sdxl"]
    job = make_job(Path("unused"), "sdxl")
    begun = Library(job.home).add(replace(wording_style(base, 2), card=StyleCard("Words", "sdxl", 2)))
    job = make_job(Path("unused"), "sdxl", name="more", continue_from=begun.id)
    with pytest.raises(PlanError, match="Words changes no layer of the UNet"):
        list(train(job, base=base))
