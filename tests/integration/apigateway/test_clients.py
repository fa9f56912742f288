"""Common clients against the local API Gateway: calls succeed and fail as they do on AWS.

boto3 and the Python client websockets are tested in `tests/contract/api_gateway`.
"""

import json
import queue
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from tellwire.aws_api.sigv4 import Credentials
from tellwire.testing.api_gateway import ApiGateway
from tests.integration.apigateway.conftest import SECONDS, Browser, SdkCall, StartWscat

UNKNOWN = "nBUGZLR2Hhyb5qM="
JUNK = "test-connection-123"


class Api:
    """A running API. It accepts or refuses connections as the query says, and answers every message."""

    def __init__(self, start: Callable[..., ApiGateway]) -> None:
        self._events: dict[str, queue.SimpleQueue[Any]] = defaultdict(queue.SimpleQueue)
        self.gateway = start(
            {"$connect": self._connect, "$disconnect": self._record, "$default": self._answer},
            answering=["$default"],
            # With credentials, signatures are verified.
            credentials=Credentials("AKIDEXAMPLE", "a secret"),
        )
        self.url, self.endpoint = self.gateway.url, self.gateway.management_url

    def event(self, event_type: str) -> dict[str, Any]:
        """Return the next event of a type, once it has arrived."""
        return dict(self._events[event_type].get(timeout=SECONDS))

    def connected(self) -> str:
        """Return the id of the connection that opened."""
        return str(self.event("CONNECT")["requestContext"]["connectionId"])

    def disconnected(self) -> tuple[int, str]:
        context = self.event("DISCONNECT")["requestContext"]
        return context["disconnectStatusCode"], context["disconnectReason"]

    def management(self) -> Any:
        """Return a boto3 client. The fixture has set the environment by which it finds this API."""
        return boto3.Session().client("apigatewaymanagementapi")

    def _record(self, event: Any, context: Any) -> None:
        self._events[event["requestContext"]["eventType"]].put(event)

    def _connect(self, event: Any, context: Any) -> Any:
        self._record(event, context)
        query = event.get("queryStringParameters", {})
        headers = {"Sec-WebSocket-Protocol": query["protocol"]} if "protocol" in query else {}
        return {"statusCode": int(query.get("status", 200)), "headers": headers}

    def _answer(self, event: Any, context: Any) -> Any:
        self._record(event, context)
        return {"statusCode": 200, "body": f"heard {event['body']}"}


@pytest.fixture
def api(api_gateway: Callable[..., ApiGateway]) -> Api:
    return Api(api_gateway)


# --- the AWS CLI ------------------------------------------------------------------------------------------------------

Aws = Callable[..., Any]

AWS_CLI_FAILED = 255
"""Exit code of version 1 of the AWS CLI when the service refuses; version 2 has 254."""


def test_the_aws_cli_posts_gets_and_deletes(api: Api, aws: Aws) -> None:
    with api.gateway.connect(user_agent_header="agent/1") as client:
        connection = ("--endpoint-url", api.endpoint, f"--connection-id={api.connected()}")
        posted = aws("post-to-connection", *connection, "--data", "hello, äöü")
        assert (posted.returncode, posted.stdout, posted.stderr) == (0, "", "")
        assert client.recv(SECONDS) == "hello, äöü"
        got = aws("get-connection", *connection, "--output", "json")
        assert got.returncode == 0, got.stderr
        info = json.loads(got.stdout)
        assert info["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "agent/1"}
        assert info["ConnectedAt"].startswith("2023-11-14T22:13:20")
        assert info["LastActiveAt"].startswith("2023-11-14T22:13:20")
        deleted = aws("delete-connection", *connection)
        assert (deleted.returncode, deleted.stdout, deleted.stderr) == (0, "", "")
        assert api.disconnected() == (1000, "Connection Closed Normally")


@pytest.mark.parametrize("command", ["post-to-connection", "get-connection", "delete-connection"])
def test_the_aws_cli_says_who_is_gone(api: Api, aws: Aws, command: str) -> None:
    data = ("--data", "x") if command == "post-to-connection" else ()
    done = aws(command, "--endpoint-url", api.endpoint, f"--connection-id={UNKNOWN}", *data)
    assert done.returncode == AWS_CLI_FAILED
    assert "(GoneException)" in done.stderr


def test_the_aws_cli_says_what_is_wrong_with_a_post(
    api: Api, aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def post(connection_id: str, data: str) -> str:
        where = ("--endpoint-url", api.endpoint, f"--connection-id={connection_id}")
        done = aws("post-to-connection", *where, "--data", data)
        assert done.returncode == AWS_CLI_FAILED
        return str(done.stderr)

    large = tmp_path / "large"
    large.write_bytes(b"x" * 131_073)
    with api.gateway.connect():
        connection_id = api.connected()
        assert "(PayloadTooLargeException)" in post(connection_id, f"fileb://{large}")
        assert "(BadRequestException)" in post(JUNK, "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another secret")
        assert "(InvalidSignatureException)" in post(connection_id, "x")


# --- the AWS SDK for JavaScript ---------------------------------------------------------------------------------------


def call(command: str, connection_id: str, **more: Any) -> dict[str, Any]:
    """Return a call for the SDK; `Data` is text or so many bytes."""
    times = more.pop("times", 1)
    return {"command": command, "input": {"ConnectionId": connection_id, **more}, "times": times}


def test_the_sdk_for_javascript_posts_gets_and_deletes(api: Api, sdk: SdkCall) -> None:
    with api.gateway.connect(user_agent_header="agent/1") as client:
        connection_id = api.connected()
        posted, got, deleted = sdk(
            api.endpoint,
            call("PostToConnection", connection_id, Data="hello, äöü"),
            call("GetConnection", connection_id),
            call("DeleteConnection", connection_id),
        )
        assert posted == {"status": 200, "output": {}}
        assert client.recv(SECONDS) == "hello, äöü"
        now = {"Date": "2023-11-14T22:13:20.000Z"}
        identity = {"SourceIp": "127.0.0.1", "UserAgent": "agent/1"}
        assert got == {"status": 200, "output": {"ConnectedAt": now, "Identity": identity, "LastActiveAt": now}}
        assert deleted == {"status": 204, "output": {}}
        assert api.disconnected() == (1000, "Connection Closed Normally")


def test_the_sdk_for_javascript_posts_by_tls(api: Api, sdk: SdkCall) -> None:
    # As a handler does: to https, at the domain its event names.
    with api.gateway.connect() as client:
        event = api.event("CONNECT")["requestContext"]
        endpoint = f"https://{event['domainName']}/{event['stage']}"
        assert sdk(endpoint, call("PostToConnection", event["connectionId"], Data="hello"))[0]["status"] == 200
        assert client.recv(SECONDS) == "hello"


def test_the_sdk_for_javascript_knows_who_is_gone(api: Api, sdk: SdkCall) -> None:
    with api.gateway.connect():
        closed = api.connected()
    api.disconnected()
    results = sdk(
        api.endpoint,
        call("PostToConnection", closed, Data="x"),
        call("PostToConnection", UNKNOWN, Data="x"),
        call("GetConnection", UNKNOWN),
        call("DeleteConnection", UNKNOWN),
    )
    assert [(each["status"], each["error"], each["isInstance"]) for each in results] == [
        (410, "GoneException", True)
    ] * 4


def test_the_sdk_for_javascript_knows_what_is_wrong_with_a_post(api: Api, sdk: SdkCall) -> None:
    with api.gateway.connect(max_size=None) as client:
        connection_id = api.connected()
        largest, too_large, junk = sdk(
            api.endpoint,
            call("PostToConnection", connection_id, Data=131_072),
            call("PostToConnection", connection_id, Data=131_073),
            call("PostToConnection", JUNK, Data="x"),
        )
        assert largest["status"] == 200
        assert client.recv(SECONDS) == "x" * 131_072
        assert (too_large["status"], too_large["error"]) == (413, "PayloadTooLargeException")
        assert too_large["isInstance"]
        # Not in the SDK's model, so it has no class, only a name.
        assert (junk["status"], junk["error"], junk["isInstance"]) == (400, "BadRequestException", False)
        assert junk["message"] == f"Invalid connectionId: {JUNK}"
        (elsewhere,) = sdk(api.endpoint.removesuffix("prod") + "dev", call("PostToConnection", connection_id, Data="x"))
        assert (elsewhere["status"], elsewhere["error"], elsewhere["isInstance"]) == (403, "ForbiddenException", True)


def test_the_sdk_for_javascript_knows_that_a_client_does_not_read(api: Api, sdk: SdkCall) -> None:
    with api.gateway.connect(max_queue=1, max_size=None, close_timeout=0.1):
        connection_id = api.connected()
        limited, got = sdk(
            api.endpoint,
            call("PostToConnection", connection_id, Data=131_072, times=200),
            call("GetConnection", connection_id),
        )
        assert (limited["status"], limited["error"]) == (429, "LimitExceededException")
        assert limited["isInstance"]
        assert got["status"] == 200


# --- wscat ------------------------------------------------------------------------------------------------------------


def test_wscat_sends_what_is_typed_and_prints_the_answer(api: Api, wscat: StartWscat) -> None:
    terminal = wscat("-c", api.url)
    terminal.shows("Connected (press CTRL+C to quit)")
    terminal.type('{"action": "greet"}')
    terminal.shows('< heard {"action": "greet"}')
    terminal.type("more")
    terminal.shows("< heard more")
    api.gateway.advance(600)
    terminal.shows('Disconnected (code: 1001, reason: "Going away")')
    assert terminal.ends() == 0


def test_wscat_executes_a_command(api: Api, wscat: StartWscat) -> None:
    terminal = wscat("-c", api.url, "-x", "hello", "-w", "5")
    terminal.shows("heard hello")
    assert terminal.ends() == 0
    assert api.disconnected()[0] == 1005


def test_wscat_names_the_status_of_a_refused_handshake(api: Api, wscat: StartWscat) -> None:
    terminal = wscat("-c", f"{api.url}?status=401")
    terminal.shows("error: Unexpected server response: 401")
    assert terminal.ends() == 255


def test_wscat_sends_headers_to_connect(api: Api, wscat: StartWscat) -> None:
    wscat("-c", api.url, "-H", "X-Tenant: blue", "-H", "Authorization:Bearer abc").shows("Connected")
    headers = api.event("CONNECT")["headers"]
    assert headers["X-Tenant"] == "blue"
    assert headers["Authorization"] == "Bearer abc"


def test_wscat_insists_on_a_subprotocol_it_offered(api: Api, wscat: StartWscat) -> None:
    offering = ("-s", "app.v1", "-s", "ticket.abc")
    wscat("-c", f"{api.url}?protocol=app.v1", *offering).shows("Connected")
    assert api.event("CONNECT")["headers"]["Sec-WebSocket-Protocol"] == "app.v1,ticket.abc"
    without = wscat("-c", api.url, *offering)
    without.shows("error: Server sent no subprotocol")
    assert without.ends() == 255


# --- a browser --------------------------------------------------------------------------------------------------------

OPEN = {"type": "open", "protocol": ""}


def closed(code: int, reason: str) -> dict[str, Any]:
    return {"type": "close", "code": code, "reason": reason, "wasClean": True}


FAILED = [{"type": "error"}, {"type": "close", "code": 1006, "reason": "", "wasClean": False}]
"""All the events of a socket that failed, whatever the reason."""


def test_a_browser_opens_sends_and_hears(api: Api, browser: Browser) -> None:
    browser.connect(api.url)
    assert browser.next() == OPEN
    assert api.event("CONNECT")["headers"]["Origin"] == browser.run("location.origin")
    browser.send('{"text": "äöü 🙂"}')
    assert browser.next() == {"type": "message", "data": 'heard {"text": "äöü 🙂"}'}
    browser.run("client.socket.close(4000, 'enough')")
    assert browser.rest() == [closed(4000, "enough")]
    assert api.disconnected() == (4000, "enough")


def test_a_message_of_100_kb_reaches_a_browser_whole(api: Api, browser: Browser) -> None:
    browser.connect(api.url)
    assert browser.next() == OPEN
    text = "".join(f"{number:09} " for number in range(10_240))
    api.management().post_to_connection(ConnectionId=api.connected(), Data=text.encode())
    assert browser.next() == {"type": "message", "data": text}


def test_a_browser_is_told_of_a_delete(api: Api, browser: Browser) -> None:
    browser.connect(api.url)
    assert browser.next() == OPEN
    api.management().delete_connection(ConnectionId=api.connected())
    assert browser.rest() == [closed(1000, "Connection Closed Normally")]


def test_a_browser_is_told_of_ten_minutes_of_silence(api: Api, browser: Browser) -> None:
    browser.connect(api.url)
    assert browser.next() == OPEN
    api.gateway.advance(600)
    assert browser.rest() == [closed(1001, "Going away")]


def test_a_browser_may_not_send_binary(api: Api, browser: Browser) -> None:
    browser.connect(api.url)
    assert browser.next() == OPEN
    browser.run("client.socket.send(new Uint8Array([1, 2, 3]))")
    (last,) = browser.rest()
    assert (last["code"], last["wasClean"]) == (1003, True)


def test_a_browser_may_send_32_kib_and_not_a_byte_more(api: Api, browser: Browser) -> None:
    browser.connect(api.url)
    assert browser.next() == OPEN
    browser.send("x" * 32_768)
    assert browser.next() == {"type": "message", "data": "heard " + "x" * 32_768}
    browser.send("x" * 32_769)
    (last,) = browser.rest()
    assert last["code"] == 1009


def test_a_browser_that_sends_far_too_much_is_closed_cleanly(api: Api, browser: Browser) -> None:
    # One attempt could succeed by luck, so there are several.
    for _ in range(20):
        browser.connect(api.url)
        assert browser.next() == OPEN
        browser.send("x" * 200_000)
        (*_, last) = browser.rest()
        assert (last["code"], last["wasClean"]) == (1009, True)


def test_a_browser_gets_the_subprotocol_that_connect_chose(api: Api, browser: Browser) -> None:
    browser.connect(f"{api.url}?protocol=app.v1", "app.v1", "ticket.abc")
    assert browser.next() == {"type": "open", "protocol": "app.v1"}
    assert api.event("CONNECT")["headers"]["Sec-WebSocket-Protocol"] == "app.v1, ticket.abc"


@pytest.mark.parametrize("query", ["", "?protocol=other"])
def test_a_browser_fails_without_a_subprotocol_it_offered(api: Api, browser: Browser, query: str) -> None:
    browser.connect(api.url + query, "app.v1", "ticket.abc")
    assert browser.rest() == FAILED
    # On the side of the API it was connected.
    assert api.disconnected()[0] == 1006


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_browser_learns_no_more_of_a_refusal_than_that_it_failed(api: Api, browser: Browser, status: int) -> None:
    browser.connect(f"{api.url}?status={status}")
    assert browser.rest() == FAILED
