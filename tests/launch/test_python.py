"""Which Python, which computer; and help without anything installed."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import launch

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 4), (3, 13, 0), (3, 14, 2)])
def test_these_pythons_are_welcome(version: tuple[int, int, int]) -> None:
    assert launch.version_refusal(version) is None


@pytest.mark.parametrize("version", [(3, 8, 18), (3, 10, 13), (3, 15, 0), (4, 0, 0)])
def test_any_other_python_is_told_in_one_sentence(version: tuple[int, int, int]) -> None:
    refusal = launch.version_refusal(version)
    assert refusal is not None
    assert "Python 3.11 to 3.14" in refusal and ".".join(map(str, version)) in refusal
    assert "\n" not in refusal


def test_other_kinds_of_python_are_refused() -> None:
    assert "pypy" in str(launch.version_refusal((3, 11, 0), "pypy"))
    assert "free-threaded" in str(launch.version_refusal((3, 14, 0), free_threaded=True))


@pytest.mark.parametrize(
    ("tag", "mac", "libc", "told"),
    [
        ("linux-x86_64", "", ("glibc", "2.36"), None),
        ("linux-aarch64", "", ("glibc", "2.28"), None),
        ("win-amd64", "", ("", ""), None),
        ("macosx-11.0-arm64", "15.1", ("", ""), None),
        ("macosx-10.13-universal2", "14.0", ("", ""), None),
        ("linux-x86_64", "", ("", ""), "glibc"),  # Alpine
        ("linux-x86_64", "", ("glibc", "2.17"), "glibc"),  # CentOS 7
        ("linux-armv7l", "", ("glibc", "2.36"), "64-bit"),
        ("win32", "", ("", ""), "64-bit"),
        ("win-arm64", "", ("", ""), "x86-64"),
        ("mingw_x86_64_ucrt", "", ("", ""), "python.org"),
        ("macosx-10.13-x86_64", "15.1", ("", ""), "Intel"),
        ("macosx-11.0-arm64", "13.6.1", ("", ""), "macOS 14"),
    ],
)
def test_the_computer_must_have_a_torch(tag: str, mac: str, libc: tuple[str, str], told: str | None) -> None:
    refusal = launch.platform_refusal(tag, mac, libc)
    assert refusal is None if told is None else told in str(refusal)


def test_an_old_python_can_read_the_launcher() -> None:
    ast.parse((ROOT / "launch.py").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_help_needs_nothing_but_python(tmp_path: Path) -> None:
    shutil.copy(ROOT / "launch.py", tmp_path)  # nothing else: not even app/
    for option in ("--help", "-h", "help"):
        answer = _run_bare(tmp_path, option)
        assert (answer.returncode, answer.stdout) == (0, launch.HELP)
    assert [file.name for file in tmp_path.iterdir()] == ["launch.py"]


@pytest.mark.parametrize("command", launch.COMMANDS)
def test_each_command_is_in_the_help(command: str) -> None:
    assert f"launch.py {command} " in launch.help_for(command)


@pytest.mark.parametrize(
    ("given", "handed_on"),
    [
        ([], []),
        (["-x", "-k", "test"], ["-x", "-k", "test"]),
        (["--home", "test", "-x"], ["-x"]),
        (["--fast", "-x"], ["-m", "not slow", "-x"]),
        (["--home=test", "tests/styles", "--port", "1", "--no-browser"], ["tests/styles"]),
    ],
)
def test_pytest_gets_only_its_own_options(given: list[str], handed_on: list[str]) -> None:
    assert launch.pytest_options(["test", *given]) == handed_on
    assert launch.pytest_options(["--home", "test", "test", *given]) == handed_on


def test_the_version_is_told_before_setup(tmp_path: Path) -> None:
    _copy_launcher(tmp_path)
    answer = _run_bare(tmp_path, "--version")
    assert (answer.returncode, answer.stdout) == (0, f"Atelier {PROJECT['project']['version']}\n")
    assert not (tmp_path / ".venv").exists()


def test_the_changelog_tells_of_this_version() -> None:
    told = (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = [line.split("[")[1].split("]")[0] for line in told.splitlines() if line.startswith("## [")]
    assert versions[:2] == ["Unreleased", PROJECT["project"]["version"]]


def test_readme_launcher_and_tools_name_the_same_pythons() -> None:
    oldest, newest = (f"{major}.{minor}" for major, minor in (launch.OLDEST, launch.NEWEST))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (
        f"You need [Python](https://www.python.org/downloads/) {oldest} to {newest}, nothing else." in readme
    )
    beyond = f"{launch.NEWEST[0]}.{launch.NEWEST[1] + 1}"
    assert PROJECT["project"]["requires-python"] == f">={oldest},<{beyond}"  # ruff takes its target from it
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert "target-version" not in PROJECT["tool"]["ruff"]


def test_help_for_a_command_answers_before_setup(tmp_path: Path) -> None:
    _copy_launcher(tmp_path)
    answer = _run_bare(tmp_path, "styles", "--help")
    assert answer.returncode == 0
    assert "list | show | import" in answer.stdout
    assert not (tmp_path / ".venv").exists()


def test_an_unknown_command_is_refused_before_setup(tmp_path: Path) -> None:
    _copy_launcher(tmp_path)
    answer = _run_bare(tmp_path, "--home", str(tmp_path), "trian", "mine", "picture.png")
    assert answer.returncode == 2
    assert answer.stderr.strip() == "There is no command 'trian'. Is 'train' meant?"
    assert not (tmp_path / ".venv").exists()


def test_without_venv_missing_packages_are_named(tmp_path: Path) -> None:
    _copy_launcher(tmp_path)
    answer = _run_bare(tmp_path, "styles", "list", "--no-venv")
    assert answer.returncode == 2
    assert "lacks torch, diffusers" in answer.stderr


def test_torchvision_stays_out() -> None:
    """It would bring its own torch along, and nothing here uses it."""
    from importlib.metadata import PackageNotFoundError, distribution

    with pytest.raises(PackageNotFoundError):
        distribution("torchvision")


def test_on_windows_the_program_is_called_and_not_exchanged() -> None:
    """There exec gives the terminal back while the program still runs."""
    told = (
        "import launch, os, sys; os.name = 'nt'; del os.execve; "
        "launch.run_instead([sys.executable, '-c', 'print(3); raise SystemExit(5)'], None, None)"
    )
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (5, "3"), done.stderr


def test_ci_runs_the_test_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert script[0].startswith("#!")
    assert script[-1] == "python launch.py test"
    assert script[-1] in [line.strip() for line in readme.splitlines()]


def _copy_launcher(folder: Path) -> None:
    """launch.py and all that it may use before anything is installed."""
    shutil.copy(ROOT / "launch.py", folder)
    shutil.copy(ROOT / "requirements.txt", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "app").mkdir()
    shutil.copy(ROOT / "app" / "__init__.py", folder / "app")
    for package in ("app/setup", "styles"):
        for module in (ROOT / package).rglob("*.py"):
            copy = folder / module.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(module, copy)


def _run_bare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher as on a computer with nothing but Python: no packages, no settings."""
    command = [sys.executable, "-S", "-I", str(folder / "launch.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)
