"""Verifying says what is wrong with a file, all of it, and nothing about one that is well."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from styles.formats.reader import read_style
from styles.library.verify import Verified, verify
from tests.styles.seed_files import Draft, file_of, piece, seeds

SEEDS = {draft.kind: draft for draft in seeds()}


def states(report: Verified, name: str = "") -> list[str]:
    return [check.state for check in report.checks if name in ("", check.name)]


def words(report: Verified, name: str) -> str:
    return " ".join(check.words for check in report.checks if check.name == name)


def verified(folder: Path, draft: Draft, **metadata: str) -> Verified:
    header = draft.header()
    header["__metadata__"] = header.get("__metadata__", {}) | metadata
    path = folder / "a.safetensors"
    path.write_bytes(file_of(json.dumps(header), draft.section()))
    return verify(path)


def with_first(draft: Draft, **how: Any) -> Draft:
    """The draft with another first tensor, of the same shape."""
    key, old = next(iter(draft.tensors.items()))
    return Draft(draft.kind, draft.tensors | {key: piece(*old.shape, **how)}, draft.metadata)


def test_a_style_of_our_own_is_well_in_all(tmp_path: Path) -> None:
    report = verified(tmp_path, SEEDS["own"])
    assert report.whole and set(states(report)) == {"good"}
    assert [check.name for check in report.checks] == ["header", "layers", "numbers", "hash"]
    style = read_style(report.path)
    assert report.id == style.id and report.card == style.card
    assert "sshs_model_hash and modelspec.hash_sha256" in words(report, "hash")
    assert {opening.tool for opening in report.openings} >= {"ComfyUI", "diffusers"}
    values = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert values["whole"] is True and values["opens_in"]["diffusers"][0] in (
        "yes",
        "partly",
        "no",
        "unknown",
    )


def test_one_changed_bit_of_the_tensors_is_found(tmp_path: Path) -> None:
    draft = SEEDS["own"]
    path = tmp_path / "a.safetensors"
    data = bytearray(file_of(json.dumps(draft.header()), draft.section()))
    data[-1] ^= 1
    path.write_bytes(data)
    report = verify(path)
    assert not report.whole and states(report, "hash") == ["bad"]
    assert report.card is not None  # it opens; only its hash tells


def test_hashes_that_others_name_are_compared_in_their_ways_of_writing(tmp_path: Path) -> None:
    draft = SEEDS["kohya"]
    sha256 = hashlib.sha256(draft.section()).hexdigest()
    for claim, state in (
        (sha256, "good"),
        (f"0x{sha256.upper()}", "good"),
        ("0x" + "ab" * 32, "note"),
        ("?", "note"),
    ):
        report = verified(tmp_path, draft, **{"modelspec.hash_sha256": claim})
        assert states(report, "hash") == [state] and report.whole and report.id == sha256
    assert states(verified(tmp_path, draft), "hash") == ["note"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
def test_values_that_are_no_numbers_are_told_with_their_tensor(
    tmp_path: Path, value: float, dtype: str
) -> None:
    draft = with_first(SEEDS["kohya"], dtype=dtype, value=value)
    report = verified(tmp_path, draft)
    assert not report.whole and report.card is None and not report.openings
    assert states(report, "numbers") == ["bad"] and next(iter(draft.tensors)) in words(report, "numbers")
    assert states(report, "header") == ["good"] and states(report, "layers") == ["bad"]


def test_numbers_that_half_precision_cannot_hold_are_worth_a_note(tmp_path: Path) -> None:
    report = verified(tmp_path, with_first(SEEDS["kohya"], dtype="F32", value=7e4))
    assert report.whole and states(report, "numbers") == ["note"]


def test_a_style_of_zeros_changes_nothing(tmp_path: Path) -> None:
    draft = SEEDS["kohya starter"]
    zeros = {
        key: piece(*old.shape, value=0.0) if key.endswith("up.weight") else old
        for key, old in draft.tensors.items()
    }
    report = verified(tmp_path, Draft(draft.kind, zeros))
    assert report.whole and "changes nothing" in words(report, "layers")


def test_what_is_no_style_is_one_bad_check(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\x80\x02}q" + bytes(100))
    report = verify(path)
    assert [check.name for check in report.checks] == ["header"] and "pickle" in words(report, "header")
    assert not report.whole and report.checks[0].hint
    assert not verify(tmp_path / "none.safetensors").whole and not verify(tmp_path).whole


def test_a_folder_of_peft_is_verified_too(tmp_path: Path) -> None:
    draft = SEEDS["peft folder"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(draft.config))
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(file_of(json.dumps(draft.header()), draft.section()))
    report = verify(tmp_path)
    assert report.whole and report.id == read_style(tmp_path).id and report.card is not None
    weights.write_bytes(weights.read_bytes()[:-1])
    assert states(verify(tmp_path)) == ["bad"]


@pytest.mark.parametrize("claim", ["ab" * 32, "0x" + "AB" * 32])
def test_only_our_own_claim_proves_damage(tmp_path: Path, claim: str) -> None:
    """LyCORIS names another hash in each file, kohya's merges one of the numbers before they were rounded."""
    for kind in ("kohya", "own"):
        report = verified(tmp_path, SEEDS[kind], sshs_model_hash=claim)
        ours = kind == "own"
        assert report.whole is not ours and states(report, "hash") == ["bad" if ours else "note"]
        assert claim.lower().removeprefix("0x")[:12] in words(report, "hash")


def test_a_value_that_is_no_number_is_worth_a_note_where_the_style_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading refuses it wherever it counts, so that what opens doesn't depend on it."""
    draft = with_first(SEEDS["kohya"], value=math.inf)
    whole = verified(tmp_path, SEEDS["kohya"])
    monkeypatch.setattr("styles.library.verify.read_style", lambda path: read_style(whole.path))
    other = tmp_path / "b"
    other.mkdir()
    report = verified(other, draft)
    assert report.whole and states(report, "numbers") == ["note"]
