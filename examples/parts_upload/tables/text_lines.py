"""Lines of a text file whose encoding is found while it is read.

In: a file open for reading bytes. Out: lines with their ends, and the Unicode replacement character for invalid bytes.
A line of more than `MAX_LINE_CHARACTERS` comes in pieces.

Rule: the first block that is not ASCII tells the encoding. A file may have thousands of rows before its first ß.
"""

import codecs
import io
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from examples.parts_upload.tables.encodings import encoding_of

# The first block is evidence, the others are memory.
FIRST_BLOCK_BYTES: Final = 32 * 1024
BLOCK_BYTES: Final = 8 * 1024
MAX_LINE_CHARACTERS: Final = 256 * 1024
_HEAD_BYTES: Final = 4096
_LINE_ENDS: Final = frozenset(("\n", "\r\n", "\r"))


class ByteReader(Protocol):
    """The one method of a file that is needed here."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; b"" at the end."""
        ...


class TextLines:
    """The lines of a file. `head` is the beginning of its bytes, `bytes_read` the position. `recognized_in` tells how
    many columns of a header are recognized in a text.
    """

    def __init__(self, file: ByteReader, recognized_in: Callable[[str], int]) -> None:
        self._file = file
        self._recognized_in = recognized_in
        self._decoder: codecs.IncrementalDecoder | None = None
        self.encoding = "ascii"
        self._lines: deque[str] = deque()
        self._rest = ""
        self._is_at_end = False
        self.bytes_read = 0
        self.head = b""
        self._beginning = self._read_block(FIRST_BLOCK_BYTES)
        self._split(self._beginning)

    def take_beginning(self) -> str:
        """Return the first block as text, once: it is not kept."""
        beginning, self._beginning = self._beginning, ""
        return beginning

    def readline(self) -> str:
        """Return the next line, or a piece of one that is too long; "" at the end.

        Raises:
            OSError: the file cannot be read.
        """
        while not self._lines and not self._is_at_end:
            self._split(self._read_block(BLOCK_BYTES))
        return self._lines.popleft() if self._lines else ""

    def skip_blank_lines(self) -> int:
        """Skip the blank lines that come next and are in memory, and return their number."""
        count = 0
        while self._lines and self._lines[0] in _LINE_ENDS:
            self._lines.popleft()
            count += 1
        return count

    def _read_block(self, size: int) -> str:
        block = self._file.read(size)
        self.head = self.head or block[:_HEAD_BYTES]
        self.bytes_read += len(block)
        self._is_at_end = not block
        if self._decoder is None:
            self.encoding = encoding_of(block, self._recognized_in)
            if self.encoding == "ascii":
                return block.decode("ascii")
            self._decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        return self._decoder.decode(block, final=not block)

    def _split(self, text: str) -> None:
        # newline="" keeps the line ends, and knows all three.
        self._lines.extend(io.StringIO(self._rest + text, newline=""))
        self._rest = ""
        if self._is_at_end:
            # Some programs end a file with Ctrl-Z, or fill its last block with zeros.
            if self._lines:
                self._lines[-1] = self._lines[-1].rstrip("\0\x1a")
        elif self._lines and not self._lines[-1].endswith("\n"):
            # After \r there may be a \n to come.
            self._rest = self._lines.pop()
            if len(self._rest) > MAX_LINE_CHARACTERS:
                # A download tool fills a file with zeros before it has the content.
                self._lines.append(self._rest if self._rest.strip("\0") else "\n")
                self._rest = ""
