"""The one command for a graphics card, where there is none: it goes through on a CPU, and past what fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.benchmarks import card, card_stages


def table(printed: str) -> list[list[str]]:
    """The cells of the rows below the head."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator here")
def test_without_an_accelerator_the_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert card.main([]) == 0
    rows = table(capsys.readouterr().out)
    assert [row[0] for row in rows] == list(card.STAGES)
    assert {row[2] for row in rows} == {"not measured: no accelerator here"}


@pytest.mark.slow
def test_every_stage_goes_through_with_tiny_models(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The others take half a minute, and test what this suite tests of the CPU anyway.
    monkeypatch.setattr(card, "DEVICE_TESTS", f"{card.DEVICE_TESTS}::test_memory_that_is_taken_is_not_free")
    # Beside other work.
    monkeypatch.setattr(card, "STAGES", dict.fromkeys(card.STAGES, 500))
    monkeypatch.setattr(card, "MOST_SECONDS", 5000)
    assert card.main(["--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert torch.__version__ in printed.splitlines()[0]
    rows = table(printed)
    assert list(dict.fromkeys(row[0] for row in rows)) == list(card.STAGES)
    assert all(len(row) == 5 and row[1] and row[2] and row[4] for row in rows)
    assert "1 skipped" in next(row[2] for row in rows if row[0] == "tests")


def test_a_stage_that_takes_too_long_ends_and_the_next_one_begins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "STAGES", dict.fromkeys(card.STAGES, 0))
    monkeypatch.setattr(card, "STARTING_SECONDS", 0)
    assert card.main(["--device", "cpu", "--only", "blend", "compile"]) == 1
    stopped = [["blend", "stopped"], ["compile", "stopped"]]
    assert [row[:2] for row in table(capsys.readouterr().out)] == stopped
    monkeypatch.undo()
    monkeypatch.setattr(card, "MOST_SECONDS", 0)
    assert card.main(["--device", "cpu", "--only", "blend", "compile"]) == 1
    assert [row[:2] for row in table(capsys.readouterr().out)] == stopped


def test_a_stage_that_fails_is_told_after_what_it_has_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(work: card_stages.Work) -> Iterator[card_stages.Row]:
        yield card_stages.Row("blend", "a step", "1.0")
        raise RuntimeError("no kernel image is available")

    monkeypatch.setitem(card_stages.STAGES, "blend", failing)
    rows = [*card_stages.rows_of("blend", card_stages.Work.on("cpu", full=False))]
    assert [row["figure"] for row in rows] == ["a step", "broke off"]
    assert rows[1]["seen"] == "RuntimeError: no kernel image is available"
