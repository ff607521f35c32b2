"""The starter's school book: thousands of captioned drawings, and which captions are kept back for the exam."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from training.starter.captions import caption
from training.starter.hands import HANDS, TAUGHT, TONED, draw
from training.starter.scenes import NATIVE_SIZE_PX, Scene, sample_scene
from training.starter.textures import texture

# Of the drawings: in the flat hand and captioned without any, as most people write their prompts; and in two tones.
PLAIN_SHARE, TONED_SHARE = 0.2, 0.3
# Of the captions: without the subjects' colours, in which two tones have no part.
_UNCOLOURED, _UNCOLOURED_TONED = 0.1, 0.5
_CHUNK = 250


@dataclass(frozen=True)
class Drawn:
    """What one drawing shows: its caption, the scene and the hand."""

    caption: str
    hand: str
    background: str
    subjects: tuple[tuple[str, str], ...]  # (subject, colour) from left to right


def kept_back(scene: Scene, hand: str) -> bool:
    """Whether this subject, colour, background and hand stand together only in the exam (one in ten do)."""
    if len(scene.subjects) != 1:
        return False
    placed = scene.subjects[0]
    key = f"{placed.subject}/{placed.colour}/{scene.background}/{hand}"
    return zlib.crc32(key.encode()) % 10 == 0


def sample(number: int, exam: bool = False, pair_share: float | None = None) -> tuple[Scene, str, str]:
    """The scene, hand and caption of drawing `number`: of the school book, in which one in five shows two subjects.

    With `exam`, in a hand that is examined and with its colours named: a single subject that was kept back, or as many
    pairs as are asked for.
    """
    if pair_share is None:
        pair_share = 0.0 if exam else 0.2
    rng = np.random.default_rng([number, 1 if exam else 0])
    kind = 1.0 if exam else rng.random()
    plain, toned = kind < PLAIN_SHARE, PLAIN_SHARE <= kind < PLAIN_SHARE + TONED_SHARE
    hands = ["flat"] if plain else list(TONED if toned else HANDS)
    while True:
        hand = hands[int(rng.integers(len(hands)))]
        scene = sample_scene(rng, pair_share=pair_share)
        if len(scene.subjects) > 1 or kept_back(scene, hand) == exam:
            break
    coloured = exam or rng.random() >= (_UNCOLOURED_TONED if toned else _UNCOLOURED)
    return scene, hand, caption(scene, None if plain else hand, rng, coloured=coloured)


def _draw_chunk(numbers: range) -> tuple[range, np.ndarray, list[Drawn]]:
    pictures, drawn = [], []
    for number in numbers:
        scene, hand, text = sample(number)
        pictures.append(draw(scene, hand, number))
        drawn.append(Drawn(text, hand, scene.background, scene.told))
    return numbers, np.stack(pictures), drawn


def draw_all(folder: Path, count: int, textures: int, workers: int) -> None:
    """Write `drawings.npy` (count, 128, 128, 3) uint8, `drawings.jsonl` and `textures.npy`; kept if they exist."""
    notes = folder / "drawings.jsonl"
    if notes.exists():
        return
    size = NATIVE_SIZE_PX
    pictures = np.lib.format.open_memmap(folder / "drawings.npy", "w+", np.uint8, (count, size, size, 3))
    records: dict[int, list[Drawn]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        chunks = (range(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK))
        for numbers, chunk, drawn in pool.map(_draw_chunk, chunks):
            pictures[numbers.start : numbers.stop] = chunk
            records[numbers.start] = drawn
        loose = np.stack(list(pool.map(texture, range(textures), chunksize=50)))
    pictures.flush()
    np.save(folder / "textures.npy", loose)
    lines = [json.dumps(vars(one)) for first in sorted(records) for one in records[first]]
    notes.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_drawn(folder: Path) -> list[Drawn]:
    """The records that `draw_all` wrote beside the pictures, in their order."""
    lines = (folder / "drawings.jsonl").read_text(encoding="utf-8").splitlines()
    return [_drawn(json.loads(line)) for line in lines]


def _drawn(record: dict) -> Drawn:
    subjects = tuple((subject, colour) for subject, colour in record["subjects"])
    return Drawn(record["caption"], record["hand"], record["background"], subjects)


def rows_by_hand(drawn: Sequence[Drawn]) -> dict[str, list[int]]:
    """The numbers of the drawings in each hand that there are any in."""
    rows: dict[str, list[int]] = {}
    for row, one in enumerate(drawn):
        rows.setdefault(one.hand, []).append(row)
    return {hand: rows[hand] for hand in TAUGHT if hand in rows}
