"""`tellwire local invoke`: run one function of a template once, with an event from a file."""

import asyncio
import json
import logging
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tellwire.cli.common import configure_logging, log_level_option, loop_factory
from tellwire.errors import ConfigError
from tellwire.ports import SystemClock

if TYPE_CHECKING:
    from tellwire.apigateway.local import LocalApi


@click.command()
@click.argument("function")
@click.option("--event", "event_file", default="-", metavar="FILE", help="The event as JSON; - is standard input.")
@click.option("--template", type=click.Path(path_type=Path), default=".", help="As of tellwire local.  [default: .]")
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the template.")
@click.option("--replace", "replacements", multiple=True, metavar="NAME=MODULE:HANDLER", help="As of tellwire local.")
@click.option("--env-file", type=click.Path(path_type=Path), help="More variables: NAME=VALUE lines.")
@click.option("--dynamodb", metavar="URL", help="Use this DynamoDB instead of starting one.")
@log_level_option
def invoke(function: str, event_file: str, log_level: str, **options: Any) -> None:
    """Run FUNCTION once, and print its result.

    The function has the environment and the tables that it has in `tellwire local`. Those of a run beside this one are
    in the lines of `tellwire local --print-env`: write them to a file for --env-file.
    """
    from tellwire.apigateway.local import LocalApi
    from tellwire.apigateway.runner.handlers import HandlerFailed
    from tellwire.apigateway.runner.output import tagged_streams
    from tellwire.cli.local_plan import make_plan

    event = read_event(event_file)
    clock = SystemClock()
    with ExitStack() as stack:
        stack.enter_context(tagged_streams())
        configure_logging(log_level)
        # The line of a failure is ours, below.
        logging.getLogger("tellwire.gateway").setLevel("WARNING")
        # None of what belongs to routes is asked for.
        of_routes: dict[str, Any] = {"routes": (), "answers": (), "sources": (), "tables": ()}
        for name in ("authorizer", "selection", "stage", "api_name"):
            of_routes[name] = None
        plan = make_plan(stack, clock.monotonic, functions=[function], **of_routes, **options)
        apis = [_without_routes(api) for api in plan.apis]
        running = stack.enter_context(
            LocalApi(
                apis,
                plan.functions,
                clock=clock,
                environment=plan.environment,
                services=plan.services,
                on_demand=plan.functions.keys() - {function},
            )
        )
        for note in plan.notes:
            if function in note:
                click.echo(f"tellwire: {note}", err=True)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            try:
                result = runner.run(_invoke(running, function, event))
            except HandlerFailed as error:
                click.echo(json.dumps({"errorType": error.error_type, "errorMessage": error.message}))
                raise click.exceptions.Exit(1) from None
        click.echo(json.dumps(result, ensure_ascii=False))


def _without_routes(api: Any) -> Any:
    from dataclasses import replace

    return replace(api, routes=(), authorizer=None)


async def _invoke(running: "LocalApi", function: str, event: Any) -> Any:
    async with running.running():
        return await running.functions.invoke(function, event, str(uuid.uuid4()))


def read_event(file: str) -> Any:
    """Return the event in a file, or in standard input.

    Raises:
        ConfigError: it cannot be read, or is not JSON.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--event: {file}: not an event: {error}; allowed: a file with JSON") from error
