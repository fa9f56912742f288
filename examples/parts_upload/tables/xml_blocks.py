"""XML read block by block with expat, within bounds.

Rules: there are no document types, and so no entities that grow; a tag of more than `_MAX_TAG_BYTES` is refused.
"""

from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from examples.parts_upload.tables.table import TableRefused
from examples.parts_upload.tables.unpacking import DAMAGED, UnpackedFile

BLOCK_BYTES: Final = 16 * 1024
_MAX_TAG_BYTES: Final = 256 * 1024

Attributes = dict[str, str]


class XmlHandler:
    """The receiver of elements, by their names without prefixes."""

    def start(self, name: str, attributes: Attributes) -> None:
        """Begin an element."""

    def end(self, name: str) -> None:
        """End an element."""

    def text(self, text: str) -> None:
        """Continue the text of an element."""


def parse_blocks(file: UnpackedFile, handler: XmlHandler) -> Iterator[int]:
    """Parse an XML file, and yield after each block with its size in bytes.

    Raises:
        TableRefused: it is damaged or out of bounds.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, attributes: handler.start(_local(name), attributes)
    parser.EndElementHandler = lambda name: handler.end(_local(name))
    parser.CharacterDataHandler = handler.text
    parser.StartDoctypeDeclHandler = _refuse
    fed = 0
    while True:
        block = file.read(BLOCK_BYTES)
        fed += len(block)
        _feed(parser, block)
        if not block:
            return
        if fed - parser.CurrentByteIndex > _MAX_TAG_BYTES:
            _refuse()
        yield len(block)


def _feed(parser: "expat.XMLParserType", block: bytes) -> None:
    try:
        parser.Parse(block, not block)
    except expat.ExpatError as error:
        raise TableRefused(DAMAGED.code, DAMAGED.words) from error


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _refuse(*_: object) -> None:
    raise TableRefused(DAMAGED.code, DAMAGED.words)
