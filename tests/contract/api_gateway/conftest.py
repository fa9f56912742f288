"""The contract of API Gateway is tested three times: on the pytest fixture, and on `tellwire local` from outside, with
handlers in Python and in JavaScript.
"""

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
from functools import partial
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
from tests.tools import require, require_module

CLIENTS = Path(__file__).parents[2] / "integration" / "apigateway" / "clients"

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
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Contract]]:
    """Start `tellwire local` once for each set of options: it takes a second."""
    running: dict[str, Contract] = {}
    with ExitStack() as stack:

        def begin(run: Callable[..., Any], **options: Any) -> Contract:
            key = repr((run.__name__, sorted(options.items())))
            if key not in running:
                running[key] = stack.enter_context(run(tmp_path_factory.mktemp("command"), **options))
            before = read_events(running[key].events_file)
            others = frozenset(event["requestContext"]["connectionId"] for event in before)
            return replace(running[key], others=others)

        yield begin


@pytest.fixture(params=["fixture", "command", "node"])
def start(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: Callable[..., Contract]
) -> Iterator[StartContract]:
    """Start APIs of the contract's handlers: `start(authorizer=True, without=("$default",))`."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Contract:
            return stack.enter_context(_in_thread(tmp_path / "events.jsonl", monkeypatch, **options))

        match request.param:
            case "fixture":
                yield begin
            case "command":
                yield partial(commands, _in_process)
            case _:
                require("node")
                require_module(CLIENTS, "@aws-sdk/client-apigatewaymanagementapi")
                yield partial(commands, _in_node)


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


def _resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}", "Properties": properties}


def _template_with_model(events_file: Path) -> dict[str, Any]:
    own = {"ApiId": {"Ref": "Chat"}}
    resources = {
        "Chat": _resource(
            "ApiGatewayV2::Api", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
        ),
        "Prod": _resource("ApiGatewayV2::Stage", StageName="prod", **own),
        "Default": _resource(
            "ApiGatewayV2::Route",
            RouteKey="$default",
            Target={"Fn::Sub": "integrations/${Proxy}"},
            RequestModels={"$default": "Said"},
            RouteResponseSelectionExpression="$default",
            **own,
        ),
        "Answer": _resource(
            "ApiGatewayV2::RouteResponse", RouteId={"Ref": "Default"}, RouteResponseKey="$default", **own
        ),
        "Proxy": _resource(
            "ApiGatewayV2::Integration",
            IntegrationType="AWS_PROXY",
            IntegrationUri={"Fn::GetAtt": "Function.Arn"},
            **own,
        ),
        "Said": _resource("ApiGatewayV2::Model", Name="Said", Schema={"type": "object", "required": ["text"]}, **own),
        "Function": _resource(
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
def _in_node(directory: Path, **options: Any) -> Iterator[Contract]:
    template = directory / "template.json"
    template.write_text(json.dumps(_node_template(directory / "events.jsonl", **options)))
    with _command(directory, "--template", str(template)) as contract:
        yield contract


def _node_template(
    events_file: Path,
    *,
    authorizer: bool = False,
    without: tuple[str, ...] = (),
    selection: str | None = None,
    disconnect: Any = None,
) -> dict[str, Any]:
    own = {"ApiId": {"Ref": "Contract"}}
    resources = {
        "Contract": _resource(
            "ApiGatewayV2::Api",
            ProtocolType="WEBSOCKET",
            RouteSelectionExpression=selection or "$request.body.action",
        ),
        "Prod": _resource("ApiGatewayV2::Stage", StageName="prod", **own),
    }
    names = {handler.__name__ for handler in _routes(without, disconnect).values()}
    for name in names | ({"authorize"} if authorizer else set()):
        resources[_logical(name)] = _node_function(name, events_file)
        resources[f"{_logical(name)}Proxy"] = _resource(
            "ApiGatewayV2::Integration",
            IntegrationType="AWS_PROXY",
            IntegrationUri={"Fn::GetAtt": f"{_logical(name)}.Arn"},
            **own,
        )
    for key, handler in _routes(without, disconnect).items():
        route = f"Route{key.strip('$').capitalize()}"
        target: dict[str, Any] = {"Target": {"Fn::Sub": f"integrations/${{{_logical(handler.__name__)}Proxy}}"}}
        if key == "$connect" and authorizer:
            target |= {"AuthorizationType": "CUSTOM", "AuthorizerId": {"Ref": "Authorizer"}}
        if key == "answering":
            target |= {"RouteResponseSelectionExpression": "$default"}
            resources["Answer"] = _resource(
                "ApiGatewayV2::RouteResponse", RouteId={"Ref": route}, RouteResponseKey="$default", **own
            )
        resources[route] = _resource("ApiGatewayV2::Route", RouteKey=key, **target, **own)
    if authorizer:
        uri = (
            "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
            f"${{{_logical('authorize')}.Arn}}/invocations"
        )
        resources["Authorizer"] = _resource(
            "ApiGatewayV2::Authorizer",
            AuthorizerType="REQUEST",
            Name="contract",
            AuthorizerUri={"Fn::Sub": uri},
            IdentitySource=list(AUTHORIZER_SOURCES),
            **own,
        )
    return {"Resources": resources}


def _logical(name: str) -> str:
    return "".join(part.capitalize() for part in f"{name}_function".split("_"))


def _node_function(name: str, events_file: Path) -> dict[str, Any]:
    variables = {"EVENTS_FILE": str(events_file), "NODE_PATH": str(CLIENTS / "node_modules")}
    return _resource(
        "Lambda::Function",
        # `default` is a word of the language.
        Handler=f"handlers.{'fallback' if name == 'default' else name}",
        Runtime="nodejs20.x",
        Code=str(Path(handlers.__file__).parent / "node"),
        Timeout=30,
        MemorySize=256,
        Environment={"Variables": variables},
    )


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
            with urllib.request.urlopen(f"http://{address}/_tellwire/clock", body, timeout=100) as answer:
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
