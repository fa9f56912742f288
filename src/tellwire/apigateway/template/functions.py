"""The functions that an API's routes and authorizer need, and others that are requested by name."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tellwire.apigateway.definition import Api, Function
from tellwire.apigateway.runner.runtimes import layer_directories
from tellwire.apigateway.services.definition import Services
from tellwire.apigateway.template.code import CodeFinder
from tellwire.apigateway.template.intrinsics import NO_VALUE, Unresolved, text
from tellwire.apigateway.template.parameters import MissingParameter
from tellwire.apigateway.template.references import FUNCTION, LAYER
from tellwire.apigateway.template.resource import LeftOut, Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError, shown

DEFAULT_TIMEOUT_SECONDS: Final = 3.0
"""Timeout of a function without `Timeout` (CloudFormation template reference, "AWS::Lambda::Function")."""

DEFAULT_MEMORY_MB: Final = 128
"""Memory of a function without `MemorySize` (the same page)."""

ALLOWED_TIMEOUT_SECONDS: Final = (1.0, 900.0)
"""Smallest and largest timeout (Lambda developer guide, "Lambda quotas")."""

ALLOWED_MEMORY_MB: Final = (128.0, 10_240.0)
"""Smallest and largest memory (the same page)."""

_LAYER_ARN = re.compile(r"arn:aws:lambda:[^:]+:[^:]+:layer:([^:]+):1")


def read_functions(
    stack: Stack, code: CodeFinder, apis: Sequence[Api], left_out: Mapping[str, str], more: Collection[str] = ()
) -> dict[str, Function]:
    """Return the functions of APIs by logical id, and `more` functions of the template.

    `left_out` are the names of those in whose place routes have nothing that runs here.

    Raises:
        ConfigError: a function of `more` does not exist, or one's configuration is not valid; it names the function.
    """
    needed = [name for api in apis for name in api.functions]
    there: dict[str, Resource] = {}
    for resource in stack.resources(FUNCTION):
        there.setdefault(resource.logical_id, resource)
    if missing := set(more) - there.keys():
        raise ConfigError(f"function: got {shown(min(missing))}; allowed: {', '.join(there)}")
    return {
        name: Function(name, "", Path(), left_out=left_out[name])
        if name in left_out
        else _function(stack, code, there[name])
        for name in dict.fromkeys((*needed, *more))
    }


def read_others(
    stack: Stack, code: CodeFinder, read: Mapping[str, Function], services: Services
) -> dict[str, Function]:
    """Return the functions that others than APIs may invoke: by Lambda Invoke, by a schedule, by a queue.

    Notes of a function that nothing refers to are dropped: it will hardly be invoked.
    """
    targets = services.invoked
    variables = {value for function in read.values() for value in function.environment.values()}
    others = {}
    for resource in stack.resources(FUNCTION):
        if resource.logical_id in read:
            continue
        kept = list(stack.notes)
        try:
            function = _function(stack, code, resource)
        except ConfigError as error:
            function = Function(resource.logical_id, "", Path(), left_out=str(error))
        others[resource.logical_id] = function
        is_named = any(function.name in (value, value.rpartition(":function:")[2]) for value in variables)
        if resource.logical_id not in targets and not is_named:
            stack.notes[:] = kept
    return others


def _function(stack: Stack, code: CodeFinder, resource: Resource) -> Function:
    function = Function(
        name=stack.name_of(resource),
        handler="",
        code_dir=Path(),
        environment=_environment(stack, resource),
        timeout_seconds=resource.number("Timeout", DEFAULT_TIMEOUT_SECONDS, ALLOWED_TIMEOUT_SECONDS),
        memory_mb=int(resource.number("MemorySize", DEFAULT_MEMORY_MB, ALLOWED_MEMORY_MB)),
    )
    if resource.text("PackageType", "Zip") == "Image":
        words = f"{resource}: its code is a container image; allowed: a directory on this machine"
        return replace(function, left_out=words)
    try:
        return replace(
            function,
            handler=resource.text("Handler"),
            runtime=resource.text("Runtime"),
            code_dir=code.directory(resource, "Code"),
            layers=_layers(stack, code, resource),
            build=_build_options(resource),
        )
    except LeftOut as error:
        return replace(function, left_out=str(error))


def _environment(stack: Stack, resource: Resource) -> dict[str, str]:
    about = f"function {resource.logical_id}"
    values = {}
    for name, written in _variables(stack, resource).items():
        try:
            value = resource.resolve(written)
            if value is not NO_VALUE:
                values[name] = text(value)
        except MissingParameter:
            pass  # there is a note of the parameter
        except Unresolved as unresolved:
            stack.note(f"{about}: environment variable {name}: {unresolved}; set it with --env-file")
    return values


def _variables(stack: Stack, resource: Resource) -> dict[str, Any]:
    try:
        match resource.choose(resource.properties.get("Environment")):
            case {"Variables": variables}:
                chosen = resource.choose(variables)
                return chosen if isinstance(chosen, dict) else {}
            case _:
                return {}
    except Unresolved as unresolved:
        stack.note(f"function {resource.logical_id}: Environment: {unresolved}; set its variables with --env-file")
        return {}


def _layers(stack: Stack, code: CodeFinder, resource: Resource) -> tuple[Path, ...]:
    directories: list[Path] = []
    try:
        layers = resource.choose(resource.properties.get("Layers"))
    except Unresolved as unresolved:
        stack.note(f"function {resource.logical_id}: its layers are left out: {unresolved}")
        return ()
    for written in layers if isinstance(layers, list) else ():
        try:
            directories += _layer(stack, code, written, resource)
        except (Unresolved, ConfigError) as error:
            # Without the function's name: several functions may have this layer, and one note is enough.
            stack.note(f"a layer is left out, install its packages on this machine: {error}")
    return tuple(directories)


def _layer(stack: Stack, code: CodeFinder, written: Any, function: Resource) -> list[Path]:
    arn = function.resolve(written)
    if arn is NO_VALUE:
        return []
    own = _LAYER_ARN.fullmatch(str(arn))
    layer = stack.resource(own[1], LAYER) if own is not None else None
    if layer is None:
        raise Unresolved(f"{arn} is not in the template")
    content = code.directory(layer, "Content")
    runtime = function.text("Runtime")
    directories = layer_directories(content, runtime)
    if not directories:
        name = "nodejs/node_modules" if runtime.startswith("nodejs") else "python"
        raise Unresolved(f"{layer} has no {name} directory in {str(content)!r}")
    return directories


def _build_options(resource: Resource) -> Mapping[str, Any] | None:
    """Return SAM's options for esbuild, if the function is built with it."""
    if resource.metadata.get("BuildMethod") != "esbuild":
        return None
    options = resource.metadata.get("BuildProperties")
    return options if isinstance(options, dict) else {}
