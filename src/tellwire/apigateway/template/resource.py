"""A resource of a template, whose properties are read with the resource and the property named in errors."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tellwire.apigateway.template.intrinsics import NO_VALUE, Unresolved, text
from tellwire.errors import ConfigError, shown

_FLAGS: Mapping[Any, bool] = {True: True, False: False, "true": True, "false": False}


class LeftOut(ConfigError):
    """A part of a template cannot run on this machine; the rest can."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that exists. `properties` are as written; the methods resolve them. `stack` is the name of its stack.

    All methods except `resolved` name resource and property in a LeftOut for a value that is not known here, and in a
    ConfigError for one that is not of the requested type.
    """

    logical_id: str
    type: str
    properties: Mapping[str, Any]
    metadata: Mapping[str, Any]
    resolve: Callable[[Any], Any]
    choose: Callable[[Any], Any]
    stack: str = ""
    depends_on: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.type} {self.logical_id}"

    def resolved(self, name: str, default: Any = None) -> Any:
        """Return a property, or the default if it is absent.

        Raises:
            Unresolved: it is not known here.
        """
        value = self.resolve(self.properties.get(name, default))
        return default if value is NO_VALUE else value

    def value(self, name: str, default: Any = None) -> Any:
        """Return a property, or the default if it is absent."""
        try:
            return self.resolved(name, default)
        except Unresolved as unresolved:
            raise LeftOut(f"{self}: {name}: {unresolved}") from unresolved

    def text(self, name: str, default: str | None = None) -> str:
        """Return a property that is text; without a default it is required."""
        value = self.value(name, default)
        if value is None:
            raise ConfigError(f"{self}: {name} is missing")
        try:
            return text(value)
        except Unresolved as unresolved:
            raise ConfigError(f"{self}: {name}: {unresolved}") from unresolved

    def number(self, name: str, default: float, allowed: tuple[float, float]) -> float:
        """Return a property that is a number within bounds, both included."""
        written = self.text(name, str(default))
        least, most = allowed
        try:
            number = float(written)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise ConfigError(f"{self}: {name}: got {shown(written)}; allowed: {least:g} to {most:g}")
        return number

    def flag(self, name: str) -> bool:
        """Return a property that is true or false; false if it is absent."""
        value = self.value(name, False)
        if not isinstance(value, bool | str) or value not in _FLAGS:
            raise ConfigError(f"{self}: {name}: got {shown(value)}; allowed: true or false")
        return _FLAGS[value]
