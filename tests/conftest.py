"""Fixtures that several packages' tests share."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from styles.devices.threads import wait_passively
from tests.slow import mark_slow

gc.disable()  # until all tests are collected: what they import is no garbage
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may depend on the network
os.environ["LANGUAGE"] = "en"  # the tests read English, whatever the system speaks
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
wait_passively()  # before torch is imported
# A number of its own for each worker, which else would wait for each other's threads; and a fixed one, so that trainings
# give the same bits however busy the machine is.
workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

# Two workers take file after file: what takes longest comes first, so that neither waits for it in the end.
LONGEST = (
    "test_learning.py",
    "test_pretend.py",
    "test_sdxl.py",
    "test_train.py",
    "test_starter_build.py",
    "test_process.py",
    "test_demo.py",
    "test_house.py",
)

MODULES_FROZEN = pytest.StashKey[int]()
REPOSITORY = Path(__file__).resolve().parent.parent
STARTER = REPOSITORY / "styles" / "starter"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="", help="where the tests of a device run, such as cuda:0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))
    mark_slow(items)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave what was imported out of every later look for garbage: with it, each takes a third of a second.

    Each training and each base that is given back looks for garbage, hundreds of times in all.
    """
    if len(sys.modules) > item.config.stash.get(MODULES_FROZEN, 0) + 50:
        item.config.stash[MODULES_FROZEN] = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random base of family `starter`."""
    from tests.tiny import tiny_base_folder

    return tiny_base_folder(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def tiny_sd1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random base of family `sd1` (epsilon, width 768)."""
    from tests.tiny import tiny_base_folder

    return tiny_base_folder(tmp_path_factory.mktemp("bases") / "tiny-sd1", "sd1")


@pytest.fixture(scope="session")
def tiny_sd2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random base of family `sd2` (v-prediction, width 1024)."""
    from tests.tiny import tiny_base_folder

    return tiny_base_folder(
        tmp_path_factory.mktemp("bases") / "tiny-sd2", "sd2", prediction_type="v_prediction"
    )


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random base of family `sdxl` (epsilon, width 2048, two text encoders)."""
    from tests.tiny import tiny_base_folder

    return tiny_base_folder(tmp_path_factory.mktemp("bases") / "tiny-sdxl", "sdxl")


@pytest.fixture(scope="session")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of a twin of each distilled base, and of the whole ones that they were made from."""
    from tests.styles.distilled import DISTILLED, WHOLE, small_structure
    from tests.tiny import tiny_base_folder

    root = tmp_path_factory.mktemp("distilled")
    return {
        kind: tiny_base_folder(root / kind, family, unet_config=config)
        for kind, (family, config) in (WHOLE | {kind: small_structure(kind) for kind in DISTILLED}).items()
    }


@pytest.fixture
def home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, also set as ATELIER_HOME."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ATELIER_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def starter() -> Path:
    """The starter model's folder; skips while it is not there."""
    if not (STARTER / "model_index.json").is_file():
        pytest.skip("the starter model is not there")
    return STARTER
