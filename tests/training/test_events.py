import json

import pytest

from styles.text import Text
from training.events import (
    CheckpointSaved,
    Failed,
    Finished,
    MemoryFitted,
    Paused,
    PhaseStarted,
    PreviewReady,
    RolledBack,
    StepDone,
    TrainingEvent,
    Warned,
    from_json_line,
    to_json_line,
)

EVENTS: list[TrainingEvent] = [
    PhaseStarted("latents", 3, 8),
    Warned("only one picture\n", "more \u2028 are better"),
    StepDone(5, 200, 0.1 + 0.2, 1e-3, 12.5, 487.5),
    PreviewReady(0, ("previews/a.png", "previews/b.png"), ("one", "zwei äöü")),
    CheckpointSaved(100, "checkpoints/step-000100.safetensors"),
    MemoryFitted(1, 4, True, 7_000_000_000, 7_100_000_000, "so that it fits"),
    RolledBack(90, 50, 0.5, "not finite"),
    Paused(7),
    Finished(200, "/home/x/styles/ink.safetensors", "ab" * 32, "ink", 80.0),
    Failed("no memory", "smaller batch", "error.log", 1),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_line_holds_the_event(event: TrainingEvent) -> None:
    line = to_json_line(event)
    assert "\n" not in line
    assert json.loads(line)["event"] == type(event).__name__
    assert from_json_line(line) == event


def test_a_text_can_change_its_language_when_it_is_read_and_an_old_line_stays_as_it_was() -> None:
    hint = Text("Close {count} program.", "Close {count} programs.", count=2)
    read = from_json_line(to_json_line(Warned(Text("Step {step}: {reason}", step=5, reason=hint), hint)))
    assert isinstance(read, Warned) and read.message == "Step 5: Close 2 programs."
    assert (read.message.template, read.message.values["reason"].plural) == (
        "Step {step}: {reason}",
        hint.plural,
    )
    old = from_json_line(
        '{"event": "Failed", "message": "It broke {off}.", "hint": "Look.", "log": "", "exit_code": 1}'
    )
    assert old == Failed(Text.as_it_is("It broke {off}."), Text("Look."))
    assert from_json_line('{"event": "Warned", "message": 5, "hint": ""}') is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        '{"event": "StepDone", "step": 1',
        '{"event": "Unheard"}',
        "[1]",
        "null",
        '{"event": "Paused"}',
    ],
)
def test_what_is_no_event_reads_as_none(line: str) -> None:
    assert from_json_line(line) is None


def test_a_loss_that_is_no_number_never_gets_into_the_journal() -> None:
    with pytest.raises(ValueError):
        to_json_line(StepDone(1, 2, float("nan"), 1e-3, 1.0, 1.0))
