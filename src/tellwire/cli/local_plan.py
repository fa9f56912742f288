"""Plans of `tellwire local`: the API to run, read from its options or from a template."""

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from dotenv import dotenv_values

from tellwire.apigateway.definition import DEFAULT, Api, Authorizer, Function, IdentitySource, Route
from tellwire.apigateway.local import LocalApi
from tellwire.apigateway.runner.handlers import HandlerName, Modules
from tellwire.apigateway.runner.host import InProcess
from tellwire.apigateway.services.attached import TemplateServices
from tellwire.aws_api.sigv4 import Credentials
from tellwire.cli.local_services import start_services
from tellwire.cli.local_template import TemplateOptions, plan_template
from tellwire.errors import ConfigError

CREDENTIALS_VARIABLE = "TELLWIRE_LOCAL_CREDENTIALS"

_DEVELOPER_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")
_ENDPOINTS = "AWS_ENDPOINT_URL"
"""Variables that are kept for handlers given by name if the developer has set them; all that begin so are endpoints."""


class Plan(Protocol):
    """The APIs to run, their functions and the environment of these."""

    apis: Sequence[Api]
    functions: Mapping[str, Function | InProcess]
    environment: Mapping[str, str]
    credentials: Credentials | None
    notes: Sequence[str]
    summary: Sequence[str]
    services: TemplateServices | None
    on_demand: Collection[str]

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
    api_name: str | None,
    replacements: Sequence[str],
    tables: Sequence[str],
    functions: Sequence[str] = (),
    strict: bool = False,
    services_port: int = 0,
) -> Plan:
    """Make a plan from the options. Resources of it are closed with `stack`; `now` is the clock of the handlers.

    Raises:
        ConfigError: options contradict each other, or a file or a handler does not exist.
    """
    environment = _read_env_file(env_file) if env_file is not None else {}
    if (template is None) is (not routes):
        raise ConfigError("say what to run: --template FILE, or --route KEY=MODULE:HANDLER, and not both")
    if template is None:
        if dynamodb is not None or parameters or api_name is not None or replacements or strict:
            raise ConfigError("--dynamodb, --parameter, --api, --replace and --strict go with --template")
        api, handlers = _from_options(
            routes, answers, authorizer, sources, selection, "prod" if stage is None else stage
        )
        notes = [] if api.route(DEFAULT) else ["no $default: a message that no route takes is answered with Forbidden"]
        services = start_services(stack, _pairs("--table", tables), api.region, handlers, services_port)
        found = services.table_environment | environment if services is not None else environment
        summary = services.summary if services is not None else []
        return HandlersPlan((api,), handlers, found, _credentials(), now, notes, summary, services)
    if answers or selection or tables:
        raise ConfigError("--answer, --selection and --table go with --route")
    _require_authorizer(authorizer, sources)
    options = TemplateOptions(
        template=template,
        region=_region(),
        parameters=_pairs("--parameter", parameters),
        stage=stage,
        api=api_name,
        replacements=_pairs("--replace", replacements),
        authorizer=authorizer,
        sources=sources,
        dynamodb=dynamodb,
        functions=functions,
        services_port=services_port,
        is_strict=strict,
    )
    return plan_template(stack, options, environment, _credentials())


def _require_authorizer(authorizer: str | None, sources: Sequence[str]) -> None:
    if sources and authorizer is None:
        raise ConfigError("--identity-source goes with --authorizer")


# --- handlers by name -------------------------------------------------------------------------------------------------


@dataclass
class HandlersPlan:
    """Handlers given by name. They all run in this process, with its environment."""

    apis: Sequence[Api]
    handlers: Mapping[str, HandlerName]
    environment: Mapping[str, str]
    credentials: Credentials | None
    now: Callable[[], float]
    notes: Sequence[str] = ()
    summary: Sequence[str] = ()
    services: TemplateServices | None = None
    on_demand: Collection[str] = ()
    functions: Mapping[str, Function | InProcess] = field(init=False)

    def __post_init__(self) -> None:
        self._modules = Modules()
        self.functions = {
            function: InProcess(partial(self._modules.load, name), self.now) for function, name in self.handlers.items()
        }

    def before_loading(self, running: LocalApi) -> None:
        kept = {name: value for name, value in os.environ.items() if _is_developers(name)}
        # A handler may create its client while it is imported, so the environment must be set before.
        for name, value in running.enter_process(kept).items():
            if name not in kept or name in self.environment or self.credentials is not None:
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
    _require_authorizer(authorizer, sources)
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


def _is_developers(name: str) -> bool:
    return name in _DEVELOPER_VARIABLES or name.startswith(_ENDPOINTS)


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
