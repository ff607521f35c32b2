"""How long a library of ten thousand styles takes to list, to search and to be read for the first time.

python -m tests.benchmarks.library

Each file has the header that a trainer writes, with random trigger words, authors and tags; the tensors behind it are a
hole in the file, since listing reads headers only. Three in five have cross-attention of Stable Diffusion 1 (192
tensors, as Atelier writes), three in ten all attention and the text encoder (792), one in ten cross-attention of
Stable Diffusion XL (840); `--only attn2` makes all of the first kind. Cold means without our cache; the
headers are in the system's file cache, since they were just written. Each figure is from a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("attn2", "full", "sdxl")
SHARES = (60, 30, 10)
RANK = 8
WORDS = [
    "amber", "ash", "birch", "cloud", "copper", "dawn", "dusk", "ember", "fern", "flint", "frost", "gale", "glass",
    "indigo", "iris", "jade", "kelp", "lake", "lilac", "marble", "meadow", "mist", "moss", "night", "oak", "ochre",
    "opal", "pearl", "pine", "quartz", "rain", "reed", "river", "rust", "sage", "sand", "shale", "sky", "slate",
    "snow", "spruce", "stone", "storm", "sun", "thistle", "tide", "umber", "vale", "violet", "wave", "willow", "wool",
]  # fmt: skip
PAGE = 60  # cards that a window shows at once
FRESH = ("list", "all cards", "search")
REACH = {"cold index": 20.0, "list": 0.3, "search": 0.3}  # seconds


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the command line, measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--styles", type=int, default=10_000)
    parser.add_argument("--only", choices=KINDS, help="styles of one kind; default: mixed")
    parser.add_argument("--times", type=int, default=20, help="that each warm figure is taken")
    parser.add_argument("--processes", type=int, default=5, help="new processes that list and search")
    parser.add_argument(
        "--home", type=Path, help="a home made before; default: a new one, taken away afterwards"
    )
    parser.add_argument("--child", choices=["cold", *FRESH, "open"], help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        result = CHILDREN[options.child](options)
        print(json.dumps(result), flush=True)
        return result
    folder = Path(tempfile.mkdtemp(prefix="library-")) if options.home is None else options.home
    try:
        if not (folder / "styles").is_dir():
            make(folder / "styles", options.styles, options.only)
        result = measure(folder, options)
    finally:
        if options.home is None:
            shutil.rmtree(folder)
    print(table(result), flush=True)
    print(json.dumps(result), flush=True)
    return result


def measure(home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run each part in a process of its own."""
    shutil.rmtree(home / "cache", ignore_errors=True)
    cold = child("cold", home, options)
    fresh = {part: [child(part, home, options) for _ in range(options.processes)] for part in FRESH}
    return {
        "styles": cold["styles"],
        "cold index": [cold["seconds"]],
        "cold memory MiB": cold["memory MiB"],
        "cache MiB": (home / "cache" / "styles.sqlite").stat().st_size / 2**20,
        "new process": {part: [one["seconds"] for one in ran] for part, ran in fresh.items()},
        "memory MiB": max(one["memory MiB"] for one in fresh["all cards"]),
        "open window": child("open", home, options),
    }


def child(part: str, home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one part as its own process and return what it measured."""
    command = [sys.executable, "-m", "tests.benchmarks.library", "--child", part, "--home", str(home)]
    answer = subprocess.run(
        [*command, "--times", str(options.times)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(answer.stdout.splitlines()[-1])


def cold(options: argparse.Namespace) -> dict[str, Any]:
    """The first look, without a cache."""
    library = library_of(options)
    seconds, cards = timed(library.cards)
    return {"seconds": seconds, "styles": len(cards), "memory MiB": memory_mib()}


def fresh(options: argparse.Namespace) -> dict[str, Any]:
    """What a new process pays for its first look: `list` shows a page of cards, `all cards` is for who wants each."""
    library = library_of(options)
    work: Callable[[], Any] = {
        "list": lambda: library.look().first(PAGE),
        "all cards": library.cards,
        "search": lambda: library.search("amber tag:dawn"),
    }[options.child]
    seconds, found = timed(work)
    assert found
    return {"seconds": seconds, "memory MiB": memory_mib()}


def open_window(options: argparse.Namespace) -> dict[str, Any]:
    """What a window pays that has listed before."""
    library = library_of(options)
    cards = library.cards()
    chance = random.Random(1)
    works: dict[str, Callable[[], Any]] = {
        "list": library.cards,
        "search": lambda: library.search(" ".join(chance.sample(WORDS, 2))),
        "search a field": lambda: library.search(f"tag:{chance.choice(WORDS)} base:sd1"),
        "find by name": lambda: library.find(chance.choice(cards).name),
        "mark": lambda: library.mark(chance.choice(cards).name, favourite=True),
        "rename": lambda: library.rename(chance.choice(library.cards()).name, "renamed"),
    }
    return {name: [timed(work)[0] for _ in range(options.times)] for name, work in works.items()}


def library_of(options: argparse.Namespace) -> Any:
    """The library over the home that is measured."""
    from styles.library.library import Library
    from styles.storage.home import Home

    return Library(Home(options.home))


def timed(work: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Return the seconds that work takes, by the clock and of a processor, and its result."""
    start, busy = time.perf_counter(), time.process_time()
    done = work()
    return (time.perf_counter() - start, time.process_time() - busy), done


def memory_mib() -> float:
    """The most memory that this process has had; 0 on Windows, which tells it in another way."""
    if sys.platform == "win32":
        return 0.0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**10 if sys.platform != "darwin" else most / 2**20


def make(folder: Path, count: int, only: str | None) -> None:
    """Write the files of `count` styles into a folder, a hundred in each subfolder but the first thousand."""
    chance = random.Random(0)
    layouts = {kind: entries_of(kind) for kind in KINDS}
    for number in range(count):
        kind = only or chance.choices(KINDS, SHARES)[0]
        inner = folder if number < 1000 else folder / f"part {number // 100}"
        inner.mkdir(parents=True, exist_ok=True)
        entries, size = layouts[kind]
        metadata = metadata_of(number, kind, chance)
        header = json.dumps({"__metadata__": metadata} | entries, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        name = " ".join(chance.sample(WORDS, 2))
        with (inner / f"{name} {number}.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + beginning(entries, chance))
            file.truncate(8 + len(header) + size)
        if number % 10 == 0:  # as files are copied one after another: no two at the same moment
            os.utime(file.name, (1.6e9 + number, 1.6e9 + number))


def beginning(entries: dict[str, Any], chance: random.Random) -> bytes:
    """The first of the tensors' bytes: numbers that differ from file to file, and alphas that don't."""
    data = bytearray(chance.randbytes(16 << 10))
    for key, entry in entries.items():
        begin, end = entry["data_offsets"]
        if key.endswith(".alpha") and end <= len(data):
            data[begin:end] = b"\x00\x44"  # 4 in fp16
    return bytes(data)


def metadata_of(number: int, kind: str, chance: random.Random) -> dict[str, str]:
    """What a file of that kind says: a page of training settings, and a thumbnail in one of three."""
    words = chance.sample(WORDS, 6)
    told = {
        "ss_base_model_version": "sdxl_base_v1-0" if kind == "sdxl" else "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_output_name": f"{words[0]}_{number}",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": f"{words[0]} {words[1]}",
        "modelspec.author": f"{words[2]} {words[3]}",
        "modelspec.trigger_phrase": f"{words[0]}{number}",
        "modelspec.tags": ", ".join(words[3:]),
        "modelspec.description": " ".join(chance.choices(WORDS, k=40)),
    }
    told |= {f"ss_setting_{n}": " ".join(chance.choices(WORDS, k=3)) for n in range(50)}
    if number % 3 == 0:
        import base64

        picture = b"\xff\xd8\xff" + chance.randbytes(12_000)
        told["modelspec.thumbnail"] = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    return told


def entries_of(kind: str) -> tuple[dict[str, Any], int]:
    """The tensors of a header, and how many bytes they take."""
    entries: dict[str, Any] = {}
    size = 0
    for name, inside, outside in layers_of(kind):
        shapes = ((".alpha", []), (".lora_down.weight", [RANK, inside]), (".lora_up.weight", [outside, RANK]))
        for ending, shape in shapes:
            took = 2 * (1 if not shape else shape[0] * shape[1])
            entries[name + ending] = {"dtype": "F16", "shape": shape, "data_offsets": [size, size + took]}
            size += took
    return entries, size


def layers_of(kind: str) -> Iterator[tuple[str, int, int]]:
    """(kohya name, numbers in, numbers out) of each layer."""
    words = 2048 if kind == "sdxl" else 768
    for block, width, depth in blocks_of(kind):
        for layer in range(depth):
            inner = f"lora_unet_{block}_transformer_blocks_{layer}"
            for attention, source in (("attn1", width), ("attn2", words)):
                if attention == "attn2" or kind == "full":
                    yield f"{inner}_{attention}_to_q", width, width
                    yield f"{inner}_{attention}_to_k", source, width
                    yield f"{inner}_{attention}_to_v", source, width
                    yield f"{inner}_{attention}_to_out_0", width, width
            if kind == "full":
                yield f"{inner}_ff_net_0_proj", width, 8 * width
                yield f"{inner}_ff_net_2", 4 * width, width
        if kind == "full":
            yield f"lora_unet_{block}_proj_in", width, width
            yield f"lora_unet_{block}_proj_out", width, width
    for layer in range(12 if kind == "full" else 0):
        inner = f"lora_te_text_model_encoder_layers_{layer}"
        for projection in ("q", "k", "v", "out"):
            yield f"{inner}_self_attn_{projection}_proj", 768, 768
        yield f"{inner}_mlp_fc1", 768, 3072
        yield f"{inner}_mlp_fc2", 3072, 768


def blocks_of(kind: str) -> Iterator[tuple[str, int, int]]:
    """(name, width, transformer layers) of each block with attention."""
    if kind == "sdxl":
        shape = {"down_blocks_1": (640, 2, 2), "down_blocks_2": (1280, 2, 10), "mid_block": (1280, 1, 10)}
        shape |= {"up_blocks_0": (1280, 3, 10), "up_blocks_1": (640, 3, 2)}
    else:
        shape = {f"down_blocks_{n}": (320 << n, 2, 1) for n in range(3)} | {"mid_block": (1280, 1, 1)}
        shape |= {f"up_blocks_{n}": (320 << (3 - n), 3, 1) for n in range(1, 4)}
    for block, (width, attentions, depth) in shape.items():
        for attention in range(attentions):
            yield f"{block}_attentions_{attention}", width, depth


def table(result: dict[str, Any]) -> str:
    """The figures for RESULTS.md."""

    def row(name: str, seconds: list[list[float]], reach: str = "") -> str:
        clock, busy = (sorted(values) for values in zip(*seconds, strict=True))
        limit = f"{REACH[reach]:g} s" if reach in REACH else ""
        medians = f"{statistics.median(clock):.3f} s | {clock[-1]:.3f} s | {statistics.median(busy):.3f} s"
        return f"| {name} | {medians} | {limit} |"

    rows = [
        f"| {result['styles']} styles | median | slowest | of a processor | to reach |",
        "|---|---|---|---|---|",
        row("cold index", result["cold index"], "cold index"),
        *(row(f"{name}, a new process", found, name) for name, found in result["new process"].items()),
        *(row(f"{name}, an open window", found, name) for name, found in result["open window"].items()),
        f"\nMemory: {result['cold memory MiB']:.0f} MiB cold, {result['memory MiB']:.0f} MiB with all cards; "
        f"the cache takes {result['cache MiB']:.1f} MiB.",
    ]
    return "\n".join(rows)


CHILDREN = {"cold": cold, "open": open_window} | dict.fromkeys(FRESH, fresh)

if __name__ == "__main__":
    main()
