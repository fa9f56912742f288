"""`tellwire local`: run a WebSocket API's Lambda handlers as API Gateway would. `tellwire clock`: move its clock."""

import asyncio
import json
import logging
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tellwire._version import __version__
from tellwire.cli.common import configure_logging, log_level_option, loop_factory
from tellwire.cli.local_invoke import invoke
from tellwire.errors import ConfigError
from tellwire.ports import SystemClock

if TYPE_CHECKING:
    from tellwire.apigateway.definition import Api
    from tellwire.apigateway.local import LocalApi
    from tellwire.cli.local_plan import Plan

_EPILOG = """\b
Handlers by name, one for each route:
  tellwire local --route '$connect=app:connect' --route '$default=app:message'
\b
A SAM or CloudFormation template, or the output of `cdk synth`:
  tellwire local --template template.yaml
\b
Requests to the management API must be signed, as on AWS. Any signature will do,
unless TELLWIRE_LOCAL_CREDENTIALS=<key id>:<secret> is set.
"""

DEFAULT_PORT = 3001

_DURATION = re.compile(r"\+?(\d+(?:\.\d+)?)(s|m|h)?")
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


@click.group(epilog=_EPILOG, invoke_without_command=True)
@click.option("--template", type=click.Path(path_type=Path), help="A template, cdk.out, or a directory with one.")
@click.option("--route", "routes", multiple=True, metavar="KEY=MODULE:HANDLER", help="A route and its handler.")
@click.option("--answer", "answers", multiple=True, metavar="KEY", help="A route with a route response.")
@click.option("--authorizer", metavar="MODULE:HANDLER", help="The REQUEST authorizer of $connect.")
@click.option(
    "--identity-source",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="A value that requests must have for the authorizer, such as route.request.querystring.token.",
)
@click.option("--selection", metavar="EXPRESSION", help="Route selection expression.  [default: $request.body.action]")
@click.option(
    "--api", "api_name", metavar="NAME", help="One of several APIs of the template.  [default: all, each on its path]"
)
@click.option(
    "--replace",
    "replacements",
    multiple=True,
    metavar="NAME=MODULE:HANDLER",
    help="A handler that stands in for a function, or for a route that cannot run here.",
)
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the template.")
@click.option("--stage", help="Stage.  [default: the template's, otherwise prod]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="Port; 0 picks a free one."
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="NAME=KEY[,SORTKEY][;INDEX=…]",
    help="A DynamoDB table for handlers by name.",
)
@click.option("--env-file", type=click.Path(path_type=Path), help="More variables for handlers: NAME=VALUE lines.")
@click.option("--strict", is_flag=True, help="What runs here and fails on AWS is an error, not a note.")
@click.option("--dynamodb", metavar="URL", help="Use this DynamoDB instead of starting one.")
@click.option(
    "--clock",
    type=click.Choice(["system", "manual"]),
    default="system",
    show_default=True,
    help="A manual clock stands still until `tellwire clock` moves it.",
)
@click.option("--reload/--no-reload", default=True, show_default=True, help="Load the handlers again when they change.")
@click.option(
    "--print-env", is_flag=True, help="Print the variables that a worker beside this needs, and nothing else."
)
@log_level_option
@click.pass_context
def local(
    context: click.Context,
    /,
    host: str,
    port: int,
    clock: str,
    reload: bool,
    print_env: bool,
    log_level: str,
    **options: Any,
) -> None:
    """Run a WebSocket API's Lambda handlers on this machine, as API Gateway would.

    The events, statuses, errors, limits and the management API are those of AWS. Handlers run unchanged, without
    Docker and without an account: those by name in Python, those of a template in Python, JavaScript and others.
    """
    _require_extra()
    if context.invoked_subcommand is not None:
        return
    from tellwire.apigateway.local import LocalApi
    from tellwire.apigateway.runner.output import tagged_streams
    from tellwire.cli.local_plan import make_plan
    from tellwire.testing import FakeClock

    with ExitStack() as stack:
        stack.enter_context(tagged_streams())
        configure_logging(log_level)
        if log_level != "debug":
            # The API Gateway logs a refusal with more detail than the socket does.
            logging.getLogger("tellwire.gateway").setLevel("WARNING")
        chosen_clock = FakeClock(time.time()) if clock == "manual" else SystemClock()
        plan = make_plan(stack, chosen_clock.monotonic, services_port=port + 1 if 0 < port < 65535 else 0, **options)
        running = stack.enter_context(
            LocalApi(
                plan.apis,
                plan.functions,
                host=host,
                port=port,
                clock=chosen_clock,
                credentials=plan.credentials,
                environment=plan.environment,
                services=plan.services,
                on_demand=plan.on_demand,
            )
        )
        for note in plan.notes:
            click.echo(f"tellwire: {note}", err=True)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(running, plan, reload=reload, print_env=print_env))


async def _serve(running: "LocalApi", plan: "Plan", *, reload: bool, print_env: bool) -> None:
    watching: list[asyncio.Task[None]] = []

    def started() -> None:
        _announce(running, plan, err=print_env)
        if print_env:
            _print_environment(running, plan)
        if reload:
            watching.append(asyncio.create_task(_reload_on_save(running, plan)))

    plan.before_loading(running)
    try:
        await running.serve(started)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def _reload_on_save(running: "LocalApi", plan: "Plan") -> None:
    from watchfiles import awatch

    from tellwire.cli.saved import CodeFilter

    try:
        async for changes in awatch(*plan.watched(), watch_filter=CodeFilter()):
            names = sorted({Path(path).name for _, path in changes})
            click.echo(f"tellwire: {', '.join(names)} changed; handlers are loaded again", err=True)
            plan.before_reloading()
            await running.functions.reload()
    except (OSError, RuntimeError) as error:
        # Happens when the system has no more file watches.
        click.echo(f"tellwire: files cannot be watched, so handlers are not loaded again: {error}", err=True)


def _announce(running: "LocalApi", plan: "Plan", *, err: bool) -> None:
    from tellwire.apigateway.clock_api import MovableClock
    from tellwire.apigateway.local import management_url, websocket_url

    left = f"tellwire {__version__}"
    for api in running.apis:
        name = f"  ({api.name})" if api.prefix else ""
        click.echo(f"{left}  websocket   {websocket_url(api)}{name}", err=err)
        left = " " * len(left)
        click.echo(f"{left}  management  {management_url(api)}/@connections/<connectionId>", err=err)
    if isinstance(running.clock, MovableClock):
        url = "" if running.port == DEFAULT_PORT else f" --url http://{running.address}"
        click.echo(f"{left}  clock       stands still; move it with: tellwire clock 10m{url}", err=err)
    for line in plan.summary:
        click.echo(f"{left}  {line}", err=err)
    for api in running.apis:
        for line in _parts(api, plan):
            click.echo(f"{left}  {line}{f'  ({api.name})' if api.prefix else ''}", err=err)
    sys.stdout.flush()


def _print_environment(running: "LocalApi", plan: "Plan") -> None:
    from tellwire.cli.local_env import lines, shared_environment

    for line in lines(shared_environment(running, plan.functions)):
        click.echo(line)
    sys.stdout.flush()


def _parts(api: "Api", plan: "Plan") -> list[str]:
    lines = []
    for route in api.routes:
        answers = "  (answers)" if route.has_response else ""
        lines.append(f"{route.key:<11} {_function(route.function, plan) or route.service or 'a mock'}{answers}")
    if api.authorizer is not None:
        lines.append(f"authorizer  {_function(api.authorizer.function, plan)}")
    return lines


def _function(name: str, plan: "Plan") -> str:
    is_left_out = getattr(plan.functions.get(name), "left_out", None) is not None
    return "left out" if name.startswith("route ") and is_left_out else f"{name}{'  (left out)' if is_left_out else ''}"


def _require_extra() -> None:
    missing = [name for name in ("cryptography", "dotenv", "jsonpath", "watchfiles") if find_spec(name) is None]
    if missing:
        raise ConfigError("tellwire local needs more packages: pip install 'tellwire[local]'")


local.add_command(invoke)


@click.command()
@click.argument("forward")
@click.option("--url", default="http://127.0.0.1:3001", show_default=True, help="The local API Gateway.")
def clock(forward: str, url: str) -> None:
    """Move the clock of `tellwire local --clock manual` forward by FORWARD: 90s, 10m or 2h."""
    body = json.dumps({"advance_seconds": _seconds(forward)}).encode()
    try:
        now = _post(f"{url.rstrip('/')}/_tellwire/clock", body)["now"]
    except urllib.error.HTTPError as error:
        with error:
            raise ConfigError(f"{url}: {_message(error.read())}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(f"--url: no local API Gateway answers at {url}: {reason}") from error
    click.echo(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _post(url: str, body: bytes) -> Any:
    opener: Callable[..., Any] = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    with opener(urllib.request.Request(url, body, method="POST"), timeout=60) as answer:  # noqa: S310 - the user's own
        return json.load(answer)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return "this is not a local API Gateway"


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ConfigError(f"FORWARD: got {text!r}; allowed: seconds, minutes or hours, as 90 or 90s, 10m, 2h")
    return float(found[1]) * _UNIT_SECONDS[found[2]]
