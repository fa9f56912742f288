"""The contract of a table, whatever its file format is."""

from collections.abc import Iterator
from typing import Protocol, TypeAlias

from examples.parts_upload.causes import Fault

Row: TypeAlias = tuple[int, list[str] | Fault]


class Table(Protocol):
    """An iterator of rows: the number of each, with its cells or its fault. A blank row has no cells.

    Raises:
        OSError: the file cannot be read any more.
        TableRefused: the rest of the file is damaged, or needs more memory or work than allowed.
    """

    @property
    def found(self) -> str:
        """Format of the file, for its user: `Windows-1252, separated by ;`."""
        ...

    @property
    def is_plain(self) -> bool:
        """True for the format that everybody expects: UTF-8, separated by commas."""
        ...

    @property
    def is_guess(self) -> bool:
        """True if its letters may be other ones: nothing in the file tells its encoding."""
        ...

    @property
    def is_binary(self) -> bool:
        """True if it begins as no text does."""
        ...

    @property
    def work(self) -> int:
        """Bytes, characters, cells and rows looked at so far; some more than once."""
        ...

    @property
    def bytes_read(self) -> int:
        """Position in the file, for progress."""
        ...

    def __iter__(self) -> Iterator[Row]: ...

    def __next__(self) -> Row: ...


class TableRefused(ValueError):
    """A file without a readable table. `words` follow the file's name: `is empty.`."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code = code
        self.words = words
