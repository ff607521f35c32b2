"""A few spoiled inputs of each kind are read without a raw error; `python -m tests.benchmarks.fuzz` tries many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.fuzzing.kinds import kinds


def test_spoiled_inputs_are_read_or_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing.running", "few", "1", str(tmp_path)],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    for kind in kinds():
        if kind.few:
            assert told[kind.name]["tried"] == kind.few
            assert not told[kind.name]["raw"], "\n".join(told[kind.name]["raw"])
