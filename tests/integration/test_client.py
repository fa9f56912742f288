"""The Python client and real servers: our gateway, restarted and hours old, and the functions of a WebSocket API."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from tellwire import (
    Broadcaster,
    Delivery,
    create_message,
    create_notification_message,
    create_upload_progress_message,
)
from tellwire.auth import mint_token
from tellwire.carriers.http import HttpCarrier
from tellwire.client import Client, ClientOptions, ClosedForGood, CloseReason, ConnectionState, RequestError
from tellwire.client.actions import Why
from tellwire.config import Settings
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.gateway import Node
from tellwire.messages import Message
from tellwire.model import Sender, timestamp
from tellwire.testing import FakeClock
from tests.aws_stack import Stack, running_stack
from tests.black_hole import BlackHole
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, token_for
from tests.nginx import nginx
from tests.unit.client.servers import passes, reached

QUICK = ClientOptions(backoff_first_seconds=0.01, backoff_max_seconds=0.05)
HELLO = create_notification_message("Hello", "World", "info")


class Tokens:
    """A user's tokens, each good for `ttl_seconds` from now on `clock`; `whys` are the purposes."""

    def __init__(self, clock: FakeClock | None = None, user_id: str = "user-1", ttl_seconds: float = 3600) -> None:
        self.clock = clock
        self.user_id = user_id
        self.ttl_seconds = ttl_seconds
        self.whys: list[Why] = []

    def __call__(self, why: Why) -> str:
        self.whys.append(why)
        ahead = 0.0 if self.clock is None else self.clock.now() - time.time()
        return token_for(self.user_id, ahead + self.ttl_seconds)


def recorded(client: Client) -> list[ConnectionState]:
    states: list[ConnectionState] = []
    client.on_state(states.append)
    return states


def statuses(states: list[ConnectionState]) -> list[str]:
    """Return the statuses, where that the welcome has ended is no other one."""
    pairs = zip([None, *states], states, strict=False)
    return [state.status for before, state in pairs if before is None or not is_welcome(before, state)]


def is_welcome(before: ConnectionState, state: ConnectionState) -> bool:
    return before.status == state.status == "open" and state.recovered is not None


def why_disconnected(states: list[ConnectionState]) -> CloseReason | None:
    """Return the reason for the first end of the connection."""
    return next(state.reason for state in states if state.reason is not None)


async def welcomed(client: Client) -> bool:
    """Wait until the client knows whether it missed something, and return that it did not."""
    await eventually(lambda: client.state.recovered is not None)
    return client.state.recovered is True


@asynccontextmanager
async def running(port: int = 0, database: Path | None = None) -> AsyncIterator[Node]:
    settings = Settings(port=port, jwt_secret=SECRET, api_key=API_KEY, drain_seconds=1, engine="memory")
    if database is not None:
        settings = msgspec.structs.replace(settings, engine="sqlite", database=str(database))
    node = Node(settings)
    async with node.running():
        yield node


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


# --- our gateway ------------------------------------------------------------------------------------------------------


async def test_it_comes_back_when_the_gateway_restarts_and_hears_what_is_said_then() -> None:
    tokens = Tokens()
    async with running() as node:
        port = node.address[1]
        client = Client(f"ws://127.0.0.1:{port}", tokens, options=QUICK)
        states = recorded(client)
        running_client = await client.__aenter__()
        await reached(running_client, "open")
        await node.broadcaster.broadcast_to_user("user-1", HELLO)
        assert (await anext(client)).data["title"] == HELLO.data.title
    await reached(client, "connecting")
    async with running(port) as node:
        await reached(client, "open")
        again = create_notification_message("Again", "World", "info")
        await node.broadcaster.broadcast_to_user("user-1", again)
        assert (await anext(client)).data["title"] == again.data.title
        await client.close()
    reasons = [state.reason.code for state in states if state.status == "waiting" and state.reason is not None]
    assert reasons[0] == 1012
    assert statuses(states)[-2:] == ["open", "closed"]
    assert len(tokens.whys) == statuses(states).count("connecting")
    assert set(tokens.whys) == {"connect"}


async def test_messages_of_every_size_arrive_whole(gateway: Gateway) -> None:
    big = create_message("plan", {"text": "🧱" * 25_000})
    async with Client(gateway.url, Tokens()) as client:
        await reached(client, "open")
        for message in (HELLO, big):
            await gateway.node.broadcaster.broadcast_to_user("user-1", message)
        assert (await anext(client)).data["title"] == HELLO.data.title
        assert (await anext(client)).data == big.data


async def test_a_token_is_renewed_on_the_living_connection(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(time.time())
    # The time in an auth_ok is the system's; here it has to be the one that the gateway's clock shows.
    monkeypatch.setattr("tellwire.protocol.timestamp", lambda at=None: timestamp(clock.now() if at is None else at))
    tokens = Tokens(clock, ttl_seconds=100)
    gateway = await start_gateway(clock)
    async with Client(gateway.url, tokens, clock=clock, jitter=lambda: 0.5) as client:
        states = recorded(client)
        await reached(client, "open")
        (before,) = await gateway.node.hub.connections("user-1")
        for _ in range(5):
            # A little more than half of what a token has left.
            await passes(clock, client, 52)
            (after,) = await gateway.node.hub.connections("user-1")
            async with asyncio.timeout(60):
                while after.expires_at == before.expires_at:
                    await asyncio.sleep(0.002)
                    (after,) = await gateway.node.hub.connections("user-1")
            assert after.connection_id == before.connection_id
            before = after
        await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)
        assert (await anext(client)).data["title"] == HELLO.data.title
    assert statuses(states) == ["open", "closed"]
    assert tokens.whys[0] == "connect"
    assert set(tokens.whys[1:]) == {"renew"}


async def test_a_token_that_expires_is_replaced_by_a_new_connection(start_gateway: StartGateway) -> None:
    clock = FakeClock(time.time())
    tokens = Tokens(clock, ttl_seconds=100)
    gateway = await start_gateway(clock)

    def get_token(why: Why) -> str:
        if why == "renew":
            raise ConnectionError
        return tokens(why)

    async with Client(gateway.url, get_token, clock=clock) as client:
        states = recorded(client)
        await reached(client, "open")
        await passes(clock, client, 102)
        await eventually(lambda: len(statuses(states)) == 3)
        assert tokens.whys == ["connect", "refused"]
        assert statuses(states) == ["open", "connecting", "open"]
        reason = why_disconnected(states)
        assert reason is not None
        assert (reason.kind, reason.code) == ("token", 4401)


async def test_a_token_that_has_expired_before_the_handshake_is_asked_for_anew(gateway: Gateway) -> None:
    tokens = Tokens(ttl_seconds=-60)

    def get_token(why: Why) -> str:
        tokens.ttl_seconds = 60 if why == "refused" else -60
        return tokens(why)

    async with Client(gateway.url, get_token) as client:
        states = recorded(client)
        await reached(client, "open")
        assert tokens.whys == ["connect", "refused"]
        (reason,) = {state.reason for state in states if state.reason is not None}
        assert (reason.kind, reason.code, reason.error) == ("token", 4401, "TOKEN_EXPIRED")
        assert reason.message == "The token has expired"


async def test_the_token_of_another_user_ends_it(start_gateway: StartGateway) -> None:
    clock = FakeClock(time.time())
    gateway = await start_gateway(clock)
    tokens = Tokens(clock, ttl_seconds=100)
    async with Client(gateway.url, tokens, clock=clock, jitter=lambda: 0.5) as client:
        await reached(client, "open")
        tokens.user_id = "user-2"
        await passes(clock, client, 60)
        with pytest.raises(ClosedForGood) as caught:
            await anext(client)
        assert (caught.value.reason.kind, caught.value.reason.code) == ("user", 4403)


async def test_hours_pass_without_a_moment_without_a_connection(start_gateway: StartGateway) -> None:
    clock = FakeClock(time.time())
    gateway = await start_gateway(clock)
    tokens = Tokens(clock, ttl_seconds=4 * 3600)
    async with Client(gateway.url, tokens, clock=clock, options=ClientOptions(answer_timeout_seconds=40)) as client:
        states = recorded(client)
        await reached(client, "open")
        (before,) = await gateway.node.hub.connections("user-1")
        await passes(clock, client, 3 * 3600, step_seconds=30)
        await eventually(lambda: len(gateway.node.hub) == 1)
        (after,) = await gateway.node.hub.connections("user-1")
        assert after.connection_id != before.connection_id
        await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)
        assert (await anext(client)).data["title"] == HELLO.data.title
    assert statuses(states) == ["open", "closed"]


async def test_messages_are_passed_once_each_while_connections_are_replaced(gateway: Gateway) -> None:
    count = 1000
    options = ClientOptions(rotate_after_seconds=0.2, overlap_seconds=0.1)

    async def publish() -> None:
        for number in range(count):
            await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("count", number))
            await asyncio.sleep(0.001)

    tokens = Tokens()
    async with Client(gateway.url, tokens, options=options) as client:
        states = recorded(client)
        await reached(client, "open")
        publishing = asyncio.create_task(publish())
        numbers = [(await anext(client)).data for _ in range(count)]
        await publishing
        assert sorted(numbers) == list(range(count))
        assert statuses(states) == ["open"]
        assert len(tokens.whys) > 3


# --- what was missed --------------------------------------------------------------------------------------------------


async def say(node: Node, *numbers: int) -> None:
    for number in numbers:
        await node.broadcaster.broadcast_to_user("user-1", create_message("count", number))


async def numbers_of(client: Client, count: int) -> list[int]:
    async with asyncio.timeout(60):
        return [(await anext(client)).data for _ in range(count)]


async def cut(node: Node) -> None:
    """Take all connections of the user away from the gateway at once."""
    for connection in await node.hub.connections("user-1"):
        await node.hub.disconnect(connection.connection_id)


async def test_what_was_published_while_it_was_away_is_all_there_once_and_in_order(gateway: Gateway) -> None:
    release = asyncio.Event()

    async def get_token(why: Why) -> str:
        await release.wait()
        return mint_token(SECRET, "user-1", 3600)

    release.set()
    async with Client(gateway.url, get_token, options=QUICK) as client:
        assert await welcomed(client)
        await say(gateway.node, 0, 1)
        assert await numbers_of(client, 2) == [0, 1]
        for start in (2, 202, 402):
            release.clear()
            await cut(gateway.node)
            await eventually(lambda: client.state.status == "connecting")
            await say(gateway.node, *range(start, start + 200))
            release.set()
            assert await numbers_of(client, 200) == list(range(start, start + 200))
            assert await welcomed(client)


async def test_nothing_is_lost_and_nothing_comes_twice_while_connections_are_cut_under_load(gateway: Gateway) -> None:
    count = 3000

    async def publish() -> None:
        for number in range(count):
            await say(gateway.node, number)
            if number % 100 == 50:
                await cut(gateway.node)
            if number % 10 == 0:
                await asyncio.sleep(0.001)

    async with Client(gateway.url, Tokens(), options=QUICK) as client:
        assert await welcomed(client)
        publishing = asyncio.create_task(publish())
        assert await numbers_of(client, count) == list(range(count))
        await publishing
        assert await welcomed(client)


async def test_a_gateway_that_forgets_says_that_something_may_be_missing() -> None:
    async with running() as node:
        port = node.address[1]
        client = Client(f"ws://127.0.0.1:{port}", Tokens(), options=QUICK)
        await client.__aenter__()
        assert await welcomed(client)
        await say(node, 0)
        assert await numbers_of(client, 1) == [0]
    states = recorded(client)
    await reached(client, "connecting")
    async with running(port) as node:
        await say(node, 1)
        assert not await welcomed(client)
        assert await numbers_of(client, 1) == [1]
        await say(node, 2)
        assert await numbers_of(client, 1) == [2]
        await client.close()
    assert [state.recovered for state in states if state.status == "open"] == [None, False]


async def test_a_gateway_with_a_file_that_restarts_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "live.sqlite3"
    async with running(database=file) as node:
        port = node.address[1]
        client = Client(f"ws://127.0.0.1:{port}", Tokens(), options=QUICK)
        await client.__aenter__()
        assert await welcomed(client)
        await say(node, 0)
        assert await numbers_of(client, 1) == [0]
    await reached(client, "connecting")
    async with running(port, file) as node:
        await say(node, 1)
        assert await numbers_of(client, 1) == [1]
        assert await welcomed(client)
        await say(node, 2)
        assert await numbers_of(client, 1) == [2]
        await client.close()


IMPATIENT = ClientOptions(backoff_first_seconds=0.01, backoff_max_seconds=0.05, answer_timeout_seconds=0.5)


async def test_a_cancel_said_over_a_dead_link_arrives_when_the_network_is_back(gateway: Gateway) -> None:
    message = create_upload_progress_message("u1", "parts.csv", 40, "Row 40")
    await gateway.node.broadcaster.broadcast_to_user("user-1", message)
    hole = BlackHole(gateway.node.address[1])
    async with hole.running() as url, Client(url, Tokens(), options=IMPATIENT) as client:
        assert (await anext(client)).data["progress"] == 40
        hole.swallow()
        cancelling = asyncio.create_task(client.cancel("u1"))
        # The link is found to be dead because of it, and long before the next ping.
        await reached(client, "connecting")
        assert not cancelling.done()
        hole.restore()
        await asyncio.wait_for(cancelling, 45)
        assert (await anext(client)).data["status"] == "cancelled"


async def test_a_request_that_was_not_answered_runs_its_handler_once_over_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "live.sqlite3"
    calls: list[object] = []

    def add(data: object, _: Sender) -> Message:
        calls.append(data)
        hole.swallow()  # so the answer does not arrive
        return create_message("added", len(calls))

    async with AsyncExitStack() as first:
        node = await first.enter_async_context(running(database=file))
        node.on_message("add", add)
        hole = BlackHole(node.address[1])
        async with hole.running() as url, Client(url, Tokens(), options=IMPATIENT) as client:
            await reached(client, "open")
            adding = asyncio.create_task(client.send("add", 7))
            await reached(client, "connecting")
            await first.aclose()
            async with running(database=file) as other:
                other.on_message("add", add)
                hole.restore(other.address[1])
                answer = await asyncio.wait_for(adding, 45)
    assert answer is not None
    assert (answer.data, calls) == (1, [7])


async def test_a_gateway_that_is_killed_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "TELLWIRE_JWT_SECRET": SECRET, "TELLWIRE_API_KEY": API_KEY}
    environment |= {"TELLWIRE_PORT": str(port), "TELLWIRE_DATABASE": str(tmp_path / "live.sqlite3")}
    carrier = HttpCarrier(f"http://127.0.0.1:{port}", API_KEY)
    broadcaster = Broadcaster(carrier)

    async def start() -> asyncio.subprocess.Process:
        command = (sys.executable, "-c", "from tellwire.cli import main; main()", "serve")
        return await asyncio.create_subprocess_exec(*command, env=environment, stdout=-3, stderr=-3)

    async def publish(*numbers: int) -> None:
        for number in numbers:
            await broadcaster.broadcast_to_user("user-1", create_message("count", number))

    gateway = await start()
    try:
        async with Client(f"ws://127.0.0.1:{port}", Tokens(), options=QUICK) as client:
            assert await welcomed(client)
            await publish(*range(50))
            gateway.kill()
            await gateway.wait()
            gateway = await start()
            await publish(*range(50, 100))
            assert await numbers_of(client, 100) == list(range(100))
            assert await welcomed(client)
    finally:
        gateway.kill()
        await gateway.wait()
        await carrier.close()


async def test_a_program_that_ends_comes_back_to_where_it_was(gateway: Gateway) -> None:
    async with Client(gateway.url, Tokens()) as client:
        assert await welcomed(client)
        await say(gateway.node, *range(10))
        assert await numbers_of(client, 4) == [0, 1, 2, 3]
        cursors = client.cursors
    await say(gateway.node, 10)
    async with Client(gateway.url, Tokens(), cursors=cursors) as client:
        assert await numbers_of(client, 7) == list(range(4, 11))
        assert client.state.recovered is True
    async with Client(gateway.url, Tokens(), start_from="oldest") as client:
        assert await numbers_of(client, 11) == list(range(11))


async def test_of_an_upload_only_the_newest_state_waits_for_who_comes_back(gateway: Gateway) -> None:
    async with Client(gateway.url, Tokens()) as client:
        assert await welcomed(client)
        cursors = client.cursors
    for percent in (10, 40, 70):
        message = create_upload_progress_message("u1", "parts.csv", percent, "")
        await gateway.node.broadcaster.broadcast_to_user("user-1", message)
    async with Client(gateway.url, Tokens(), cursors=cursors) as client:
        state = await anext(client)
        assert (state.data["progress"], state.key, state.version) == (70, "upload:u1", 3)


async def test_what_was_seen_here_is_seen_everywhere(gateway: Gateway) -> None:
    async with Client(gateway.url, Tokens()) as here, Client(gateway.url, Tokens()) as there:
        assert await welcomed(here)
        assert await welcomed(there)
        await say(gateway.node, 0)
        assert await numbers_of(here, 1) == await numbers_of(there, 1) == [0]
        await here.ack()
        async with asyncio.timeout(60):
            seen = [await anext(here), await anext(there)]
        assert [(each.type, each.data["cursor"]) for each in seen] == [("seen", here.cursors["user"])] * 2


async def test_an_upload_is_cancelled_and_one_that_nobody_knows_is_an_error(gateway: Gateway) -> None:
    message = create_upload_progress_message("u1", "parts.csv", 40, "Row 40")
    await gateway.node.broadcaster.broadcast_to_user("user-1", message)
    async with Client(gateway.url, Tokens()) as client:
        async with asyncio.timeout(60):
            assert (await anext(client)).data["progress"] == 40
            await client.cancel("u1")
            assert (await anext(client)).data["status"] == "cancelled"
            with pytest.raises(RequestError) as refused:
                await client.cancel("u2")
            assert refused.value.code == "UPLOAD_UNKNOWN"


# --- on AWS -----------------------------------------------------------------------------------------------------------


async def broadcast(stack: Stack) -> Delivery:
    carrier = stack.carrier()
    try:
        return await Broadcaster(carrier).broadcast_to_user("user-1", HELLO)
    finally:
        await carrier.close()


async def only_row(stack: Stack) -> ConnectionRow:
    (row,) = [row async for page, _ in stack.deployment.table.everyone() for row in page]
    return row


@pytest.fixture
def stack(moto_dynamodb: str) -> Iterator[Stack]:
    with running_stack(moto_dynamodb) as running:
        yield running


async def test_an_expired_token_on_aws_is_an_error_then_1000_and_a_new_one_is_asked_for(stack: Stack) -> None:
    tokens = Tokens(stack.clock, ttl_seconds=300)
    async with Client(stack.api.url, tokens, options=QUICK) as client:
        states = recorded(client)
        await reached(client, "open")
        assert await welcomed(client)
        await asyncio.to_thread(stack.api.advance, 400)
        asking = asyncio.create_task(client.send("rename_moc"))
        error = await anext(client)
        assert (error.type, error.data["code"]) == ("error", "TOKEN_EXPIRED")
        await eventually(lambda: len(statuses(states)) == 3)
        assert statuses(states) == ["open", "connecting", "open"]
        assert why_disconnected(states) == CloseReason("token", "The token has expired", 4401, "TOKEN_EXPIRED")
        assert tokens.whys == ["connect", "refused"]
        assert await broadcast(stack) == Delivery(delivered=1)
        assert (await anext(client)).data["title"] == HELLO.data.title
        asking.cancel()


async def test_a_token_is_renewed_on_aws(stack: Stack) -> None:
    clock = FakeClock(time.time())
    tokens = Tokens(clock)
    async with Client(stack.api.url, tokens, clock=clock, jitter=lambda: 0.5) as client:
        states = recorded(client)
        await reached(client, "open")
        assert await welcomed(client)
        before = await only_row(stack)
        await passes(clock, client, 3530)
        async with asyncio.timeout(60):
            while (after := await only_row(stack)).token_expires_at == before.token_expires_at:
                await asyncio.sleep(0.01)
        assert after.token_expires_at >= before.token_expires_at + 3500
        assert after.connection_id == before.connection_id
        assert tokens.whys == ["connect", "renew"]
    assert statuses(states) == ["open", "closed"]


async def test_the_token_of_another_user_on_aws_ends_it(stack: Stack) -> None:
    clock = FakeClock(time.time())
    tokens = Tokens(clock)
    async with Client(stack.api.url, tokens, clock=clock, jitter=lambda: 0.5) as client:
        await reached(client, "open")
        assert await welcomed(client)
        tokens.user_id = "user-2"
        await passes(clock, client, 3530)
        with pytest.raises(ClosedForGood) as caught:
            await anext(client)
        assert caught.value.reason == CloseReason("user", "The token is another user's", 4403, "TOKEN_OF_ANOTHER_USER")


async def test_a_prefix_of_a_proxy_keeps_its_slash(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = await start_gateway()
    async with (
        nginx(tmp_path, gateway.url, "/live/") as url,
        Client(f"{url}/live/", lambda _: gateway.token()) as client,
    ):
        async with asyncio.timeout(100):
            while client.state.status != "open":
                await asyncio.sleep(0.01)
        await gateway.node.broadcaster.broadcast_to_user("user-1", create_notification_message("a", "b", "info"))
        async with asyncio.timeout(100):
            assert (await anext(aiter(client))).type == "notification"
