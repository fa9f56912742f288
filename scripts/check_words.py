"""Check the words of docstrings and comments: summary lines name the thing, and old words of this project stay away.

    python -m scripts.check_words                 the whole project
    python -m scripts.check_words src/tellwire    these files and folders

A summary line is the first line of a docstring (of a module, a class, a function or a constant), the first comment line
of a TypeScript file, or the first line of a JSDoc block. It begins with a noun or an imperative, so that the thing can
be searched for; it does not begin with a question word, and "what" is never its noun.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
FOLDERS: Final = ("src", "bench", "scripts", "examples", "tests", "clients")

_IGNORED_PARTS: Final = frozenset({"node_modules", "dist", "build", ".build", "data"})

# Text in quotes and in code is somebody else's.
_QUOTED: Final = re.compile(r"`[^`]*`|\"[^\"]*\"|“[^”]*”")
_QUESTION: Final = r"(?:who|whom|whose|where|how|why|when|which)\b"
_SUMMARY_RULES: Final = (
    (
        re.compile(r"(?:(?:what|whatever|whoever|wherever|whether)\b|" + _QUESTION + ")", re.I),
        "begins with a question word",
    ),
    (re.compile(r".*\bwhat\b", re.I), 'uses "what" as a noun'),
    (re.compile(r"(?:return|yield|tell|say|give|know|find|note|decide|read) " + _QUESTION, re.I), "asks a question"),
    (re.compile(r"let\b", re.I), 'begins with "Let"'),
)
_OLD_WORDS: Final = re.compile(r"\b(take\s+note|hear\s+that|lest|for\s+ever|amiss)\b", re.I)
# `//` and the lines of `/* … */`; a line of code that begins with `*` does not occur.
_TYPESCRIPT_COMMENT: Final = re.compile(r"^\s*(?:/\*+|\*+(?!/)|//+)(.*?)(?:\*/)?\s*$")


class Finding(NamedTuple):
    """A line to mend."""

    line: int
    sentence: str
    why: str


def check_python(source: str) -> Iterator[Finding]:
    """Yield the findings of a Python file."""
    for line, docstring in _docstrings(ast.parse(source)):
        yield from _summary(line, docstring.strip().partition("\n")[0])
        for offset, text in enumerate(docstring.split("\n")):
            yield from _old_words(line + offset, text)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from _old_words(token.start[0], token.string.lstrip("# "))


def check_typescript(source: str) -> Iterator[Finding]:
    """Yield the findings of a TypeScript file."""
    is_summary = True
    for line, text in enumerate(source.split("\n"), start=1):
        comment = _TYPESCRIPT_COMMENT.match(text)
        is_summary = is_summary or text.lstrip().startswith("/**")
        if comment is None:
            is_summary = False
        elif words := comment[1].strip():
            if is_summary:
                yield from _summary(line, words)
            yield from _old_words(line, words)
            is_summary = False


def _docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        body: list[ast.stmt] = getattr(node, "body", []) if isinstance(node, ast.stmt | ast.Module) else []
        for index, statement in enumerate(body):
            # The first statement of a body is its docstring; after an assignment stands that of a constant or a field.
            is_place = index == 0 or isinstance(body[index - 1], ast.Assign | ast.AnnAssign)
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))) if is_place:
                    yield statement.lineno, text


def _summary(line: int, sentence: str) -> Iterator[Finding]:
    plain = _QUOTED.sub("…", sentence)
    why = next((reason for rule, reason in _SUMMARY_RULES if rule.match(plain)), None)
    if why is not None:
        yield Finding(line, sentence, f"{why}; name the thing, with a noun one can search for")


def _old_words(line: int, text: str) -> Iterator[Finding]:
    found = _OLD_WORDS.search(_QUOTED.sub("…", text))
    if found is not None:
        yield Finding(line, text.strip(), f'"{found[0]}" is not plain English')


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if not _IGNORED_PARTS & set(file.relative_to(ROOT).parts) and _is_checked(file):
                yield file


def _is_checked(file: Path) -> bool:
    if file.suffix in (".ts", ".tsx"):
        return "src" in file.parts
    return file.suffix == ".py"


def main(arguments: list[str]) -> int:
    """Print the findings, and return 1 if there is one."""
    places = [Path(argument).resolve() for argument in arguments] or [ROOT / folder for folder in FOLDERS]
    count = 0
    for file in _files(places):
        check = check_python if file.suffix == ".py" else check_typescript
        for found in sorted(set(check(file.read_text(encoding="utf-8")))):
            count += 1
            print(f"{file.relative_to(ROOT)}:{found.line}: {found.sentence}\n    {found.why}")
    if count:
        print(f"check_words: {count} lines to mend (STYLE.md, Words)", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
