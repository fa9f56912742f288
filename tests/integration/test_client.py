"""The Python client and real servers: our gateway, restarted and hours old, and the functions of a WebSocket API."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from tellwire import Broadcaster, Delivery, create_message, create_notification_message
from tellwire.auth import mint_token
from tellwire.aws.connections import ConnectionRow
from tellwire.client import Client, ClosedForGood, CloseReason, ConnectionState, Timing
from tellwire.client.actions import Why
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.model import timestamp
from tellwire.testing import FakeClock
from tests.aws_stack import Stack, running_stack
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway
from tests.unit.client.servers import passes, reached

QUICK = Timing(first_wait_seconds=0.01, longest_wait_seconds=0.05)
HELLO = create_notification_message("Hello", "World", "info")


class Tokens:
    """A user's tokens, each good for `ttl_seconds` from now on `clock`; `whys` says what they were asked for."""

    def __init__(self, clock: FakeClock | None = None, user_id: str = "user-1", ttl_seconds: float = 3600) -> None:
        self.clock = clock
        self.user_id = user_id
        self.ttl_seconds = ttl_seconds
        self.whys: list[Why] = []

    def __call__(self, why: Why) -> str:
        self.whys.append(why)
        ahead = 0.0 if self.clock is None else self.clock.now() - time.time()
        return mint_token(SECRET, self.user_id, ahead + self.ttl_seconds)


def recorded(client: Client) -> list[ConnectionState]:
    states: list[ConnectionState] = []
    client.on_state(states.append)
    return states


def statuses(states: list[ConnectionState]) -> list[str]:
    return [state.status for state in states]


@asynccontextmanager
async def running(port: int = 0) -> AsyncIterator[Node]:
    node = Node(Settings(port=port, jwt_secret=SECRET, api_key=API_KEY, drain_seconds=1, engine="memory"))
    async with node.running():
        yield node


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


# --- our gateway ------------------------------------------------------------------------------------------------------


async def test_it_comes_back_when_the_gateway_restarts_and_hears_what_is_said_then() -> None:
    tokens = Tokens()
    async with running() as node:
        port = node.address[1]
        client = Client(f"ws://127.0.0.1:{port}", tokens, timing=QUICK)
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
    monkeypatch.setattr("tellwire.session.timestamp", lambda at=None: timestamp(clock.now() if at is None else at))
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
            async with asyncio.timeout(10):
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
        await eventually(lambda: len(states) == 4)
        assert tokens.whys == ["connect", "refused"]
        assert statuses(states) == ["open", "waiting", "connecting", "open"]
        assert states[1].reason is not None
        assert (states[1].reason.kind, states[1].reason.code) == ("token", 4401)


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
        assert (reason.kind, reason.code, reason.error) == ("token", 401, "TOKEN_EXPIRED")
        assert reason.message == "The token has expired"


async def test_the_token_of_another_user_ends_it(start_gateway: StartGateway) -> None:
    clock = FakeClock(time.time())
    gateway = await start_gateway(clock)
    tokens = Tokens(clock, ttl_seconds=100)
    async with Client(gateway.url, tokens, clock=clock, jitter=lambda: 0.5) as client:
        await reached(client, "open")
        tokens.user_id = "user-2"
        await passes(clock, client, 60)
        assert (await anext(client)).data["code"] == "TOKEN_OF_ANOTHER_USER"
        with pytest.raises(ClosedForGood) as caught:
            await anext(client)
        assert (caught.value.reason.kind, caught.value.reason.code) == ("final", 4403)


async def test_hours_pass_without_a_moment_without_a_connection(start_gateway: StartGateway) -> None:
    clock = FakeClock(time.time())
    gateway = await start_gateway(clock)
    tokens = Tokens(clock, ttl_seconds=4 * 3600)
    async with Client(gateway.url, tokens, clock=clock, timing=Timing(answer_seconds=40)) as client:
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
    timing = Timing(replace_seconds=0.2, overlap_seconds=0.1)

    async def publish() -> None:
        for number in range(count):
            await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("count", number))
            await asyncio.sleep(0.001)

    tokens = Tokens()
    async with Client(gateway.url, tokens, timing=timing) as client:
        states = recorded(client)
        await reached(client, "open")
        publishing = asyncio.create_task(publish())
        numbers = [(await anext(client)).data for _ in range(count)]
        await publishing
        assert sorted(numbers) == list(range(count))
        assert statuses(states) == ["open"]
        assert len(tokens.whys) > 3


# --- on AWS -----------------------------------------------------------------------------------------------------------


async def broadcast(stack: Stack) -> Delivery:
    carrier = stack.carrier()
    try:
        return await Broadcaster(carrier).broadcast_to_user("user-1", HELLO)
    finally:
        await carrier.close()


async def only_row(stack: Stack) -> ConnectionRow:
    (row,) = [row async for page in stack.deployment.table.everyone() for row in page]
    return row


@pytest.fixture
def stack(moto_dynamodb: str) -> Iterator[Stack]:
    with running_stack(moto_dynamodb) as running:
        yield running


async def test_an_expired_token_on_aws_is_an_error_then_1000_and_a_new_one_is_asked_for(stack: Stack) -> None:
    tokens = Tokens(stack.clock, ttl_seconds=300)
    async with Client(stack.api.url, tokens, timing=QUICK) as client:
        states = recorded(client)
        await reached(client, "open")
        await asyncio.to_thread(stack.api.advance, 400)
        assert await client.send("rename_moc")
        error = await anext(client)
        assert (error.type, error.data["code"]) == ("error", "TOKEN_EXPIRED")
        await eventually(lambda: len(states) == 4)
        assert statuses(states) == ["open", "waiting", "connecting", "open"]
        assert states[1].reason == CloseReason("token", "The token has expired", 4401, "TOKEN_EXPIRED")
        assert tokens.whys == ["connect", "refused"]
        assert await broadcast(stack) == Delivery(delivered=1)
        assert (await anext(client)).data["title"] == HELLO.data.title


async def test_a_token_is_renewed_on_aws(stack: Stack) -> None:
    clock = FakeClock(time.time())
    tokens = Tokens(clock)
    async with Client(stack.api.url, tokens, clock=clock, jitter=lambda: 0.5) as client:
        states = recorded(client)
        await reached(client, "open")
        before = await only_row(stack)
        await passes(clock, client, 3530)
        async with asyncio.timeout(10):
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
        tokens.user_id = "user-2"
        await passes(clock, client, 3530)
        assert (await anext(client)).data["code"] == "TOKEN_OF_ANOTHER_USER"
        with pytest.raises(ClosedForGood) as caught:
            await anext(client)
        assert caught.value.reason == CloseReason("final", "The token is another user's", 4403, "TOKEN_OF_ANOTHER_USER")
