"""The library in a terminal: what it says can be typed and does nothing to the terminal itself."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli.main import main
from tests.app.conftest import Atelier
from tests.conftest import REPOSITORY
from tests.styles.library_files import put


def test_names_of_files_do_not_steer_the_terminal(tmp_path: Path, atelier: Callable[[Path], Atelier]) -> None:
    run = atelier(tmp_path / "home")
    bad = put(tmp_path / "in" / "red \x1b[31m.safetensors", 1)
    (tmp_path / "in" / "no \x1b]0;style\x07.safetensors").write_bytes(b"nothing")
    for arguments in (("import", bad.parent, "--dry-run"), ("import", bad.parent), ("verify", bad)):
        told = run("styles", *arguments)
        assert "red" in told.out and not any(mark in told.out + told.err for mark in "\x1b\x07")
    told = run("styles", "show", "\x1b[31m")
    assert told.code == 2 and "\x1b" not in told.err


def test_the_command_that_brings_a_style_back_can_be_copied(
    tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    run = atelier(tmp_path / "home")
    put(tmp_path / "home" / "styles" / "It's ink.safetensors", 1)
    told = run("styles", "delete", run("styles", "show", "it's ink", "--json").json["id"][:12])
    command = told.out.partition("`")[2].partition("`")[0]
    assert run(*shlex.split(command)).out == "It's ink is back in the library.\n"


@pytest.mark.parametrize("home", ["/proc/nope", "long" * 90, "\0"])
def test_a_home_that_can_not_be_is_refused(
    home: str, atelier: Callable[[Path], Atelier], tmp_path: Path
) -> None:
    told = atelier(tmp_path)("styles", "list", "--home", home)
    assert told.code == 2 and "--home" in told.err


def test_a_surprise_names_the_command_and_not_the_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr("styles.library.library.Library.look", broken)
    assert main(["--home", str(tmp_path / "home"), "styles", "list", "--json"]) == 1
    assert "running styles list (RuntimeError)" in capsys.readouterr().err


def test_each_command_of_the_readme_is_one_that_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [shlex.split(line)[2:] for line in lines if line.startswith("python launch.py ")]
    assert ["styles", "picture"] in commands and len(commands) > 20
    for command in commands:
        if command != ["test"]:  # launch.py's own
            # What is given is looked at before the help is told.
            assert main([*command, "--help"]) == 0, (command, capsys.readouterr().err)
    assert main(["styles", "import", "--dry-rum", "--help"]) == 2
