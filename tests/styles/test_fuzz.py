"""Spoiled files of every kind are opened or refused with our own error, within bounded memory and time."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from styles.errors import StyleFileError
from styles.formats.layer_inspection import judge
from styles.formats.reader import read_card, read_style
from styles.formats.safetensors_header import LARGEST_HEADER, Header, TensorEntry, read_header
from styles.library.verify import verify
from tests.styles.seed_files import Draft, file_of, jpeg, piece, seeds

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = 2_000
GIANT = 2 << 20  # bytes of a header that is made to take memory
LARGE = 8 << 20  # characters of JSON in the metadata
ONE = b'"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}'


def test_thousands_of_spoiled_files_are_opened_or_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.styles.fuzzing", str(tmp_path), "1", str(FILES)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=3000,  # a hang is told long before, by where it hangs
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["failures"], "\n".join(found["failures"])
    # The spoiling must not be so crude that one check refuses all, nor so mild that most is well.
    assert sum(found["outcomes"].values()) == FILES
    assert min(found["outcomes"][kind] for kind in ("opened", "refused")) > FILES // 5
    assert {draft.kind for draft in seeds()} <= set(found["opened"])
    assert found["reasons"] > 40


def filled(start: bytes, part: bytes, end: bytes = b"") -> bytes:
    return start + part * ((GIANT - len(start) - len(end)) // len(part)) + end


@pytest.mark.parametrize(
    "header",
    [
        filled(b"", b"["),
        filled(b"", b'{"a":'),
        filled(b'{"a":', b"[],", b"[]}"),
        filled(b"{", b'"":{},', ONE),
        filled(b'{"a":[', b"1,", b"1]}"),
        filled(b'{"a":', b"1", b"}"),
        filled(b'{"a":', b'"",'),
        filled(b'{"__metadata__":{', b'"aa":"",', b'"b":""},' + ONE),
        filled(b"", b'"\\"'),
        filled(b'"', b'\\"'),
        filled(b'"', b"\\\\"),
        filled(b"{", b" ", ONE),
        filled(b"", b"\xff"),
        filled(b'{"__metadata__":{"a":"', b"\\ud800", b'"},' + ONE),
        filled(b'{"__metadata__":{"a":"', "😀".encode(), b'"},' + ONE),
        filled(b'{"__metadata__":{"a":"', b"a", '😀"},'.encode() + ONE),
    ],
    ids=lambda header: ascii(header[:24]),
)
def test_a_giant_header_takes_a_few_times_its_size(header: bytes) -> None:
    data = file_of(header, b"ab")
    tracemalloc.start()
    try:
        try:
            tensors = read_header(io.BytesIO(data), len(data), "giant").tensors
        except StyleFileError as error:
            assert len(str(error)) < 500
        else:
            assert list(tensors) == ["a"]
        # A character beyond the usual ones makes Python take four bytes for each of its text.
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    finally:
        tracemalloc.stop()


def test_a_header_longer_than_any_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write((LARGEST_HEADER + 1).to_bytes(8, "little"))
        file.truncate(LARGEST_HEADER + 100)
    tracemalloc.start()
    try:
        with pytest.raises(StyleFileError, match="claims"):
            read_card(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("key", ["atelier_card", "ss_tag_frequency", "unet", "lora_adapter_metadata"])
def test_json_inside_the_metadata_takes_bounded_memory(tmp_path: Path, key: str) -> None:
    draft = next(draft for draft in seeds() if draft.kind == "diffusers with alpha")
    draft.metadata[key] = "[" + "[]," * (LARGE // 3) + "1]"
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_of(json.dumps(draft.header()), draft.section()))
    draft.metadata.clear()
    tracemalloc.start()
    try:
        try:
            read_card(path)
        except StyleFileError as error:
            assert len(str(error)) < 500
        # The JSON would take more than twenty times its size.
        assert tracemalloc.get_traced_memory()[1] < 8 * LARGE
    finally:
        tracemalloc.stop()


def test_a_picture_that_claims_to_be_huge_is_not_unpacked() -> None:
    from styles.formats.thumbnail import public_thumbnail

    picture = bytearray(jpeg())
    start = picture.find(b"\xff\xc0")
    for size in (b"\x24\x00\x24\x00", b"\x30\x00\x30\x00", b"\xff\xff\xff\xff", b"\xff\xdc\x08\x00"):
        picture[start + 5 : start + 9] = size
        assert public_thumbnail(bytes(picture)) is None


def test_small_files_that_stand_for_terabytes_are_refused(tmp_path: Path) -> None:
    """Products of factors grow with the square of what is in the file."""
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    drafts = {
        "lokr": {"lokr_w1": piece(700, 700), "lokr_w2": piece(700, 700)},
        "loha": {
            f"hada_w{n}_{side}": piece(*((60_000, 4) if side == "a" else (4, 60_000)))
            for n in "12"
            for side in "ab"
        },
        "mid": {
            "lora_down.weight": piece(1, 100_000, 1, 1),
            "lora_mid.weight": piece(1, 1, 600, 600),
            "lora_up.weight": piece(8, 1, 1, 1),
        },
    }
    for kind, parts in drafts.items():
        draft = Draft(kind, {f"{name}.{part}": value for part, value in parts.items()})
        path = tmp_path / f"{kind}.safetensors"
        path.write_bytes(file_of(json.dumps(draft.header()), draft.section()))
        for read in (read_card, read_style):
            with pytest.raises(StyleFileError):
                read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only here can memory be taken away for a moment")
def test_files_for_which_there_is_no_memory_are_refused(tmp_path: Path) -> None:
    """A hole in a file takes no room on the disk, and a product of factors none in the file."""
    import resource

    import torch

    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    halves = {"lora_down.weight": (8192, 65_536), "lora_up.weight": (65_536, 8192)}  # 1 GiB each
    products = {f"hada_w{n}_{side}": (8192, 64) if side == "a" else (64, 8192) for n in "12" for side in "ab"}
    for kind, parts in {"hole": halves, "product": products}.items():
        entries: dict[str, object] = {}
        position = 0
        for part, shape in parts.items():
            end = position + 2 * shape[0] * shape[1]
            offsets = [position, end]
            entries[f"{name}.{part}"] = {"dtype": "F16", "shape": list(shape), "data_offsets": offsets}
            position = end
        header = json.dumps(entries).encode()
        with (tmp_path / kind).open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + position)
    assert torch.zeros(1).isfinite().all()  # what torch needs for itself it has now
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (100 << 20), before[1]))
    try:
        for kind in ("hole", "product"):
            with pytest.raises(StyleFileError, match="memory"):
                read_style(tmp_path / kind)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_files_that_would_take_hours_are_refused_by_their_header() -> None:
    """To cut a product of factors to its nearest ranks takes the third power of the layer's width."""
    tensors, position = {}, 0
    for number in range(20):
        for part, shape in {"a": (8192, 90), "b": (90, 8192)}.items():
            for side in (1, 2):
                name = f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_{number}_attn1_to_q"
                end = position + 2 * 8192 * 90
                tensors[f"{name}.hada_w{side}_{part}"] = TensorEntry("F16", shape, position, end)
                position = end
    with pytest.raises(StyleFileError, match="hours"):
        judge(Header({}, tensors, 0), "wide")


def test_names_that_no_system_has_are_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.safetensors").touch()
    odd = [
        "no\0name",
        "x" * 5000,
        "folder",
        "empty.safetensors",
        "none/none.safetensors",
        "empty.safetensors/x",
        "",
    ]
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe.safetensors")
        (tmp_path / "loop.safetensors").symlink_to(tmp_path / "loop.safetensors")
        odd += ["pipe.safetensors", "loop.safetensors", os.fsdecode(b"\xff.safetensors")]
        (tmp_path / odd[-1]).write_bytes(b"nothing")
    for name in odd:
        path = tmp_path / name
        for read in (read_card, read_style):
            with pytest.raises(StyleFileError) as caught:
                read(path)
            str(caught.value).encode("utf-8")
        report = verify(path)
        assert not report.whole and report.checks[0].words


@pytest.mark.parametrize(
    "metadata",
    [
        {"atelier_card": f'{{"suggested_weight": {"9" * 400}, "training": {{"steps": -{"9" * 400}}}}}'},
        {"ss_num_train_images": "9" * 400, "ss_max_train_steps": "9" * 5000, "ss_unet_lr": "1e999"},
        {"atelier_card": '{"name": {"a": 1}, "tags": [7, null], "trigger": []}'},
    ],
)
def test_what_is_no_usual_number_or_text_is_left_out(tmp_path: Path, metadata: dict[str, str]) -> None:
    draft = Draft("own", seeds()[2].tensors, metadata)
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_of(json.dumps(draft.header()), draft.section()))
    card = read_card(path)
    assert card.name == "a" and card.suggested_weight == 1.0 and card.training == {} and card.tags == ()
