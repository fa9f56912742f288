"""The contract of the presence of topics, on real sockets: whoever watches a topic knows the users in it, on all nodes.

A user is there with the first connection that is subscribed, and has left some seconds after the last one.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tellwire.config import Settings
from tellwire.engines.redis.node.topic_presence import RedisTopicPresence
from tellwire.gateway import Node
from tellwire.limits import MAX_PRESENCE_INFO_BYTES, MAX_PRESENCE_MEMBERS, PRESENCE_GRACE_SECONDS
from tellwire.publication import topic_stream
from tellwire.testing import FakeClock
from tellwire.topic_members import Members
from tests.aws_stack import Stack, running_stack
from tests.conftest import API_KEY, SECRET, read, token_for
from tests.redis_nodes import settled

TOPIC = "moc:1:comments"
RULES = [
    {"pattern": "moc:*", "presence": True, "subscribe": "anyone"},
    {"pattern": "secret:*", "presence": True},
    {"pattern": "*", "subscribe": "anyone"},
]
"""A token must allow `secret:…`, and nobody is told who is in any other topic but these two kinds."""

PATIENCE_SECONDS = 60.0

Connect = Callable[[str], AbstractAsyncContextManager[ClientConnection]]


@dataclass
class Server:
    """A server of one or several nodes. `connects` opens a connection with a token, on each of them. `settle` waits
    until each node knows all that the others do.
    """

    connects: list[Connect]
    advance: Callable[[float], Awaitable[None]]
    members: Callable[[str], Awaitable[Members]]
    settle: Callable[[], Awaitable[None]]
    is_aws: bool = False

    @contextlib.asynccontextmanager
    async def device(self, user_id: str, side: int = 0, **token: Any) -> AsyncIterator["Device"]:
        """Connect as a device of a user."""
        async with self.connects[side % len(self.connects)](token_for(user_id, **token)) as socket:
            yield Device(user_id, socket, self.settle)


@dataclass
class Device:
    """A client that knows the members of one topic, by the rules of the protocol."""

    user_id: str
    socket: ClientConnection
    settle: Callable[[], Awaitable[None]]
    count: int = 0
    members: dict[str, Any] = field(default_factory=dict)
    heard: list[tuple[str, str | None, int]] = field(default_factory=list)

    async def say(self, **request: Any) -> None:
        await self.socket.send(json.dumps(request))

    async def hears(self) -> dict[str, Any]:
        """Return the next message, and know the members that it tells."""
        message = await read(self.socket)
        data = message["data"]
        if message["type"] in ("presence", "join", "leave"):
            assert data["topic"] == TOPIC
            assert not {"cursor", "key", "id", "topic"} & message.keys()
            self.heard.append((message["type"], data.get("userId"), data["count"]))
            self.count = data["count"]
        match message["type"]:
            case "presence" if "members" in data:
                self.members = {each["userId"]: each.get("info") for each in data["members"]}
            case "join":
                self.members[data["userId"]] = data.get("info")
            case "leave":
                del self.members[data["userId"]]
        return message

    async def joins(self, topic: str = TOPIC) -> None:
        """Subscribe."""
        await self.say(type="subscribe", topic=topic, id="s")
        while (await self.hears())["type"] != "ok":
            pass

    async def parts(self, topic: str = TOPIC) -> None:
        """Unsubscribe."""
        await self.say(type="unsubscribe", topic=topic, id="u")
        while (await self.hears())["type"] != "ok":
            pass

    async def asks(self, topic: str = TOPIC) -> str:
        """Ask who is there. Return the code of the refusal; empty: there is none."""
        await self.say(type="presence", topic=topic, id="p")
        while (message := await self.hears())["data"].get("id") != "p":
            pass
        if message["type"] == "error":
            assert message["data"]["topic"] == topic
            return str(message["data"]["code"])
        return ""

    async def watches(self) -> None:
        """Subscribe, and ask."""
        await self.joins()
        await self.settle()
        assert await self.asks() == ""

    async def knows(self, *users: str) -> None:
        """Wait until it knows exactly these members."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sorted(self.members) != sorted(users) or self.count != len(users):
                await self.hears()

    async def has_heard_all(self) -> None:
        """Take in all that was sent before now."""
        await self.settle()
        await self.say(type="ping", id="all")
        while (await self.hears())["data"].get("id") != "all":
            pass


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture(params=["gateway on memory", "gateway on SQLite", "two gateways on Redis", "API Gateway on moto"])
async def server(
    request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path, redis_prefix: str
) -> AsyncIterator[Server]:
    if request.param == "API Gateway on moto":
        environ = {"TELLWIRE_TOPICS": json.dumps(RULES)}
        with running_stack(request.getfixturevalue("moto_dynamodb"), environ, has_history=True) as on_aws:
            yield server_of(on_aws)
        return
    engine = request.param.rpartition(" ")[2].lower()
    settings: dict[str, Any] = {"engine": engine, "database": str(tmp_path / "presence.sqlite3")}
    if engine == "redis":
        settings |= {"redis_url": request.getfixturevalue("redis_server").url, "redis_prefix": redis_prefix}
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(running_node(clock, **settings))
            for _ in range(2 if engine == "redis" else 1)
        ]
        node = nodes[0][0]

        async def members(topic: str) -> Members:
            assert node.engine.topic_presence is not None
            return await node.engine.topic_presence.members(topic_stream(topic))

        async def settle() -> None:
            presences = [each.engine.topic_presence for each, _ in nodes]
            await settled([each for each in presences if isinstance(each, RedisTopicPresence)])

        async def advance(seconds: float) -> None:
            await settle()
            for _ in range(int(seconds)):
                await clock.advance(1)
                await settle()

        yield Server([each for _, each in nodes], advance, members, settle)


def server_of(stack: Stack) -> Server:
    """Return the functions behind API Gateway. Its sweeper runs whenever the clock is moved."""

    def connects(token: str) -> AbstractAsyncContextManager[ClientConnection]:
        return connect(f"{stack.api.url}?token={token}", proxy=None, compression=None)

    async def advance(seconds: float) -> None:
        await asyncio.to_thread(stack.api.advance, seconds)
        await asyncio.to_thread(stack.sweep)

    async def members(topic: str) -> Members:
        return await stack.deployment.presence().members(topic_stream(topic))

    async def settle() -> None:
        """Wait for nothing: a function has told all before it ends."""

    return Server([connects], advance, members, settle, is_aws=True)


@contextlib.asynccontextmanager
async def running_node(clock: FakeClock, **settings: Any) -> AsyncIterator[tuple[Node, Connect]]:
    defaults: dict[str, Any] = {"port": 0, "jwt_secret": SECRET, "api_key": API_KEY, "drain_seconds": 1}
    node = Node(Settings(**defaults | settings, topics=json.dumps(RULES)), clock)

    def connects(token: str) -> AbstractAsyncContextManager[ClientConnection]:
        return connect(f"{url.replace('http', 'ws', 1)}/?token={token}", proxy=None, compression=None)

    async with node.running() as url:
        yield node, connects


# --- who is there -----------------------------------------------------------------------------------------------------


async def test_who_asks_is_told_all_members_and_then_who_comes_and_goes(server: Server) -> None:
    async with server.device("ann", info={"name": "Ann"}) as ann:
        await ann.watches()
        await ann.knows("ann")
        assert ann.heard == [("presence", None, 1)]
        async with server.device("ben", side=1, info={"name": "Ben"}) as ben:
            await ben.joins()
            await ann.knows("ann", "ben")
            assert ann.heard[1:] == [("join", "ben", 2)]
            assert await ben.asks() == ""
            await ben.knows("ann", "ben")
            assert ann.members == ben.members == {"ann": {"name": "Ann"}, "ben": {"name": "Ben"}}
            # Neither is asking a join, nor is asking again.
            assert await ben.asks() == ""
            await ann.has_heard_all()
            assert ann.heard[2:] == []
        await server.advance(PRESENCE_GRACE_SECONDS + 1)
        await ann.knows("ann")
        assert ann.heard[2:] == [("leave", "ben", 1)]


async def test_a_member_need_not_ask(server: Server) -> None:
    async with server.device("ann") as ann, server.device("ben", side=1) as ben:
        await ben.joins()
        await ann.watches()
        await ann.knows("ann", "ben")
        assert ann.members == {"ann": None, "ben": None}
        assert not ben.heard


async def test_several_devices_of_a_user_are_one_member(server: Server) -> None:
    async with server.device("ann") as ann, server.device("ben") as ben:
        await ann.watches()
        await ben.joins()
        await ann.knows("ann", "ben")
        async with server.device("ben", side=1) as phone, server.device("ben") as tab:
            for each in (phone, tab):
                await each.joins()
        await server.advance(PRESENCE_GRACE_SECONDS + 1)
        await ann.has_heard_all()
        assert ann.heard == [("presence", None, 1), ("join", "ben", 2)]
        assert (await server.members(TOPIC)).count == 2
        await ben.parts()
        await server.advance(PRESENCE_GRACE_SECONDS + 1)
        await ann.knows("ann")


async def test_a_page_that_is_reloaded_was_never_away(server: Server) -> None:
    async with server.device("ann") as ann:
        await ann.watches()
        async with server.device("ben") as ben:
            await ben.joins()
            await ann.knows("ann", "ben")
        await server.advance(PRESENCE_GRACE_SECONDS - 2)
        async with server.device("ben", side=1) as ben:
            await ben.watches()
            await server.advance(PRESENCE_GRACE_SECONDS + 2)
            await ann.has_heard_all()
            assert ann.heard == [("presence", None, 1), ("join", "ben", 2)]
            await ben.knows("ann", "ben")


async def test_a_user_stays_for_the_time_of_grace(server: Server) -> None:
    async with server.device("ann") as ann:
        await ann.watches()
        async with server.device("ben") as ben:
            await ben.joins()
            await ann.knows("ann", "ben")
            await ben.parts()
        await server.advance(PRESENCE_GRACE_SECONDS - 1)
        await ann.has_heard_all()
        assert (sorted(ann.members), (await server.members(TOPIC)).count) == (["ann", "ben"], 2)
        await server.advance(2)
        await ann.knows("ann")
        assert (await server.members(TOPIC)).count == 1


async def test_subscribe_and_presence_may_be_sent_at_once(server: Server) -> None:
    if server.is_aws:
        pytest.skip("each message has a function of its own, and they run side by side: docs/how-to/aws.md")
    async with server.device("ann") as ann:
        await ann.say(type="subscribe", topic=TOPIC)
        await ann.say(type="presence", topic=TOPIC, id="p")
        await ann.knows("ann")


async def test_each_topic_has_members_of_its_own(server: Server) -> None:
    async with server.device("ann") as ann, server.device("ben") as ben:
        await ann.watches()
        await ben.joins("moc:2:comments")
        await ann.has_heard_all()
        assert ann.heard == [("presence", None, 1)]
        of_other = await server.members("moc:2:comments")
        assert (of_other.count, [each.user_id for each in of_other.members]) == (1, ["ben"])
        assert (await server.members("moc:3:comments")).count == 0


async def test_who_has_unsubscribed_hears_nothing_more(server: Server) -> None:
    async with server.device("ann") as ann, server.device("ben") as ben:
        await ann.watches()
        await ann.parts()
        await ben.watches()
        await ann.has_heard_all()
        assert ann.heard == [("presence", None, 1)]
        assert await ann.asks() == "TOPIC_NOT_SUBSCRIBED"
        # Who subscribes again asks again.
        await ann.joins()
        await ben.parts()
        await server.advance(PRESENCE_GRACE_SECONDS + 1)
        await ann.has_heard_all()
        assert ann.heard == [("presence", None, 1)]


# --- infos ------------------------------------------------------------------------------------------------------------


async def test_a_new_token_renews_the_info(server: Server) -> None:
    async with server.device("ann") as ann, server.device("ben", info={"name": "Ben"}) as ben:
        await ben.joins()
        await ann.watches()
        assert ann.members["ben"] == {"name": "Ben"}
        for info in ({"name": "Benjamin"}, {"name": "Benjamin"}, None):
            await ben.say(type="auth", token=token_for("ben", info=info))
            assert (await ben.hears())["type"] == "auth_ok"
        await ben.has_heard_all()
        await ann.has_heard_all()
        assert ann.heard[1:] == [("join", "ben", 2)]
        assert ann.members["ben"] == {"name": "Benjamin"}


@pytest.mark.parametrize("info", ["Ann", 5, ["Ann"], {"name": "x" * MAX_PRESENCE_INFO_BYTES}])
async def test_an_info_that_does_not_count_is_left_out(server: Server, info: Any) -> None:
    claims = {"sub": "ann", "exp": int(time.time()) + 3600, "info": info}
    async with server.connects[0](jwt.encode(claims, SECRET, algorithm="HS256")) as socket:
        ann = Device("ann", socket, server.settle)
        await ann.watches()
        assert ann.members == {"ann": None}


async def test_the_longest_infos_of_many_fit_into_messages(server: Server) -> None:
    if server.is_aws:
        pytest.skip("a hundred devices take a minute there; it is the same code")
    info = {"name": "x" * (MAX_PRESENCE_INFO_BYTES - 11)}
    async with AsyncExitStack() as stack:
        for number in range(100):
            await (await stack.enter_async_context(server.device(f"user-{number}", number, info=info))).joins()
        async with server.device("ann") as ann:
            await ann.watches()
            assert ann.count == 101
            assert 50 < len(ann.members) < 101


# --- many -------------------------------------------------------------------------------------------------------------


async def test_of_many_members_only_the_number_is_told_and_of_few_all_again(server: Server) -> None:
    if server.is_aws:
        pytest.skip("the same with fewer members is in tests/integration/aws/test_presence_play.py")
    async with AsyncExitStack() as stack, server.device("ann") as ann:
        await ann.watches()
        others = [
            await stack.enter_async_context(server.device(f"user-{number}", number))
            for number in range(MAX_PRESENCE_MEMBERS + 20)
        ]
        await asyncio.gather(*(each.joins() for each in others))
        await server.advance(2)
        await until_count(ann, MAX_PRESENCE_MEMBERS + 21)
        assert {kind for kind, _, count in ann.heard if count > MAX_PRESENCE_MEMBERS} == {"presence"}
        assert len([count for _, _, count in ann.heard if count > MAX_PRESENCE_MEMBERS]) <= 4
        async with server.device("ben") as ben:
            await ben.watches()
            assert (ben.count, len(ben.members)) == (MAX_PRESENCE_MEMBERS + 22, MAX_PRESENCE_MEMBERS)
        assert (await server.members(TOPIC)).count == MAX_PRESENCE_MEMBERS + 22
        for each in others[:30]:
            await each.parts()
        await server.advance(PRESENCE_GRACE_SECONDS + 3)
        await ann.knows("ann", *(each.user_id for each in others[30:]))
        await others[-1].parts()
        await server.advance(PRESENCE_GRACE_SECONDS + 3)
        await ann.knows("ann", *(each.user_id for each in others[30:-1]))
        assert ann.heard[-1] == ("leave", others[-1].user_id, len(others) - 30)


async def until_count(device: Device, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while device.count != count:
            await device.hears()


# --- who may ask ------------------------------------------------------------------------------------------------------


async def test_only_a_subscriber_may_ask_and_only_where_there_is_presence(server: Server) -> None:
    async with server.device("ann") as ann:
        assert await ann.asks() == "TOPIC_NOT_SUBSCRIBED"
        assert await ann.asks("a b") == "INVALID_MESSAGE"
        await ann.joins("news")
        assert await ann.asks("news") == "PRESENCE_OFF"
        assert (await server.members("news")).count == 0


async def test_who_may_not_subscribe_is_told_nothing_and_is_no_member(server: Server) -> None:
    async with server.device("ann") as ann:
        await ann.say(type="subscribe", topic="secret:1")
        assert (await ann.hears())["data"]["code"] == "TOPIC_FORBIDDEN"
        assert await ann.asks("secret:1") == "TOPIC_NOT_SUBSCRIBED"
    assert (await server.members("secret:1")).count == 0


async def test_a_right_that_is_withdrawn_ends_the_presence(server: Server) -> None:
    async with server.device("ann", topics=["secret:*"]) as ann, server.device("ben", topics=["secret:*"]) as ben:
        for each in (ann, ben):
            await each.joins("secret:1")
        await ann.say(type="auth", token=token_for("ann"))
        kinds = [(await ann.hears())["type"] for _ in range(2)]
        assert kinds == ["auth_ok", "unsubscribed"]
        assert await ann.asks("secret:1") == "TOPIC_NOT_SUBSCRIBED"
        await server.advance(PRESENCE_GRACE_SECONDS + 1)
        left = await server.members("secret:1")
        assert [each.user_id for each in left.members] == ["ben"]
