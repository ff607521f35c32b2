"""The process that reads spoiled files, alone so that neither a crash nor memory takes the tests along.

    python -m tests.styles.fuzzing FOLDER SEED COUNT [FIRST]

Prints what became of them as JSON. Each file depends on (SEED, number) only, so that one that fails is made again
with COUNT 1 and its number as FIRST.
"""

from __future__ import annotations

import faulthandler
import json
import math
import re
import sys
import traceback
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from styles.errors import BadInput, StyleFileError
from styles.formats.peft import CONFIG, WEIGHTS
from styles.formats.style import Style, StyleCard
from styles.library.verify import verify
from tests.styles.mutations import spoiled
from tests.styles.seed_files import Draft, file_of, numbered_unet, seeds

# Bytes that may be taken beyond what all intact seeds take. A file of a few KiB may stand for a whole layer (LoKr),
# which is up to 256 MiB with the factors that it is brought to as large again.
MORE_MEMORY = 768 << 20
HANGING_SECONDS = 300.0  # for a hundred files, which take about half a second
MOST_FAILURES = 20
OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def main(folder: Path, seed: int, count: int, first: int) -> dict[str, Any]:
    """Read `count` spoiled files and return counts of what became of them, and the failures."""
    warnings.simplefilter("error")
    # It says on the side what is wrong with a picture, and goes on.
    warnings.filterwarnings("ignore", module="PIL")
    drafts = readable(folder)
    large = numbered_unet()
    used = limit_memory()
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    reasons: set[str] = set()
    failures: list[str] = []
    for number in range(first, first + count):
        if number % 100 == 0:
            faulthandler.dump_traceback_later(HANGING_SECONDS, exit=True)
        rng = Random(f"{seed}/{number}")
        draft = large if rng.random() < 0.002 else rng.choice(drafts)
        data, config, done = spoiled(rng, draft)
        path = write(folder, data, config)
        try:
            outcome, reason = read(path, rng)
            used()
        except BaseException as error:
            told = "".join(traceback.format_exception(error, limit=-4))
            failures.append(f"file {number}, a {draft.kind} with {', '.join(done)}:\n{told[-2000:]}")
            if len(failures) >= MOST_FAILURES or isinstance(error, KeyboardInterrupt):
                break
            continue
        outcomes[outcome] += 1
        kinds[draft.kind] += outcome == "opened"
        reasons.add(re.sub(r"[0-9“].*", "", reason.split(": ")[-1])[:40])
    faulthandler.cancel_dump_traceback_later()
    return {"outcomes": outcomes, "opened": kinds, "reasons": len(reasons), "failures": failures}


def readable(folder: Path) -> list[Draft]:
    """Return the seeds, each of which must open as it is."""
    drafts = [*seeds(), numbered_unet()]
    for draft in drafts:
        config = None if draft.config is None else json.dumps(draft.config)
        path = write(folder, file_of(json.dumps(draft.header()), draft.section()), config)
        outcome, reason = read(path, Random(0), always_export=True)
        assert outcome == "opened", f"the seed {draft.kind} does not open: {reason}"
    return drafts[:-1]


def write(folder: Path, data: bytes, config: str | None) -> Path:
    """Write the file, or the folder that PEFT would write, and return where."""
    if config is None:
        path = folder / "x.safetensors"
        path.write_bytes(data)
        return path
    path = folder / "peft"
    path.mkdir(exist_ok=True)
    (path / CONFIG).write_bytes(config.encode("utf-8", "surrogatepass"))
    (path / WEIGHTS).write_bytes(data)
    return path


def read(path: Path, rng: Random, always_export: bool = False) -> tuple[str, str]:
    """Return (opened | refused, reason); raises for anything else."""
    from styles.formats.reader import read_card, read_style
    from styles.formats.writer import style_bytes

    card, _ = _or_refusal(lambda: read_card(path))
    style, reason = _or_refusal(lambda: read_style(path))
    if style or rng.random() < 0.5:  # it reads all a third time
        report = verify(path)
        _plain_text(json.dumps(report.to_json(), allow_nan=False, ensure_ascii=False).replace("\\n", " "))
        assert all(check.words for check in report.checks)
        assert report.card == style.card if style else not report.whole and report.card is None
    if style is None:
        return "refused", reason
    assert card is not None
    assert replace(card, problems=()) == replace(style.card, problems=()), "the card and the style disagree"
    _sound_card(card)
    _sound_layers(style)
    if path.is_file():
        _opens_elsewhere(path)
    if always_export or rng.random() < 0.03 or card.thumbnail:
        _or_refusal(lambda: style_bytes(style))
        if path.is_file():
            _shown_and_edited(path, style.id)
    return "opened", ""


def _or_refusal(read: Callable[[], Any], edits: bool = False) -> tuple[Any, str]:
    try:
        return read(), ""
    except BadInput as error:
        assert isinstance(error, StyleFileError) or edits, "reading has an error of its own"
        _plain_text(str(error))
        assert len(str(error)) < 2000 and error.message
        return None, error.message


def _plain_text(text: str) -> None:
    """Text that reaches people holds nothing that a terminal or a window would obey."""
    text.encode("utf-8")
    assert not OBEYED.search(text), ascii(text)[:500]


def _sound_card(card: StyleCard) -> None:
    assert card.family and ((card.rank > 0 and sum(card.layers.values()) > 0) or card.tokens)
    assert math.isfinite(card.suggested_weight) and math.isfinite(card.strength)
    assert len(json.dumps(card.to_json(), allow_nan=False)) < 1 << 20
    for text in (
        card.name,
        card.trigger,
        card.author,
        card.licence,
        card.base_name,
        *card.tags,
        *card.tokens,
    ):
        _plain_text(text)


def _sound_layers(style: Style) -> None:
    import torch

    for layer in style.layers:
        down, up = layer.down, layer.up
        assert down.dim() in (2, 4) and up.dim() in (2, 4) and down.shape[0] == up.shape[1] > 0
        assert torch.is_floating_point(down) and torch.is_floating_point(up)
        assert math.isfinite(layer.alpha) and layer.alpha != 0
        assert bool(torch.isfinite(down.float()).all() and torch.isfinite(up.float()).all())
    for embedding in style.embeddings.values():
        assert embedding.dim() == 2 and bool(torch.isfinite(embedding.float()).all())


def _opens_elsewhere(path: Path) -> None:
    """What we open, the safetensors library opens, too."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        assert len(list(file.keys())) > 0


def _shown_and_edited(path: Path, style_id: str) -> None:
    """What strangers wrote into a file can be listed, and a new card stands beside it; the tensors stay."""
    from styles.formats.safetensors_header import open_header
    from styles.library.edit import edit_card
    from styles.library.privacy_report import shown_metadata_of

    for row in shown_metadata_of(open_header(path).metadata, "file"):
        _plain_text(row.where + row.key + row.value)
    edited, _ = _or_refusal(lambda: edit_card(path, {"author": "Ana", "description": "New"}), edits=True)
    assert edited is None or (edited.id, edited.author, edited.description) == (style_id, "Ana", "New")


def limit_memory(more: int = MORE_MEMORY) -> Callable[[], None]:
    """Let this process take so many bytes more than it has now; return what to call after each file.

    Where the system can't be asked to refuse memory, what Python takes is counted instead.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
        return lambda: None
    except (ImportError, OSError, ValueError):
        tracemalloc.start()

        def check() -> None:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            assert peak < more, f"it took {peak} bytes"

        return check


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[2:]]
    print(json.dumps(main(Path(sys.argv[1]), numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 0)))
