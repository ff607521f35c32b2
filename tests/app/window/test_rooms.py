"""The parts of the app that need no browser and no model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from app.create.base_session import prompt_with_triggers
from app.create.contact_sheet import SheetRow, draw_sheet
from app.orders import PictureOrder
from app.settings import Settings
from app.train.progress import Progress, words_for_seconds
from app.train.trainings import suggested_trigger
from styles.bases.base_settings import BaseSettings
from styles.bases.shelf import BaseEntry
from styles.errors import BadInput, BlendError, SettingsError
from styles.formats.style import StyleCard
from styles.generation.settings import PictureSettings
from styles.library.import_card import ImportCard
from styles.library.library import Vanished
from styles.library.privacy_report import PrivacyEntry
from styles.quantization.quantization import OFFERED
from styles.storage.home import Home
from styles.text import Text
from training.events import Failed, Finished, Paused, PhaseStarted, PreviewReady, RolledBack, StepDone


def test_progress_folds_the_journal() -> None:
    progress = Progress()
    for event in (
        PhaseStarted("latents", 2, 5),
        StepDone(5, 20, 0.5, 1e-3, 1.0, 3.0),
        StepDone(10, 20, 0.4, 1e-3, 2.0, 2.0),
        PreviewReady(10, ("a.png",), ("a house",)),
        RolledBack(10, 5, 0.5, "the loss was no number"),
    ):
        progress = progress.after(event)
    assert progress.step == 5 and progress.losses == ((5, 0.5),)
    assert progress.warnings and not progress.ended
    assert progress.after(Paused(5)).ended
    resumed = progress.after(Paused(5)).after(PhaseStarted("base"))
    assert not resumed.ended and resumed.losses == progress.losses
    assert progress.after(Failed("x", "y")).after(PhaseStarted("base")).failed is None
    finished = progress.after(Finished(20, "a.safetensors", "id", "a", 4.0))
    assert finished.ended and finished.phase == "Finished"


@pytest.mark.parametrize(
    ("seconds", "words"), [(4, "4 s"), (32, "30 s"), (90, "2 min"), (3900, "1 h 05 min")]
)
def test_times_are_told_as_people_tell_them(seconds: float, words: str) -> None:
    assert words_for_seconds(seconds) == words


def test_settings_survive_and_odd_ones_are_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert Settings.load(home) == Settings()
    Settings(safety_checker=False, device="cpu").save(home)
    assert Settings.load(home) == Settings(safety_checker=False, device="cpu")
    Settings.path(home).write_text('{"device": "abacus"}', encoding="utf-8")
    with pytest.raises(SettingsError, match="abacus"):
        Settings.load(home)
    Settings.path(home).write_text("{", encoding="utf-8")
    with pytest.raises(SettingsError, match="can't be read"):
        Settings.load(home)


def test_orders_are_checked_before_anything_loads() -> None:
    for odd in (
        {"width_px": 65},
        {"count": 0},
        {"seed": -1},
        {"guidance": float("nan")},
        {"sampler": "magic"},
    ):
        with pytest.raises(BadInput):
            PictureSettings(**odd)
    for weight in (float("nan"), float("inf"), 99.0):
        with pytest.raises(BlendError):
            PictureOrder("a house", weights=(("Rings", weight),))


def test_trigger_words_are_added_once_and_only_for_positive_weights() -> None:
    rings, dots = (StyleCard(name, "starter", 4, trigger=name) for name in ("rings", "dots"))
    assert prompt_with_triggers("a house", [(rings, 1.0), (dots, 0.5)]) == "rings, dots, a house"
    assert prompt_with_triggers("Rings on a house", [(rings, 1.0)]) == "Rings on a house"
    assert prompt_with_triggers("a house", [(rings, 0.0), (dots, -1.0)]) == "a house"
    assert suggested_trigger("Ink wash, no. 2") == "inkwashno2"


def test_a_sheet_holds_every_picture_whole() -> None:
    pictures = tuple(Image.new("RGB", size, "red") for size in ((40, 20), (20, 40)))
    sheet = draw_sheet("Title", ["first", "second"], [SheetRow("row", pictures)], cell_px=100)
    red = sum(count for count, colour in sheet.getcolors(1 << 20) or [] if colour == (255, 0, 0))
    assert red == 2 * 100 * 50


def test_a_style_says_over_what_it_was_trained() -> None:
    from app.library.drawing import style_facts

    card = StyleCard("Ink", "starter", 4, base_name="starter", training={"quantize": "nf4"})
    assert "starter in four bits as NF4" in style_facts(card)


def test_nothing_from_a_style_file_becomes_html() -> None:
    from app.library.drawing import import_card, seen_list, style_facts, style_head, style_tile, vanished_list
    from app.train.drawing import progress_card
    from app.window.settings.base_cards import base_list

    evil = "<img src=x onerror=alert(1)>"
    card = StyleCard(
        evil, "starter", 4, trigger=evil, author=evil, description=evil, problems=(evil,), tags=(evil,), tokens=(evil,),
        training={"artworks": evil}, path=Path(evil), rights=evil, licence=evil, kind=evil,
    )  # fmt: skip
    base = BaseEntry(evil, evil, evil, True, False, vae=evil, notes=(Text.as_it_is(evil),))
    gone = replace(base, problem=Text.as_it_is(evil))
    offered = ImportCard(Path(evil), card, changes=(("other parts", 1),))
    for drawn in (
        style_tile(card, evil, tags=[evil]),
        style_head(card),
        style_facts(card),
        import_card(1, offered, ""),
        import_card(1, offered, evil),
        import_card(1, replace(offered, card=None), evil),
        seen_list(
            [PrivacyEntry(evil, evil, evil, "captions", 1), PrivacyEntry("another", evil, evil, "file", 1)]
        ),
        base_list([base, gone], {evil: BaseSettings(vae=Path(evil))}, {evil: dict.fromkeys(OFFERED, 1.0)}),
        vanished_list([Vanished(evil, Path(evil), "", "2026")]),
    ):
        assert "<img src=x" not in drawn and "&lt;img" in drawn
    assert "<img src=x" not in progress_card(Progress(phase=evil, warnings=(evil,)), evil)
