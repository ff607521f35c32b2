"""The rules of the house that a program can check: tools are clean, imports go one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("app", "training", "styles")
STOREYS = ("storage", "formats", "devices", "quantization", "bases", "mixing", "generation")
ROOMS_BELOW = {room: STOREYS[:place] for place, room in enumerate(STOREYS)} | {"library": STOREYS[:-1]}


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]])
def test_ruff_is_content(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_types_are_right() -> None:
    answer = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def _imports(file: Path) -> Iterator[str]:
    """The modules that `file` imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "styles":
            yield from (f"styles.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    """app -> training -> styles, and only app imports gradio."""
    above = set(PACKAGES[: PACKAGES.index(package)])
    forbidden = above | {"launch", "tests"} | ({"gradio"} if package != "app" else set())
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sorted((ROOT / package).rglob("*.py"))
        for name in _imports(file)
        if name.split(".")[0] in forbidden
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ROOMS_BELOW)
def test_rooms_of_styles_import_those_below(room: str) -> None:
    """errors < storage < formats < devices < quantization < bases < mixing < generation; library over all but generation. None goes round."""
    allowed = {"text", "errors", "families", room, *ROOMS_BELOW[room]}
    assert {path.name for path in (ROOT / "styles").iterdir() if (path / "__init__.py").exists()} == set(
        ROOMS_BELOW
    )
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sorted((ROOT / "styles" / room).rglob("*.py"))
        for name in _imports(file)
        if name.split(".")[0] == "styles" and name.split(".")[1] not in allowed
    ]
    assert wrong == []


def test_the_files_of_a_base_know_nothing_of_an_open_one() -> None:
    """`styles/bases` is over its folder `files`, which needs beside itself what was settled and what is told by a name."""
    allowed = ("styles.bases.files", "styles.bases.base_settings", "styles.bases.few_steps")
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sorted((ROOT / "styles/bases/files").glob("*.py"))
        for name in _imports(file)
        if name.startswith("styles.bases") and not name.startswith(allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "file",
    [
        "launch.py",
        *(f"app/setup/{module}.py" for module in ("graphics_cards", "torch_choice", "pip", "lock", "venv")),
    ],
)
def test_setting_up_needs_the_standard_library_only(file: str) -> None:
    allowed = sys.stdlib_module_names | {"app", "styles"}
    assert [name for name in _imports(ROOT / file) if name.split(".")[0] not in allowed] == []


def test_the_command_line_is_light() -> None:
    """`--help` must answer at once: nothing heavy is imported until a command needs it."""
    script = "import sys, app.cli.main; print([m for m in ('torch', 'diffusers', 'transformers', 'gradio') if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_the_page_is_built_before_torch_is_imported(tmp_path: Path) -> None:
    """It takes seconds to import, and is not needed before somebody paints."""
    script = (
        "import sys; from pathlib import Path; from app.studio import Studio; from app.window.page import build; "
        "from app.window.server.news import News; "
        "from styles.storage.home import Home; build(Studio(Home(Path(sys.argv[1]) / 'home').create()), News()); "
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
