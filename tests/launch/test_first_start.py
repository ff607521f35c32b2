"""The first start, for real: launch.py in a folder of its own, a real venv, pip with tiny packages from a folder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.setup import venv
from app.setup.lock import LOCKS, RANGES
from app.setup.pip import SetupProblem, venv_python
from app.setup.torch_choice import TORCH_VERSION
from app.setup.venv import STAMP, read_stamp
from tests.launch import recorded

ROOT = Path(__file__).resolve().parents[2]
COMMAND_LINE = '''
import os, sys
import brush
def main(argv):
    """Stands for Atelier's command line: says how it was called."""
    print(argv, brush.VERSION, os.environ.get("CUDA_VISIBLE_DEVICES"), "PYTHONPATH" in os.environ)
    return 7
'''
# Numbers in the place of matrices, as far as a base in NF4 is tried out.
TORCH = """
float32 = None
class Number(float):
    clone = t = cpu = abs = max = lambda self: self
    to = lambda self, device: self
    __matmul__ = lambda self, other: Number(self * other)
    __sub__ = lambda self, other: Number(float(self) - other)
ones = lambda *shape: Number(1)
class cuda:
    is_available = staticmethod(lambda: False)
"""
BITSANDBYTES = """
import torch
class nn:
    class Linear4bit:
        def __init__(self, *shape, **about):
            self.weight, self.data = self, torch.Number(1)
        to = lambda self, device: self
        __call__ = lambda self, inputs: torch.Number(inputs * OFF)
OFF = 1
"""


def _wheel(folder: Path, name: str, version: str, source: str) -> Path:
    """A package of one module, ready for pip."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    made = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)
    return made


class Clone:
    """A clone of Atelier that needs only tiny packages, with a folder of them instead of the internet."""

    def __init__(self, folder: Path) -> None:
        self.root, self.packages, self.programs = (
            folder / "Atelier, cloned",
            folder / "packages",
            folder / "programs",
        )
        for made in (
            self.root / "app" / "setup",
            self.root / "app" / "cli",
            self.root / "tests",
            self.packages,
            self.programs,
        ):
            made.mkdir(parents=True)
        for file in [
            ROOT / "launch.py",
            ROOT / "app" / "key.py",
            *(ROOT / "app" / "setup").glob("*.py"),
            *(ROOT / "styles").rglob("*.py"),
        ]:
            copy = self.root / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        (self.root / "app" / "cli" / "main.py").write_text(COMMAND_LINE)
        (self.root / "app" / "log.py").write_text("")
        (self.root / "requirements.txt").write_text("brush~=1.0  # to paint\n")
        (self.root / "tests" / "requirements.txt").write_text("pytest~=1.0\n")
        (self.root / "app" / "setup" / "nf4.txt").write_text("bitsandbytes~=1.0  # for NF4\n")
        _wheel(self.packages, "torch", TORCH_VERSION, TORCH)
        self.lock("brush", "1.0", "VERSION = 1")
        self.lock("pytest", "1.0", "import sys; print('pytest', sys.argv[1:])", LOCKS[2])
        self.lock("bitsandbytes", "1.0", BITSANDBYTES, LOCKS[1])
        for needed in (
            "diffusers",
            "transformers",
            "accelerate",
            "peft",
            "safetensors",
            "gradio",
            "typer",
            "filelock",
        ):
            (self.root / f"{needed}.py").write_text("")  # looked for by name, not installed

    def lock(self, name: str, version: str, source: str, file: str = LOCKS[0]) -> None:
        """Make this version of a package and state it in a lock file."""
        made = _wheel(self.packages, name, version, source)
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        (self.root / file).write_text(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.packages), "PIP_CONFIG_FILE": os.devnull}
        nowhere = {"https_proxy": "http://127.0.0.1:9", "PYTHONPATH": str(self.packages)}
        path = os.pathsep.join([str(self.programs), os.environ["PATH"]])
        environment = {**os.environ, **pip, **nowhere, "PATH": path, "ATELIER_HOME": str(self.root / "home")}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        command = [sys.executable, str(self.root / "launch.py"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)

    @property
    def log(self) -> str:
        return (self.root / ".venv" / "setup.log").read_text()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone that has been started once; the tests below go on from there, in their order."""
    made = Clone(tmp_path_factory.mktemp("first-start"))
    (made.root / ".venv").mkdir()
    (made.root / ".venv" / "precious").write_text("not Atelier's")
    first = made.run("styles", "list", "--json")
    assert first.returncode == 7, first.stderr
    assert first.stdout == "['styles', 'list', '--json'] 1 -1 False\n"
    lines = first.stderr.splitlines()
    assert (
        "Setting up Atelier. This happens once and takes a few minutes, longer on a slow connection." in lines
    )
    assert "Fetching brush (1 of 2) ..." in lines
    assert "Installing torch (2 of 2) ..." in lines
    assert lines[-1] == "Atelier is set up."
    return made


def test_a_foreign_venv_moves_aside(clone: Clone) -> None:
    assert (clone.root / ".venv-old-1" / "precious").read_text() == "not Atelier's"


def test_the_second_start_installs_nothing(clone: Clone) -> None:
    before = clone.log
    second = clone.run("styles", "list")
    assert (second.returncode, second.stderr) == (7, "")
    assert clone.log == before


def test_the_command_line_gets_help_and_options_as_they_were_typed(clone: Clone) -> None:
    assert clone.run("--home", "a b", "train", "--help").stdout.startswith(
        "['--home', 'a b', 'train', '--help'] 1"
    )
    assert clone.run("--no-browser", "--port=0").returncode == 2


def test_a_changed_lock_is_followed_in_place(clone: Clone) -> None:
    (clone.root / "requirements.txt").write_text("brush~=2.0\n")
    clone.lock("brush", "2.0", "VERSION = 2")
    made = (clone.root / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    assert clone.run("setup").stdout == "['setup'] 2 -1 False\n"
    assert (clone.root / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made


def test_a_refused_update_names_the_log_and_leaves_what_was_there(clone: Clone) -> None:
    before, lock = read_stamp(clone.root), clone.root / LOCKS[0]
    good = lock.read_text()
    for version, refusal in (
        ("3.0", "There is no brush==3.0"),
        ("2.1", "not the one that Atelier was tested"),
    ):
        _wheel(clone.packages, "brush", "2.1", "VERSION = 2.1")
        lock.write_text(f"brush=={version} --hash=sha256:{'0' * 64}\n")
        refused = clone.run("setup")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refusal in refused.stderr and "setup.log" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert read_stamp(clone.root) == before
    lock.write_text(good)
    assert (clone.run("setup").returncode, clone.run("setup").stderr) == (7, "")


def test_newer_packages_come_by_choice_and_go_by_choice(clone: Clone) -> None:
    assert clone.run("setup", "--newest").stdout == "['setup', '--newest'] 2.1 -1 False\n"
    assert clone.run("styles").stdout == "['styles'] 2.1 -1 False\n"
    assert clone.run("setup").stdout == "['setup'] 2 -1 False\n"


def test_what_nf4_needs_is_added_when_asked_for_and_proved(clone: Clone) -> None:
    before = read_stamp(clone.root)
    lock = clone.root / LOCKS[1]
    good = lock.read_text()
    for text, refusal in (
        ("bitsandbytes==9.0 --hash=sha256:" + "0" * 64, "There is no bitsandbytes==9.0"),
        (good.replace("sha256:", "sha256:" + "0" * 64)[: len(good)], "not the one that Atelier was tested"),
    ):
        lock.write_text(text)
        refused = clone.run("setup", "--nf4")
        assert (refused.returncode, refused.stdout) == (1, "") and refusal in refused.stderr
        assert "Traceback" not in refused.stderr and read_stamp(clone.root) == before
    clone.lock("bitsandbytes", "1.0", BITSANDBYTES.replace("OFF = 1", "OFF = 3"), LOCKS[1])
    refused = clone.run("setup", "--nf4")
    assert refused.returncode == 1 and "a product is off by 2" in refused.stderr
    assert read_stamp(clone.root) == before and "Successfully uninstalled" in clone.log

    clone.lock("bitsandbytes", "1.0", BITSANDBYTES, LOCKS[1])
    added = clone.run("setup", "--nf4")
    assert added.stdout == "['setup', '--nf4'] 2 -1 False\n", added.stderr
    assert "Fetching bitsandbytes (1 of 1) ..." in added.stderr
    assert read_stamp(clone.root) == before | {"nf4": read_stamp(clone.root)["nf4"]} != before
    assert clone.run("styles").stderr == "", "nothing more is installed"


def test_the_tests_run_from_the_project_with_their_own_requirements(clone: Clone) -> None:
    answer = clone.run("test", "-k", "one thing")
    assert (
        answer.stdout
        == "pytest ['-q', '-n', '2', '--dist', 'loadfile', '--no-loadscope-reorder', '-k', 'one thing']\n"
    )
    assert read_stamp(clone.root)["tests"]
    assert clone.run("setup").stderr == ""  # and don't have to be left out again


@pytest.mark.skipif(os.name == "nt", reason="stands in for nvidia-smi with a shell script")
def test_a_half_made_venv_is_made_again_and_a_card_that_fails_is_tried_again_when_asked(clone: Clone) -> None:
    program = clone.programs / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '%s' '{recorded.H200}'\n")
    program.chmod(0o755)
    (clone.root / ".venv" / STAMP).unlink()  # as if the last setup had been killed
    venv_python(clone.root).unlink()
    first = clone.run("setup")
    assert first.stdout == "['setup'] 2 -1 False\n", first.stderr
    assert "Clearing an unfinished or outdated .venv ..." in first.stderr
    assert "Found NVIDIA H200: taking PyTorch for CUDA 13." in first.stderr
    assert (
        "PyTorch can't calculate on the graphics card (PyTorch sees no card that it can use)." in first.stderr
    )
    assert "the processor does the work" in first.stderr
    stamp = read_stamp(clone.root)
    assert (stamp["torch_asked"], stamp["torch_installed"]) == ("cu130", "cpu")
    assert clone.run("styles", "list").stderr == ""

    working = (
        TORCH.replace("False", "True")
        + "    device_count = staticmethod(lambda: 1)\n"
        + "    get_device_name = staticmethod(lambda number: 'NVIDIA H200')\n"
    )
    _wheel(clone.packages, "torch", TORCH_VERSION, working + MATRICES)
    again = clone.run("setup")
    assert again.stdout == "['setup'] 2 None False\n", again.stderr
    assert "NVIDIA H200 has passed a test calculation and will do the work." in again.stderr
    assert read_stamp(clone.root)["torch_installed"] == "cu130"

    program.write_text(f"#!/bin/sh\nprintf '%s' '{recorded.DRIVER_MISMATCH}'\n")
    away = clone.run("styles", "list")
    assert (away.returncode, away.stderr.count("\n")) == (7, 1)
    assert "Restart the computer" in away.stderr  # and nothing is installed

    program.write_text(f"#!/bin/sh\nprintf '%s' '{recorded.PASCAL}'\n")
    (clone.packages / f"torch-{TORCH_VERSION}-py3-none-any.whl").unlink()
    refused = clone.run("setup")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "There is no torch" in refused.stderr
    assert read_stamp(clone.root)["torch_installed"] == "cu130"  # what worked before is back
    assert clone.log.count("No matching distribution") == 1


MATRICES = """
float64 = None
class Matrix(float):
    float = cuda = cpu = double = abs = max = item = lambda self, *_: self
    __matmul__ = __sub__ = lambda self, other: self
    __truediv__ = lambda self, other: Matrix(0)
randn = lambda *shape, dtype: Matrix(1)
"""


def test_a_disk_that_is_too_small_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _copy_requirements(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1.5e9))
    with pytest.raises(SetupProblem, match=r"GB of free disk space and .* has 1\.5 GB"):
        venv.set_up(tmp_path, say=lambda text: None)
    assert not (tmp_path / ".venv").exists()


def test_a_python_without_venv_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _copy_requirements(tmp_path)
    real_find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ensurepip" else real_find_spec(name)
    )
    with pytest.raises(SetupProblem, match=r"sudo apt install python3\.\d+-venv"):
        venv.set_up(tmp_path, say=lambda text: None)
    assert not (tmp_path / ".venv").exists()


def _copy_requirements(folder: Path) -> None:
    for file in (RANGES[0], LOCKS[0]):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)


@pytest.mark.parametrize("text", ["", "[]", '{"requirements": "x"}'])
def test_a_stamp_without_a_running_python_counts_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / STAMP).write_text(text)
    assert read_stamp(tmp_path) == {}
    assert json.dumps(read_stamp(tmp_path / "nowhere")) == "{}"
