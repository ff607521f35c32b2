"""What `train --dry-run` shows, and `--like` with the settings of another trainer; nothing is trained here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.app.conftest import Atelier


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as kohya's trainers have it, with a mask and a panorama."""
    for name in ("img/10_ink/0.png", "img/10_ink/1.png", "img/1_other/2.png", "reg/1_x/3.png"):
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 60 + int(path.stem)).convert("RGB").save(path)
    folder = tmp_path / "project" / "img" / "10_ink"
    (folder / "0.caption").write_text("a red house", encoding="utf-8")
    Image.new("L", (64, 64), 255).save(folder / "1-masklabel.png")
    Image.effect_noise((640, 64), 60).save(tmp_path / "project" / "img" / "1_other" / "wide.png")
    return tmp_path / "project"


def test_a_dry_run_shows_what_would_be_trained_on_and_trains_nothing(
    project: Path, tmp_path: Path, tiny_base: Path, atelier: Callable[[Path], Atelier]
) -> None:
    run = atelier(tmp_path / "home")
    command = ("train", "Ink", project, "--base", tiny_base, "--resolution", "64", "--dry-run")
    told = run(*command)
    assert told.code == 0
    for words in (
        "4 artworks, 1 caption. 1 has a mask.",
        "0.png: 64 x 64 px, seen as 64 x 64, 10 times, “ink, a red house”",
        "with the mask 1-masklabel.png, without a caption: “ink”",
        "of it is cut off, at the sides",
        "1 regularisation picture is left out: “project/reg/1_x”.",
        "“10_ink”: 10 times",
        "Rank, 1 to 128: ",
        "Nothing was trained.",
    ):
        assert words in told.out, words
    facts = run(*command, "--json").json
    assert [one["repeats"] for one in facts["artworks"]] == [1, 1, 10, 10] and facts["captions"] == 1
    assert facts["plan"]["trigger"] == "ink" and any("regularisation" in note for note in facts["notes"])
    jobs = tmp_path / "home" / "jobs"
    assert not jobs.exists() or not list(jobs.iterdir())


def test_settings_of_another_trainer_are_taken_over_and_what_is_given_beside_counts_more(
    project: Path, tmp_path: Path, tiny_base: Path, atelier: Callable[[Path], Atelier]
) -> None:
    file = tmp_path / "kohya.json"
    settings = {
        "pretrained_model_name_or_path": "D:/gone.safetensors", "network_dim": 4, "network_alpha": 2, "unet_lr": 0.0003,
        "train_batch_size": 2, "epoch": 2, "max_resolution": "64,64", "keep_tokens": 1, "optimizer": "AdamW",
        "sample_prompts": "a hill --n dark", "output_dir": "x",
    }  # fmt: skip
    file.write_text(json.dumps(settings), encoding="utf-8")
    run = atelier(tmp_path / "home")
    told = run(
        "train", "Ink", project, "--base", tiny_base, "--like", file, "--rank", "3", "--dry-run", "--json",
        "--preview-negative", "grey",
    )  # fmt: skip
    plan = told.json["plan"]
    # 10 + 10 + 1 + 1 pictures, two at a time, twice.
    assert (plan["steps"], plan["rank"], plan["alpha"], plan["batch"]) == (22, 3, 2.0, 2)
    assert plan["preview_prompts"] == ["a hill"] and plan["preview_negative"] == "grey"
    assert plan["base"] == str(tiny_base) and plan["learning_rate"] == 0.0003
    for words in (
        "Settings of kohya_ss",
        "2 epochs of 22 pictures",
        "keep_tokens = 1",
        "D:/gone",
        "output_dir",
    ):
        assert words in told.err, words
    own = run("train", "Ink", project, "--base", tiny_base, "--preview-prompt", "a", "--preview-prompt", "b", "--dry-run", "--json")  # fmt: skip
    assert own.json["plan"]["preview_prompts"] == ["a", "b"]
    refused = run(
        "train", "Ink", project, "--base", tiny_base, "--like", project / "img/10_ink/0.caption", "--dry-run"
    )
    assert refused.code == 2 and "0.caption" in refused.err
