"""Baking in the Library: it tells that it works, and can be stopped from the page that began it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.studio import Studio
from app.window.library.baking import baked
from app.window.server.stops import Stops
from styles.bases.base import open_base
from styles.storage.home import Home
from tests.styles.painting import style_for


def test_a_bake_is_stopped_by_its_own_page(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(Home(tmp_path / "home").create())
    base = open_base(tiny_base, studio.home, device="cpu")
    handles = []
    for number, name in enumerate(("Ink", "Oil")):
        style = style_for(base, number)
        handles.append(
            studio.library.handle(studio.library.add(replace(style, card=replace(style.card, name=name))))
        )
    stops = Stops()

    def begun() -> Any:
        return baked(studio, stops, "mine", lambda: 1, handles, "Both", 0, 0.5, 0.5, agreed=False)

    baking, before, whole = begun(), len(studio.library.cards()), studio.bake
    assert next(baking)[-1]["visible"], "the button that stops it"

    def stopped_meanwhile(*given: Any, **how: Any) -> Any:
        stops.stop("mine")
        return whole(*given, **how)

    monkeypatch.setattr(studio, "bake", stopped_meanwhile)
    assert next(baking)[2].startswith("Stopped after 0 of") and not list(baking)
    assert len(studio.library.cards()) == before
    monkeypatch.undo()
    assert list(begun())[-1][2].startswith("Both is in the library")


def test_only_what_the_page_has_begun_is_stopped() -> None:
    stops = Stops()
    stops.stop("mine")
    with stops.begun("mine") as cancelled, stops.begun("other") as others:
        stops.stop("mine")
        assert cancelled() and not others()
    with stops.begun("mine") as cancelled:
        assert not cancelled()
