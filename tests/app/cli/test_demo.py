"""The demonstration, on a tiny base with artworks of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from app.cli.demo import DemoPlan, run_demo
from app.studio import Studio
from styles.formats.reader import read_card
from styles.storage.home import Home
from tests.app.conftest import Atelier, draw_artworks


def test_a_folder_that_is_none_is_told_before_anything_is_trained(
    tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    (tmp_path / "file").write_text("here", encoding="utf-8")
    told = atelier(tmp_path / "home")("demo", "--out", tmp_path / "file")
    assert told.code == 2 and "is no folder" in told.err
    assert not list((tmp_path / "home" / "jobs").iterdir())


@pytest.mark.slow
def test_the_demo_draws_a_sheet_and_leaves_two_styles(tmp_path: Path, tiny_base: Path) -> None:
    studio = Studio(Home(tmp_path / "home"))
    hands = [draw_artworks(tmp_path / name, 2) for name in ("rings", "hoops")]
    plan = DemoPlan(
        base=str(tiny_base), steps=2, resolution_px=64, picture_steps=2, prompts=("a house", "a cat")
    )
    said: list[str] = []
    report = run_demo(studio, tmp_path / "out", plan, say=said.append, hands=hands)
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report
    assert [read_card(tmp_path / "out" / f"{name}.safetensors").family for name in ("rings", "hoops")] == [
        "starter"
    ] * 2
    assert next(row["row"] for row in report["pictures"]) == "no style" and len(report["pictures"]) == 4
    assert all(len(row["files"]) == 2 for row in report["pictures"])
    with Image.open(report["sheet"]) as sheet:
        assert sheet.width > 400 and sheet.height > 800
    assert said
