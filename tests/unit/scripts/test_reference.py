"""The tables of docs/reference: they are the code's, and the words of their last columns stay."""

from pathlib import Path

import pytest

from scripts.reference import pages, settings
from scripts.reference.tables import MISSING, Reference, kept_cells, one_line, table
from tellwire.config import ENVIRONMENT_NAMES


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the pages with tables."""
    for page in pages.PAGES:
        copy = tmp_path / page.path
        copy.parent.mkdir(exist_ok=True)
        copy.write_text((pages.DOCS / page.path).read_text("utf-8"), "utf-8")
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    return tmp_path


def test_every_table_is_that_of_the_code_and_has_all_its_words() -> None:
    assert pages.stale() == []


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.path)
def test_a_page_that_differs_is_named_and_written_anew(docs: Path, page: Reference) -> None:
    path = docs / page.path
    whole = path.read_text("utf-8")
    rows = [line for line in whole.split("\n") if line.startswith("| ")]
    path.write_text(whole.replace(rows[1], rows[1].replace("`", "`x", 1)), "utf-8")
    assert pages.stale() == [f"docs/{page.path} differs from the code: run `make reference`"]
    assert pages.write() == [f"docs/{page.path}"]
    assert len(path.read_text("utf-8").split("\n")) == len(whole.split("\n"))


def test_a_new_setting_gets_a_row_whose_words_must_be_written(docs: Path) -> None:
    path = docs / "reference/settings.md"
    lines = path.read_text("utf-8").split("\n")
    path.write_text("\n".join(line for line in lines if not line.startswith("| `port` |")), "utf-8")
    pages.write()
    assert f"| `port` | `TELLWIRE_PORT` | `8787` | {MISSING} |" in path.read_text("utf-8")
    assert pages.stale() == [f"docs/reference/settings.md: write the words where it says {MISSING}"]


def test_the_default_of_a_setting_is_the_codes_and_its_words_are_the_pages() -> None:
    page = "| `port` | `OLD` | `1` | the port |\n| `engine` | `OLD` | depends | the \\| history |"
    rows = kept_cells(settings.parts(page)["settings"])
    assert rows["`port`"] == ["`port`", "`TELLWIRE_PORT`", "`8787`", "the port"]
    assert rows["`engine`"] == ["`engine`", "`TELLWIRE_ENGINE`", "depends", "the \\| history"]
    assert len(rows) >= len(ENVIRONMENT_NAMES)


def test_a_table_has_its_cells_between_bars() -> None:
    assert table(("a", ""), [("1", "x"), ("2", "")]) == "| a | |\n|---|---|\n| 1 | x |\n| 2 | |"


def test_the_first_paragraph_fits_into_a_cell() -> None:
    assert one_line("One of a | b,\n    or more.\n\nThe rest.") == "One of a \\| b, or more."
