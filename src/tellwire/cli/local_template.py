"""Plans of `tellwire local` that are read from a template, with the handlers that stand in for its own."""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import click

from tellwire.apigateway.definition import (
    CONNECT,
    Api,
    Authorizer,
    Function,
    IdentitySource,
    Project,
)
from tellwire.apigateway.local import LocalApi
from tellwire.apigateway.runner.handlers import HandlerName
from tellwire.apigateway.runner.host import InProcess
from tellwire.apigateway.runner.runtimes import local_runtime, runtime_problem
from tellwire.apigateway.services.attached import TemplateServices, services_of
from tellwire.aws_api.sigv4 import Credentials
from tellwire.errors import ConfigError

AUTHORIZER = "authorizer"
"""The name of the function that `--authorizer` names."""

_REASONS_SHOWN = 3


@dataclass
class TemplatePlan:
    """The APIs of a template. Each function runs in a process of its own."""

    apis: Sequence[Api]
    functions: Mapping[str, Function | InProcess]
    environment: Mapping[str, str]
    credentials: Credentials | None
    notes: Sequence[str]
    summary: Sequence[str]
    services: TemplateServices | None = None
    on_demand: Collection[str] = ()

    def before_loading(self, running: LocalApi) -> None:
        pass

    def before_reloading(self) -> None:
        pass

    def watched(self) -> list[Path]:
        running = (each for each in self.functions.values() if isinstance(each, Function) and each.left_out is None)
        return sorted({path for function in running for path in (function.code_dir, *function.layers)})


@dataclass(frozen=True, kw_only=True)
class TemplateOptions:
    """The options that go with `--template`. `replacements` are handlers by names of functions or routes, and
    `functions` are wanted besides those of the routes.
    """

    template: Path
    region: str
    parameters: Mapping[str, str]
    stage: str | None
    api: str | None
    replacements: Mapping[str, str]
    authorizer: str | None
    sources: Sequence[str]
    dynamodb: str | None
    functions: Sequence[str] = ()
    services_port: int = 0
    is_strict: bool = False


def plan_template(
    stack: ExitStack, options: TemplateOptions, environment: Mapping[str, str], credentials: Credentials | None
) -> TemplatePlan:
    """Read a template, and start the database of its tables. Resources are closed with `stack`.

    Raises:
        ConfigError: the template cannot be read, nothing of it can run here, or an option names nothing in it.
    """
    workspace = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellwire-")))
    project = stand_in(read(options, workspace), options)
    problems = project.services.problems
    if options.is_strict and problems:
        raise ConfigError(f"--strict: this fails on AWS: {'; '.join(problems)}")
    services = stack.enter_context(
        services_of(
            project, dynamodb=options.dynamodb, port=options.services_port, say=say, is_strict=options.is_strict
        )
    )
    notes = [note for note in project.notes if not any(f"variable {name}:" in note for name in environment)]
    notes += [*problems, *services.notes, *left_out_notes(project), *_runtime_notes(project)]
    return TemplatePlan(
        project.apis,
        project.functions,
        services.table_environment | dict(environment),
        credentials,
        notes,
        services.summary,
        services,
        project.on_demand,
    )


def read(options: TemplateOptions, workspace: Path) -> Project:
    """Read the template that the options name."""
    from tellwire.apigateway.template import read_project

    return read_project(
        options.template,
        stage=options.stage,
        region=options.region,
        parameters=options.parameters,
        workspace=workspace,
        api=options.api,
        functions=options.functions,
    )


def stand_in(project: Project, options: TemplateOptions) -> Project:
    """Return the project with the handlers that stand in for its own.

    Raises:
        ConfigError: a name is not one of the project's, a handler's name is not valid, or no route can run.
    """
    functions = {name: _checked(function) for name, function in project.functions.items()}
    for name, handler in options.replacements.items():
        found = name if name in functions else f"route {name}"
        if found not in functions:
            names = ", ".join(each.removeprefix("route ") for each in functions)
            raise ConfigError(f"--replace: got {name!r}; allowed: {names}")
        functions[found] = _handled(functions[found], handler)
    apis = project.apis
    if options.authorizer is not None:
        apis, functions[AUTHORIZER] = _authorized(project, functions, options.authorizer, options.sources)
    project = replace(project, apis=apis, functions=functions)
    _require_something(project)
    return project


def _checked(function: Function) -> Function:
    if function.left_out is not None or (problem := runtime_problem(function)) is None:
        return function
    return replace(function, left_out=f"function {function.name}: {problem}")


def _handled(function: Function, handler: str) -> Function:
    """Return a function with another handler: it has the template's variables, and the code of this directory."""
    HandlerName.parse(handler)
    return replace(function, handler=handler, code_dir=Path.cwd(), runtime="python", layers=(), left_out=None)


def _authorized(
    project: Project, functions: Mapping[str, Function], handler: str, sources: Sequence[str]
) -> tuple[tuple[Api, ...], Function]:
    before = next((api.authorizer for api in project.apis if api.authorizer is not None), None)
    own = functions[before.function] if before is not None else Function(AUTHORIZER, "", Path())
    given = tuple(map(IdentitySource, sources))
    return tuple(_with_authorizer(api, given) for api in project.apis), _handled(own, handler)


def _with_authorizer(api: Api, sources: tuple[IdentitySource, ...]) -> Api:
    if api.route(CONNECT) is None:
        return api
    own = api.authorizer.identity_sources if api.authorizer is not None else ()
    return replace(api, authorizer=Authorizer(AUTHORIZER, sources or own))


def _require_something(project: Project) -> None:
    routes = [route for api in project.apis for route in api.routes]
    if not routes or any(not route.function or project.functions[route.function].left_out is None for route in routes):
        return
    reasons = list(dict.fromkeys(str(project.functions[route.function].left_out) for route in routes))
    more = f"; and {len(reasons) - _REASONS_SHOWN} more" if len(reasons) > _REASONS_SHOWN else ""
    raise ConfigError(
        f"no route can run here: {'; '.join(reasons[:_REASONS_SHOWN])}{more}. "
        "Let a handler stand in: --replace NAME=module:handler"
    )


def left_out_notes(project: Project) -> list[str]:
    """Return a line for each function that cannot run here."""
    unneeded = project.on_demand - project.services.invoked
    return [
        f"{name} is left out: {function.left_out}. To stand in for it: "
        f"--replace '{name.removeprefix('route ')}=module:handler'"
        for name, function in project.functions.items()
        if function.left_out is not None and name not in unneeded
    ]


def _runtime_notes(project: Project) -> list[str]:
    runtimes = {each.runtime for each in project.functions.values() if each.left_out is None}
    pairs = [(each, local_runtime(each)) for each in sorted(runtimes)]
    return [f"{each} is the runtime on AWS; here it is {local}" for each, local in pairs if local not in (None, each)]


def say(line: str) -> None:
    """Write a line of the services for the developer."""
    click.echo(f"tellwire: {line}", err=True)
