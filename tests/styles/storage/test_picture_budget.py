"""One limit for all pictures that are only shown small, whoever they come from."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from app.train.drawing import _preview
from styles.formats.thumbnail import public_thumbnail
from styles.library.side_files import thumbnail_of
from styles.storage import picture_budget


def test_cards_and_previews_have_the_same_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "previews").mkdir()
    file = tmp_path / "previews" / "one.png"
    Image.new("RGB", (64, 48), "teal").save(file)
    job: Any = SimpleNamespace(folder=tmp_path)

    def shown() -> list[bool]:
        return [
            bool(made)
            for made in (
                thumbnail_of(file),
                public_thumbnail(file.read_bytes()),
                _preview(job, file.name, "one"),
            )
        ]

    with Image.open(io.BytesIO(file.read_bytes())) as image:
        needed = picture_budget.bytes_needed(image)
    for most, wanted in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(picture_budget, "SHOWN_BYTES", most)
        assert shown() == [wanted] * 3
