"""Pictures as people have them, opened, turned upright and brought to sRGB on white."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import PictureError
from styles.storage.file_reading import open_file
from styles.storage.names import clean_text
from styles.storage.picture_budget import DECODING, check_bytes, check_picture, check_pixels, too_many_pixels
from training.artworks.psd import open_psd

if TYPE_CHECKING:
    from PIL.Image import Image

# Only formats that Pillow decodes itself: EPS, for one, would start another program.
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF")
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
STRIP_PIXELS = 1 << 20  # that are brought to RGB at once


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
            "There is no picture at {path}.", "Check how its name and its folder are written.", path=path
        ) from error
    except PermissionError as error:
        raise PictureError(
            "{file} can't be read: no permission.", "Allow reading that file.", file=path.name
        ) from error
    except pillow.UnidentifiedImageError as error:
        raise PictureError(
            "{file} is not a picture that can be read.",
            "Its content is something else than its name says, or it is damaged. Leave it out or save it as PNG.",
            file=path.name,
        ) from error
    except pillow.DecompressionBombError as error:
        raise too_many_pixels(path.name) from error
    except MemoryError as error:
        raise PictureError(
            "{file} needs more memory than there is.", "Save it smaller.", file=path.name
        ) from error
    except PictureError:
        raise
    # The libraries' decoders raise anything of damaged bytes, such as a TypeError of a fraction where an offset belongs.
    except Exception as error:
        raise PictureError(
            "{file} is damaged or cut off: {reason}.",
            "Copy it again from where it came, or leave it out.",
            file=path.name,
            reason=clean_text(str(error), 200),
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
        return open_psd(path)
    if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
        return _open_heic(path)
    pillow.init()  # makes all formats known to `open`
    with pillow.open(path, formats=PILLOW_FORMATS) as image:
        full_size = image.size
        check_pixels(*image.size, path.name)
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
    width, height = heif.size
    check_pixels(width, height, path.name)
    check_bytes(width * height * DECODING["HEIF"], path.name)
    image = heif.to_pillow()
    image.getexif()[0x0112] = 1  # libheif has turned it upright already
    return image


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
