"""The tables of errors: the classes of Python, and codes that a gateway answers with and no class has."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import tellwire.client
from scripts.reference.tables import MISSING, kept_cells, one_line, table
from tellwire import errors

_SOURCE = Path(errors.__file__).parent
# The functions and the class of a gateway that take a status and a code.
_REFUSING = frozenset({"problem", "Refusal"})
_NOT_CLOSED = 1011


def parts(page: str) -> Mapping[str, str]:
    """Return both tables; the words of the second one are the page's."""
    return {"errors": _classes(), "refusals": _refusals(page)}


def _classes() -> str:
    public = {*tellwire.__all__, *tellwire.client.__all__}
    rows = [
        (
            f"`{each.code}`",
            f"`{each.__name__}`" if each.__name__ in public else "",
            str(each.http_status),
            "" if each.close_code == _NOT_CLOSED else str(each.close_code),
            "yes" if each.retryable else "no",
            one_line(each.__doc__ or MISSING),
        )
        for each in sorted(_subclasses(errors.TellwireError), key=lambda each: (each.code, each.__name__))
    ]
    return table(("code", "in Python", "HTTP", "close", "again", ""), rows)


def _subclasses(base: type[errors.TellwireError]) -> Iterator[type[errors.TellwireError]]:
    if base.__module__ == errors.__name__:
        yield base
    for each in base.__subclasses__():
        yield from _subclasses(each)


def _refusals(page: str) -> str:
    kept = kept_cells(page)
    of_classes = {each.code for each in _subclasses(errors.TellwireError)}
    found: dict[str, set[int]] = {}
    for path in sorted((_SOURCE / "gateway").glob("*.py")):
        for status, code in _answered(ast.parse(path.read_text("utf-8"))):
            if code not in of_classes:
                found.setdefault(code, set()).add(status)
    rows = [
        (f"`{code}`", ", ".join(str(status) for status in sorted(statuses)), kept.get(f"`{code}`", [MISSING])[-1])
        for code, statuses in sorted(found.items())
    ]
    return table(("code", "HTTP", ""), rows)


def _answered(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the status and the code of each refusal in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _REFUSING:
            match node.args:
                case [ast.Constant(value=int(status)), ast.Constant(value=str(code)), *_]:
                    yield status, code
