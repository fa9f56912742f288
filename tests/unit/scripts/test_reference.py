"""The tables of docs/reference: they are the code's, and the words of their last columns stay."""

import importlib
import json
from dataclasses import fields
from pathlib import Path

import pytest

from scripts.reference import client_options, commands, errors, messages, pages, python_names, settings
from scripts.reference.client_options import Option
from scripts.reference.tables import MISSING, Reference, kept_cells, one_line, table
from tellwire.client import ClientOptions
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
    path.write_text(whole.replace("<!-- end -->", "Old words.\n<!-- end -->", 1), "utf-8")
    assert pages.stale() == [f"docs/{page.path} differs from the code: run `make reference`"]
    assert pages.write() == [f"docs/{page.path}"]
    assert path.read_text("utf-8") == whole


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


def test_the_options_of_typescript_are_read_from_their_comments() -> None:
    source = """
export interface ClientOptions {
  /** The gateway. */
  url: string;
  /**
   * The storage of
   * cursors. Default: none.
   */
  cursorStorage?: "session" | (() => Storage) | undefined;
}
"""
    assert list(client_options.options(source)) == [
        Option("url", "string", "needed", "The gateway."),
        Option("cursorStorage", '"session" | (() => Storage)', "none", "The storage of cursors."),
    ]


def test_every_option_of_python_is_in_the_table() -> None:
    table_of_code = client_options.parts("")["client-options"]
    for each in fields(ClientOptions):
        assert f"| `{each.name}` |" in table_of_code


def test_every_public_name_of_python_has_a_section_or_a_row() -> None:
    for module, text in python_names.parts("").items():
        for name in importlib.import_module(module).__all__:
            assert name == "__version__" or f"### `{name}`" in text or f"| `{name}` |" in text, name


def test_a_docstring_becomes_lists_and_code() -> None:
    text = "Do it.\n\nRaises:\n    Late: too\n        late.\n\nExample:\n    do()\n    if it:\n        do()"
    expected = "Do it.\n\nRaises:\n\n- `Late`: too\n  late.\n\nExample:\n\n    do()\n    if it:\n        do()"
    assert python_names.as_markdown(text) == expected


def test_every_command_has_its_help() -> None:
    text = commands.parts("")["commands"]
    for name in ("serve", "token", "listen", "send notification", "local invoke", "drain"):
        assert f"## tellwire {name}\n\n```text\nUsage: tellwire {name} [OPTIONS]" in text


def test_every_message_of_the_schema_has_a_section_with_an_example() -> None:
    sections = messages.parts("")
    schema = json.loads((messages.SPEC / "wire.schema.json").read_text("utf-8"))["$defs"]
    assert "### `upload_progress`" in sections["published"]
    assert '"type": "welcome"' in sections["server"]
    assert sections["requests"].count("### ") == len(schema["ClientRequest"]["anyOf"]) + 1
    assert "number, 0 to 100" in sections["published"]


def test_codes_that_no_class_has_are_found_where_a_gateway_answers_with_them() -> None:
    found = kept_cells(errors.parts("")["refusals"])
    assert found["`TOO_MANY_CONNECTIONS`"][1] == "429, 503"
    assert found["`API_KEY_WRONG`"] == ["`API_KEY_WRONG`", "401", MISSING]
    assert "`TOKEN_EXPIRED`" not in found
