"""Sample data for the demo and for experiments: `python -m examples.parts_upload.make_samples [--rows N]`.

The bytes are always the same. The parts list has 12 bad rows, with every cause (a short list has fewer: one in a
hundred); one of the images is not an image. They are written to `data/` beside this file, which Git ignores.
"""

import argparse
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple

from PIL import Image, ImageDraw

DATA: Final = Path(__file__).parent / "data"
ROWS: Final = 10_000

_SHAPES = [(f"300{n}", f"Brick 2 x {n}") for n in range(1, 7)] + [(f"302{n}", f"Plate 1 x {n}") for n in range(1, 9)]
_COLOURS = {"Red": "#c91a09", "Blue": "#0055bf", "Yellow": "#f2cd37", "Green": "#237841", "Black": "#05131d"}
_HEADER = b"Part Number,Name,Colour,Quantity\r\n"

# Names as people write them, with characters that CSV must quote.
_ODD_NAMES = ['"Tile 2 x 2, round"', '"Slope 45°, ""inverted"""', '"Hinge,\r\ntwo lines"', "Plate 1×2 “jumper”"]

_BAD_ROWS = [
    b",Brick 2 x 4,Red,4",
    b"3001,Brick 2 x 4,Red,four",
    b"3001,Brick 2 x 4,Red",
    b"3001,Br\xfcck 2 x 4,Red,4",
    b"3001,Brick 2 x 4,Red,-4",
    b'3001,"Brick 2 x 4,Red,4',
    b"   ,Brick 2 x 4,Red,4",
    b"3001,Brick 2 x 4,Red,1.5",
    b"3001,Brick, 2 x 4,Red,4",
    b"3001,Brick 2 x 4,Ros\xe9,4",
    b"3001,Brick 2 x 4,Red,",
    b",,Red,4",
]


class Samples(NamedTuple):
    """Paths of the sample data."""

    parts_list: Path
    images: list[Path]


def make_samples(folder: Path = DATA, rows: int = ROWS) -> Samples:
    """Make the samples that do not exist yet, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    parts_list = folder / ("parts-list.csv" if rows == ROWS else f"parts-list-{rows}.csv")
    _make(parts_list, partial(write_parts_list, rows))
    images = [folder / f"{colour.lower()}.{'png' if colour == 'Blue' else 'jpg'}" for colour in _COLOURS]
    for path, (colour, shade) in zip(images, _COLOURS.items(), strict=True):
        # The black one is rotated, as its EXIF orientation says.
        _make(path, partial(_draw, path.suffix, shade, colour == "Black"))
    impostor = folder / "not-an-image.png"
    _make(impostor, lambda file: file.write(b"This is a text file that somebody renamed.\n"))
    return Samples(parts_list, [*images, impostor])


def write_parts_list(rows: int, file: IO[bytes]) -> None:
    """Write a parts list with this many rows below its header."""
    bad = _BAD_ROWS[: rows // 100]
    bad_rows = {nth * rows // (len(bad) + 1): row for nth, row in enumerate(bad, 1)}
    file.write(_HEADER)
    for number, row in enumerate(_good_rows(rows)):
        file.write(bad_rows.get(number, row) + b"\r\n")


def _good_rows(rows: int) -> Iterator[bytes]:
    generator = random.Random(rows)
    colours = list(_COLOURS)
    for number in range(rows):
        part_number, name = generator.choice(_SHAPES)
        if number % 97 == 0:
            name = generator.choice(_ODD_NAMES)
        yield f"{part_number},{name},{generator.choice(colours)},{generator.randrange(1, 100)}".encode()


def _draw(suffix: str, shade: str, is_on_its_side: bool, file: IO[bytes]) -> None:
    image = Image.new("RGB", (1200, 800), "#f4f4f4")
    draw = ImageDraw.Draw(image)
    draw.rectangle((200, 300, 1000, 650), fill=shade, outline="#333333", width=6)
    for left in range(260, 1000, 190):
        draw.rectangle((left, 230, left + 110, 300), fill=shade, outline="#333333", width=6)
    exif = Image.Exif()
    if is_on_its_side:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6
    image.save(file, "PNG" if suffix == ".png" else "JPEG", exif=exif)


def _make(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    if path.exists():
        return
    # Under a temporary name until it is complete: another process may be making it, too.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            write(file)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def main() -> None:
    """Make the samples and print their paths."""
    parser = argparse.ArgumentParser(description="Make sample data for the parts upload demo.")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows of the parts list (default: {ROWS:,})")
    samples = make_samples(rows=parser.parse_args().rows)
    for path in (samples.parts_list, *samples.images):
        print(path)


if __name__ == "__main__":
    main()
