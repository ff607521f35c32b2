"""A home in which odd things lie: what clouds, other programs, crashes and hands leave in an artist's folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from styles.storage.home import Home
from training.events import PreviewReady, to_json_line
from training.plan import plan_for

ODD_LORA_HASHES = (
    'a fox <lora:ink:1>\nSteps: 20, Sampler: DDIM, Seed: 1, Size: 64x64, Lora hashes: "ink: , b:, : c,,x"'
)
NO_TEXT = os.fsdecode(b"caf\xe9 \xff")
KEPT_FILES = (
    "settings.json", "queue.json", "running.json", "measured.json", "cache/styles.sqlite", "draft/form.json",
    "bases/opened.json", "running.lock", "log/9999-12-31.log", "styles/marks.json", "styles/.hidden.json", "styles/.effects.json",
)  # fmt: skip
# What a job's plan may hold, by the name of its folder.
PLANS = {
    "empty": "",
    "truncated": '{"name": "x", "steps": 2',
    "list": "[1, 2]",
    "deep": "[" * 100_000,
    "half a letter": '{"name": "\\ud800"}',
    "types": '{"name": "x", "steps": "many", "rank": [8]}',
    "numbers": '{"name": "x", "steps": 99999999999999999999, "learning_rate": 1e999}',
    "newer": '{"name": "x", "hologram": true}',
}


def text_picture(path: Path, text: str) -> Path:
    """A small PNG with a text as A1111 writes it."""
    info = PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", (32, 32), "teal").save(path, pnginfo=info)
    return path


def odd_job(home: Home, name: str, plan: str | None = None) -> Path:
    """A job folder with a plan as it stands, and a journal."""
    folder = home.jobs / f"20260101-000000 {name}"
    (folder / "checkpoints").mkdir(parents=True)
    text = plan_for("quick", "starter", 3, name=name).to_json() if plan is None else plan
    (folder / "plan.json").write_text(text, encoding="utf-8")
    return folder


def add_odd_jobs(home: Home) -> dict[str, str]:
    """Put odd job folders into a home; what the list is to say of each, by its name."""
    said = {}
    for name, plan in PLANS.items():
        odd_job(home, name, plan)
        said[name] = "plan"
    folder = odd_job(home, "plan is a folder")
    (folder / "plan.json").unlink()
    (folder / "plan.json").mkdir()
    said["plan is a folder"] = "plan"
    for name in ("events.jsonl", "lock"):
        (odd_job(home, f"{name} is a folder") / name).mkdir()
        said[f"{name} is a folder"] = name
    odd = odd_job(home, "odd lines")
    lines = [
        '{"event": "StepDone", "step": 9e999, "steps": 0, "loss": "x", "learning_rate": 1, "seconds": 1, "seconds_left": 1}',
        '{"event": "Finished", "step": 1, "style_path": 7, "style_id": null, "style_name": [], "seconds": NaN}',
        to_json_line(PreviewReady(1, ("../../../secret.png", "previews/none.png"), ("a", "b"))),
        '{"event": "Warned", "message": "\\ud800"}',
        "\0\xff[[[[" + "[" * 100_000,
        '{"event": "Warned", "mess',
    ]
    (odd / "events.jsonl").write_text("\n".join(lines), encoding="utf-8", errors="replace")
    for stray in (
        "step-abc.safetensors",
        "step-000100 (conflicted copy 2026).safetensors",
        "step-7.safetensors",
    ):
        (odd / "checkpoints" / stray).write_bytes(b"")
    (odd / "checkpoints" / "step-000200.safetensors").mkdir()
    (odd / "checkpoints" / ".DS_Store").write_bytes(b"\0")
    (home.jobs / "desktop.ini").write_text("[x]")
    (home.jobs / "a file").write_text("none")
    said["odd lines"] = "conflicted copy"
    return said


def add_odd_bases(home: Home, tiny: Path) -> Path:
    """Put three malformed bases and a list of bases into a home, the one in use among them; return that one."""
    for name, part, change in (
        ("wide", "unet", {"cross_attention_dim": [256]}),
        ("side", "unet", {"sample_size": "large"}),
        ("deep", "vae", {"block_out_channels": 3}),
        ("noise", "scheduler", {"num_train_timesteps": None}),
    ):
        folder = home.bases / name
        shutil.copytree(tiny, folder, copy_function=os.link)
        file = next((folder / part).glob("*config.json"))
        config = json.loads(file.read_text(encoding="utf-8")) | change
        file.unlink()
        file.write_text(json.dumps(config), encoding="utf-8")
    (home.bases / "empty.safetensors").write_bytes(b"")
    (home.bases / "list.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]")
    (home.bases / "index is a folder" / "model_index.json").mkdir(parents=True)
    kept = {"wide": {"source": str(home.bases / "wide")}, "gone": {"source": str(home.root / "gone")}}
    (home.bases / "shelf.json").write_text(json.dumps({"in_use": "wide", "bases": kept}), encoding="utf-8")
    return home.bases / "wide"


def add_odd_pictures(home: Home) -> None:
    """Put odd things among the pictures of a home, and one whose recipe is odd."""
    text_picture(home.pictures / "hashes.png", ODD_LORA_HASHES)
    (home.pictures / "folder.png").mkdir()
    (home.pictures / "empty.png").write_bytes(b"")
    (home.pictures / "sources").write_text("a file where a folder is wanted")
    _odd_entries(home.pictures, ".png")


def add_odd_styles(home: Home) -> None:
    """Put odd things among the styles, their marks, the blends and the trash of a home."""
    (home.styles / "folder.safetensors").mkdir()
    _odd_entries(home.styles, ".safetensors")
    blends = home.root / "blends"
    blends.mkdir(exist_ok=True)
    (blends / "folder.json").mkdir()
    (blends / "deep.json").write_text("[" * 100_000)
    _odd_entries(blends, ".json")
    _odd_entries(home.trash, ".safetensors")


def make_folders_of_files(home: Home) -> tuple[str, ...]:
    """Make folders of the files that Atelier itself keeps in a home; the names of those that it has to name."""
    for name in KEPT_FILES:
        (home.root / name).unlink(missing_ok=True)
        (home.root / name).mkdir(parents=True)
    return ("settings.json", "queue.json")


def _odd_entries(folder: Path, suffix: str) -> None:
    (folder / f"desktop.ini{suffix}").write_text("[.ShellClassInfo]")
    if os.name != "posix":
        return
    (folder / f"dangling{suffix}").symlink_to(folder / "nowhere")
    (folder / f"loop{suffix}").symlink_to(folder / f"loop{suffix}")
    os.mkfifo(folder / f"pipe{suffix}")
    (folder / f"device{suffix}").symlink_to("/dev/zero")
    (folder / f"{NO_TEXT}{suffix}").write_bytes(b"none")
    (folder / f"line\n\u202eback{suffix}").write_bytes(b"none")
    (folder / ("x" * (255 - len(suffix)) + suffix)).write_bytes(b"none")
    old = folder / f"old{suffix}"
    old.write_bytes(b"none")
    os.utime(old, (-(2**31), 2**33))


MAKERS: dict[str, Callable[[Home], object]] = {
    "jobs": add_odd_jobs,
    "pictures": add_odd_pictures,
    "styles": add_odd_styles,
    "files": make_folders_of_files,
}
