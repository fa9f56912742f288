"""`tellwire doctor`: a configuration against the real things."""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import msgspec

from tellwire.cli.common import config_option, current_settings, token_for
from tellwire.cli.doctor.database import check_database
from tellwire.cli.doctor.findings import ERROR, OK, WARNING, Finding, error, exit_code, ok
from tellwire.cli.doctor.machine import check_machine
from tellwire.cli.doctor.proxy import check_proxy
from tellwire.cli.doctor.redis_store import check_redis
from tellwire.cli.doctor.tokens import check_key_sets, check_token
from tellwire.cli.serve import complete
from tellwire.config import Settings
from tellwire.errors import ConfigError
from tellwire.gateway import Node

_MARKS: Final = {OK: "ok      ", WARNING: "WARNING ", ERROR: "ERROR   "}
_COLOURS: Final = {OK: "green", WARNING: "yellow", ERROR: "red"}
_USER: Final = "tellwire-doctor"
_TOKEN_SECONDS: Final = 300.0


@click.command()
@config_option
@click.option("--token", help="Check this token, too; - reads it from standard input.")
@click.option("--public-url", help="Check the way through the proxy: wss://live.example.com")
@click.option("--slow", is_flag=True, help="With --public-url: does an idle socket live 70 seconds?")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each finding, a line each.")
@click.pass_context
def doctor(
    context: click.Context,
    config_file: Path | None,
    token: str | None,
    public_url: str | None,
    *,
    slow: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Check the settings of a gateway against the real things, and name the changes that help.

    Its tokens and key sets, its clock, address, limits, files, database or Redis; with --public-url the way through the
    proxy. Run it as the user of the gateway, with its environment. The exit code is 1 if there is an error, 0
    otherwise.
    """
    if token == "-":  # noqa: S105 - standard input
        token = sys.stdin.readline().strip()
    findings = _all(config_file, token, public_url, is_slow=slow)
    for each in findings:
        click.echo(msgspec.json.encode(each).decode() if as_json else _line(each))
    context.exit(exit_code(findings, is_strict=strict))


def _all(config_file: Path | None, token: str | None, public_url: str | None, *, is_slow: bool) -> list[Finding]:
    try:
        settings = complete(current_settings(config_file))
    except ConfigError as wrong:
        return [error("settings", str(wrong), "See docs/reference/settings.md")]
    findings = [*_settings(settings), *check_key_sets(settings), *check_machine(settings)]
    if settings.chosen_engine == "sqlite":
        findings += check_database(Path(settings.database))
    if settings.redis_url is not None:
        findings += asyncio.run(check_redis(settings.redis_url))
    if token is not None:
        findings.append(asyncio.run(check_token(settings, token)))
    if public_url is not None:
        findings += asyncio.run(check_proxy(public_url, token or _own_token(settings), is_slow=is_slow))
    return findings


def _settings(settings: Settings) -> Iterable[Finding]:
    try:
        Node(settings)
    except (ConfigError, ModuleNotFoundError) as wrong:
        yield error("settings", str(wrong), "`tellwire serve` would refuse them")
    else:
        yield ok("settings", f"engine {settings.chosen_engine}, {settings.workers} workers")
    if not settings.api_keys and not settings.dev:
        yield Finding("api key", WARNING, "none: nobody can publish", "Set TELLWIRE_API_KEY")


def _own_token(settings: Settings) -> str | None:
    return token_for(settings, _USER, _TOKEN_SECONDS) if settings.jwt_secrets else None


def _line(finding: Finding) -> str:
    mark = click.style(_MARKS[finding.level], fg=_COLOURS[finding.level])
    remedy = f"\n         -> {finding.remedy}" if finding.remedy else ""
    return f"{mark} {finding.check}: {finding.found}{remedy}"
