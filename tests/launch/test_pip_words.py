"""What pip prints, in plain words; from recorded output."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.setup.pip import can_reach, progress_words, requirement_lines, words_for_failure
from tests.launch import recorded

NAMES = ["diffusers", "filelock", "huggingface-hub", "gradio"]


def test_torch_is_told_with_its_large_downloads() -> None:
    assert list(progress_words(recorded.PIP_TORCH.splitlines(), ["torch"], done=4, total=5)) == [
        "Fetching torch (5 of 5) ...",
        "  downloading torch, 530.6 MB ...",
        "  torch: 20 %",
        "  torch: 80 %",
        "  downloading nvidia_cudnn_cu13, 1.1 GB ...",
        "  nvidia_cudnn_cu13: 40 %",
        "Installing torch (5 of 5) ...",
    ]


def test_the_rest_is_counted() -> None:
    assert list(progress_words(recorded.PIP_REST.splitlines(), NAMES, done=0, total=5)) == [
        "Fetching diffusers (1 of 5) ...",
        "Fetching huggingface-hub (3 of 5) ...",
        "Fetching gradio (4 of 5) ...",
        "Installing 4 packages ...",
    ]


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (recorded.PIP_OFFLINE, "needs the internet"),
        (recorded.PIP_DISK_FULL, "The disk is full"),
        (recorded.PIP_NO_WHEEL, "There is no brotli~=9.0"),
        (recorded.PIP_OTHER, "setup --newest"),
        ("", "Installing failed."),
    ],
)
def test_a_failure_says_what_to_do_and_names_the_log(output: str, told: str) -> None:
    words = words_for_failure(output, Path("setup.log"))
    assert told in words
    assert words.endswith("The details are in setup.log.")


def test_requirements_are_read_without_their_reasons(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# why\n\none~=1.0  # because\n two \n")
    assert requirement_lines(file) == ("one~=1.0", "two")


def test_a_page_that_is_not_there_is_noticed_at_once() -> None:
    assert not can_reach("http://127.0.0.1:9/", timeout_seconds=1)
