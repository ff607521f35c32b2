"""What set-up installs: wheels only, and no code under a licence that would bind ours."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest

from app.setup import pip
from tests.conftest import REPOSITORY


def test_pip_is_never_asked_for_a_source_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building one runs code of its author's."""
    commands: list[list[str]] = []

    def run_logged(root: Path, command: list[str], follow: Any) -> tuple[int, str]:
        commands.append(command)
        return 0, ""

    monkeypatch.setattr(pip, "venv_python", lambda root: Path(sys.executable))
    monkeypatch.setattr(pip, "run_logged", run_logged)
    pip.pip_install(tmp_path, ["-r", "requirements.txt"], ["gradio"], print, done=0, total=1)
    assert all("--only-binary=:all:" in command for command in commands) and commands


def test_what_opens_heic_carries_no_encoder() -> None:
    """x265, which pillow-heif's wheels bring along, is under the GPL."""
    names = [name.split("~=")[0] for name in pip.requirement_lines(REPOSITORY / "requirements.txt")]
    assert "pi-heif" in names and "pillow-heif" not in names
    carried = [file.name for file in files("pi-heif") or []]
    assert any("heif" in name for name in carried) and not any("x265" in name for name in carried)


def test_heic_opens_where_pillow_heif_is_not_installed(tmp_path: Path) -> None:
    import pillow_heif
    from PIL import Image

    pillow_heif.from_pillow(Image.new("RGB", (64, 48), "teal")).save(tmp_path / "phone.heic")
    script = (
        "import sys; sys.modules['pillow_heif'] = None; from pathlib import Path; "
        "from training.artworks.opening import open_artwork; print(open_artwork(Path(sys.argv[1])).size)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "phone.heic")]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "(64, 48)"
