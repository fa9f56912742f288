"""The environment that a worker beside `tellwire local` needs, as lines for a shell or an --env-file.

It has the addresses and credentials of everything that runs here, and those variables of the template's functions that
have one value wherever they are set: names of tables, the URL of the API. Variables of Lambda itself are left out.
"""

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tellwire.apigateway.definition import Function

if TYPE_CHECKING:
    from tellwire.apigateway.local import LocalApi
    from tellwire.apigateway.runner.host import InProcess


def shared_environment(running: "LocalApi", functions: Mapping[str, "Function | InProcess"]) -> dict[str, str]:
    """Return the variables of this run, and those that its functions share."""
    values: dict[str, set[str]] = {}
    for name, function in functions.items():
        if isinstance(function, Function):
            resolved = running.environment_of(function, name)
            for variable in function.environment:
                values.setdefault(variable, set()).add(resolved[variable])
    shared = {variable: found.pop() for variable, found in values.items() if len(found) == 1}
    return running.environment | shared


def lines(environment: Mapping[str, str]) -> list[str]:
    """Return a line for each variable, quoted for a shell."""
    return [f"{name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
