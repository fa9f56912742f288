"""`tellwire users`, `connections`, `tail`, `kick` and `stats`: an operator's look at a gateway that runs."""

import re
import sys
import time
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from tellwire.cli.admin import Admin
from tellwire.cli.common import url_option
from tellwire.cli.screen import OutputLost
from tellwire.model import timestamp

_TAIL_SECONDS: Final = 60.0
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_url = url_option("The gateway's URL.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON.")
_KEY: Final = """The API key comes from TELLWIRE_API_KEY, and needs the scope "admin"."""


@click.command(epilog=_KEY)
@_url
@_json
@click.option("--part", default="", help="Only users whose id has this in it.")
@click.option("--after", default="", help="Begin after this user: the next page.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
def users(url: str, part: str, after: str, limit: int, *, as_json: bool) -> None:
    """Show who is connected to a node, by name, a page at a time."""
    found = Admin(url).ask("GET", "/v1/users/connected", dict[str, Any], part=part, after=after, limit=limit)
    if as_json:
        _print_json(found)
        return
    _print_table(("user", "connections"), [(each["user"], each["connections"]) for each in found["users"]])
    click.echo(f"{found['total']:,} users" + ("" if found["next"] is None else f"; next: --after {found['next']!r}"))


@click.command(epilog=_KEY)
@_url
@_json
@click.option("--user", required=True)
def connections(url: str, user: str, *, as_json: bool) -> None:
    """Show the connections of a user, on all nodes."""
    found = Admin(url).ask("GET", "/v1/connections", dict[str, Any], user=user)
    if as_json:
        _print_json(found)
        return
    names = list(dict.fromkeys(name for each in found["connections"] for name in each))
    _print_table(names or ("connectionId",), [[each.get(name, "") for name in names] for each in found["connections"]])


@click.command(epilog=_KEY)
@_url
@click.option("--user", required=True)
def tail(url: str, user: str) -> None:
    """Show new messages of a user, on whatever node they are connected, one JSON object a line.

    Nobody counts this as a device. It ends with Ctrl-C, with 0 when the gateway ends, and with 1 if it is cut off.
    """
    with Admin(url).stream("/v1/users/tail", _TAIL_SECONDS, user=user) as answer:
        while line := answer.readline():
            if line.strip():
                try:
                    sys.stdout.buffer.write(line)
                    sys.stdout.buffer.flush()
                except OSError as error:
                    raise OutputLost(error) from error


@click.command(epilog=_KEY)
@_url
@_json
@click.option("--user", help="All connections of this user.")
@click.option("--connection", help="This connection.")
@click.option("--for", "lasting", help="Let the user in no more for this time: 30s, 10m, 2h, 1d.")
@click.option("--reason", default="", help="What the user reads, with --for.")
def kick(
    url: str, user: str | None, connection: str | None, lasting: str | None, reason: str, *, as_json: bool
) -> None:
    """Close connections. Clients of ours come back at once, unless the user is shut out for a time (--for)."""
    if (user is None) == (connection is None):
        raise click.UsageError("got both or neither; allowed: one of --user and --connection")
    if lasting is not None and user is None:
        raise click.UsageError("--for: allowed with --user")
    closed = _closed(Admin(url), user, connection, lasting, reason)
    if as_json:
        _print_json({"closed": closed})
    else:
        click.echo(f"closed {closed} connections")


def _closed(admin: Admin, user: str | None, connection: str | None, lasting: str | None, reason: str) -> int:
    if user is not None and lasting is not None:
        body = {"until": timestamp(time.time() + _seconds(lasting)), "reason": reason}
        return int(admin.ask("POST", "/v1/users/disconnect", dict[str, int], body=body, user=user)["closed"])
    if user is None:
        ids = [connection]
    else:
        found = admin.ask("GET", "/v1/connections", dict[str, list[dict[str, Any]]], user=user)
        ids = [each["connectionId"] for each in found["connections"]]
    for each in ids:
        admin.ask("DELETE", "/v1/connections", type(None), connection=each)
    return len(ids)


def _seconds(given: str) -> float:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", given)
    if found is None:
        raise click.UsageError(f"--for: got {given!r}; allowed: a number and s, m, h or d, such as 10m")
    return int(found[1]) * _UNITS[found[2]]


@click.command(epilog=_KEY)
@_url
@_json
def stats(url: str, *, as_json: bool) -> None:
    """Show counters of a node, and the connections of all."""
    found = Admin(url).ask("GET", "/v1/stats", dict[str, Any])
    if as_json:
        _print_json(found)
    else:
        _print_table(
            ("counter", "value"), [(name, "unknown" if value is None else value) for name, value in found.items()]
        )


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


def _print_table(names: Any, rows: Any) -> None:
    # Without lines, so that any terminal can show it.
    table = Table(*names, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(f"{each:,}" if isinstance(each, int) else _printable(str(each)) for each in row))
    Console(highlight=False, markup=False, soft_wrap=True).print(table)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
