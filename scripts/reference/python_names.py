"""The public names of Python, with their docstrings: a section for each name of each public module."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scripts.reference.tables import MISSING, kept_cells, one_line, table
from tellwire.errors import TellwireError

MODULES = (
    "tellwire",
    "tellwire.client",
    "tellwire.testing",
    "tellwire.aws",
    "tellwire.celery",
    "tellwire.django",
    "tellwire.infra",
)

# A heading of Google's style, and the name that an indented line begins with.
_HEADING = re.compile(r"^(Args|Raises|Returns|Yields):$", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(\w+): ", re.MULTILINE)


def parts(page: str) -> Mapping[str, str]:
    """Return a part for each module. Names that are no function and no class have the words of the page."""
    return {module: _module(module, page) for module in MODULES}


def _module(module: str, page: str) -> str:
    loaded = importlib.import_module(module)
    values = {name: getattr(loaded, name) for name in loaded.__all__ if not name.startswith("_")}
    functions = {name: value for name, value in values.items() if inspect.isroutine(value)}
    errors = {name: value for name, value in values.items() if _is_error(value)}
    classes = {name: value for name, value in values.items() if inspect.isclass(value) and name not in errors}
    others = [name for name in values if name not in functions | classes | errors]
    sections = [_function(name, value) for name, value in sorted(functions.items())]
    sections += [_class(name, value) for name, value in sorted(classes.items())]
    if errors:
        rows = [(f"`{name}`", one_line(value.__doc__ or MISSING)) for name, value in sorted(errors.items())]
        sections.append(table(("error", ""), rows))
    if others:
        kept = kept_cells(page)
        rows = [(f"`{name}`", kept.get(f"`{name}`", [MISSING])[-1]) for name in sorted(others)]
        sections.append(table(("name", ""), rows))
    return "\n\n".join(sections)


def _is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, TellwireError)


def _function(name: str, function: Callable[..., Any]) -> str:
    return f"### `{name}`\n\n`{_call(name, function)}`\n\n{as_markdown(inspect.getdoc(function) or MISSING)}"


def _class(name: str, value: type) -> str:
    members = list(_members(value))
    listed = f"\n\n{table(('member', ''), members)}" if members else ""
    return f"### `{name}`\n\n{as_markdown(inspect.getdoc(value) or MISSING)}{listed}"


def _members(value: type) -> Iterator[tuple[str, str]]:
    """Yield the public methods and properties of a class itself, with the first paragraphs of their docstrings."""
    for name, member in vars(value).items():
        is_shown = inspect.isfunction(member) or isinstance(member, property)
        if is_shown and not name.startswith("_") and (words := one_line(inspect.getdoc(member) or "")):
            yield f"`{_call(name, member) if inspect.isfunction(member) else name}`", words


def _call(name: str, function: Callable[..., Any]) -> str:
    return f"{'await ' if inspect.iscoroutinefunction(function) else ''}{name}{_signature(function)}"


def _signature(function: Callable[..., Any]) -> str:
    """Return the parameters with their defaults, without types."""
    signature = inspect.signature(function)
    bare = [
        each.replace(annotation=inspect.Parameter.empty)
        for each in signature.parameters.values()
        if each.name != "self"
    ]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def as_markdown(text: str) -> str:
    """Return a docstring as Markdown: its lists of arguments and errors as lists, its example as code."""
    prose, _, example = _EXAMPLE.sub("\0", text, count=1).partition("\0")
    prose = _ENTRY.sub(r"- `\1`: ", _HEADING.sub(r"\1:\n", prose))
    prose = re.sub(r"^ {8}", "  ", prose, flags=re.MULTILINE).strip()
    # Code by its indentation: that of a docstring, which has names that nobody has made, is not run.
    return f"{prose}\n\nExample:\n\n{example.strip(chr(10))}" if example.strip() else prose
