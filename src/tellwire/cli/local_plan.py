"""Plans of `tellwire local`: the API to run, read from its options or from a template."""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from dotenv import dotenv_values

from tellwire.apigateway.definition import DEFAULT, Api, Authorizer, Function, IdentitySource, Project, Route
from tellwire.apigateway.local import LocalApi
from tellwire.apigateway.runner.handlers import HandlerName, Modules
from tellwire.apigateway.runner.host import InProcess
from tellwire.aws_api.sigv4 import Credentials
from tellwire.errors import ConfigError

CREDENTIALS_VARIABLE = "TELLWIRE_LOCAL_CREDENTIALS"

_DEVELOPER_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Variables that are kept for handlers given by name if the developer has set them."""


class Plan(Protocol):
    """The API to run, its functions and their environment."""

    api: Api
    functions: Mapping[str, Function | InProcess]
    environment: Mapping[str, str]
    credentials: Credentials | None
    notes: Sequence[str]
    summary: Sequence[str]

    def before_loading(self, running: LocalApi) -> None:
        """Prepare this process once the address is known, before any handler is loaded."""
        ...

    def before_reloading(self) -> None:
        """Prepare this process before handlers are loaded again."""
        ...

    def watched(self) -> list[Path]:
        """Return the directories whose changes cause a reload."""
        ...


def make_plan(
    stack: ExitStack,
    now: Callable[[], float],
    *,
    template: Path | None,
    routes: Sequence[str],
    answers: Sequence[str],
    authorizer: str | None,
    sources: Sequence[str],
    selection: str | None,
    parameters: Sequence[str],
    stage: str | None,
    env_file: Path | None,
    dynamodb: str | None,
) -> Plan:
    """Make a plan from the options. Resources of it are closed with `stack`; `now` is the clock of the handlers.

    Raises:
        ConfigError: options contradict each other, or a file or a handler does not exist.
    """
    environment = _read_env_file(env_file) if env_file is not None else {}
    if (template is None) is (not routes):
        raise ConfigError("say what to run: --template FILE, or --route KEY=MODULE:HANDLER, and not both")
    if template is None:
        if dynamodb is not None or parameters:
            raise ConfigError("--dynamodb and --parameter go with --template")
        api, handlers = _from_options(
            routes, answers, authorizer, sources, selection, "prod" if stage is None else stage
        )
        notes = [] if api.route(DEFAULT) else ["no $default: a message that no route takes is answered with Forbidden"]
        return HandlersPlan(api, handlers, environment, _credentials(), now, notes)
    if answers or authorizer or sources or selection:
        raise ConfigError("--answer, --authorizer, --identity-source and --selection go with --route")
    return _from_template(stack, template, _pairs("--parameter", parameters), stage, dynamodb, environment)


# --- handlers by name -------------------------------------------------------------------------------------------------


@dataclass
class HandlersPlan:
    """Handlers given by name. They all run in this process, with its environment."""

    api: Api
    handlers: Mapping[str, HandlerName]
    environment: Mapping[str, str]
    credentials: Credentials | None
    now: Callable[[], float]
    notes: Sequence[str] = ()
    summary: Sequence[str] = ()
    functions: Mapping[str, Function | InProcess] = field(init=False)

    def __post_init__(self) -> None:
        self._modules = Modules()
        self.functions = {
            function: InProcess(partial(self._modules.load, name), self.now) for function, name in self.handlers.items()
        }

    def before_loading(self, running: LocalApi) -> None:
        # A handler may create its client while it is imported, so the environment must be set before.
        for name, value in running.environment.items():
            is_kept = name in _DEVELOPER_VARIABLES and name in os.environ
            if not is_kept or name in self.environment or self.credentials is not None:
                os.environ[name] = value
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))

    def before_reloading(self) -> None:
        self._modules.forget(self.watched())

    def watched(self) -> list[Path]:
        return sorted({root for name in self.handlers.values() if (root := _root(name)) is not None})


def _from_options(
    routes: Sequence[str],
    answers: Sequence[str],
    authorizer: str | None,
    sources: Sequence[str],
    selection: str | None,
    stage: str,
) -> tuple[Api, dict[str, HandlerName]]:
    by_key = _pairs("--route", routes)
    for key in answers:
        if key not in by_key:
            raise ConfigError(f"--answer: got {key!r}, which is not a route; allowed: {', '.join(by_key)}")
    if sources and authorizer is None:
        raise ConfigError("--identity-source goes with --authorizer")
    handlers = [HandlerName.parse(name) for name in by_key.values()]
    asked = None
    if authorizer is not None:
        handlers.append(HandlerName.parse(authorizer))
        asked = Authorizer(_function_name(handlers[-1]), tuple(IdentitySource(each) for each in sources))
    api = Api(
        tuple(
            Route(key, _function_name(name), has_response=key in answers)
            for key, name in zip(by_key, handlers, strict=False)
        ),
        stage=stage,
        authorizer=asked,
        region=_region(),
    )
    return (api if selection is None else replace(api, route_selection_expression=selection)), {
        _function_name(name): name for name in handlers
    }


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _function_name(name: HandlerName) -> str:
    return f"{name.module}-{name.attribute}".replace(".", "-")


def _root(name: HandlerName) -> Path | None:
    """Return the directory that a handler's top-level module was imported from, unless it is installed."""
    top = sys.modules.get(name.module.partition(".")[0])
    file, packages = getattr(top, "__file__", None), [Path(each) for each in getattr(top, "__path__", ())]
    if packages:
        root = packages[0].parent
    elif file is not None:
        root = Path(file).parent
    else:
        return Path.cwd()
    return None if "site-packages" in root.parts else root


# --- templates --------------------------------------------------------------------------------------------------------


@dataclass
class TemplatePlan:
    """The API of a template. Each function runs in a process of its own."""

    api: Api
    functions: Mapping[str, Function | InProcess]
    environment: Mapping[str, str]
    credentials: Credentials | None
    notes: Sequence[str]
    summary: Sequence[str]

    def before_loading(self, running: LocalApi) -> None:
        pass

    def before_reloading(self) -> None:
        pass

    def watched(self) -> list[Path]:
        functions = (function for function in self.functions.values() if isinstance(function, Function))
        return sorted({path for function in functions for path in (function.code_dir, *function.layers)})


def _from_template(
    stack: ExitStack,
    template: Path,
    parameters: Mapping[str, str],
    stage: str | None,
    dynamodb: str | None,
    environment: Mapping[str, str],
) -> Plan:
    from tellwire.apigateway.template import read_project

    workspace = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellwire-")))
    project = read_project(template, stage=stage, region=_region(), parameters=parameters, workspace=workspace)
    tables: dict[str, str] = {}
    summary = []
    if project.tables or dynamodb is not None:
        url, names = _with_tables(stack, project, dynamodb)
        tables["AWS_ENDPOINT_URL_DYNAMODB"] = url
        summary.append(f"dynamodb    {url}  {', '.join(names)}")
    notes = [note for note in project.notes if not any(f"variable {name}:" in note for name in environment)]
    notes += _runtime_notes(project)
    return TemplatePlan(project.api, project.functions, tables | dict(environment), _credentials(), notes, summary)


def _runtime_notes(project: Project) -> list[str]:
    local = f"python{sys.version_info.major}.{sys.version_info.minor}"
    others = {function.runtime for function in project.functions.values()} - {local}
    return [
        f"{each} is the runtime on AWS; here it is {local}" for each in sorted(others) if each.startswith("python3")
    ]


def _with_tables(stack: ExitStack, project: Project, url: str | None) -> tuple[str, list[str]]:
    from tellwire.apigateway.dynamodb import create_tables, local_dynamodb

    at = url if url is not None else stack.enter_context(local_dynamodb())
    return at, create_tables(at, project.tables, project.ttl_attributes, project.api.region)


# --- options ----------------------------------------------------------------------------------------------------------


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for each in given:
        name, separator, value = each.partition("=")
        if not separator or not name or not value:
            hint = "; in a shell, '$default=…' needs its quotes" if option == "--route" else ""
            raise ConfigError(f"{option}: got {each!r}; allowed: NAME=VALUE{hint}")
        if name in pairs:
            raise ConfigError(f"{option}: got {name!r} twice; allowed: once")
        pairs[name] = value
    return pairs


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            values = dotenv_values(stream=file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--env-file: {path} cannot be read: {error}") from error
    for name, value in values.items():
        if "=" in name or "\0" in f"{name}{value}":
            raise ConfigError(f"--env-file: {path}: got the name {name!r}; allowed: NAME=VALUE, without NUL bytes")
    return {name: value for name, value in values.items() if value is not None}


def _credentials() -> Credentials | None:
    given = os.environ.get(CREDENTIALS_VARIABLE)
    if not given:
        return None
    key, separator, secret = given.partition(":")
    if not separator or not key or not secret:
        raise ConfigError(f"{CREDENTIALS_VARIABLE}: got a value of another form; allowed: <key id>:<secret>")
    return Credentials(key, secret)
