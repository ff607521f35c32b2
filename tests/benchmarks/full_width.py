"""Training steps on a base of a family's full width, as artists will run it: how long, and how much memory.

python -m tests.benchmarks.full_width
python -m tests.benchmarks.full_width --family sdxl --dtype bf16 --resolution 256 --steps 1 --checkpointing

The base has random weights in the shapes of Stable Diffusion 1.5 (859.5 M in the UNet) or XL (2,567 M), is written in
half precision and trained by the trainer's own process, from opening the base to the finished style. Peak memory is that
process's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from styles.formats.reader import read_card
from styles.storage.home import Home
from tests.tiny import tiny_tokenizer
from training.events import Finished, PhaseStarted, StepDone
from training.job import Job
from training.plan import plan_for

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "styles" / "bases" / "files" / "configs"
CHILD = """
import resource, runpy, sys
import styles.devices.precision
dtype = sys.argv[1]
if dtype != "auto":
    styles.devices.precision.pick_dtype = lambda device: styles.devices.precision.DTYPES[dtype]
sys.argv = ["training", *sys.argv[2:]]
try:
    runpy.run_module("training", run_name="__main__", alter_sys=True)
finally:
    print("peak kB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_base(folder: Path, family: str, dtype: torch.dtype) -> Path:
    """A base in a family's shapes with random weights in half precision; only its vocabulary is small."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    shutil.copytree(CONFIGS / family, folder)
    tokenizer = tiny_tokenizer(77)
    torch.manual_seed(0)

    def words_of(part: str) -> CLIPTextConfig:
        words = CLIPTextConfig.from_pretrained(folder / part)
        words.vocab_size = len(tokenizer)
        words.bos_token_id, words.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        words.pad_token_id = tokenizer.pad_token_id
        return words

    makers: dict[str, Any] = {
        "unet": lambda: UNet2DConditionModel.from_config(
            UNet2DConditionModel.load_config(folder, subfolder="unet")
        ),
        "vae": lambda: AutoencoderKL.from_config(AutoencoderKL.load_config(folder, subfolder="vae")),
        "text_encoder": lambda: CLIPTextModel(words_of("text_encoder")),
        "text_encoder_2": lambda: CLIPTextModelWithProjection(words_of("text_encoder_2")),
    }
    usual = torch.get_default_dtype()
    # Made in half precision, so that the making takes no more memory than the training.
    torch.set_default_dtype(dtype)
    try:
        for name, make in makers.items():
            if (folder / name).is_dir():
                make().to(dtype).save_pretrained(folder / name, safe_serialization=True)
                if name.startswith("text_encoder"):
                    tokenizer.save_pretrained(folder / name.replace("text_encoder", "tokenizer"))
    finally:
        torch.set_default_dtype(usual)
    return folder


def main() -> None:
    """Write the base, train on it, print one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--family", default="sd1", choices=["sd1", "sdxl"])
    parser.add_argument("--dtype", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure(Path(scratch), arguments)


def measure(scratch: Path, arguments: argparse.Namespace) -> None:
    """Train a style for a few steps and say what it took."""
    stored = torch.bfloat16 if arguments.dtype == "bf16" else torch.float16
    base = write_base(scratch / "base", arguments.family, stored)
    home = Home(scratch / "home").create()
    pixels = np.random.default_rng(0).integers(0, 256, (arguments.resolution, arguments.resolution, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(scratch / "artwork.png")
    plan = plan_for(
        "balanced", arguments.family, 1, name="full width", base=str(base), batch=arguments.batch, steps=arguments.steps,
        resolution_px=arguments.resolution, preview_every=0, report_every=1, gradient_accumulation=1,
        gradient_checkpointing=arguments.checkpointing,
    )  # fmt: skip
    job = Job.create(home.jobs, plan, [scratch / "artwork.png"])
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, arguments.dtype, str(job.folder), "--device", arguments.device],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    whole = time.monotonic() - started
    if done.returncode:
        raise SystemExit(done.stderr)
    events = list(job.events())
    steps = [event for event in events if isinstance(event, StepDone)]
    finished = next(event for event in events if isinstance(event, Finished))
    card = read_card(Path(finished.style_path))
    result = {
        "dtype": arguments.dtype,
        "resolution_px": arguments.resolution,
        "batch": arguments.batch,
        "gradient_checkpointing": arguments.checkpointing,
        "threads": torch.get_num_threads(),
        "seconds_for_the_steps": round(steps[-1].seconds, 1),
        "steps": arguments.steps,
        "losses": [round(step.loss, 4) for step in steps],
        "seconds_in_all": round(whole, 1),
        "peak_memory_gib": round(int(done.stdout.split("peak kB")[1].split()[0]) / 2**20, 2),
        "phases": [event.phase for event in events if isinstance(event, PhaseStarted)],
        "layers": dict(card.layers),
        "family": card.family,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
