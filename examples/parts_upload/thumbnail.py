"""A thumbnail of one picture: small, upright, in sRGB, as a JPEG. Pure, but for the two files.

Rules:
- The size of an image is checked before it is decoded: a small file may unpack to gigabytes.
- Colours are those of the picture's profile, converted to sRGB: a photo of a phone has more colours than that.
- A JPEG without its end marker is whole if its pixels do not depend on the bytes behind it.
- AVIF is read if Pillow has it, HEIC if the package pillow-heif is installed.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError, features

MAX_FILE_BYTES: Final = 20 * 1024 * 1024
MAX_PIXELS: Final = 40_000_000
THUMBNAIL_SIDE: Final = 256

_HEIF: Final = "pillow_heif"
# Pillow reads many more formats, some of them (EPS) by starting other programs.
FORMATS: Final = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    *(["AVIF"] if features.check("avif") else []),
    *(["HEIF"] if find_spec(_HEIF) else []),
)
_END_OF_JPEG: Final = b"\xff\xd9"
# Read as pixels, they differ.
_FILLERS: Final = (b"\x00" * 64, b"\x5a\xa5\x3c\xc3\x69\x96\x0f\xf0" * 8)


class Cause(StrEnum):
    """The reason for skipping an image."""

    UNREADABLE = "UNREADABLE"
    EMPTY = "EMPTY"
    FILE_TOO_BIG = "FILE_TOO_BIG"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    DAMAGED = "DAMAGED"
    TOO_COSTLY = "TOO_COSTLY"


REASONS: Final[Mapping[str, str]] = {
    Cause.UNREADABLE: "it cannot be opened",
    Cause.EMPTY: "it is empty",
    Cause.FILE_TOO_BIG: f"it is bigger than {MAX_FILE_BYTES // 1024**2} MB",
    Cause.NOT_AN_IMAGE: f"it is not one of {', '.join(FORMATS).replace('HEIF', 'HEIC')}",
    Cause.TOO_MANY_PIXELS: f"it has more than {MAX_PIXELS // 1_000_000} million pixels",
    Cause.DAMAGED: "it is damaged or cut off",
    Cause.TOO_COSTLY: "it takes too much memory or time to be read",
}


class BadImage(Exception):
    """An image cannot be made into a thumbnail."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(REASONS[cause])
        self.cause = cause


def make_thumbnail(path: Path, thumbnail: Path) -> None:
    """Write a thumbnail of one image.

    Raises:
        BadImage: it cannot be read, is not an image of these formats, or is too big.
    """
    with _opened(path) as file:
        small = _small(file)
    thumbnail.parent.mkdir(parents=True, exist_ok=True)
    small.save(thumbnail, "JPEG", quality=85)


def _opened(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            raise BadImage(Cause.UNREADABLE)
        size = path.stat().st_size
        if not 0 < size <= MAX_FILE_BYTES:
            raise BadImage(Cause.FILE_TOO_BIG if size else Cause.EMPTY)
        return path.open("rb")
    except OSError as error:
        raise BadImage(Cause.UNREADABLE) from error


def _small(file: BinaryIO) -> Image.Image:
    with _identified(file) as image:
        try:
            return _shrunk(image)
        except BadImage as bad:
            is_damaged_jpeg = image.format == "JPEG" and bad.cause is Cause.DAMAGED
            if is_damaged_jpeg and (whole := _without_end_marker(file)) is not None:
                return whole
            raise


def _identified(file: BinaryIO) -> Image.Image:
    _register_heif()
    try:
        return Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(Cause.TOO_MANY_PIXELS) from error
    except UnidentifiedImageError as error:
        raise BadImage(Cause.NOT_AN_IMAGE) from error
    except MemoryError as error:
        raise BadImage(Cause.TOO_COSTLY) from error
    except Exception as error:
        # On hostile bytes a decoder may raise any error.
        raise BadImage(Cause.DAMAGED) from error


@cache
def _register_heif() -> None:
    if "HEIF" in FORMATS:
        import_module(_HEIF).register_heif_opener()


def _shrunk(image: Image.Image) -> Image.Image:
    # Only the image's header has been read so far.
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(Cause.TOO_MANY_PIXELS)
    try:
        return _upright_thumbnail(image)
    except MemoryError as error:
        raise BadImage(Cause.TOO_COSTLY) from error
    except Exception as error:
        raise BadImage(Cause.DAMAGED) from error


def _upright_thumbnail(image: Image.Image) -> Image.Image:
    # Palettes cannot be averaged, nor can 16-bit greys, which Pillow would clip to 8 bits: nearly all of them to white.
    # All others are shrunk first: then a JPEG is decoded at a fraction of its size.
    if image.mode.startswith("I;16"):
        small = image.point(lambda grey: grey / 256).convert("L")
    else:
        small = image.convert("RGBA") if image.mode in ("P", "1") else image
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    upright = ImageOps.exif_transpose(_in_srgb(small)).convert("RGBA")
    thumbnail = Image.new("RGB", upright.size, "white")
    thumbnail.paste(upright, mask=upright)
    return thumbnail


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return an image with its colours in sRGB. With a profile that cannot be used they stay."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    mode = {"LA": "L", "La": "L"}.get(image.mode, image.mode)
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        opaque = image if image.mode == mode else image.convert(mode)
        output = "RGBA" if mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(opaque, source, _srgb(), outputMode=output)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    if converted is None:
        return image
    if mode != image.mode:
        converted.putalpha(image.getchannel("A"))
    # For exif_transpose.
    converted.info = image.info
    return converted


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _without_end_marker(file: BinaryIO) -> Image.Image | None:
    """Return the thumbnail of a JPEG that lacks its end marker only; None if more is missing."""
    file.seek(0)
    content = file.read()
    try:
        one, other = (_shrunk(_identified(BytesIO(content + filler + _END_OF_JPEG))) for filler in _FILLERS)
    except BadImage:
        return None
    return one if one.tobytes() == other.tobytes() else None
