"""The page's scripts: node's own runner tests them (tests/page), and biome lints them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PAGE_TESTS = REPOSITORY / "tests" / "page"
BIOME = PAGE_TESTS / "node_modules" / "@biomejs" / "biome" / "bin" / "biome"


def node() -> str:
    """The Node of this machine; without one this is a skip, and in CI a failure."""
    return shutil.which("node") or missing("Node.js")


def missing(tool: str) -> str:
    """Fail in CI, where .ci/run installs it, else skip."""
    if os.environ.get("CI"):
        pytest.fail(f"CI needs {tool}: .ci/run installs it")
    pytest.skip(f"no {tool} on this machine: the page's scripts were not tested with it")


def run(*command: str | Path) -> str:
    """What a command said, which has to succeed."""
    done = subprocess.run(
        command, cwd=PAGE_TESTS, capture_output=True, text=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_they_do_what_their_own_tests_say() -> None:
    said = run(node(), "--test", *sorted(PAGE_TESTS.glob("*.test.js")))
    assert "tests 0" not in said


def test_biome_is_content() -> None:
    if not BIOME.is_file():
        missing("biome (`npm ci` in tests/page installs it)")
    run(node(), BIOME, "ci", "--error-on-warnings", "../../app/window", ".")
