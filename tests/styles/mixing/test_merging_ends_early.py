"""A merge that is stopped, runs into a full disk, or loses its name to another one leaves nothing behind."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from styles.bases.base import open_base
from styles.bases.shelf import BaseShelf
from styles.errors import BaseError, Cancelled, DiskFullError
from styles.formats.style import Style
from styles.mixing.base_merge import BaseMerge, merge_base
from styles.quantization.weight_cache import cache_files, clear_cache
from styles.storage.home import Home
from tests.styles.mixing.test_group_merge import grouped_styles
from tests.styles.original_layout import copy_configs, save_original_layout
from tests.tiny import write_vocabulary


@pytest.fixture(scope="module")
def merging(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Home, Style]:
    """A home with the base `Tiny`, and a style for it."""
    home = Home(tmp_path_factory.mktemp("home")).create()
    shutil.copytree(tiny_base, home.bases / "Tiny")
    (style,) = grouped_styles(open_base("Tiny", home, device="cpu", quantize="qa4-32"), 32, 1)
    return home, style


def merge(merging: tuple[Home, Style], name: str = "New", source: Any = "Tiny", **more: Any) -> BaseMerge:
    home, style = merging
    return merge_base(home, source, [(style, 1.0)], name, **more)


def names(home: Home) -> list[str]:
    return sorted(path.name for path in home.bases.iterdir())


def test_the_share_that_is_done_grows_and_it_can_be_stopped_at_each(merging: tuple[Home, Style]) -> None:
    home, _ = merging
    clear_cache(home)
    shares: list[float] = []
    merge(merging, "Whole", progress=shares.append)
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert max(after - before for before, after in pairwise(shares)) < 0.7
    BaseShelf(home).remove("Whole")
    before, calls = names(home), len(shares)
    for stopped_at in (0, calls // 3, calls - 30, calls - 3, calls - 2):
        clear_cache(home)
        told: list[float] = []
        with pytest.raises(Cancelled, match="nothing was kept"):
            merge(merging, cancelled=lambda: len(told) >= stopped_at, progress=told.append)  # noqa: B023
        assert len(told) == stopped_at and names(home) == before


@pytest.mark.parametrize("kind", ["folder", "single file"])
@pytest.mark.parametrize("while_writing", ["parts", "unet"])
def test_a_full_disk_is_told_and_leaves_nothing(
    kind: str, while_writing: str, merging: tuple[Home, Style], tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    home, _ = merging
    more: dict[str, Any] = {}
    if kind == "single file":
        more = {"source": tmp_path / "one.safetensors", "config_folder": copy_configs(home.bases / "Tiny", tmp_path / "configs")}  # fmt: skip
        save_original_layout(home.bases / "Tiny", more["source"])
        if not (home.bases / "clip-tokenizer").exists():
            write_vocabulary(home.bases / "clip-tokenizer")
    before, limits, wanted = names(home), resource.getrlimit(resource.RLIMIT_FSIZE), ".*.part/unet"

    def fill(share: float) -> None:
        if while_writing == "parts" or list(home.bases.glob(wanted)):
            # A disk with so many bytes left.
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    try:
        with pytest.raises(DiskFullError, match="could not be written"):
            merge(merging, progress=fill, **more)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(home) == before


def test_what_was_quantised_is_used_where_it_can_not_be_kept(tiny_base: Path, home_folder: Path) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    home, limits = Home(home_folder).create(), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        assert open_base(tiny_base, home, device="cpu", quantize="qa4-32").quantize == "qa4-32"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not cache_files(home) and not list(home.root.rglob("*.part*"))


def test_of_two_at_once_the_one_that_is_done_first_has_the_name(merging: tuple[Home, Style]) -> None:
    home, _ = merging
    before, others = names(home), []

    def meanwhile(share: float) -> None:
        if share == 1 and not others:
            others.append(merge(merging).entry)

    with pytest.raises(BaseError, match="already a base “New”"):
        merge(merging, progress=meanwhile)
    assert sorted([*before, "New"]) == names(home)
    assert open_base("New", home, device="cpu").quantize == "qa4-32"
    BaseShelf(home).remove("New")


def test_a_style_that_is_in_a_base_already_is_said_to_count_twice(merging: tuple[Home, Style]) -> None:
    home, style = merging
    style = replace(style, card=replace(style.card, id="ab" * 32))
    merge_base(home, "Tiny", [(style, 0.5)], "Once")
    done = merge_base(home, "Once", [(style, -0.2)], "Twice")
    assert any("is merged into this base already" in note for note in done.notes)
    for name in ("Once", "Twice"):
        BaseShelf(home).remove(name)
