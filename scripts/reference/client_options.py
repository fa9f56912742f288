"""The options of both clients: those of TypeScript with their comments, and the names that Python has for them."""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from scripts.reference.tables import table
from tellwire.client import Client, ClientOptions

TYPES = Path(__file__).parents[2] / "clients" / "core" / "src" / "types.ts"

_INTERFACE = re.compile(r"^export interface ClientOptions \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r"/\*\*(?P<words>.*?)\*/\s*(?P<name>\w+)(?P<optional>\??): (?P<type>.*?);\n", re.DOTALL)
_DEFAULT = re.compile(r" Default: (.*?)\.$")


class Option(NamedTuple):
    """An option of TypeScript's client."""

    name: str
    type: str
    default: str
    words: str


def parts(page: str) -> Mapping[str, str]:
    """Return the table of options."""
    of_python = {each.name for each in fields(ClientOptions)} | set(inspect.signature(Client).parameters)
    rows = []
    for option in options(TYPES.read_text("utf-8")):
        snake = re.sub(r"(?<!^)([A-Z])", r"_\1", option.name).lower()
        python = f"`{snake}`" if snake in of_python else ""
        rows.append((f"`{option.name}`", python, f"`{_cell(option.type)}`", _cell(option.default), _cell(option.words)))
    return {"client-options": table(("TypeScript", "Python", "type", "default", ""), rows)}


def options(source: str) -> Iterator[Option]:
    """Yield the options in the order of the source.

    Raises:
        LookupError: the source has no interface of this name.
    """
    interface = _INTERFACE.search(source)
    if interface is None:
        raise LookupError("types.ts has no interface ClientOptions")
    for found in _OPTION.finditer(interface[1]):
        words = " ".join(re.sub(r"^\s*\*", "", found["words"], flags=re.MULTILINE).split())
        default = _DEFAULT.search(words)
        kind = found["type"].removesuffix(" | undefined")
        yield Option(
            found["name"],
            kind,
            default[1] if default else ("" if found["optional"] else "needed"),
            _DEFAULT.sub("", words),
        )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
