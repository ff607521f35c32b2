"""The process that spoils and reads inputs of one kind, alone so that no crash, hang or memory takes others along.

    python -m tests.fuzzing.running KIND SEED FIRST COUNT SECONDS OUT
    python -m tests.fuzzing.running few SEED OUT

Each input depends on (SEED, number) only. Raw errors are kept in OUT, the input beside what was said; the last line of
what is printed is JSON: how many were tried, the raw errors, the slowest.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzzing.kinds import Kind, kinds
from tests.fuzzing.spoiling import remove
from tests.styles.fuzzing import limit_memory

MORE_MEMORY = 1536 << 20  # bytes beyond what the seeds take
HANGING_SECONDS = 30.0
MOST_RAW = 40


def main(kind: Kind, seed: int, first: int, count: int, seconds: float, out: Path) -> dict[str, Any]:
    """Try inputs from number `first` on until so many or so many seconds are over; return what became of them."""
    warnings.simplefilter("error")
    for other in (
        "PIL",
        "psd_tools",
        "diffusers",
        "transformers",
        "torch",
        "huggingface_hub",
        "pi_heif",
        "pillow_heif",
    ):
        warnings.filterwarnings("ignore", module=rf"{other}(\..*)?$")
    out.mkdir(parents=True, exist_ok=True)
    at = out / f"{kind.name} is at.txt"
    tried, raw, slowest = 0, [], 0.0
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as place:
        folder = Path(place)
        (folder / "seeds").mkdir()
        with contextlib.redirect_stdout(io.StringIO()):
            seeds = kind.prepare(folder / "seeds")
            with contextlib.suppress(Exception):  # what is loaded once counts for none
                kind.attempt(Random(0), seeds, folder / "first")
        used = limit_memory(MORE_MEMORY)
        for number in range(first, first + count):
            if time.monotonic() > until or len(raw) >= MOST_RAW:
                break
            at.write_text(str(number))
            faulthandler.dump_traceback_later(HANGING_SECONDS, exit=True)
            path = folder / "input"
            began = time.process_time()
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    kind.attempt(Random(f"{seed}/{number}"), seeds, path)
                took = time.process_time() - began
                assert took < kind.seconds, f"it took {took:.1f} s"
                used()
            except Exception as error:
                raw.append(_kept(kind, seed, number, error, path, out))
            tried += 1
            slowest = max(slowest, time.process_time() - began)
            remove(path)
    faulthandler.cancel_dump_traceback_later()
    return {"tried": tried, "raw": raw, "slowest": round(slowest, 2)}


def _kept(kind: Kind, seed: int, number: int, error: Exception, path: Path, out: Path) -> str:
    """Keep a raw error with its input; return it on one line."""
    told = "".join(traceback.format_exception(error))
    folder = out / f"{kind.name}-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    again = f'python -m tests.fuzzing.running "{kind.name}" {seed} {number} 1 600 {out}\n\n'
    (folder / "said.txt").write_text(again + told, encoding="utf-8", errors="replace")
    # Pipes and loops can't be copied; the command makes them again.
    with contextlib.suppress(OSError, shutil.Error):
        shutil.copytree(path, folder / "input", symlinks=True, ignore=_only_files)
    lines = [line for line in told.splitlines() if line.strip()]
    where = next(
        (line.strip() for line in reversed(lines) if line.startswith("  File") and "/.venv/" not in line), ""
    )
    return f"{number}: {type(error).__name__}: {str(error)[:200]!r} {where}"


def _only_files(folder: str, names: list[str]) -> list[str]:
    here = Path(folder)
    return [name for name in names if not ((here / name).is_file() or (here / name).is_dir())]


def few(seed: int, out: Path) -> dict[str, Any]:
    """Try a few inputs of each kind in this one process, for a test."""
    return {kind.name: main(kind, seed, 0, kind.few, 600.0, out) for kind in kinds() if kind.few}


if __name__ == "__main__":
    if sys.argv[1] == "few":
        done = few(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        wanted = next(kind for kind in kinds() if kind.name == sys.argv[1])
        numbers = [int(text) for text in sys.argv[2:5]]
        done = main(wanted, numbers[0], numbers[1], numbers[2], float(sys.argv[5]), Path(sys.argv[6]))
    print(json.dumps(done))
