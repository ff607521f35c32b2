"""What is said when something odd happens: Ctrl+C, names full of HTML, a job or a picture that is gone, a proxy."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from app.cli.main import main
from app.create.painting import Notice, PaintingEvent
from app.create.recipe_styles import blend_again
from app.create.rendering import Rendering
from app.drawing import as_markdown
from app.orders import TrainingOrder
from app.studio import Studio
from styles.errors import Cancelled, UnknownStyleError
from styles.generation.recipe import Recipe
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from training.events import Finished
from training.settings import TrainingSettings


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """A studio over an empty home."""
    return Studio(Home(tmp_path / "home"))


def test_an_interrupted_command_says_so(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("styles.library.library.Library.look", interrupt)
    assert main(["styles", "list", "--home", str(studio.home.root), "--json"]) == Cancelled.exit_code
    answer = capfd.readouterr()
    assert '"Cancelled"' in answer.out and "Stopped." in answer.err


def test_what_goes_wrong_on_the_page_is_text_and_never_html(studio: Studio) -> None:
    import gradio

    from app.window.server.answers import answering

    @answering(studio, "testing")
    def find() -> None:
        studio.library.find("<b>bold</b>")

    with pytest.raises(gradio.Error) as raised:
        find()
    assert "&lt;b&gt;" in raised.value.message and "<b>" not in raised.value.message
    assert as_markdown("<b>*x*</b>") == r"\<b\>\*x\*\</b\>"


def test_a_page_lets_go_of_a_training_whose_folder_is_gone(studio: Studio) -> None:
    from app.window.train.watch import Watch, _look

    seen, *_ = _look(studio, Watch(job_id="20200101-000000 Gone", chosen=True))
    assert seen == Watch(blank=False)


def test_what_start_answered_goes_once_it_is_true_no_more(studio: Studio, tmp_path: Path) -> None:
    from app.window.train.watch import Watch, _look

    Image.new("RGB", (80, 80), "teal").save(tmp_path / "one.png")
    first, second = (
        studio.trainings.prepare(
            TrainingOrder(name=name, pictures=(tmp_path / "one.png",), settings=TrainingSettings(steps=1)),
            lambda: ("nowhere", "starter", "none"),
        )
        for name in ("Rings", "Dots")
    )
    studio.queue.hold()
    studio.queue.add(first)
    seen, *_ = _look(studio, Watch())
    studio.queue.add(second)
    seen, *_, answer = _look(studio, seen)
    assert answer != "", "it waits still"
    studio.queue.remove(first.folder.name)
    seen, *_, answer = _look(studio, seen)
    assert answer == ""
    with first.held():
        first.append(Finished(1, "a.safetensors", "id", "Rings", 1.0))
    *_, answer = _look(studio, replace(seen, job_id=first.folder.name))
    assert answer == ""


def test_the_gallery_leaves_out_what_is_still_being_written(studio: Studio) -> None:
    for name in ("a.png", ".b.part.png"):
        (studio.home.pictures / name).write_bytes(b"")
    (studio.home.pictures / "gone.png").symlink_to(studio.home.root / "nowhere.png")
    assert [path.name for path in studio.recent_pictures(9)] == ["a.png"]


def test_a_missing_style_is_told_by_the_name_in_the_picture(studio: Studio) -> None:
    style = "ab" * 32
    recipe = Recipe("a house", blend=Blend((BlendPart(style, 1.0),)), style_names=((style, "Ink wash"),))
    with pytest.raises(UnknownStyleError, match="Ink wash"):
        blend_again(recipe, studio.library)


def test_a_painting_can_be_stopped_and_waited_for() -> None:
    begun = threading.Event()

    def paint(cancelled: object) -> Iterator[PaintingEvent]:
        assert callable(cancelled)
        yield Notice("first")
        begun.set()
        while not cancelled():
            threading.Event().wait(0.01)
        raise Cancelled("Stopped.")

    rendering = Rendering(paint)
    assert begun.wait(300) and not rendering.wait(0)
    rendering.stop()
    assert rendering.wait(300) and rendering.stopped
    events = rendering.events()
    assert next(events) == Notice("first")
    with pytest.raises(Cancelled):
        next(events)


def test_a_proxy_is_kept_from_our_own_page_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.window.server.serving import _no_proxy_to_ourselves

    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with _no_proxy_to_ourselves():
        assert os.environ["no_proxy"].split(",") == ["example.org", "127.0.0.1", "localhost"]
    assert os.environ["no_proxy"] == "example.org"
