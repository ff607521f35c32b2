"""Pictures as people have them, opened, turned upright, brought to sRGB on white, and checked one by one."""

from __future__ import annotations

import codecs
import io
import os
import re
import stat
import struct
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import PictureError
from styles.formats.triggers import with_trigger
from styles.storage.file_reading import open_file
from styles.storage.names import clean_text
from styles.storage.picture_budget import DECODING, check_bytes, check_picture
from training.buckets import crop_box

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".psd",
        ".gif",
    ]
)
# Only formats that Pillow decodes itself: EPS, for one, would start another program.
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF")
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
MOST_PIXELS = 179_000_000  # Pillow's own limit for a decompression bomb
MOST_ARTWORKS = 1000
LONGEST_CAPTION = 1000  # characters
CHECKED_PX = 1024  # artworks are looked at with no side below this, if they have it
STRIP_PIXELS = 1 << 20  # that are brought to RGB at once
SMALLEST_PX = 64  # a side below this is warned about


@dataclass(frozen=True)
class Artwork:
    """One training picture: its file, what it shows in words, and its upright size."""

    path: Path
    caption: str
    # (width, height); at least its shape is exact, sides from CHECKED_PX on may be halved.
    size_px: tuple[int, int]

    def load(self, bucket: tuple[int, int]) -> Image:
        """Open the picture, cropped around its centre to the bucket's shape and scaled to its (width, height)."""
        from PIL.Image import Resampling

        image = open_artwork(self.path, least_px=2 * max(bucket))
        box = crop_box(image.width, image.height, bucket)
        return image.resize(bucket, Resampling.LANCZOS, box=box)


@dataclass(frozen=True)
class Dataset:
    """All artworks of a training, and what the artist should know about them."""

    artworks: tuple[Artwork, ...]
    warnings: tuple[str, ...] = ()


def collect(paths: Iterable[Path | str]) -> list[Path]:
    """List the picture files among files and folders (with their sub-folders), in natural order, each once.

    A file named directly is kept whatever its ending. Raises PictureError where nothing is found or a folder can't
    be read.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        try:
            kind = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            kind = 0
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PictureError(
                f"{path} can't be read: {reason}.", "Check the path, and allow reading it."
            ) from error
        if stat.S_ISDIR(kind):
            found.update(dict.fromkeys(_pictures_in(path)))
        elif stat.S_ISREG(kind):
            found[path] = None
        else:
            raise PictureError(
                f"{path} is not there.", "Check the path; it may be mistyped or on another disk."
            )
    if not found:
        raise PictureError(
            "There are no pictures to learn from.",
            "Give one or more picture files (JPEG, PNG, WebP, TIFF, BMP, HEIC, PSD), or a folder that holds some.",
        )
    if len(found) > MOST_ARTWORKS:
        raise PictureError(
            f"There are {len(found)} pictures.", f"At most {MOST_ARTWORKS}; 5 to 30 are usual."
        )
    return list(found)


def _pictures_in(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise PictureError(
            f"{error.filename} can't be read: {error.strerror}.", "Allow reading that folder."
        ) from error

    files = []
    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)
        kept = (name for name in names if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."))
        paths = (Path(where) / name for name in sorted(kept, key=_natural))
        files += [path for path in paths if path.is_file()]  # a pipe of that name would never end
    return files


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Return the paths by name, 2.png before 10.png."""
    return sorted(paths, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key in which 2.png comes before 10.png."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold())
    ]


def open_artwork(path: Path, least_px: int = 0) -> Image:
    """Open a picture upright, in sRGB, on white, as 8-bit RGB.

    With `least_px` a large JPEG is decoded at a fraction of its size, no side smaller than that. Raises PictureError
    with the file's name and the reason.
    """
    from PIL import Image as pillow

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # above 89 megapixels, odd EXIF: the limits here are our own
            return _opened(path, least_px)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise PictureError(
            f"There is no picture at {path}.", "Check how its name and its folder are written."
        ) from error
    except PermissionError as error:
        raise PictureError(
            f"{path.name} can't be read: no permission.", "Allow reading that file."
        ) from error
    except pillow.UnidentifiedImageError as error:
        raise PictureError(
            f"{path.name} is not a picture that can be read.",
            "Its content is something else than its name says, or it is damaged. Leave it out or save it as PNG.",
        ) from error
    except pillow.DecompressionBombError as error:
        raise PictureError(
            f"{path.name} has more than {MOST_PIXELS // 1_000_000} megapixels.", "Save it smaller."
        ) from error
    except MemoryError as error:
        raise PictureError(f"{path.name} needs more memory than there is.", "Save it smaller.") from error
    except PictureError:
        raise
    # The libraries' decoders raise anything of damaged bytes, such as a TypeError of a fraction where an offset belongs.
    except Exception as error:
        raise PictureError(
            f"{path.name} is damaged or cut off: {clean_text(str(error), 200)}.",
            "Copy it again from where it came, or leave it out.",
        ) from error


def full_size(path: Path, opened: Image) -> tuple[int, int]:
    """Return the upright (width, height) in px of a picture that `open_artwork` may have decoded smaller."""
    from PIL import Image as pillow

    try:
        with warnings.catch_warnings(), pillow.open(path, formats=("JPEG",)) as file:
            warnings.simplefilter("ignore")
            size = file.size
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError):
        return opened.size  # no JPEG: it was decoded whole
    lying = (size[0] > size[1]) != (opened.width > opened.height)
    return (size[1], size[0]) if lying else size


def _opened(path: Path, least_px: int) -> Image:
    """Unpack a picture of any format and bring it to RGB, with as few copies of it as can be."""
    from PIL import ImageOps

    image = _unpacked(path, least_px)
    plain = _on_white(image)
    ImageOps.exif_transpose(plain, in_place=True)
    return plain


def _unpacked(path: Path, least_px: int) -> Image:
    from PIL import Image as pillow

    with open_file(path) as file:
        head = file.read(16)
    if head[:4] == b"8BPS":
        return _open_psd(path)
    if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
        return _open_heic(path)
    pillow.init()  # makes all formats known to `open`
    with pillow.open(path, formats=PILLOW_FORMATS) as image:
        full_size = image.size
        if image.width * image.height > MOST_PIXELS:
            raise pillow.DecompressionBombError
        if least_px and image.format in ("JPEG", "MPO"):
            image.draft(image.mode, (least_px, least_px))
        check_picture(image, path.name, full_size)
        image.load()
        image.getexif()  # what is read of it now stays with the pixels
        return _without_file(image)


def _without_file(image: Image) -> Image:
    """Return a loaded picture without its decoder, which may hold two copies of it; the pixels are not copied."""
    from PIL import Image as pillow

    plain = pillow.new(image.mode, (1, 1))
    plain.im = image.im
    plain._size = image.size
    plain.palette = image.palette
    plain.info = dict(image.info)
    plain.getexif().update(image.getexif())
    return plain


def _open_heic(path: Path) -> Image:
    import pi_heif

    heif = pi_heif.open_heif(path, convert_hdr_to_8bit=True)
    pixels = heif.size[0] * heif.size[1]
    if pixels > MOST_PIXELS:
        from PIL import Image as pillow

        raise pillow.DecompressionBombError
    check_bytes(pixels * DECODING["HEIF"], path.name)
    image = heif.to_pillow()
    image.getexif()[0x0112] = 1  # libheif has turned it upright already
    return image


def _open_psd(path: Path) -> Image:
    from psd_tools import PSDDecompressionWarning, PSDImage

    with path.open("rb") as file:
        head = file.read(26)
    height, width = struct.unpack(">II", head[14:22])  # Adobe Photoshop file format, "file header section"
    if width * height > MOST_PIXELS:
        from PIL import Image as pillow

        raise pillow.DecompressionBombError
    channels, depth = struct.unpack(">H", head[12:14])[0], struct.unpack(">H", head[22:24])[0]
    # Its channels as they are packed at worst and unpacked, then a picture of them and its RGB.
    check_bytes(width * height * (2 * channels * max(1, depth // 8) + 8) + path.stat().st_size, path.name)
    if _psd_lacks_rows(path):
        raise ValueError("the end of the picture is not there")
    try:
        document = PSDImage.open(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", PSDDecompressionWarning)  # what can't be unpacked would be black
            image = document.topil() if document.has_preview() else None
    except (
        AssertionError, KeyError, AttributeError, NotImplementedError, PSDDecompressionWarning, struct.error,
    ) as error:  # fmt: skip
        raise ValueError(f"the Photoshop file can't be read ({error})") from error
    if image is None:
        raise PictureError(
            f"{path.name} holds layers only, no flattened picture.",
            "Save it in Photoshop with 'Maximise compatibility', or export it as PNG.",
        )
    return image


def _psd_lacks_rows(path: Path) -> bool:
    """Whether the flattened picture ends before its packed rows do; what lacks would be read as black.

    Adobe Photoshop file format, "image data section": the rows' lengths stand before them.
    """
    with path.open("rb") as file:
        version, _, channels, height = struct.unpack(">H6sHI", file.read(18)[4:])
        file.seek(26)
        large = version == 2  # PSB
        for length in (">I", ">I", ">Q" if large else ">I"):  # colours, resources, layers
            (skipped,) = struct.unpack(length, file.read(struct.calcsize(length)))
            file.seek(skipped, os.SEEK_CUR)
        if file.read(2) != b"\0\1":  # not packed in rows
            return False
        counts = file.read(channels * height * (4 if large else 2))
        lengths = struct.unpack(f">{channels * height}{'I' if large else 'H'}", counts)
        start = file.tell()
        return file.seek(0, os.SEEK_END) - start < sum(lengths)


def _on_white(image: Image) -> Image:
    """Bring any mode to 8-bit sRGB RGB, with what is transparent shown on white: in strips, so that one copy is made.

    A picture that is RGB is changed where it is.
    """
    from PIL import Image as pillow

    white = _white_of(image)
    plain = image
    if image.mode != "RGB":
        plain = pillow.new("RGB", image.size)
        plain.getexif().update(image.getexif())
    profile = image.info.get("icc_profile")
    if plain is image and not profile and not image.has_transparency_data:
        return plain
    for box in _strips(image):
        plain.paste(_strip_on_white(image.crop(box), profile, white), box)
    plain.info.pop("transparency", None)
    return plain


def _strips(image: Image) -> Iterator[tuple[int, int, int, int]]:
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _strip_on_white(image: Image, profile: bytes | None, white: float) -> Image:
    import numpy as np
    from PIL import Image as pillow

    alpha, clear = None, image.info.get("transparency")
    if isinstance(clear, int) and (image.mode == "1" or image.mode.startswith("I;16")):
        alpha = pillow.fromarray(np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8))
    if image.mode == "P" or image.mode == "PA":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode in ("1", "RGBX", "YCbCr", "HSV"):
        image = image.convert("RGB")
    elif _is_deep(image):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        image = pillow.fromarray(np.clip(np.rint(values * (255.0 / white)), 0, 255).astype(np.uint8))
    elif image.has_transparency_data and image.mode in ("L", "RGB"):
        image = image.convert("RGBA")  # one colour is declared transparent
    if image.mode in ("RGBA", "LA", "RGBa", "La"):
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    image = _to_srgb(image, profile)
    if alpha is not None:
        ground = pillow.new("RGB", image.size, "white")
        ground.paste(image, mask=alpha)
        image = ground
    return image


def _is_deep(image: Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _white_of(image: Image) -> float:
    """Return what number is white among 16-bit, 32-bit or floating-point greys, by their range's usual meaning."""
    import numpy as np

    if not _is_deep(image):
        return 255.0
    tops = (np.nan_to_num(np.asarray(image.crop(box), np.float64)).max(initial=0.0) for box in _strips(image))
    top = float(max(tops, default=0.0))
    if image.mode == "F" and top <= 1.0:
        return 1.0
    if top <= 255.0 and not image.mode.startswith("I;16"):
        return 255.0
    return max(65535.0, top)


def _to_srgb(image: Image, profile: bytes | None) -> Image:
    from PIL import ImageCms

    if profile and image.mode in ("RGB", "L", "CMYK", "LAB"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image,
                source,
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a profile that does not fit its picture is common; the plain colours are what viewers show
    return image if image.mode == "RGB" else image.convert("RGB")


def caption_of(path: Path) -> str | None:
    """Read the caption in the `.txt` file beside a picture (picture.txt or picture.jpg.txt); None without one."""
    for side_file in (path.with_suffix(".txt"), path.with_name(path.name + ".txt")):
        if os.path.isfile(side_file) and side_file != path:
            try:
                with open_file(side_file) as file:
                    data = file.read(4 * LONGEST_CAPTION)
            except OSError:  # not ours to read, or gone since
                return None
            wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            text = data.decode("utf-16" if wide else "utf-8-sig", errors="replace")
            return " ".join(text.split())[:LONGEST_CAPTION]
    return None


def full_caption(caption: str | None, trigger: str) -> str:
    """Return the caption to train with: the artist's own with the trigger word, else one made from the trigger."""
    return with_trigger(caption or "", trigger)


def inspect(paths: Iterable[Path | str], trigger: str = "") -> Dataset:
    """Open every artwork once to see that it can be read; the Dataset's warnings say what was left out and why.

    A broken file inside a folder is left out. Raises PictureError for a broken file that was named directly, where no
    picture remains, and as `collect`.
    """
    given = [Path(path) for path in paths]
    named = {path for path in given if path.is_file()}
    artworks: list[Artwork] = []
    notes: list[str] = []
    refused: list[str] = []
    for path in collect(given):
        try:
            size = open_artwork(path, least_px=CHECKED_PX).size
        except PictureError as error:
            (refused if path in named else notes).append(error.message)
            last = error
            continue
        if min(size) < SMALLEST_PX:
            notes.append(f"{path.name} is only {size[0]} x {size[1]} px; enlarged, it teaches blur.")
        artworks.append(Artwork(path, full_caption(caption_of(path), trigger), size))
    if refused:
        raise PictureError(" ".join(refused), last.hint)
    if not artworks:
        raise PictureError(f"None of the pictures can be read. {' '.join(notes)}", last.hint)
    if len(artworks) == 1:
        notes.append(
            "There is only one picture: the style will copy it more than learn from it. 5 to 30 are better."
        )
    return Dataset(tuple(artworks), tuple(notes))
