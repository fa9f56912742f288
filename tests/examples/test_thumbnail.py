"""The thumbnail of one picture: its shape and colours, and the causes of bad ones."""

import struct
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.parts_upload import thumbnail as thumbnails
from examples.parts_upload.thumbnail import (
    FORMATS,
    MAX_FILE_BYTES,
    THUMBNAIL_SIDE,
    BadImage,
    Cause,
    make_thumbnail,
)
from tests.tools import missing

RED = (200, 30, 30)


def picture(path: Path, size: tuple[int, int] = (640, 480), mode: str = "RGB", **options: Any) -> Path:
    """Save a picture whose left half is red and whose right half is white."""
    image = Image.new("RGB", size, "white")
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    image.convert(mode).save(path, **options)
    return path


def is_red(pixel: Any) -> bool:
    return bool(pixel[0] > 150 and pixel[1] < 90 and pixel[2] < 90)


def cause_of(path: Path) -> Cause:
    """Make a thumbnail that fails; return the cause, after a check that nothing was written."""
    thumbnail = path.with_name("thumbnail.jpg")
    with pytest.raises(BadImage) as caught:
        make_thumbnail(path, thumbnail)
    assert not thumbnail.exists()
    return caught.value.cause


# --- one image -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.jpg", "RGB"),
        ("a.jpg", "L"),
        ("a.jpg", "CMYK"),
        ("a.png", "RGB"),
        ("a.png", "RGBA"),
        ("a.png", "LA"),
        ("a.png", "P"),
        ("a.png", "1"),
        ("a.gif", "P"),
        ("a.webp", "RGB"),
        ("named-wrongly.png.jpeg", "RGB"),
    ],
)
def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape(tmp_path: Path, name: str, mode: str) -> None:
    path = picture(tmp_path / name, mode=mode)
    make_thumbnail(path, tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert (thumbnail.format, thumbnail.mode, thumbnail.size) == ("JPEG", "RGB", (256, 192))
        left, right = thumbnail.getpixel((60, 96)), thumbnail.getpixel((200, 96))
    assert right == pytest.approx((255, 255, 255), abs=8)
    assert is_red(left) or mode in ("L", "LA", "1")


def test_sixteen_bit_grey_stays_grey(tmp_path: Path) -> None:
    Image.new("I;16", (100, 100), 0x8000).save(tmp_path / "a.png")
    make_thumbnail(tmp_path / "a.png", tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.getpixel((50, 50)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_a_palette_is_averaged_as_well(tmp_path: Path, mode: str) -> None:
    # Stripes of one pixel. Picking pixels would give black or white; averaging gives grey.
    stripes = Image.frombytes("L", (1024, 1024), b"\x00\xff" * (1024 * 512))
    stripes.convert(mode).save(tmp_path / "a.png")
    make_thumbnail(tmp_path / "a.png", tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.getpixel((128, 128)) == pytest.approx((128, 128, 128), abs=8)


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    Image.new("RGBA", (100, 100), (0, 0, 0, 0)).save(tmp_path / "a.png")
    make_thumbnail(tmp_path / "a.png", tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.getpixel((50, 50)) == (255, 255, 255)


def test_a_picture_taken_with_the_camera_on_its_side_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "Rotate 90° clockwise to show": the left half becomes the upper one.
    make_thumbnail(picture(tmp_path / "a.jpg", exif=exif), tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.size == (192, 256)
        assert is_red(thumbnail.getpixel((96, 60)))
        assert not is_red(thumbnail.getpixel((96, 200)))


def test_a_small_picture_is_not_made_bigger(tmp_path: Path) -> None:
    make_thumbnail(picture(tmp_path / "a.png", (16, 8)), tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.size == (16, 8)


def test_a_very_long_picture_still_has_a_thumbnail(tmp_path: Path) -> None:
    make_thumbnail(picture(tmp_path / "a.png", (5000, 1)), tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.size == (THUMBNAIL_SIDE, 1)


# --- bad ones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_image_we_take_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert cause_of(tmp_path / "a.png") is Cause.NOT_AN_IMAGE


def test_a_format_that_only_pillow_knows_is_left_out(tmp_path: Path) -> None:
    assert cause_of(picture(tmp_path / "a.bmp")) is Cause.NOT_AN_IMAGE


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif"])
def test_an_image_that_was_cut_off_is_left_out(tmp_path: Path, name: str) -> None:
    content = picture(tmp_path / name, (900, 900)).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    assert cause_of(tmp_path / name) in (Cause.DAMAGED, Cause.NOT_AN_IMAGE)


@pytest.mark.parametrize("side", [6_325, 9_500, 14_000])
def test_an_image_that_unpacks_to_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    # Just over our limit, over Pillow's warning, over Pillow's error.
    bomb = tmp_path / "bomb.png"
    Image.new("1", (side, side)).save(bomb)
    assert bomb.stat().st_size < 200_000

    def decode(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(Image.Image, "load", decode)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    limit_of_pillow = Image.MAX_IMAGE_PIXELS
    assert cause_of(bomb) is Cause.TOO_MANY_PIXELS
    assert limit_of_pillow == Image.MAX_IMAGE_PIXELS


def test_an_image_just_within_the_limit_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 64 * 64)
    make_thumbnail(picture(tmp_path / "a.png", (64, 64)), tmp_path / "within.jpg")
    assert cause_of(picture(tmp_path / "a.png", (65, 64))) is Cause.TOO_MANY_PIXELS


def test_a_file_that_is_too_big_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    monkeypatch.setattr(Image, "open", None)
    assert cause_of(tmp_path / "a.png") is Cause.FILE_TOO_BIG


def test_a_missing_file_and_a_folder_are_left_out(tmp_path: Path) -> None:
    assert cause_of(tmp_path / "missing.png") is Cause.UNREADABLE
    (tmp_path / "folder.png").mkdir()
    assert cause_of(tmp_path / "folder.png") is Cause.UNREADABLE


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert cause_of(tmp_path / "a.png") is Cause.EMPTY


def test_a_big_scan_in_sixteen_bit_grey_is_taken(tmp_path: Path) -> None:
    Image.new("I;16", (3000, 2000), 0x8000).save(tmp_path / "a.png")
    make_thumbnail(tmp_path / "a.png", tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.getpixel((50, 50)) == (128, 128, 128)


# --- colours ----------------------------------------------------------------------------------------------------------


def display_p3() -> bytes:
    """Return a colour profile with the primaries of Display P3 and the curve of sRGB, as ICC.1:2010 describes it."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + fixed(*values)

    curve = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = {
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.15710, 0.06657, 0.78407),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    offset, table, content = 132 + 12 * len(tags), b"", b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", offset + len(content), len(tag))
        content += tag
    header = struct.pack(">I4xI", offset + len(content), 0x04300000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    header += bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content


@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGB"), ("a.png", "RGBA"), ("a.jpg", "RGB"), ("a.webp", "RGB")])
@pytest.mark.parametrize(
    ("shown", "in_srgb"), [((230, 60, 50), (251, 31, 34)), ((60, 200, 80), (0, 204, 56)), ((128, 128, 128),) * 2]
)
def test_colours_of_a_phones_photo_are_those_of_srgb(
    tmp_path: Path, name: str, mode: str, shown: tuple[int, int, int], in_srgb: tuple[int, int, int]
) -> None:
    Image.new("RGB", (600, 600), shown).convert(mode).save(tmp_path / name, icc_profile=display_p3(), lossless=True)
    make_thumbnail(tmp_path / name, tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.getpixel((50, 50)) == pytest.approx(in_srgb, abs=4)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "RGB"])
@pytest.mark.parametrize("profile", [b"not a profile", None])
def test_a_profile_that_does_not_fit_changes_nothing(tmp_path: Path, mode: str, profile: bytes | None) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (300, 300), (128, 128, 128)).convert(mode).save(path, icc_profile=profile or display_p3())
    make_thumbnail(path, tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.getpixel((50, 50)) == pytest.approx((128, 128, 128), abs=4)


# --- an end marker that is missing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_its_end_marker_only_is_taken(tmp_path: Path, progressive: bool) -> None:
    content = picture(tmp_path / "a.jpg", progressive=progressive).read_bytes()
    assert content.endswith(b"\xff\xd9")
    (tmp_path / "a.jpg").write_bytes(content[:-2])
    make_thumbnail(tmp_path / "a.jpg", tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert is_red(thumbnail.getpixel((60, 96)))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9, 0.99])
def test_a_jpeg_that_lacks_more_is_damaged(tmp_path: Path, kept: float) -> None:
    noise = Image.effect_noise((900, 900), 60)
    noise.save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: int(len(content) * kept)])
    assert cause_of(tmp_path / "a.jpg") is Cause.DAMAGED


# --- formats of phones ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_pictures_of_phones_are_read(tmp_path: Path, suffix: str) -> None:
    if {"avif": "AVIF", "heic": "HEIF"}[suffix] not in FORMATS:
        missing(f"there is nothing here that reads {suffix}")
    if suffix == "heic":
        import_module("pillow_heif").register_heif_opener()
    content = BytesIO()
    with Image.open(picture(tmp_path / "a.png")) as image:
        image.save(content, {"avif": "AVIF", "heic": "HEIF"}[suffix])
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content.getvalue())
    make_thumbnail(path, tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.size == (256, 192)
        assert is_red(thumbnail.getpixel((60, 96)))
        assert thumbnail.getpixel((200, 96)) == pytest.approx((255, 255, 255), abs=8)
    (tmp_path / "thumbnail.jpg").unlink()
    path.write_bytes(content.getvalue()[: len(content.getvalue()) // 2])
    assert cause_of(path) in (Cause.DAMAGED, Cause.NOT_AN_IMAGE)
