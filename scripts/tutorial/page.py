"""The steps of a tutorial, read from its Markdown. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

BROWSER: Final = "Browser"

_STEP: Final = re.compile(
    r"""^```(?P<kind>\w+)\ title="(?P<title>[^"]+)"\n(?P<text>.*?)^```$
    |Open\ <(?P<url>[^>]+)>\ and\ press\ \*\*(?P<button>.+?)\*\*""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


class Written(NamedTuple):
    """A file."""

    name: str
    text: str


class Typed(NamedTuple):
    """Lines that are typed into a terminal. The last one of `runs_on` does not end by itself."""

    terminal: str
    lines: list[str]
    runs_on: bool


class Seen(NamedTuple):
    """Lines that appear, in a terminal or in the browser."""

    place: str
    lines: list[str]


class Pressed(NamedTuple):
    """A button of a page that is opened in the browser."""

    url: str
    button: str


Step = Written | Typed | Seen | Pressed


def steps(markdown: str, ports: Mapping[str, int]) -> list[Step]:
    """Return the steps of a page, with other ports in place of its own."""
    for port, other in ports.items():
        markdown = re.sub(rf"\b{port}\b", str(other), markdown)
    return list(_with_endings(list(_found(markdown))))


def _found(markdown: str) -> Iterator[Step]:
    for match in _STEP.finditer(markdown):
        title, lines = match["title"], (match["text"] or "").splitlines()
        if match["url"]:
            yield Pressed(match["url"], match["button"])
        elif match["kind"] == "text":
            yield Seen(title, lines)
        elif match["kind"] == "sh":
            yield Typed(title, lines, runs_on=False)
        else:
            yield Written(title, match["text"])


def _with_endings(found: list[Step]) -> Iterator[Step]:
    """Yield the steps; a command whose output follows at once in its terminal is one that runs on."""
    for step, following in zip(found, [*found[1:], None], strict=True):
        if isinstance(step, Typed) and isinstance(following, Seen) and following.place == step.terminal:
            yield step._replace(runs_on=True)
        else:
            yield step


def pattern(line: str) -> re.Pattern[str]:
    """Return a pattern for a line: spaces, `…` and bars are whatever stands between its words."""
    words = [re.escape(word) for word in re.split(r"[\s…━]+", line) if word]
    return re.compile(r"[^\n]*?".join(words))
