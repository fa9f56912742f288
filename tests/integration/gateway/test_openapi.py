"""The OpenAPI document and the code agree on paths, bodies and answers."""

import copy
import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tellwire import publish_requests
from tellwire.errors import TellwireError
from tellwire.gateway import http_api, row_errors, watching
from tests.conftest import API_KEY, Gateway, StartGateway
from tests.integration.gateway.test_http_api import call

NAMES = re.compile(r"\{(\w+):path\}")
DOCUMENT: Final = http_api.describe()

MESSAGES: Final[list[dict[str, Any]]] = [
    {
        "type": "upload_progress",
        "data": {"uploadId": "u1", "fileName": "f.csv", "progress": 50, "message": "Half", "currentRow": 1},
    },
    {
        "type": "notification",
        "data": {"title": "Hello", "message": "World", "severity": "info", "actionUrl": "/a", "actionLabel": "Go"},
    },
    {"type": "error", "data": {"code": "BAD", "message": "It is bad", "details": [1]}},
    {"type": "comment_added", "data": {"any": ["thing"]}, "id": "i1", "timestamp": "2026-11-23T09:18:54.123Z"},
]
TARGETS: Final[list[dict[str, Any]]] = [
    {"user": "u"},
    {"connection": "c"},
    {"connections": ["a", "b"]},
    {"all": True},
    {"all": None, "user": "u"},
]
VALUES: Final[list[Any]] = [
    *(None, True, False, 0, 1, -1, 1.5, 100, 101, "", " ", "x", "info", "running", "complete", "pong", "notification"),
    *("https://x.example", "//x", "2026-11-23T09:18:54.123Z", [], ["x"], [""], [1], {}, {"a": 1}, {"user": "u"}),
]
FIELDS: Final = ["extra", "id", "timestamp", "status", "details", "actionUrl", "user", "all", "connections", "data"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*path, name))


@st.composite
def almost(draw: st.DrawFn, examples: list[Any]) -> Any:
    """A request with up to three changes: another value, one too many, or one that is missing."""
    value = {"": copy.deepcopy(draw(st.sampled_from(examples)))}
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from([path for path in places(value) if path]))
        holder: Any = value
        for step in way:
            holder = holder[step]
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "add" and isinstance(holder[last], dict):
            holder[last][draw(st.sampled_from(FIELDS))] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif change == "remove" and way:
            del holder[last]
        else:
            holder[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    return value[""]


CHUNK: Final = {
    "userId": "u",
    "uploadId": "u1",
    "fileName": "f.csv",
    "run": "r",
    "total": 2,
    "first": 0,
    "errors": [[1, "BAD", "It is bad"], [2, "BAD", ""]],
    "part": "3/8",
}
PUBLISHES: Final = [{"target": target, "message": message} for target in TARGETS for message in MESSAGES]


def allowed(name: str, value: Any) -> bool:
    """Return True if the document's schema allows a value."""
    return bool(_validator(name).is_valid(value))


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def taken(read: Callable[[bytes], object], value: Any) -> bool:
    try:
        read(json.dumps(value).encode())
    except TellwireError:
        return False
    return True


@settings(max_examples=300)
@example({"target": {"all": None}, "message": MESSAGES[0]})
@example({"target": {"user": "", "all": None}, "message": MESSAGES[0]})
@example({"target": {"user": "u", "connection": "c"}, "message": MESSAGES[0]})
@given(almost(PUBLISHES))
def test_a_publish_is_taken_exactly_if_its_schema_allows_it(value: Any) -> None:
    assert taken(publish_requests.read_publish, value) == allowed("PublishRequest", value), value


@settings(max_examples=300)
@example(CHUNK | {"errors": [[1, "x" * 201, "m"]]})
@example(CHUNK | {"errors": [[1, "BAD", "x" * 201]]})
@given(almost([CHUNK]))
def test_a_chunk_of_row_errors_is_taken_exactly_if_its_schema_allows_it(value: Any) -> None:
    assert taken(row_errors.decode_chunk, value) == allowed("RowErrorChunk", value), value


def test_the_examples_are_allowed() -> None:
    assert all(allowed("PublishRequest", each) for each in PUBLISHES)
    assert allowed("RowErrorChunk", CHUNK)
    Draft202012Validator.check_schema({"components": DOCUMENT["components"]})


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway with every endpoint."""
    started = await start_gateway(metrics=True)
    assert isinstance(started, Gateway)
    return started


async def test_the_document_describes_every_endpoint(gateway: Gateway) -> None:
    status, document, _ = await call(gateway, "GET", "/openapi.json", key=None)
    assert (status, document) == (200, json.loads(json.dumps(DOCUMENT)))
    routes = {
        (method, NAMES.sub(r"{\1}", route.path))
        for route in _routes(gateway)
        for method in route.methods - {"HEAD"}
        if route.path not in ("/", "/openapi.json")
    }
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == routes
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


def _routes(gateway: Gateway) -> list[Any]:
    application: Any = gateway.node._own_server._uvicorn.config.app
    return list(application.routes)


BODIES: Final = [None, b"", b"{", b"[]", b"\xff", json.dumps(PUBLISHES[0]).encode(), b" " * 1_100_000]
QUERIES: Final = ["", "?user=u&upload=x&connection=c", "?user=&upload=&connection=", "?user=a&user=b"]


@pytest.mark.parametrize("query", QUERIES)
async def test_every_answer_is_described(gateway: Gateway, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A tail would have no end.
    monkeypatch.setattr(watching, "_TAILS", 0)
    # It stays, for the endpoints after `/v1/drain`.
    stop = gateway.node._own_server.stop
    monkeypatch.setattr(gateway.node._own_server, "stop", lambda: None)
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            for body in BODIES if "requestBody" in operation else [None]:
                for key, encoding in ((API_KEY, "identity"), (API_KEY, "br"), (API_KEY, "gzip"), ("wrong", "identity")):
                    target = NAMES.sub("x", path.replace("{", "").replace("}", "")) + query
                    headers = {"Content-Encoding": encoding}
                    status, answer, found = await call(gateway, method.upper(), target, body, key, **headers)
                    _check(f"{method} {target}", operation, status, answer, found)
    stop()


def _check(name: str, operation: Any, status: int, answer: Any, headers: dict[str, str]) -> None:
    described = operation["responses"].get(str(status))
    assert described is not None, f"{name}: {status} {answer}"
    content = described.get("content")
    if content is None:
        return
    kind = headers["content-type"].partition(";")[0]
    assert kind in content, f"{name}: {status} {kind}"
    reference = content[kind]["schema"].get("$ref")
    if reference is not None:
        assert allowed(reference.rpartition("/")[2], answer), f"{name}: {answer}"
