"""What is done while nobody works, with the real starter on real files: hashes, and pictures for cards."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import styles.generation.generate
from app.library.idle import Idle
from app.studio import Studio
from styles.formats.reader import read_card
from styles.formats.style import Style
from styles.library.library import BUNDLED
from styles.storage.home import Home
from tests.app.mixing import lacking
from tests.styles.library_files import put
from training.job import Job
from training.plan import plan_for


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, starter: Path) -> Iterator[Studio]:
    """A studio with the starter open, and in its library a style for it without a picture."""
    studio = Studio(Home(tmp_path_factory.mktemp("idle") / "home"))
    shutil.copyfile(BUNDLED / "cyanotype.safetensors", studio.home.styles / "Blue.safetensors")
    studio.library.edit("Blue.safetensors", thumbnail=None)
    studio.base_session.warm("starter", studio.settings)
    yield studio
    studio.close()


@pytest.fixture
def idle(studio: Studio) -> Idle:
    """Its work, as another window would begin it."""
    return work(studio, slowest_step_seconds=3600)  # whatever else the machine does


def work(studio: Studio, slowest_step_seconds: float) -> Idle:
    return Idle(
        studio.base_session, studio.library, studio.trainings, lambda: studio.settings, slowest_step_seconds
    )


def once(idle: Idle) -> str:
    """Do one piece of work, after all hashes."""
    while (did := idle.once(quiet_seconds=0.0)) == "hashed":
        pass
    return did


def file_of_misfit(studio: Studio, style: Style) -> None:
    """A style of the starter's family, with a layer that the starter does not have."""
    layers = [replace(one, up=one.up.clone(), down=one.down.clone()) for one in lacking(style).layers[-1:]]
    studio.library.add(replace(style, card=replace(style.card, name="A misfit"), layers=tuple(layers)))


def unpictured(studio: Studio) -> list[str]:
    return [card.name for card in studio.library.unpictured()]


def test_it_waits_for_its_hour(studio: Studio, idle: Idle, artworks: Path) -> None:
    assert idle.once(quiet_seconds=3600) == "busy", "somebody has just had the base"
    with studio.base_session.opened("starter", studio.settings):
        assert idle.once(quiet_seconds=0.0) == "busy"
    job = Job.create(studio.home.jobs, plan_for("quick", "starter", 3, name="Rings"), [artworks])
    with job.held():
        assert idle.once(quiet_seconds=0.0) == "busy", "a training has the machine for itself"
    studio.change_settings(replace(studio.settings, idle_work=False))
    assert idle.once(quiet_seconds=0.0) == "off"
    studio.change_settings(replace(studio.settings, idle_work=True))
    assert unpictured(studio) == ["Blue"]


def test_it_gives_way_between_two_steps(studio: Studio, idle: Idle, monkeypatch: pytest.MonkeyPatch) -> None:
    real, artist = (
        styles.generation.generate.generate,
        threading.Thread(target=lambda: studio.base_session.put_away()),
    )

    def watched(*arguments: Any, **options: Any) -> Iterator[Any]:
        for event in real(*arguments, **options):
            yield event
            if not artist.is_alive() and not studio.base_session.wanted:
                artist.start()
                while not studio.base_session.wanted:
                    pass

    monkeypatch.setattr(styles.generation.generate, "generate", watched)
    assert once(idle) == "gave way"
    artist.join()
    assert unpictured(studio) == ["Blue"]
    assert once(idle) == "nothing", "no base is open, and none is opened for this"
    studio.base_session.warm("starter", studio.settings)


def test_a_base_whose_steps_are_slow_is_left_alone(studio: Studio) -> None:
    impatient = work(studio, slowest_step_seconds=0.0)
    assert [once(impatient), once(impatient)] == ["gave way", "nothing"]
    assert unpictured(studio) == ["Blue"]


@pytest.mark.slow
def test_it_hashes_and_paints_what_lacks_it(studio: Studio, idle: Idle) -> None:
    file = studio.home.styles / "Blue.safetensors"
    before = file.read_bytes()
    blue = studio.library.open("Blue.safetensors")
    put(studio.home.styles / "For another base.safetensors", 1, family="sd1")
    file_of_misfit(studio, blue)
    assert any(not card.id for card in studio.library.cards())
    assert [once(idle), once(idle)] == ["painted", "nothing"]
    assert all(card.id for card in studio.library.cards())
    assert unpictured(studio) == ["A misfit", "For another base"]
    assert file.read_bytes() == before
    picture = studio.library.find("Blue.safetensors").thumbnail
    assert picture is not None and read_card(file).thumbnail is None
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (256, 256) and max(high - low for low, high in image.getextrema()) > 60
