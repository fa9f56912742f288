"""The contract of API Gateway is tested twice: on the pytest fixture, and on `tellwire local` from outside."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.config import Config
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tellwire.testing.api_gateway import run_api_gateway
from tests.contract.api_gateway import handlers

ROUTES = {
    "$connect": handlers.connect,
    "$disconnect": handlers.disconnect,
    "$default": handlers.default,
    "custom": handlers.custom,
    "answering": handlers.custom,
}

AUTHORIZER_SOURCES = ("route.request.querystring.auth", "route.request.header.X-Tenant")


@dataclass
class Contract:
    """A running API as a client sees it."""

    url: str
    management_url: str
    events_file: Path
    advance: Callable[[float], None]
    # Only events of this test: a `$disconnect` of an earlier test may still arrive.
    others: frozenset[str] = frozenset()

    @contextmanager
    def connect(self, query: dict[str, Any] | None = None, **options: Any) -> Iterator[ClientConnection]:
        url = f"{self.url}?{urlencode(query)}" if query else self.url
        with connect(url, proxy=None, **options) as client:
            yield client

    def refused(self, query: dict[str, Any] | None = None, **options: Any) -> Any:
        """Return the answer to a handshake that must be refused."""
        with pytest.raises(InvalidStatus) as caught, self.connect(query, **options):
            pass
        return caught.value.response

    def events(self, event_type: str = "", count: int = 0) -> list[dict[str, Any]]:
        """Return the events of a type, once there are so many."""
        end = time.monotonic() + 45
        while True:
            ours = [e for e in read_events(self.events_file) if e["requestContext"]["connectionId"] not in self.others]
            found = [e for e in ours if event_type in ("", e.get("type"), e["requestContext"]["eventType"])]
            if len(found) >= count or time.monotonic() > end:
                return found
            time.sleep(0.02)

    def event(self, event_type: str) -> dict[str, Any]:
        events = [e for e in self.events(event_type, 1) if event_type == "REQUEST" or "type" not in e]
        return events[-1]

    @property
    def connection_id(self) -> str:
        return str(self.event("CONNECT")["requestContext"]["connectionId"])

    def boto3(self, stage: str = "prod") -> Any:
        return boto3.client(
            "apigatewaymanagementapi",
            endpoint_url=self.management_url.removesuffix("prod") + stage,
            region_name="us-east-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",
            config=Config(retries={"max_attempts": 0}),
        )


StartContract = Callable[..., Contract]


def read_events(file: Path) -> list[dict[str, Any]]:
    # What comes after the last line's end is being written.
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartContract]:
    """Start `tellwire local` once for each set of options: it takes a second."""
    running: dict[str, Contract] = {}
    with ExitStack() as stack:

        def begin(**options: Any) -> Contract:
            key = repr(sorted(options.items()))
            if key not in running:
                running[key] = stack.enter_context(_in_process(tmp_path_factory.mktemp("command"), **options))
            before = read_events(running[key].events_file)
            others = frozenset(event["requestContext"]["connectionId"] for event in before)
            return replace(running[key], others=others)

        yield begin


@pytest.fixture(params=["fixture", "command"])
def start(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: StartContract
) -> Iterator[StartContract]:
    """Start APIs of the contract's handlers: `start(authorizer=True, without=("$default",))`."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Contract:
            return stack.enter_context(_in_thread(tmp_path / "events.jsonl", monkeypatch, **options))

        yield begin if request.param == "fixture" else commands


@pytest.fixture
def contract(start: StartContract) -> Contract:
    return start()


@pytest.fixture
def with_model(tmp_path: Path) -> Iterator[Contract]:
    """Start an API whose `$default` has a model, and answers. Only a template can say so."""
    template = tmp_path / "template.json"
    template.write_text(json.dumps(_template_with_model(tmp_path / "events.jsonl")))
    with _command(tmp_path, "--template", str(template)) as contract:
        yield contract


def _template_with_model(events_file: Path) -> dict[str, Any]:
    def resource(kind: str, **properties: Any) -> dict[str, Any]:
        return {"Type": f"AWS::{kind}", "Properties": properties}

    own = {"ApiId": {"Ref": "Chat"}}
    resources = {
        "Chat": resource(
            "ApiGatewayV2::Api", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
        ),
        "Prod": resource("ApiGatewayV2::Stage", StageName="prod", **own),
        "Default": resource(
            "ApiGatewayV2::Route",
            RouteKey="$default",
            Target={"Fn::Sub": "integrations/${Proxy}"},
            RequestModels={"$default": "Said"},
            RouteResponseSelectionExpression="$default",
            **own,
        ),
        "Answer": resource(
            "ApiGatewayV2::RouteResponse", RouteId={"Ref": "Default"}, RouteResponseKey="$default", **own
        ),
        "Proxy": resource(
            "ApiGatewayV2::Integration",
            IntegrationType="AWS_PROXY",
            IntegrationUri={"Fn::GetAtt": "Function.Arn"},
            **own,
        ),
        "Said": resource("ApiGatewayV2::Model", Name="Said", Schema={"type": "object", "required": ["text"]}, **own),
        "Function": resource(
            "Lambda::Function",
            Handler="handlers.default",
            Runtime="python3.12",
            Code=str(Path(handlers.__file__).parent),
            Environment={"Variables": {"EVENTS_FILE": str(events_file)}},
        ),
    }
    return {"Resources": resources}


def _routes(without: tuple[str, ...], disconnect: Any) -> dict[str, Any]:
    routes = ROUTES if disconnect is None else ROUTES | {"$disconnect": disconnect}
    return {key: handler for key, handler in routes.items() if key not in without}


@contextmanager
def _in_thread(
    events_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    authorizer: bool = False,
    without: tuple[str, ...] = (),
    selection: str | None = None,
    disconnect: Any = None,
) -> Iterator[Contract]:
    monkeypatch.setenv("EVENTS_FILE", str(events_file))
    with run_api_gateway(
        _routes(without, disconnect),
        authorizer=handlers.authorize if authorizer else None,
        identity_sources=AUTHORIZER_SOURCES if authorizer else (),
        answering=["answering"],
        route_selection_expression=selection or "$request.body.action",
    ) as gateway:
        for name, value in gateway.environment.items():
            monkeypatch.setenv(name, value)
        yield Contract(gateway.url, gateway.management_url, events_file, gateway.advance)


@contextmanager
def _in_process(
    directory: Path,
    *,
    authorizer: bool = False,
    without: tuple[str, ...] = (),
    selection: str | None = None,
    disconnect: Any = None,
) -> Iterator[Contract]:
    module = "tests.contract.api_gateway.handlers"
    arguments = ["--answer", "answering"]
    for key, handler in _routes(without, disconnect).items():
        arguments += ["--route", f"{key}={module}:{handler.__name__}"]
    if authorizer:
        arguments += ["--authorizer", f"{module}:authorize"]
        for source in AUTHORIZER_SOURCES:
            arguments += ["--identity-source", source]
    if selection is not None:
        arguments += ["--selection", selection]
    with _command(directory, *arguments) as contract:
        yield contract


@contextmanager
def _command(directory: Path, *arguments: str) -> Iterator[Contract]:
    events_file, log = directory / "events.jsonl", directory / "log"
    tellwire = str(Path(sys.executable).with_name("tellwire"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [tellwire, "local", "--port", "0", "--clock", "manual", "--no-reload", *arguments],
            env=kept | {"EVENTS_FILE": str(events_file)},
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(r"ws://(\S+)/prod", first)
        assert found is not None, log.read_text()
        address = found[1]

        def advance(seconds: float) -> None:
            body = json.dumps({"advance_seconds": seconds}).encode()
            with urllib.request.urlopen(f"http://{address}/_tellwire/clock", body, timeout=45) as answer:
                answer.read()

        yield Contract(f"ws://{address}/prod", f"http://{address}/prod", events_file, advance)
    finally:
        process.terminate()
        process.wait(45)
        if process.stdout is not None:
            process.stdout.close()


def raw(contract: Contract) -> socket.socket:
    """Open a TCP connection to an API."""
    host, port = contract.url.removeprefix("ws://").partition("/")[0].rsplit(":", 1)
    return socket.create_connection((host, int(port)), 45)
