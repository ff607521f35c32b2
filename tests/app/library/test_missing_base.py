"""A style that no base here can use says so, and which base to get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.library.missing_base import families_here, with_missing_base
from styles.bases.recommended import RECOMMENDED
from styles.bases.shelf import BaseEntry
from styles.families import FAMILIES
from styles.formats.style import StyleCard
from styles.text import Text
from tests.app.conftest import Atelier
from tests.styles.library_files import put


def test_an_import_says_so_in_every_way(tmp_path: Path, atelier: Callable[[Path], Atelier]) -> None:
    run = atelier(tmp_path / "home")
    here, other = put(tmp_path / "Here.safetensors", 1), put(tmp_path / "Other.safetensors", 2, family="sdxl")
    said = "No base here can use it. Get one in Settings, or by `bases add stabilityai/stable-diffusion-xl-base-1.0`"
    for arguments in (("import", here, "--dry-run"), ("import", here), ("show", "Here")):
        assert "No base here" not in run("styles", *arguments).out
    for arguments in (("import", other, "--dry-run"), ("import", other), ("show", "Other")):
        assert said in run("styles", *arguments).out
    assert said in run("styles", "show", "Other", "--json").json["problems"][-1]


@pytest.mark.parametrize("family", [*FAMILIES, "own-64x96-1", "unknown"])
def test_a_base_that_can_be_opened_is_all_that_counts(family: str) -> None:
    card = StyleCard("Ink", family, 4, problems=(Text("Something else."),))
    good = BaseEntry("a", "a", family, True, False)
    damaged = BaseEntry("a", "a", family, True, False, problem=Text("Damaged."))
    assert with_missing_base(card, families_here([good])) == card
    if family == "unknown":  # it may fit any
        assert with_missing_base(card, set()) == card
        return
    for bases in ([], [damaged], [BaseEntry("a", "a", family, False, False)]):
        told = with_missing_base(card, families_here(bases)).problems
        assert told[0] == "Something else." and told[1].startswith("No base here can use it")
        hub_ids = [base.hub_id for base in RECOMMENDED if base.family.id == family]
        assert not hub_ids or hub_ids[0] in told[1]
