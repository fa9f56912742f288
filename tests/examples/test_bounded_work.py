"""Bounds of the readers: the work of a turn, the work of a file, and unpacked bytes. Counted, not timed."""

import gzip
import io
import zipfile
from collections.abc import Callable

import pytest

from examples.parts_upload.headers import recognized_columns
from examples.parts_upload.parts_file import BATCH_ROWS
from examples.parts_upload.tables import BATCH_WORK, Table, TableRefused, next_batch, open_table, unpacking
from examples.parts_upload.tables import xlsx as xlsx_module
from examples.parts_upload.tables.csv_rows import FREE_WORK
from examples.parts_upload.tables.text_lines import MAX_LINE_CHARACTERS

# The row that ends a batch has so many characters at most, and each may be a cell.
MOST_WORK = BATCH_WORK + 4 * MAX_LINE_CHARACTERS

HEADER = b"Part,Quantity\n1,1\n"


def opened(content: bytes) -> Table:
    return open_table(io.BufferedReader(io.BytesIO(content)), recognized_columns)


def zipped(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def sheet(rows: str) -> str:
    cells = "".join(f"<c t='inlineStr'><is><t>{name}</t></is></c>" for name in ("Part", "Qty"))
    return f"<worksheet><sheetData><row>{cells}</row>{rows}</sheetData></worksheet>"


def xlsx(sheet_xml: str, shared_xml: str = "<sst/>") -> bytes:
    return zipped(
        {
            "xl/workbook.xml": '<workbook><sheets><sheet name="P" x:id="1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": (
                '<Relationships><Relationship Id="1" Type="x/worksheet" Target="sheet1.xml"/>'
                '<Relationship Id="2" Type="x/sharedStrings" Target="shared.xml"/></Relationships>'
            ),
            "xl/shared.xml": shared_xml,
            "xl/sheet1.xml": sheet_xml,
        }
    )


def ods(rows: str) -> bytes:
    cells = "".join(f"<table:table-cell><text:p>{name}</text:p></table:table-cell>" for name in ("Part", "Qty"))
    table = f'<table:table table:name="P"><table:table-row>{cells}</table:table-row>{rows}</table:table>'
    return zipped({"content.xml": f"<document>{table}</document>", "META-INF/manifest.xml": ""})


def ods_row(count: int, cell: str) -> str:
    return f'<table:table-row table:number-rows-repeated="{count}"><table:table-cell {cell}/></table:table-row>'


HOSTILE: dict[str, Callable[[], bytes]] = {
    "blank lines": lambda: HEADER + b"\n" * 50_000,
    "blank lines before the header": lambda: b"\n" * 50_000 + HEADER,
    "phantom rows": lambda: HEADER + b",,,\n" * 20_000,
    "wide rows": lambda: HEADER + (b"x" * 131_000 + b",1\n") * 10,
    "rows of many cells": lambda: HEADER + (b"," * 100_000 + b"x\n") * 4,
    "quote bombs": lambda: HEADER + (b'x",' + b"a" * 9000 + b',"\n') * 300,
    "a quote that is never closed": lambda: HEADER + b'1,"open\n' + b"2,2\n" * 20_000,
    "one endless line": lambda: HEADER + b"x" * 2_000_000,
    "one endless quoted cell": lambda: HEADER + b'"' + b"x\n" * 100_000,
    "zeros": lambda: HEADER + b"\0" * 3_000_000,
    "rows without cells in xlsx": lambda: xlsx(sheet("<row/>" * 30_000)),
    "cells in the last column in xlsx": lambda: xlsx(sheet('<row><c r="XFD1"><v>1</v></c></row>' * 500)),
    "repeated blank rows in ods": lambda: ods(ods_row(1_048_576, "") * 3_000),
    "repeated wide rows in ods": lambda: ods(
        ods_row(300, 'office:value-type="float" office:value="1" table:number-columns-repeated="16384"')
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_turn_has_more_than_bounded_work_whatever_a_file_holds(kind: str) -> None:
    table = opened(HOSTILE[kind]())
    before = 0
    while next_batch(table, BATCH_ROWS):
        assert table.work - before <= MOST_WORK
        before = table.work
    assert before > BATCH_WORK


@pytest.mark.parametrize("kind", ["quote bombs", "a quote that is never closed", "one endless quoted cell"])
def test_lines_are_read_again_within_a_budget(kind: str) -> None:
    content = HOSTILE[kind]()
    table = opened(content)
    rows = sum(1 for _ in table)
    assert table.work <= 3 * len(content) + 2 * FREE_WORK + 32 * rows


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", 100_000)
    text = HEADER.decode() + "\n" * 500_000
    for content in (gzip.compress(text.encode()), zipped({"list.csv": text}), xlsx(sheet("<row/>" * 50_000))):
        table = opened(content)
        with pytest.raises(TableRefused, match="unpacks to more than"):
            list(table)


def test_a_zip_of_too_many_files_is_refused_before_its_directory_is_read() -> None:
    content = zipped({f"file-{number}": "" for number in range(6000)})
    with pytest.raises(TableRefused, match="too many files"):
        opened(content)


@pytest.mark.parametrize(
    "sheet_xml",
    [
        "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]><worksheet/>",
        '<worksheet x="' + "x" * 1_000_000 + '"><row/></worksheet>',
        "<worksheet>",
        "not XML",
    ],
)
def test_a_workbook_with_entities_endless_tags_or_no_end_is_refused(sheet_xml: str) -> None:
    table = opened(xlsx(sheet_xml))
    with pytest.raises(TableRefused, match="damaged"):
        list(table)


def test_the_shared_texts_of_a_workbook_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_module, "MAX_SHARED_BYTES", 10_000)
    table = opened(xlsx(sheet(""), "<sst>" + "<si><t>a text</t></si>" * 1000 + "</sst>"))
    with pytest.raises(TableRefused, match="too many different texts"):
        list(table)
