"""The console of a real gateway: sessions, requests from pages of elsewhere, and the facts that it shows."""

import asyncio
import http.client
import json
import logging
from typing import Any

import pytest

from tellwire import Node, Settings
from tellwire.gateway.console.guard import COOKIE
from tellwire.limits import CONSOLE_IDLE_SECONDS, CONSOLE_ROWS
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.testing import FakeClock
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, read

PUBLISH = "ABCDEFGHIJabcdefghij01234567890"
KEYS = f"ops:admin:{API_KEY} worker:publish:{PUBLISH}"
ANYBODY = {"pattern": "*", "subscribe": "anyone"}
PAGE = ("/console", "/console/console.css", "/console/console.js")
FACTS = ("/console/api/overview", "/console/api/v1/users/connected", "/console/api/topics", "/console/api/uploads")


class Answer:
    """An answer, with its body decoded."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        body = response.read()
        self.status, self.headers = response.status, response.headers
        self.body: Any = json.loads(body) if self.headers.get_content_type() == "application/json" else body


class Operator:
    """The browser of an operator: it keeps the cookie and the token."""

    def __init__(self, gateway: Gateway) -> None:
        self._authority = gateway.node.authority
        self.cookie: str | None = None
        self.token: str | None = None

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return await asyncio.to_thread(self._ask, method, path, body, headers)

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        if self.cookie is not None:
            headers["Cookie"] = f"{COOKIE}={self.cookie}"
        if self.token is not None:
            headers.setdefault("X-CSRF-Token", self.token)
        connection = http.client.HTTPConnection(self._authority, timeout=100)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    async def sign_in(self, key: str | None = API_KEY, **headers: str) -> Answer:
        authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
        answer = await self.ask("POST", "/console/session", **authorization, **headers)
        if answer.status == 200:
            self.cookie = answer.headers["set-cookie"].split(";")[0].removeprefix(f"{COOKIE}=")
            self.token = answer.body["csrfToken"]
        return answer


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def gateway(start_gateway: StartGateway, clock: FakeClock) -> Gateway:
    started = await start_gateway(clock, api_key=KEYS, console=True, topics=(ANYBODY,))
    assert isinstance(started, Gateway)
    return started


@pytest.fixture
async def operator(gateway: Gateway) -> Operator:
    operator = Operator(gateway)
    await operator.sign_in()
    return operator


# --- who gets in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("wrong", 401), (PUBLISH, 403), (API_KEY, 200)])
async def test_an_admin_key_signs_in_and_no_other(gateway: Gateway, key: str | None, status: int) -> None:
    operator = Operator(gateway)
    assert (await operator.sign_in(key)).status == status
    assert (await operator.ask("GET", "/console/api/overview")).status == (200 if status == 200 else 401)


async def test_the_cookie_is_for_the_console_alone_and_no_script_reads_it(gateway: Gateway) -> None:
    cookie = (await Operator(gateway).sign_in()).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/console" in cookie
    assert "secure" not in cookie
    over_https = (await Operator(gateway).sign_in(Origin="https://live.example.com")).headers["set-cookie"].lower()
    assert "secure" in over_https


@pytest.mark.parametrize("path", FACTS)
async def test_facts_need_a_session(gateway: Gateway, operator: Operator, path: str) -> None:
    assert (await Operator(gateway).ask("GET", path)).status == 401
    assert (await Operator(gateway).ask("GET", path, Authorization=f"Bearer {API_KEY}")).status == 401
    assert (await operator.ask("GET", path)).status == 200


async def test_a_session_ends_by_signing_out_and_by_silence(gateway: Gateway, clock: FakeClock) -> None:
    leaves, sleeps = Operator(gateway), Operator(gateway)
    await leaves.sign_in()
    await sleeps.sign_in()
    assert (await leaves.ask("DELETE", "/console/session")).status == 204
    assert (await leaves.ask("GET", "/console/session")).status == 401
    assert (await sleeps.ask("GET", "/console/session")).body["key"] == "ops"
    await clock.advance(CONSOLE_IDLE_SECONDS)
    assert (await sleeps.ask("GET", "/console/session")).status == 401


async def test_a_reload_of_the_keys_ends_all_sessions(gateway: Gateway, operator: Operator) -> None:
    await gateway.node.reload()
    assert (await operator.ask("GET", "/console/session")).status == 401


async def test_without_the_setting_there_is_no_console(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    for path in (*PAGE, *FACTS, "/console/session"):
        assert (await Operator(gateway).ask("GET", path)).status == 404


async def test_in_development_only_the_page_of_this_machine_signs_in_without_a_key() -> None:
    node = Node(Settings(port=0, jwt_secret=SECRET, dev=True, drain_seconds=1, console=True))
    async with node.running() as url:
        gateway = Gateway(node, url)
        own = f"http://{node.authority}"
        assert (await Operator(gateway).sign_in(None, Origin=own)).status == 200
        assert (await Operator(gateway).sign_in(None, Origin="https://evil.example")).status == 403
        assert (await Operator(gateway).sign_in(None, Origin=own, Host="evil.example")).status == 403


# --- pages of elsewhere -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGE)
async def test_the_page_takes_nothing_from_elsewhere_and_is_in_no_frame(gateway: Gateway, path: str) -> None:
    answer = await Operator(gateway).ask("GET", path)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_a_write_needs_the_token_of_its_session(gateway: Gateway, operator: Operator, token: str) -> None:
    message = {"target": {"user": "user-1"}, "message": {"type": "note", "data": 1}}
    other = Operator(gateway)
    await other.sign_in()
    for given in (token, other.token or ""):
        refused = await operator.ask("POST", "/console/api/v1/publish", message, **{"X-CSRF-Token": given})
        assert (refused.status, refused.body["code"]) == (403, "CSRF_TOKEN_WRONG")
    assert (await operator.ask("POST", "/console/api/v1/publish", message)).status == 200


# --- facts and actions ------------------------------------------------------------------------------------------------


async def test_the_overview_has_the_counts_of_the_node(gateway: Gateway, operator: Operator) -> None:
    async with gateway.device():
        await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("note", 1))
        facts = (await operator.ask("GET", "/console/api/overview")).body
    assert (facts["connections"], facts["connectionsOnAllNodes"], facts["nodes"]) == (1, 1, 1)
    assert (facts["publishes"]["user"], facts["deliveries"]["delivered"]) == (1, 1)
    assert (facts["engine"], facts["trouble"], facts["isDraining"]) == ("memory", None, False)


async def test_topics_are_listed_by_their_subscribers_and_found_by_a_part(gateway: Gateway, operator: Operator) -> None:
    async with gateway.device("ada") as first, gateway.device("ben") as second:
        for device, topic in ((first, "moc:1"), (second, "moc:1"), (second, "topical-news")):
            await device.send(json.dumps({"type": "subscribe", "topic": topic}))
            while (await read(device))["type"] != "subscribed":
                pass
        listed = (await operator.ask("GET", "/console/api/topics")).body
        # The name of its stream begins with "topic:", which is no part of it.
        found = (await operator.ask("GET", "/console/api/topics?part=topic")).body
    assert [(each["topic"], each["connections"]) for each in listed["topics"]] == [("moc:1", 2), ("topical-news", 1)]
    assert found == {"topics": [{"topic": "topical-news", "connections": 1}], "more": False}


async def test_uploads_in_progress_are_listed_and_ended_ones_are_not(gateway: Gateway, operator: Operator) -> None:
    tell = gateway.node.broadcaster.broadcast_to_user
    for number in range(CONSOLE_ROWS + 1):
        await tell("ada", create_upload_progress_message(f"u{number}", "parts.csv", 50, "Row 5"))
    listed = (await operator.ask("GET", "/console/api/uploads")).body
    assert (len(listed["uploads"]), listed["more"]) == (CONSOLE_ROWS, True)
    first = listed["uploads"][0]
    assert (first["target"], first["fileName"], first["progress"], first["status"]) == (
        "ada",
        "parts.csv",
        50,
        "running",
    )
    for number in range(CONSOLE_ROWS + 1):
        await tell("ada", create_upload_progress_message(f"u{number}", "parts.csv", 100, ""))
    assert (await operator.ask("GET", "/console/api/uploads")).body == {"uploads": [], "more": False}


async def test_an_operator_sends_closes_and_shuts_out_and_the_log_says_who(
    gateway: Gateway, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    message = {"target": {"user": "user-1"}, "message": {"type": "note", "data": "hello"}}
    with caplog.at_level(logging.INFO, "tellwire.console"):
        async with gateway.device() as device:
            assert (await operator.ask("POST", "/console/api/v1/publish", message)).body["delivered"] == 1
            assert (await read(device))["data"] == "hello"
            (found,) = (await operator.ask("GET", "/console/api/v1/connections?user=user-1")).body["connections"]
            path = f"/console/api/v1/connections?connection={found['connectionId']}"
            assert (await operator.ask("DELETE", path)).status == 204
            await asyncio.wait_for(device.wait_closed(), 60)
        until = {"until": "2999-01-01T00:00:00Z"}
        assert (await operator.ask("POST", "/console/api/v1/users/disconnect?user=user-1", until)).status == 200
    lines = [record.getMessage() for record in caplog.records if record.name == "tellwire.console"]
    assert [line.split(": ", 1)[1].split()[0] for line in lines] == ["POST", "DELETE", "POST"]
    assert all(line.startswith("ops from 127.0.0.1: ") for line in lines)
    assert API_KEY not in caplog.text
    assert (operator.cookie or "?") not in caplog.text
