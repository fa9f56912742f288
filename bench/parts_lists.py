"""Memory and turns of the parts list importer, on files that are big or hostile: `python -m bench.parts_lists`.

For each file a process of its own reads all parts into a database. Printed are the most memory over the start, which
must stay within `MOST_MEGABYTES`, the longest turn between two yields to an event loop, and the rate.
"""

import asyncio
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from examples.parts_upload.csv_worker import ROWS
from examples.parts_upload.make_samples import write_parts_list
from examples.parts_upload.parts_file import PartsFile
from examples.parts_upload.parts_store import opened_store
from examples.parts_upload.report import Report
from tellwire import UploadFailed

MOST_MEGABYTES: Final = 64

_HEADER = b"Part,Quantity\n1,1\n"
_SHEET_ROW = '<row><c t="s"><v>{}</v></c><c><v>4</v></c></row>'


def files(folder: Path) -> Iterator[Path]:
    """Write the files one by one, and yield their paths."""
    for name, content in (
        ("blank-lines.csv", _HEADER + b"\n" * 16_000_000),
        ("phantom-rows.csv", _HEADER + b",,,\n" * 1_048_574),
        ("wide-rows.csv", _HEADER + (b"x" * 131_000 + b",") * 500),
        ("rows-of-wide-cells.csv", _HEADER + (b",".join([b"x" * 131_000] * 7) + b"\n") * 60),
        ("quote-bombs.csv", _HEADER + (b'x",' + b"a" * 9000 + b',"\n') * 1500),
        ("zeros.csv", _HEADER + b"\0" * 64_000_000),
    ):
        (folder / name).write_bytes(content)
        yield folder / name
    with (folder / "million-rows.csv").open("wb") as file:
        write_parts_list(1_000_000, file)
    yield folder / "million-rows.csv"
    yield _workbook(folder / "texts.xlsx", texts=200_000, rows=300_000)
    yield _workbook(folder / "phantom-rows.xlsx", texts=10, rows=10, blank_rows=1_048_000)
    yield _spreadsheet(folder / "repeated-rows.ods")


def _workbook(path: Path, texts: int, rows: int, blank_rows: int = 0) -> Path:
    relations = "".join(
        f'<Relationship Id="{kind}" Type="x/{kind}" Target="{kind}.xml"/>' for kind in ("worksheet", "sharedStrings")
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", '<workbook><sheet name="P" x:id="worksheet"/></workbook>')
        archive.writestr("xl/_rels/workbook.xml.rels", f"<Relationships>{relations}</Relationships>")
        with archive.open("xl/sharedStrings.xml", "w") as file:
            file.write(b"<sst><si><t>Part</t></si><si><t>Qty</t></si>")
            file.writelines(f"<si><t>text number {number}</t></si>".encode() for number in range(texts))
            file.write(b"</sst>")
        with archive.open("xl/worksheet.xml", "w") as file:
            file.write(b'<worksheet><row><c t="s"><v>0</v></c><c t="s"><v>1</v></c></row>')
            file.writelines(_SHEET_ROW.format(2 + number % texts).encode() for number in range(rows))
            file.writelines(b'<row><c s="1"/></row>' for _ in range(blank_rows))
            file.write(b"</worksheet>")
    return path


def _spreadsheet(path: Path) -> Path:
    head = "".join(f"<table:table-cell><text:p>{name}</text:p></table:table-cell>" for name in ("Part", "Qty"))
    cell = '<table:table-cell office:value-type="float" office:value="1" table:number-columns-repeated="16384"/>'
    row = f'<table:table-row table:number-rows-repeated="20000">{cell}</table:table-row>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/manifest.xml", "")
        archive.writestr(
            "content.xml", f"<x><table:table><table:table-row>{head}</table:table-row>{row}</table:table></x>"
        )
    return path


def _peak_megabytes() -> float:
    """Return the most memory of this process. A child's `ru_maxrss` begins with its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(path: Path) -> str:
    """Read one file in this process, and return its line of figures."""
    report, longest, before = Report(ROWS), 0.0, _peak_megabytes()
    began = turn = time.perf_counter()
    try:
        with path.open("rb") as file, opened_store(path.with_suffix(".sqlite3"), "bench") as store:
            for parts in PartsFile(file, path.name, report, lambda *_: None).batches():
                store.add(parts)
                now = time.perf_counter()
                longest, turn = max(longest, now - turn), now
            asyncio.run(store.commit())
        outcome = report.summary
    except UploadFailed as failed:
        outcome = str(failed)
    seconds = time.perf_counter() - began
    megabytes = path.stat().st_size / 1024**2
    return (
        f"{path.name:<24} {megabytes:7.1f} MB {seconds:7.1f} s  memory +{_peak_megabytes() - before:5.1f} MB  "
        f"longest turn {longest * 1000:6.1f} ms  {outcome[:60]}"
    )


def main(arguments: list[str]) -> int:
    """Print the figures of all files, or of the one that is given; return 1 if one needs too much memory."""
    if arguments:
        print(measure(Path(arguments[0])))
        return 0
    most = 0.0
    with TemporaryDirectory(prefix="parts-lists-") as folder:
        for path in files(Path(folder)):
            # The peak is a process's own, and never goes down.
            command = [sys.executable, "-m", "bench.parts_lists", str(path)]
            line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(line, flush=True)
            most = max(most, float(line.partition("memory +")[2].partition("MB")[0]))
            path.unlink()
    return int(most > MOST_MEGABYTES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
