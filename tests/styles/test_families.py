"""What families differ in stands in one object each, and nothing else asks which one it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from styles.families import (
    FAMILIES,
    OWN_BASES,
    SD1,
    UNKNOWN,
    family_of,
    family_of_words,
    named_family,
    own_family,
)
from styles.formats.metadata import claimed_family, kohya_metadata, shown_metadata
from styles.formats.style import StyleCard
from training.plan import PRESETS, PREVIEW_PROMPTS

ROOT = Path(__file__).resolve().parents[2]
IDS = {*FAMILIES, UNKNOWN.id}
OWN = own_family({f"down_blocks.{n}.attentions.0.transformer_blocks.0.attn2": 32 << n for n in range(2)}, 96)


def strings(node: ast.AST) -> set[str]:
    return {
        one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }


def asking(file: Path) -> Iterator[str]:
    """Comparisons with a family's name, and tables by families, in a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        compared = isinstance(node, ast.Compare) and strings(node) & IDS and "family" in ast.unparse(node)
        table = (
            isinstance(node, ast.Dict)
            and len({k.value for k in node.keys if isinstance(k, ast.Constant)} & IDS) > 1
        )
        if compared or table:
            yield f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}"


def test_nothing_outside_asks_which_family_it_is() -> None:
    files = [file for folder in ("styles", "training", "app") for file in (ROOT / folder).rglob("*.py")]
    assert [line for file in files if file.name != "families.py" for line in asking(file)] == []


@pytest.mark.parametrize("family", [*FAMILIES.values(), OWN], ids=lambda family: family.id)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_metadata_names_each_family(family, prediction: str) -> None:  # type: ignore[no-untyped-def]
    card = StyleCard("Ink", family.id, 4, training={"prediction_type": prediction})
    for metadata in (kohya_metadata(card, 4.0), shown_metadata(card, "a" * 64)):
        assert claimed_family(metadata) == family.id
    assert family.presets in PRESETS and family.presets in PREVIEW_PROMPTS
    assert card.may_fit(family.id) and not card.may_fit("sd1" if family is not SD1 else "sd2")


def test_families_are_told_apart_by_the_words_that_they_read() -> None:
    assert {family_of_words(family.words) for family in FAMILIES.values()} == set(FAMILIES.values())
    assert family_of_words(96) is None and family_of_words(0) is None
    assert all(family_of(family.id) is family for family in FAMILIES.values())


def test_a_family_of_somebodys_own_is_named_by_its_widths() -> None:
    assert OWN.id == "own-32-64x96-2" and family_of(OWN.id) == OWN and OWN.words == 96
    assert OWN.is_own and OWN.can_open and OWN.id in OWN.name and OWN.id in OWN.made_for
    assert OWN.is_meant_by(OWN_BASES) and OWN.is_meant_by(OWN.id) and not SD1.is_meant_by(OWN_BASES)
    assert own_family({"mid_block.attentions.0.transformer_blocks.0.attn2": 64}, 96).id == "own-64x96-1"
    assert OWN.has({"down_blocks.1.attentions.0.transformer_blocks.0.attn2": 64}, 96)
    assert not OWN.has({"down_blocks.1.attentions.0.transformer_blocks.0.attn2": 48}, 96)
    assert not OWN.has({"down_blocks.1.attentions.0.transformer_blocks.0.attn2": 64}, 128)


@pytest.mark.parametrize(
    "name", ["", "own", "own-", "own-x96-1", "own-3²x96-1", "own-32x96-1\n", "SD1", "<b>"]
)
def test_any_other_name_is_unknown(name: str) -> None:
    assert family_of(name) is UNKNOWN and named_family(f"atelier_{name}", f"atelier-{name}/lora") is UNKNOWN
