"""The pages of docs/reference that have tables of the code."""

from pathlib import Path
from typing import Final

from bench.page import with_parts
from scripts.reference import client_options, commands, errors, http_api, messages, metrics, python_names, settings
from scripts.reference.tables import MISSING, Reference

DOCS: Final = Path(__file__).parents[2] / "docs"

PAGES: Final = (
    Reference("reference/settings.md", settings.parts),
    Reference("reference/http-api.md", http_api.parts),
    Reference("reference/errors.md", errors.parts),
    Reference("reference/messages.md", messages.parts),
    Reference("reference/cli.md", commands.parts),
    Reference("reference/client-options.md", client_options.parts),
    Reference("reference/python.md", python_names.parts),
    Reference("reference/metrics.md", metrics.parts),
)


def stale() -> list[str]:
    """Return a line for each page that differs from the code, or lacks words."""
    problems = []
    for page in PAGES:
        text = (DOCS / page.path).read_text("utf-8")
        written = with_parts(text, page.parts(text))
        if written != text:
            problems.append(f"docs/{page.path} differs from the code: run `make reference`")
        elif MISSING in written:
            problems.append(f"docs/{page.path}: write the words where it says {MISSING}")
    return problems


def write() -> list[str]:
    """Write the tables anew, and return the pages that have changed."""
    changed = []
    for page in PAGES:
        text = (DOCS / page.path).read_text("utf-8")
        written = with_parts(text, page.parts(text))
        if written != text:
            (DOCS / page.path).write_text(written, "utf-8")
            changed.append(f"docs/{page.path}")
    return changed
