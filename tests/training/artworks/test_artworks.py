import io
import os
import random
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pillow_heif
import psd_tools
import pytest
from PIL import Image, ImageCms

from styles.errors import PictureError
from styles.storage.picture_budget import MOST_PIXELS
from tests.training.conftest import picture
from training.artworks.captions import caption_of, full_caption
from training.artworks.collecting import collect
from training.artworks.dataset import Artwork, inspect
from training.artworks.opening import full_size, open_artwork

RED = (200, 30, 30)


def flat(colour: object = RED, mode: str = "RGB", size: tuple[int, int] = (80, 64)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def near(image: Image.Image, colour: tuple[int, int, int], within: int = 6) -> bool:
    pixels = np.asarray(image, dtype=int).reshape(-1, 3)
    return bool((abs(pixels - np.array(colour)) <= within).all())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp", ".gif"])
def test_common_formats_open_as_rgb(tmp_path: Path, suffix: str) -> None:
    flat().save(tmp_path / f"a{suffix}")
    image = open_artwork(tmp_path / f"a{suffix}")
    assert (image.mode, image.size) == ("RGB", (80, 64))
    assert near(image, RED)


def test_heic_opens(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.from_pillow(flat()).save(tmp_path / "phone.heic", quality=95)
    assert near(open_artwork(tmp_path / "phone.heic"), RED, within=10)


def test_a_flattened_photoshop_file_opens(tmp_path: Path) -> None:
    from psd_tools import PSDImage

    PSDImage.frompil(flat()).save(tmp_path / "a.psd")
    image = open_artwork(tmp_path / "a.psd")
    assert image.size == (80, 64)
    assert near(image, RED)


def test_a_photoshop_file_cut_off_is_refused(tmp_path: Path) -> None:
    from psd_tools import PSDImage
    from psd_tools.constants import Compression

    for compression in (Compression.RAW, Compression.RLE):
        PSDImage.frompil(picture(), compression).save(tmp_path / "whole.psd")
        whole = (tmp_path / "whole.psd").read_bytes()
        assert open_artwork(tmp_path / "whole.psd").size == picture().size
        for length in (40, len(whole) // 2, len(whole) - 2):
            (tmp_path / "a.psd").write_bytes(whole[:length])
            with pytest.raises(PictureError, match=r"a\.psd"):
                open_artwork(tmp_path / "a.psd")


@pytest.mark.parametrize("name", ["a.avif", "a.heic", "a.psd", "a.tif", "a.webp"])
def test_damaged_bytes_are_refused_or_shown(tmp_path: Path, name: str) -> None:
    path, chance = tmp_path / name, random.Random(5)
    if path.suffix == ".psd":
        psd_tools.PSDImage.frompil(picture()).save(path)
    elif path.suffix == ".heic":
        pillow_heif.from_pillow(picture()).save(path)
    else:
        picture().save(path)
    whole = path.read_bytes()
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(4):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with suppress(PictureError):
            assert open_artwork(path).mode == "RGB"


def test_a_phone_photo_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    image = flat(size=(80, 40))
    image.paste((0, 0, 0), (0, 0, 40, 40))
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = open_artwork(tmp_path / "a.jpg")
    assert upright.size == (40, 80)
    assert near(upright.crop((4, 4, 36, 32)), (0, 0, 0), 10)


def test_what_is_transparent_shows_white(tmp_path: Path) -> None:
    flat((10, 20, 30, 0), "RGBA").save(tmp_path / "clear.png")
    flat((0, 0, 0, 128), "RGBA").save(tmp_path / "half.png")
    flat((50, 0), "LA").save(tmp_path / "grey.png")
    palette = flat(0, "P")
    palette.putpalette([10, 20, 30] * 4)
    palette.save(tmp_path / "palette.png", transparency=0)
    assert near(open_artwork(tmp_path / "clear.png"), (255, 255, 255), 0)
    assert near(open_artwork(tmp_path / "half.png"), (127, 127, 127), 1)
    assert near(open_artwork(tmp_path / "grey.png"), (255, 255, 255), 0)
    assert near(open_artwork(tmp_path / "palette.png"), (255, 255, 255), 0)
    # One grey is declared transparent.
    Image.new("1", (64, 64)).save(tmp_path / "bits.png", transparency=0)
    deep = np.full((64, 64), 7000, dtype=np.uint16)
    deep[:, 32:] = 32896
    Image.fromarray(deep).save(tmp_path / "deep.png", transparency=7000)
    assert near(open_artwork(tmp_path / "bits.png"), (255, 255, 255), 0)
    assert near(open_artwork(tmp_path / "deep.png").crop((0, 0, 32, 64)), (255, 255, 255), 0)
    assert near(open_artwork(tmp_path / "deep.png").crop((32, 0, 64, 64)), (128, 128, 128), 1)


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 32896, dtype=np.uint16)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((64, 64), 32896, dtype=np.uint16)).save(tmp_path / "grey.tif")
    Image.fromarray(np.full((64, 64), 0.5, dtype=np.float32)).save(tmp_path / "float.tif")
    (tmp_path / "colour.png").write_bytes(_png16((51400, 7710, 7710)))
    assert near(open_artwork(tmp_path / "grey.png"), (128, 128, 128), 1)
    assert near(open_artwork(tmp_path / "grey.tif"), (128, 128, 128), 1)
    assert near(open_artwork(tmp_path / "float.tif"), (128, 128, 128), 1)
    assert near(open_artwork(tmp_path / "colour.png"), RED, 1)


def _png16(colour: tuple[int, int, int], width: int = 64, height: int = 64) -> bytes:
    row = b"\0" + struct.pack(">3H", *colour) * width
    return _png(width, height, 16, zlib.compress(row * height))


def _png(width: int, height: int, bits: int, data: bytes, colour: int = 2) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_print_colours_open(tmp_path: Path) -> None:
    flat((0, 255, 255, 0), "CMYK").save(tmp_path / "a.jpg", quality=95)
    flat((0, 255, 255, 0), "CMYK").save(tmp_path / "a.tif")
    assert near(open_artwork(tmp_path / "a.jpg"), (255, 0, 0), 12)
    assert near(open_artwork(tmp_path / "a.tif"), (255, 0, 0), 2)


def test_a_colour_profile_is_followed(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    flat().save(tmp_path / "srgb.png", icc_profile=srgb)
    flat().save(tmp_path / "unfit.png", icc_profile=lab)  # does not fit an RGB picture: plain colours
    flat().save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    flat().save(tmp_path / "swapped.png", icc_profile=_swapped(srgb))
    for name in ("srgb", "unfit", "broken"):
        assert near(open_artwork(tmp_path / f"{name}.png"), RED, 2), name
    red, _, blue = (int(value) for value in np.asarray(open_artwork(tmp_path / "swapped.png"))[0, 0])
    assert blue > red + 100


def _swapped(profile: bytes) -> bytes:
    """An sRGB profile whose red and blue primaries have changed places."""
    return profile.replace(b"rXYZ", b"tmpZ").replace(b"bXYZ", b"rXYZ").replace(b"tmpZ", b"bXYZ")


def test_a_huge_phone_photo_is_decoded_small(tmp_path: Path) -> None:
    flat(90, "L", (12_000, 9_000)).save(tmp_path / "a.jpg", quality=60)  # 108 megapixels
    image = open_artwork(tmp_path / "a.jpg", least_px=1000)
    assert image.size == (1500, 1125)
    artwork = Artwork(tmp_path / "a.jpg", "", (12_000, 9_000))
    assert artwork.load((128, 96)).size == (128, 96)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    side = 60_000
    assert side * side > MOST_PIXELS
    (tmp_path / "bomb.png").write_bytes(_png(side, side, 8, zlib.compress(b"\0" * 1000)))
    (tmp_path / "bomb.psd").write_bytes(
        b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, side // 2, side // 2, 8, 3) + b"\0" * 40
    )
    for name in ("bomb.png", "bomb.psd"):
        with pytest.raises(PictureError, match="megapixels"):
            open_artwork(tmp_path / name)


def test_what_would_take_too_much_memory_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "rgba.png").write_bytes(_png(13_000, 13_000, 8, zlib.compress(b"\0" * 1000), colour=6))
    Image.new("F", (8, 8)).save(tmp_path / "float.tif")
    data = (tmp_path / "float.tif").read_bytes()
    for tag in (256, 257):  # width and height
        at = data.index(struct.pack("<HHII", tag, 4, 1, 8))
        data = data[: at + 8] + struct.pack("<I", 13_000) + data[at + 12 :]
    (tmp_path / "float.tif").write_bytes(data)
    flat().save(tmp_path / "scans.jpg", progressive=True)
    data = (tmp_path / "scans.jpg").read_bytes()
    at = data.index(b"\xff\xc2") + 5
    (tmp_path / "scans.jpg").write_bytes(data[:at] + struct.pack(">HH", 13_000, 13_000) + data[at + 4 :])
    deep = b"8BPS" + struct.pack(">H6xHIIHH", 1, 4, 13_000, 13_000, 16, 3) + b"\0" * 40
    (tmp_path / "deep.psd").write_bytes(deep)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(PictureError, match="GB of memory") as refused:
            open_artwork(path)
        assert path.name in refused.value.message and "smaller" in refused.value.hint


def test_deep_greys_are_brought_to_colours_in_strips(tmp_path: Path) -> None:
    """A file of some KiB took 27 bytes a pixel; two are its own, four those of its colours."""
    pytest.importorskip("resource")  # not on Windows
    side = 4000
    line = b"\0" + struct.pack(">H", 999) * side
    (tmp_path / "grey.png").write_bytes(_png(side, side, 16, zlib.compress(line * side, 1), colour=0))
    look = (
        "import resource, sys; from pathlib import Path; from training.artworks.opening import open_artwork;"
        "open_artwork(Path(sys.argv[1]).with_name('small.png')); peak = resource.RUSAGE_SELF;"
        "before = resource.getrusage(peak).ru_maxrss; open_artwork(Path(sys.argv[1]));"
        "print(resource.getrusage(peak).ru_maxrss - before)"
    )
    Image.new("I;16", (64, 64)).save(tmp_path / "small.png")
    command = [sys.executable, "-c", look, str(tmp_path / "grey.png")]
    took = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert took * (1 if sys.platform == "darwin" else 1024) < 8 * side * side + (60 << 20)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    picture(640, 480).save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (tmp_path / "text.jpg").write_text("Dear diary, today I painted.")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 20)
    (tmp_path / "program.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for path in tmp_path.iterdir():
        with pytest.raises(PictureError) as caught:
            open_artwork(path)
        assert path.name in caught.value.message and caught.value.hint


def test_folders_are_searched_in_natural_order_and_each_file_counts_once(tmp_path: Path) -> None:
    for name in ("10.png", "2.PNG", "sub/1.jpg", ".hidden.png", ".git/x.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "3.png")  # reading it would never end
    found = collect([tmp_path, tmp_path / "2.PNG", tmp_path / "notes.txt"])
    paths = [picture.file.path for picture in found.pictures]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["2.PNG", "10.png", "sub/1.jpg"]
    assert any("2 hidden pictures" in note for note in found.notes)


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    for paths in ([], [tmp_path]):
        with pytest.raises(PictureError, match="no pictures"):
            collect(paths)
    with pytest.raises(PictureError, match="nowhere"):
        collect([tmp_path / "nowhere"])


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="rights work otherwise on Windows")
def test_a_folder_without_rights_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    flat().save(locked / "a.png")
    root = os.geteuid() == 0
    locked.chmod(0)
    if root:  # rights don't bind root: become nobody for a moment
        parent = tmp_path
        while parent != parent.parent and parent.stat().st_uid == 0 and parent != Path("/tmp"):
            parent.chmod(0o755)
            parent = parent.parent
        os.seteuid(65534)
    try:
        with pytest.raises(PictureError, match="locked"):
            collect([locked])
        with pytest.raises(PictureError, match="can't be read"):
            collect([locked / "a.png"])
    finally:
        if root:
            os.seteuid(0)
        locked.chmod(0o755)


def test_captions_come_from_the_text_beside_the_picture_with_the_trigger(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeffa cat,\n asleep ", encoding="utf-8")
    (tmp_path / "b.png.txt").write_bytes(b"caf\xe9")
    assert caption_of(tmp_path / "a.jpg") == "a cat, asleep"
    assert caption_of(tmp_path / "b.png") == "café"
    assert caption_of(tmp_path / "c.png") is None
    (tmp_path / "c.txt").write_text("a café", encoding="utf-16")
    assert caption_of(tmp_path / "c.png") == "a café"
    assert full_caption("a cat, asleep", "inkwash") == "inkwash, a cat, asleep"
    assert full_caption("an Inkwash cat", "inkwash") == "an Inkwash cat"
    assert full_caption(None, "inkwash") == "inkwash"
    assert full_caption("a pink cat", "ink") == "ink, a pink cat"
    assert full_caption("a cat", "") == "a cat"


def test_a_broken_file_in_a_folder_is_left_out_and_told_but_a_named_one_is_refused(tmp_path: Path) -> None:
    for number in range(2):
        picture(seed=number).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.jpg").write_text("no picture")
    dataset = inspect([tmp_path])
    assert len(dataset.artworks) == 2
    assert len(dataset.warnings) == 1 and "broken.jpg" in dataset.warnings[0]
    with pytest.raises(PictureError, match=r"broken\.jpg"):
        inspect([tmp_path / "0.png", tmp_path / "broken.jpg"])
    with pytest.raises(PictureError, match=r"None of the pictures.*broken\.jpg"):
        (tmp_path / "0.png").unlink()
        (tmp_path / "1.png").unlink()
        inspect([tmp_path])


def test_one_picture_and_tiny_ones_are_warned_about(tmp_path: Path) -> None:
    picture(32, 32).save(tmp_path / "a.png")
    notes = inspect([tmp_path / "a.png"]).warnings
    assert any("only one picture" in note for note in notes)
    assert any("32 x 32" in note for note in notes)


def test_the_full_size_of_a_picture_decoded_smaller_is_known(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    flat(size=(1600, 800)).save(tmp_path / "a.jpg", exif=exif)
    flat(size=(300, 200)).save(tmp_path / "b.png")
    opened = open_artwork(tmp_path / "a.jpg", least_px=100)
    assert opened.size == (100, 200) and full_size(tmp_path / "a.jpg", opened) == (800, 1600)
    assert full_size(tmp_path / "b.png", open_artwork(tmp_path / "b.png")) == (300, 200)


@pytest.mark.parametrize("kind", [5, 11, 12], ids=["rational", "float", "double"])
def test_a_fraction_where_an_offset_belongs_is_damage(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "odd.tif"
    picture().save(path)
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack("<I", data[4:8])
    for number in range(struct.unpack("<H", data[start : start + 2])[0]):
        entry = start + 2 + 12 * number
        if struct.unpack("<H", data[entry : entry + 2])[0] == 273:  # StripOffsets, TIFF 6.0
            data[entry + 2 : entry + 4] = struct.pack("<H", kind)
    path.write_bytes(data)
    with pytest.raises(PictureError, match="damaged"):
        open_artwork(path)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes in folders")
def test_a_pipe_is_no_artwork_and_no_caption(tmp_path: Path) -> None:
    for name in ("pipe.png", "pipe.txt"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(PictureError):
        open_artwork(tmp_path / "pipe.png")
    assert caption_of(tmp_path / "pipe.png") is None


def test_a_large_jpeg_has_its_own_size(tmp_path: Path) -> None:
    """It is decoded at a fraction; Stable Diffusion XL is told of the size that it has."""
    Image.new("RGB", (4100, 2300), "teal").save(tmp_path / "large.jpg")
    (artwork,) = inspect([tmp_path]).artworks
    assert artwork.size_px == (4100, 2300)
