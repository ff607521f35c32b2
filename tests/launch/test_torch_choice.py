"""The torch that fits: a pure choice, from recorded answers of nvidia-smi."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.setup.graphics_cards import AmdCards, read_amd_cards
from app.setup.torch_choice import (
    TORCH_VERSION,
    TorchChoice,
    choose_torch,
    next_choice,
    plain_choice,
    prove_on_card,
)
from tests.launch import recorded


@pytest.mark.parametrize(
    ("nvidia_smi", "build"),
    [
        (recorded.H200, "cu130"),
        (recorded.H100_OLDER_DRIVER, "cu126"),
        (recorded.LAPTOP_ADA, "cu130"),
        (recorded.BLACKWELL, "cu130"),
        (recorded.BLACKWELL_OLDER_DRIVER, "cpu"),
        (recorded.TURING, "cu130"),
        (recorded.TURING_OLDER_DRIVER, "cu126"),
        (recorded.VOLTA, "cu126"),
        (recorded.PASCAL, "cu126"),
        (recorded.MAXWELL, "cu126"),
        (recorded.KEPLER, "cpu"),
        (recorded.PASCAL_OLD_DRIVER, "cpu"),
        (recorded.PASCAL_AND_AMPERE, "cu126"),
        (recorded.PASCAL_AND_BLACKWELL, "cu130"),
        (recorded.TWO_ALIKE, "cu130"),
        (recorded.VIRTUAL_CARD, "cu130"),
        (recorded.COMMA_IN_NAME, "cu130"),
        (recorded.WINDOWS_LINES, "cu130"),
        (recorded.DRIVER_SILENT, "cpu"),
        (recorded.DRIVER_MISMATCH, "cpu"),
        (recorded.NO_DEVICES, "cpu"),
        (recorded.FIELD_UNKNOWN, "cpu"),
        (recorded.WSL_BLOCKED, "cpu"),
        (recorded.EMPTY, "cpu"),
        (None, "cpu"),
    ],
)
@pytest.mark.parametrize("system", ["Linux", "Windows"])
def test_the_build_follows_from_card_and_driver(nvidia_smi: str | None, build: str, system: str) -> None:
    choice = choose_torch(system, nvidia_smi)
    assert choice.build == build
    assert choice.uses_card == (build != "cpu")
    assert choice.words.endswith(".")
    _check_source(choice, system)


def _check_source(choice: TorchChoice, system: str) -> None:
    """A build that the ordinary index lacks names its index and its exact version."""
    ordinary = {"Linux": "cu130", "Windows": "cpu"}[system]
    if choice.build == ordinary:
        assert choice.index_url is None
        assert choice.requirement == f"torch=={TORCH_VERSION}"
    else:
        assert choice.index_url is not None and choice.index_url.endswith(f"/{choice.build}")
        assert choice.requirement == f"torch=={TORCH_VERSION}+{choice.build}"


def test_apple_takes_the_ordinary_build_and_says_so() -> None:
    choice = choose_torch("Darwin", None)
    assert (choice.build, choice.index_url) == ("mps", None)
    assert "Apple" in choice.words


@pytest.mark.parametrize(
    ("nvidia_smi", "told"),
    [
        (recorded.DRIVER_MISMATCH, "Restart"),
        (recorded.DRIVER_SILENT, "Reinstall or update"),
        (recorded.FIELD_UNKNOWN, "Update"),
        (recorded.BLACKWELL_OLDER_DRIVER, "580 or newer"),
        (recorded.PASCAL_OLD_DRIVER, "525 or newer"),
        (recorded.KEPLER, "too old"),
        (recorded.PASCAL_AND_BLACKWELL, "older cards stay idle"),
        (recorded.TURING_OLDER_DRIVER, "driver 535 is too old for CUDA 13"),
    ],
)
def test_the_words_say_what_to_do(nvidia_smi: str, told: str) -> None:
    assert told in choose_torch("Linux", nvidia_smi).words


RADEON = AmdCards(("gfx1102",), may_use=True)


@pytest.mark.parametrize(
    ("amd", "build", "told"),
    [
        (RADEON, "rocm7.2", "Found AMD graphics (gfx1102): taking PyTorch for ROCm 7.2."),
        (AmdCards(("gfx1036", "gfx1201"), may_use=True), "rocm7.2", "gfx1036, gfx1201"),
        (replace(RADEON, may_use=False), "cpu", "usermod -aG render,video"),
        (AmdCards(("gfx1036",), may_use=True), "cpu", "has no build for"),
        (AmdCards(("gfx906",), may_use=True), "cpu", "has no build for"),
        (AmdCards(), "cpu", "No NVIDIA card here"),
    ],
)
def test_amds_cards_take_the_build_for_rocm_where_it_knows_them(amd: AmdCards, build: str, told: str) -> None:
    choice = choose_torch("Linux", None, ("AMD",), amd)
    assert (choice.build, choice.uses_card) == (build, build != "cpu")
    assert told in choice.words and choice.cards == tuple(f"AMD {target}" for target in amd.targets)
    _check_source(choice, "Linux")
    if choice.uses_card:
        after = next_choice(choice, "Linux")
        assert after is not None and after.build == "cpu"
    assert choose_torch("Linux", recorded.LAPTOP_ADA, ("AMD",), amd).build == "cu130"


def test_amds_cards_are_read_from_the_compute_driver(tmp_path: Path) -> None:
    """A processor's node, a graphics card's and two Instincts', as amdkfd writes them."""
    for number, version in enumerate((0, 110002, 90010, 90402)):
        node = tmp_path / "nodes" / str(number)
        node.mkdir(parents=True)
        (node / "properties").write_text(f"cpu_cores_count 16\nsimd_count 64\ngfx_target_version {version}\n")
    assert read_amd_cards(tmp_path / "nodes", tmp_path / "none").targets == ("gfx1102", "gfx90a", "gfx942")
    assert not read_amd_cards(tmp_path / "nodes", tmp_path / "none").may_use
    assert read_amd_cards(tmp_path / "nodes", tmp_path).may_use
    assert read_amd_cards(tmp_path / "nowhere", tmp_path).targets == ()


def test_where_the_pytorch_project_has_no_build_that_is_said() -> None:
    assert "builds on Linux only" in choose_torch("Windows", None).words
    assert "/dev/kfd" in choose_torch("Linux", None, ("AMD",)).words
    assert "/whl/xpu" in choose_torch("Linux", None, ("Intel",)).words


def test_other_makers_are_named() -> None:
    assert "AMD and Intel graphics are not used" in choose_torch("Linux", None, ("AMD", "Intel")).words


@pytest.mark.parametrize("system", ["Linux", "Windows"])
def test_falling_back_ends_with_the_processor(system: str) -> None:
    builds = []
    choice: TorchChoice | None = choose_torch(system, recorded.H200)
    while choice is not None:
        builds.append(choice.build)
        choice = next_choice(choice, system)
    assert builds == ["cu130", "cu126", "cpu"]


def test_without_the_pytorch_index_the_ordinary_one_is_left() -> None:
    plain = plain_choice(choose_torch("Linux", None), "plain")
    assert (plain.requirement, plain.index_url, plain.uses_card) == (f"torch=={TORCH_VERSION}", None, False)


STUB = """
class Matrix:
    def float(self): return self
    def cuda(self, number): {cuda}
    def cpu(self): return self
    def double(self): return self
    def __matmul__(self, other): return self
    def __sub__(self, other): return self
    def abs(self): return self
    def max(self): return self
    def item(self): return 1.0
    def no_kernels(self): raise RuntimeError("HIP error: invalid device function\\nmore")
    def __truediv__(self, other): return Matrix{quotient}()
class Matrix0(Matrix):
    def item(self): return 0.0
float64 = None
def randn(*shape, dtype): return Matrix()
class cuda:
    is_available = staticmethod(lambda: {available})
    device_count = staticmethod(lambda: 2)
    get_device_name = staticmethod(lambda number: "A card")
"""


@pytest.mark.parametrize(
    ("stub", "expected"),
    [
        ({"available": True, "cuda": "return self", "quotient": "0"}, (True, "A card")),
        (
            {
                "available": True,
                "cuda": "return self if number else self.no_kernels()",
                "quotient": "0",
            },
            (True, "A card"),
        ),
        (
            {"available": False, "cuda": "return self", "quotient": "0"},
            (False, "PyTorch sees no card that it can use"),
        ),
        (
            {
                "available": True,
                "cuda": "raise RuntimeError('no kernel image is available')",
                "quotient": "0",
            },
            (False, "RuntimeError: no kernel image is available"),
        ),
        (
            {"available": True, "cuda": "return self", "quotient": ""},
            (False, "the card miscalculated: a matrix product is off by 1"),
        ),
    ],
)
def test_the_proof_tells_what_the_card_can_do(
    tmp_path: Path, stub: dict[str, object], expected: tuple[bool, str]
) -> None:
    (tmp_path / "torch.py").write_text(STUB.format(**stub))  # a card that fails can't be had in a test
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert prove_on_card(Path(sys.executable), environment) == expected
