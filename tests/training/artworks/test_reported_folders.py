"""Inputs that people reported to the trackers of other trainers, made here; each must train or be named."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from training.artworks.dataset import inspect
from training.artworks.opening import open_artwork
from training.artworks.picture_checks import look_at, remarks


def noise(path: Path, size: tuple[int, int] = (96, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 90).convert("RGB").save(path)
    return path


@pytest.mark.parametrize(
    ("data", "text"),
    [
        # joy-caption-batch 1, ComfyUI-FluxTrainer 62: the apostrophe of Windows
        (b"the girl\x92s red coat", "the girl’s red coat"),
        # ComfyUI-FluxTrainer 14: Chinese quotation marks
        ("她说“你好”，红色的房子".encode("gbk"), "她说“你好”，红色的房子"),
        # stable-diffusion-webui 3657: a text editor of Windows
        ("a house".encode("utf-16"), "a house"),
        # kohya-trainer 251: a byte that no UTF-8 has
        (b"caf\xe9, une maison", "café, une maison"),
    ],
)
def test_captions(tmp_path: Path, data: bytes, text: str) -> None:
    noise(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(data)
    (artwork,) = inspect([tmp_path]).artworks
    assert artwork.own_caption == text


def test_folders(tmp_path: Path) -> None:
    # kohya_ss 2148, sd-scripts 1294: pictures without a folder of repeats were not found
    noise(tmp_path / "plain" / "a.png")
    assert len(inspect([tmp_path / "plain"]).artworks) == 1
    # kohya_ss 1103, 2035: the project lies below `model`, its regularisation pictures have no captions
    project = tmp_path / "project"
    for name in ("model/img/40_a b/1 (24).png", "model/img/40_a b/1 (30).png", "model/reg/1_b/1 (100).png"):
        noise(project / name)
    dataset = inspect([project])
    assert [artwork.repeats for artwork in dataset.artworks] == [40, 40]
    assert any("1 regularisation picture" in note for note in dataset.warnings)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_masks_of_any_kind(tmp_path: Path, mode: str) -> None:
    """OneTrainer 322: masks that another tool made broke the training."""
    noise(tmp_path / "a.png")
    grey = Image.new("L", (48, 32), 0)
    grey.paste(255, (0, 0, 24, 32))
    mask = (
        grey.convert("I").point(lambda value: value * 257).convert(mode)
        if mode == "I;16"
        else grey.convert(mode)
    )
    mask.save(tmp_path / "a-masklabel.png")
    (artwork,) = inspect([tmp_path]).artworks
    small = artwork.load_mask((12, 8))
    assert small.getpixel((1, 4)) == 255 and small.getpixel((10, 4)) == 0


def test_pictures(tmp_path: Path) -> None:
    # deep-blind-watermark-removal 19: cut off; fMoW dataset 19: a TIFF without its StripOffsets
    whole = noise(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-4000])
    Image.open(whole).save(tmp_path / "b.tif")
    data = bytearray((tmp_path / "b.tif").read_bytes())
    start = int.from_bytes(data[4:8], "little")
    for place in range(start + 2, start + 2 + 12 * int.from_bytes(data[start : start + 2], "little"), 12):
        if data[place : place + 2] == (273).to_bytes(2, "little"):
            data[place : place + 2] = (65000).to_bytes(2, "little")
    (tmp_path / "b.tif").write_bytes(data)
    # darwin-py 924: turned by its EXIF alone; image-denoising-benchmark 9: all black
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(whole).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (96, 64)).save(tmp_path / "black.png")
    dataset = inspect([tmp_path])
    assert {artwork.path.name: artwork.size_px for artwork in dataset.artworks} == {
        "a.png": (96, 64), "black.png": (96, 64), "turned.jpg": (64, 96),
    }  # fmt: skip
    said = " ".join(dataset.warnings)
    assert "cut.png" in said and "b.tif" in said
    image = open_artwork(tmp_path / "black.png")
    ((remark,),) = remarks([look_at(image, image.size, 64)], 64, 16)
    assert remark.flaw == "blank"
