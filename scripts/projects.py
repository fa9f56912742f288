"""Run public projects with `tellwire local`, and compare their answers with those that their READMEs promise.

    python -m scripts.projects FOLDER [NAME …]

FOLDER has a checkout of each project, in a folder of its own, named `owner+repository`; none of their code is in this
repository. `scripts/projects.toml` has an exchange for each, written from its README before it was run: frames that are
sent, frames that must come, rows that must be in its tables. The lines printed are the table of
docs/explanation/emulators.md.
"""

import os
import re
import ssl
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

ROOT: Final = Path(__file__).resolve().parents[1]

EXCHANGES: Final = Path(__file__).with_name("projects.toml")
START_SECONDS: Final = 120.0
ANSWER_SECONDS: Final = 45.0


class NotAsPromised(Exception):
    """A project did something else than its README says."""


@dataclass(frozen=True)
class Exchange:
    """A project with the exchange that it must pass. `steps` are done in their order."""

    name: str
    folder: str
    template: str
    steps: list[dict[str, Any]]
    options: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    why_not: str = ""


@dataclass
class Running:
    """A started `tellwire local`. `lines` are those of its standard output so far."""

    lines: list[str]
    log: Path
    user: dict[str, str] = field(default_factory=dict)
    """Tokens of a user of the template's pool, once a step has signed one in."""

    @property
    def url(self) -> str:
        return re.search(r"ws://\S+", self.lines[0])[0]  # type: ignore[index]

    @property
    def services(self) -> str:
        found = next((line for line in self.lines if "services" in line), "")
        return re.search(r"http://\S+", found)[0] if found else ""  # type: ignore[index]

    def client(self, service: str) -> Any:
        """Return a client of a service on this machine."""
        import boto3

        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        return boto3.client(service, endpoint_url=self.services, region_name="us-east-1", **keys)

    def filled(self, text: str) -> str:
        """Return text with the signed-in user's `{id_token}`, `{access_token}`, `{pool}` and `{client}` in it."""
        for name, value in self.user.items():
            text = text.replace(f"{{{name}}}", value)
        return text


def load(path: Path = EXCHANGES) -> list[Exchange]:
    """Return the exchanges of a file."""
    return [Exchange(**project) for project in tomllib.loads(path.read_text(encoding="utf-8"))["project"]]


def main(arguments: Sequence[str]) -> int:
    """Run the projects whose checkouts are there, and print a line for each."""
    folder, wanted = Path(arguments[0]), set(arguments[1:])
    print("| project | starts | does its job | why not |\n|---|---|---|---|")
    for exchange in load():
        if (wanted and exchange.name not in wanted) or not (folder / exchange.folder).is_dir():
            continue
        print(f"| {exchange.name} | {' | '.join(result(folder, exchange))} |", flush=True)
    return 0


def result(folder: Path, exchange: Exchange) -> tuple[str, str, str]:
    """Return three cells: whether a project starts, whether it does its job, and why not."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(started(folder, exchange))
        except NotAsPromised as error:
            return "no", "no", exchange.why_not or str(error)
        try:
            run(running, exchange.steps)
        except NotAsPromised as error:
            return "yes", "no", exchange.why_not or str(error)
    return "yes", "yes", ""


@contextmanager
def started(folder: Path, exchange: Exchange) -> Iterator[Running]:
    """Start a project, and end it with the block.

    Raises:
        NotAsPromised: it does not start; the text is its last line.
    """
    path = folder / exchange.folder / exchange.template
    command = [str(Path(sys.executable).with_name("tellwire")), "local", "--template", str(path), "--port", "0"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TELLWIRE_"))}
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "log")
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*command, "--no-reload", *exchange.options],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=clean | exchange.environment,
                cwd=path.parent,
            )
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            if not lines[0]:
                said = log.read_text().strip().splitlines()
                raise NotAsPromised(said[-1].removeprefix("tellwire: ") if said else "it ended")
            # All lines are written at once.
            while "$" not in lines[-1] and len(lines) < 9:
                lines.append(process.stdout.readline())
            yield Running(lines, log)
        finally:
            process.terminate()
            process.wait(ANSWER_SECONDS)


def run(running: Running, steps: Sequence[dict[str, Any]]) -> None:
    """Do the steps of an exchange.

    Raises:
        NotAsPromised: an answer is another one, or none came.
    """
    with ExitStack() as stack:
        clients: dict[str, ClientConnection] = {}
        for step in steps:
            match step:
                case {"connect": name}:
                    clients[name] = _connected(stack, running, step)
                case {"refused": status}:
                    _refused(running, step, status)
                case {"send": name, "text": text}:
                    clients[name].send(text)
                case {"expect": name, "pattern": pattern}:
                    _expect(clients[name], name, pattern)
                case {"close": name}:
                    clients[name].close()
                case _:
                    _with_services(running, step)


def _with_services(running: Running, step: dict[str, Any]) -> None:
    match step:
        case {"table": table, "rows": rows}:
            _count(running, table, rows)
        case {"sign_in": name}:
            running.user = _signed_in(running, name)
        case {"call": operation, "given": given}:
            service, _, method = operation.partition(".")
            getattr(running.client(service), method)(**given)
        case _:
            raise ValueError(f"step: got {step}; allowed: connect, refused, send, expect, close, table, sign_in, call")


def _address(running: Running, step: dict[str, Any]) -> str:
    return running.url + (f"?{running.filled(step['query'])}" if "query" in step else "")


def _headers(running: Running, step: dict[str, Any]) -> dict[str, str]:
    return {name: running.filled(value) for name, value in step.get("headers", {}).items()}


def _connected(stack: ExitStack, running: Running, step: dict[str, Any]) -> ClientConnection:
    options: Any = {"additional_headers": _headers(running, step), "proxy": None, "open_timeout": ANSWER_SECONDS}
    address = _address(running, step)
    if step.get("tls"):
        options["ssl"] = ssl._create_unverified_context()
        address = address.replace("ws://", "wss://")
    try:
        client: ClientConnection = stack.enter_context(connect(address, **options))
    except InvalidStatus as error:
        raise NotAsPromised(f"connecting was refused with {error.response.status_code}") from error
    except OSError as error:
        raise NotAsPromised(f"got no connection: {error}") from error
    return client


def _refused(running: Running, step: dict[str, Any], status: int) -> None:
    try:
        with connect(_address(running, step), additional_headers=_headers(running, step), proxy=None):
            raise NotAsPromised(f"connecting was not refused; expected {status}")
    except InvalidStatus as error:
        if error.response.status_code != status:
            raise NotAsPromised(f"got the status {error.response.status_code}; expected {status}") from error


def _expect(client: ClientConnection, name: str, pattern: str) -> None:
    try:
        frame = str(client.recv(ANSWER_SECONDS))
    except TimeoutError as error:
        raise NotAsPromised(f"{name} got no frame; expected {pattern}") from error
    if re.search(pattern, frame) is None:
        raise NotAsPromised(f"{name} got {frame[:80]}; expected {pattern}")


def _count(running: Running, table: str, rows: int) -> None:
    database = running.client("dynamodb")
    names = [name for name in database.list_tables()["TableNames"] if table in name]
    found = sum(database.scan(TableName=name, Select="COUNT")["Count"] for name in names)
    if found != rows:
        raise NotAsPromised(f"table {table}: got {found} rows; expected {rows}")


def _signed_in(running: Running, name: str) -> dict[str, str]:
    """Make a user in the template's pool, and return its tokens."""
    pools = running.client("cognito-idp")
    pool = pools.list_user_pools(MaxResults=1)["UserPools"][0]["Id"]
    client = pools.list_user_pool_clients(UserPoolId=pool, MaxResults=1)["UserPoolClients"][0]["ClientId"]
    password = {"USERNAME": name, "PASSWORD": "Secret-1234"}
    pools.admin_create_user(UserPoolId=pool, Username=name, UserAttributes=[{"Name": "email", "Value": name}])
    pools.admin_set_user_password(UserPoolId=pool, Username=name, Password=password["PASSWORD"], Permanent=True)
    flow = {"UserPoolId": pool, "ClientId": client, "AuthFlow": "ADMIN_NO_SRP_AUTH", "AuthParameters": password}
    tokens = pools.admin_initiate_auth(**flow)["AuthenticationResult"]
    return {"id_token": tokens["IdToken"], "access_token": tokens["AccessToken"], "pool": pool, "client": client}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
