"""Files that a page has sent, named by the page again in what it asks."""

from __future__ import annotations

from pathlib import Path

from gradio.utils import get_upload_folder

from styles.errors import BadInput


def uploaded(path: object) -> Path:
    """A path that a page names, which must be one of its uploads; raises BadInput."""
    found = Path(str(path)).resolve()
    if not found.is_relative_to(Path(get_upload_folder()).resolve()) or not found.is_file():
        raise BadInput("This file was not uploaded.", "Drop it again.")
    return found
