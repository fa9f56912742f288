"""Files as people have them: each is read as `tests/data/parts_lists/expected.json` says, or refused with its words."""

import csv
import io
import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.parts_upload.csv_worker import ROWS
from examples.parts_upload.parts_file import PartsFile
from examples.parts_upload.report import Report
from tellwire import UploadFailed

FOLDER = Path(__file__).parents[1] / "data" / "parts_lists"
EXPECTED: dict[str, dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


def imported(content: bytes, file_name: str = "list.csv") -> dict[str, Any]:
    """Return the parts, the skipped rows by cause and the format of a file, or the words of its refusal."""
    report = Report(ROWS)
    try:
        file = PartsFile(io.BufferedReader(io.BytesIO(content)), file_name, report, lambda *_: None)
        parts = [list(part) for batch in file.batches() for part in batch]
    except UploadFailed as failed:
        return {"refused": str(failed)}
    skipped = {str(cause): items.first for cause, items in report.causes.items()}
    return {"parts": parts, "skipped": skipped, "found": report.found}


@pytest.mark.parametrize("file_name", sorted(EXPECTED))
def test_a_file_is_read_as_a_person_reads_it_or_refused_with_words(file_name: str) -> None:
    assert imported((FOLDER / file_name).read_bytes(), file_name) == EXPECTED[file_name]


def test_each_file_is_expected() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"expected.json", "README.md"}
    assert files == set(EXPECTED)
    assert len(files) >= 120


# --- any table, any dialect -------------------------------------------------------------------------------------------

PART_NUMBERS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8).map(lambda text: f"3{text}x")
QUANTITIES = st.integers(0, 10**6)
# One character in each that no spreadsheet would call invisible, so that the cell comes back as it was.
TEXTS = st.text(st.characters(exclude_categories=["C", "Z", "M"]), min_size=1, max_size=20)
WORDS = st.sampled_from(
    ["Weiß", "Größe", "Müller", "Dunkelgrün", "café", "pièce", "Número", "Bläulich", "façade", "Rosé"]
)
DELIMITERS = st.sampled_from([",", ";", "\t", "|"])
LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
ABOVE = st.sampled_from(["", "My list\n", "# a comment\n\n", "\n\n"])


def tables(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str, str, str, int]]]:
    return st.lists(st.tuples(PART_NUMBERS, texts, texts, QUANTITIES), min_size=1, max_size=8)


def written(table: list[tuple[str, str, str, int]], delimiter: str, line_end: str, quoting: Any, above: str) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerow(["Part Number", "Name", "Colour", "Quantity"])
    writer.writerows(table)
    return above.replace("\n", line_end) + text.getvalue()


@given(tables(TEXTS), DELIMITERS, LINE_ENDS, QUOTING, ABOVE, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_any_table_in_any_dialect_of_unicode_is_read_back(
    table: list[tuple[str, str, str, int]], delimiter: str, line_end: str, quoting: Any, above: str, encoding: str
) -> None:
    result = imported(written(table, delimiter, line_end, quoting, above).encode(encoding))
    assert [tuple(part[1:]) for part in result["parts"]] == table


@given(tables(WORDS), DELIMITERS, LINE_ENDS, QUOTING, st.sampled_from(["cp1252", "mac_roman", "utf-8", "utf-16-le"]))
def test_any_table_of_words_in_any_encoding_is_read_back(
    table: list[tuple[str, str, str, int]], delimiter: str, line_end: str, quoting: Any, encoding: str
) -> None:
    result = imported(written(table, delimiter, line_end, quoting, "").encode(encoding))
    assert [tuple(part[1:]) for part in result["parts"]] == table


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"Part,Qty\n", b"PK\x03\x04", b"\x1f\x8b\x08", b"sep=;\n", b"\xff\xfe"]),
)
def test_any_bytes_are_read_or_refused_with_words(content: bytes, beginning: bytes) -> None:
    result = imported(beginning + content)
    assert "parts" in result or result["refused"].partition(": ")[2]
