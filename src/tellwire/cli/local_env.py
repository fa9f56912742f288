"""The environment that a worker beside `tellwire local` needs, as lines for a shell or an --env-file.

It has the addresses and credentials of everything that runs here, and those variables of the template's functions that
have one value wherever they are set: names of tables, the URL of the API. Variables of Lambda itself are left out.
"""

import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tellwire.apigateway.definition import Function
from tellwire.engines.aws.environment import HISTORY_TABLE_NAME, MANAGEMENT_ENDPOINT, TABLE_NAME

if TYPE_CHECKING:
    from tellwire.apigateway.local import LocalApi
    from tellwire.apigateway.runner.host import InProcess


def shared_environment(
    running: "LocalApi", functions: Mapping[str, "Function | InProcess"], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the variables of this run, those that its functions share, and those that producers need."""
    values: dict[str, set[str]] = {}
    for name, function in functions.items():
        if isinstance(function, Function):
            resolved = running.environment_of(function, name)
            for variable in function.environment:
                values.setdefault(variable, set()).add(resolved[variable])
    shared = {variable: found.pop() for variable, found in values.items() if len(found) == 1}
    found_here = running.environment | shared
    for variable in (TABLE_NAME, HISTORY_TABLE_NAME):
        # Handlers by name have the variables of this process.
        if variable in environ:
            found_here.setdefault(variable, environ[variable])
    if TABLE_NAME in found_here:
        # Producers need both.
        found_here.setdefault(MANAGEMENT_ENDPOINT, running.management_url)
    return found_here


def lines(environment: Mapping[str, str]) -> list[str]:
    """Return a line for each variable, quoted for a shell."""
    return [f"{name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
