"""Links of the repository's pages, turned into those of the site. Pure, given the files that there are."""

import os
import re
from collections.abc import Callable
from typing import Final

REPOSITORY: Final = "https://github.com/tellwire/tellwire"

_OURS: Final = re.compile(rf"{re.escape(REPOSITORY)}/(?:blob|tree|raw)/main/")
# Text between fences or in backquotes is code, and has no links.
_CODE: Final = re.compile(r"^ *(```+|~~~+).*?^ *\1[^\n]*$|(`+)(?!`).*?\2", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(
    r"""(?P<before>\]\(|^\[[^\]\n]+\]:\ |\b(?:src|srcset|href)=")(?P<target>[^)\s#"]*)(?P<anchor>\#[^)\s"]*)?""",
    re.MULTILINE | re.VERBOSE,
)

_WHOLE_FOLDER: Final = "#readme"
"""The page of a folder at GitHub."""

Turn = Callable[[str, bool], str]
"""Returns the new target of a link to a file of the repository; the flag says that the link is in HTML."""


def page_of(path: str) -> str:
    """Return the name of a file of the repository among the files of the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def with_links(text: str, source: str, turn: Turn) -> str:
    """Return the text of the file `source` with every link to a file of the repository turned."""

    def turned(found: re.Match[str]) -> str:
        path = repository_path(found["target"], source)
        if path is None:
            return found[0]
        anchor = "" if found["anchor"] in (None, _WHOLE_FOLDER) else found["anchor"]
        return found["before"] + turn(path, found["before"].endswith('"')) + anchor

    pieces, end = [], 0
    for code in _CODE.finditer(text):
        pieces += [_LINK.sub(turned, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*pieces, _LINK.sub(turned, text[end:])])


def repository_path(target: str, source: str) -> str | None:
    """Return the file of the repository that a link from `source` leads to; None if it leads elsewhere."""
    if ours := _OURS.match(target):
        return target[ours.end() :].rstrip("/")
    if not target or target.startswith("/") or ":" in target:
        return None
    return os.path.normpath(os.path.join(os.path.dirname(source), target))  # noqa: PTH118, PTH120 - names, not files
