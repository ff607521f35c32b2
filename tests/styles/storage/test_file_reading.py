"""Small files are read whole or not at all, whatever stands under their name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from styles.storage.file_reading import open_file, read_json, read_text


def test_json_is_read_with_and_without_its_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in ('{"a": "é"}', '\ufeff{"a": "\\u00e9"}'):
        file.write_text(text, encoding="utf-8")
        assert read_json(file) == {"a": "é"}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '"\\ud800"', "9" * 5000])
def test_what_is_no_json_is_a_value_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError):
        read_json(file)


def test_what_is_no_file_is_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b" " * 100)
    odd = [tmp_path / "folder", tmp_path / "none"]
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        (tmp_path / "device").symlink_to("/dev/zero")
        odd += [tmp_path / name for name in ("pipe", "loop", "device")]
    for path in odd:
        with pytest.raises(OSError):
            open_file(path)
    with pytest.raises(OSError, match="more than 99 bytes"):
        read_text(tmp_path / "large", 99)
    assert read_text(tmp_path / "large", 100).isspace()
