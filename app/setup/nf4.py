"""The extra for NF4: bitsandbytes, put into a finished `.venv` and proved there.

Standard library only: set-up uses this before anything is installed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from app.setup.pip import (
    Say,
    SetupProblem,
    child_environment,
    name_of,
    pip_install,
    requirement_lines,
    run_logged,
    venv_python,
)
from app.setup.venv import check_disk, digest, part_files, read_stamp, setup_lock, write_stamp

NF4_GB = 0.3  # unpacked and downloaded
NF4_MB = 45  # downloaded, at most
# As a base is painted with: quantised on the processor, computed where the work is done.
PROOF = """
import torch, bitsandbytes
device = "cuda" if torch.cuda.is_available() else "cpu"
layer = bitsandbytes.nn.Linear4bit(64, 64, bias=False, compute_dtype=torch.float32, quant_type="nf4")
layer.support_avx512bf16_for_cpu = False  # as the bases have it
plain = layer.weight.data.clone()
inputs = torch.ones(1, 64)
expected = inputs @ plain.t()
off = float((layer.to("cpu").to(device)(inputs.to(device)).cpu() - expected).abs().max())
assert off < 1, "a product is off by %g" % off
"""


def nf4_requirement(root: Path) -> str:
    """What NF4 needs, as pip takes it."""
    return requirement_lines(part_files(root, True)["nf4"])[0].replace(" ", "")


def pip_command(root: Path) -> str:
    """What installs that into a Python which set-up doesn't look after."""
    return f"python -m pip install '{nf4_requirement(root)}'"


def is_own_venv(root: Path) -> bool:
    """Whether this Python is the one of the `.venv` that set-up has made in `root`."""
    return bool(read_stamp(root)) and Path(sys.prefix).resolve() == (root / ".venv").resolve()


def add_nf4(root: Path, say: Say) -> None:
    """Install what NF4 needs, leaving all else as it is; raises SetupProblem."""
    with setup_lock(root, say):
        stamp = read_stamp(root)
        if not stamp:
            raise SetupProblem("Atelier is not set up here yet: run `python launch.py setup` first.")
        newest = bool(stamp.get("newest"))
        file = part_files(root, newest)["nf4"]
        name = name_of(nf4_requirement(root))
        check_disk(root, NF4_GB)
        # What it needs is here, torch as set-up chose it.
        arguments = ["--no-deps", *([] if newest else ["--require-hashes"]), "-r", str(file)]
        pip_install(root, arguments, [name], say, done=0, total=1)
        problem = _problem(root, stamp)
        if problem:
            run_logged(
                root, [str(venv_python(root)), "-m", "pip", "uninstall", "-y", name], lambda lines: None
            )
            raise SetupProblem(
                f"{name} does not compute on this machine ({problem}), so it was taken off again. The four bits with "
                "groups (qa4) need nothing more.",
                "unusable",
            )
        write_stamp(root, {**stamp, "nf4": digest(file)})
        say("NF4 is installed: a base can be kept so from now on.")


def _problem(root: Path, stamp: dict[str, str]) -> str:
    """Why NF4 doesn't compute with that Python, empty where it does."""
    environment = child_environment()
    if stamp.get("torch_installed") == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    command = [str(venv_python(root)), "-c", PROOF]
    try:
        proof = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=300
        )
    except subprocess.TimeoutExpired:
        return "no answer within five minutes"
    said = proof.stderr.decode("utf-8", "replace").strip()
    return "" if proof.returncode == 0 else said.splitlines()[-1] if said else f"exit code {proof.returncode}"
