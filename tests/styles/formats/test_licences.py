"""Licences: what their short names and plain words ask for, and what that means for a bake."""

from __future__ import annotations

import pytest

from styles.formats.bake_record import BakeRecord, Parent
from styles.formats.licences import spdx_name, terms_of, warnings_about
from styles.formats.provenance import licence_warnings, provenance
from styles.formats.style import StyleCard


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("cc by-nc-sa 4.0", "CC-BY-NC-SA-4.0"),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0"),
        (" mit ", "MIT"),
        ("cc0", "CC0-1.0"),
        ("apache 2.0", "Apache-2.0"),
        ("ask me first", "ask me first"),
        ("cc by", "cc by"),  # no version: not a licence yet
        ("", ""),
    ],
)
def test_short_names_are_spdx_names(typed: str, named: str) -> None:
    assert spdx_name(typed) == named


@pytest.mark.parametrize(
    "text",
    [
        "CC-BY-ND-4.0",
        "cc by-nc-nd 4.0",
        "Creative Commons Attribution-NoDerivatives 4.0 International",
        "No derivatives, please.",
        "Please do not merge.",
        "Don’t bake it into other models",
        "You are not allowed to merge it",
        "Merging is not permitted",
        "All rights reserved",
        "Ink: CC0-1.0; Chalk: CC-BY-ND-3.0",
    ],
)
def test_what_forbids_derivatives_is_seen(text: str) -> None:
    assert terms_of(text).no_changes
    assert f"“Ink” ({spdx_name(text)}) forbids" in " ".join(warnings_about([("Ink", text)]))


@pytest.mark.parametrize(
    "text",
    [
        "CC-BY-4.0",
        "cc by-sa 4.0",
        "MIT",
        "creativeml-openrail-m",
        "No need to ask, merges are allowed",
        "Redistribution and use, with or without modification, are permitted",
        "derivatives welcome",
        "accby land",
        "ask me",
        "",
    ],
)
def test_what_doesnt_is_not(text: str) -> None:
    assert not terms_of(text).no_changes


def test_free_licences_need_no_words() -> None:
    assert warnings_about([("A", "CC0-1.0"), ("B", "cc by 4.0"), ("C", "MIT")]) == ()


def test_what_is_mixed_is_told() -> None:
    told = warnings_about(
        [
            ("A", "CC-BY-NC-4.0"),
            ("B", "CC-BY-SA-4.0"),
            ("C", "GPL-3.0-only"),
            ("D", "CreativeML Open RAIL-M"),
            ("E", "ask me"),
            ("F", ""),
        ]
    )
    assert len(told) == 5
    for name, words in [
        ("A", "Not for commercial use"),
        ("C", "no licence may fit all"),
        ("D", "rules for use"),
        ("E", "Read the licence"),
        ("F", "not every licence is known"),
    ]:
        assert any(f"“{name}”" in one and words in one for one in told), words
    assert "must have its licence: CC-BY-SA-4.0" in warnings_about([("B", "cc by-sa 4.0")])[0]
    assert warnings_about([("A", "CC-BY-NC-4.0")]) == warnings_about([("A", "CC-BY-NC-4.0")] * 2)


def test_a_bake_of_a_bake_asks_the_first_parents_too() -> None:
    record = BakeRecord("exact", 0.0, (), (Parent("Chalk", "a" * 64, 0.5, "Bo", "CC-BY-ND-4.0"),))
    card = StyleCard("Mixed", "sd1", 4, licence="MIT", bake=record)
    assert any("“Chalk”" in warning for warning in licence_warnings([card]))
    assert "forbids to share" in record.words
    assert BakeRecord.from_json(record.to_json()) == record


def test_provenance_tells_what_is_known_and_what_is_not() -> None:
    card = StyleCard(
        "Ink",
        "sd1",
        4,
        author="Ana",
        licence="cc by 4.0",
        rights="I made them.",
        training={"artworks": 1},
        base_name="owner/base",
        base_fingerprint="ab" * 32,
    )
    told = provenance(card)
    assert told == (
        "Made by Ana.",
        "Licence: CC-BY-4.0.",
        "Trained on 1 artwork.",
        "Of the right to the artworks it says: “I made them.”",
        "Made for owner/base (fingerprint abababababab).",
    )
    silent = " ".join(provenance(StyleCard("Ink", "sd1", 4)))
    assert "no licence" in silent and "whose the artworks are" in silent and "Stable Diffusion 1" in silent
