"""The functions that an API's routes and authorizer need, and others that are requested by name."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from tellwire.apigateway.definition import Api, Function
from tellwire.apigateway.template.code import CodeFinder
from tellwire.apigateway.template.intrinsics import NO_VALUE, Unresolved, text
from tellwire.apigateway.template.references import FUNCTION, LAYER
from tellwire.apigateway.template.resource import Resource
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


def read_functions(stack: Stack, code: CodeFinder, api: Api, more: Collection[str] = ()) -> dict[str, Function]:
    """Return the functions of an API by logical id, and `more` functions of the template.

    Raises:
        ConfigError: a function cannot run here, or does not exist; it names the function.
    """
    needed = [route.function for route in api.routes]
    if api.authorizer is not None:
        needed.append(api.authorizer.function)
    there = {resource.logical_id: resource for resource in stack.resources(FUNCTION)}
    if missing := set(more) - there.keys():
        raise ConfigError(f"function: got {shown(min(missing))}; allowed: {', '.join(there)}")
    return {logical_id: _function(stack, code, there[logical_id]) for logical_id in dict.fromkeys((*needed, *more))}


def _function(stack: Stack, code: CodeFinder, resource: Resource) -> Function:
    if resource.text("PackageType", "Zip") == "Image":
        raise ConfigError(f"{resource}: its code is a container image; allowed: a directory on this machine")
    return Function(
        name=stack.name(resource),
        handler=resource.text("Handler"),
        code_dir=code.directory(resource, "Code"),
        runtime=resource.text("Runtime"),
        environment=_environment(stack, resource),
        timeout_seconds=resource.number("Timeout", DEFAULT_TIMEOUT_SECONDS, ALLOWED_TIMEOUT_SECONDS),
        memory_mb=int(resource.number("MemorySize", DEFAULT_MEMORY_MB, ALLOWED_MEMORY_MB)),
        layers=_layers(stack, code, resource),
    )


def _environment(stack: Stack, resource: Resource) -> dict[str, str]:
    about = f"function {resource.logical_id}"
    values = {}
    for name, written in _variables(stack, resource).items():
        try:
            value = stack.resolve(written)
            if value is not NO_VALUE:
                values[name] = text(value)
        except Unresolved as unresolved:
            stack.note(f"{about}: environment variable {name}: {unresolved}; set it with --env-file")
    return values


def _variables(stack: Stack, resource: Resource) -> dict[str, Any]:
    try:
        match stack.choose(resource.properties.get("Environment")):
            case {"Variables": variables}:
                chosen = stack.choose(variables)
                return chosen if isinstance(chosen, dict) else {}
            case _:
                return {}
    except Unresolved as unresolved:
        stack.note(f"function {resource.logical_id}: Environment: {unresolved}; set its variables with --env-file")
        return {}


def _layers(stack: Stack, code: CodeFinder, resource: Resource) -> tuple[Path, ...]:
    directories: list[Path] = []
    try:
        layers = stack.choose(resource.properties.get("Layers"))
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
    arn = stack.resolve(written)
    if arn is NO_VALUE:
        return []
    own = _LAYER_ARN.fullmatch(str(arn))
    layer = stack.resource(own[1], LAYER) if own is not None else None
    if layer is None:
        raise Unresolved(f"{arn} is not in the template")
    # Directories that Lambda adds to Python's path (Lambda developer guide, "Layer paths for each Lambda runtime").
    content = code.directory(layer, "Content")
    candidates = (content / "python", content / "python" / "lib" / function.text("Runtime") / "site-packages")
    directories = [candidate for candidate in candidates if candidate.is_dir()]
    if not directories:
        raise Unresolved(f"{layer} has no python directory in {str(content)!r}")
    return directories
