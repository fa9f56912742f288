"""The presence of topics on several nodes with real sockets: nodes are killed or drained, and Redis changes."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tellwire.auth import mint_token
from tellwire.limits import NODE_LEASE_SECONDS
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway
from tests.integration.test_cli import own_state, serving
from tests.redis_server import RedisCluster, RedisServer, Sentinels
from tests.tools import until

__all__ = ["own_state"]

TOPIC = "moc:1:comments"
TOPICS = [{"pattern": "*", "presence": True, "subscribe": "anyone"}]


class Visitor:
    """A device that watches topics, and all that it is told."""

    def __init__(self, socket: ClientConnection, user_id: str) -> None:
        self.socket = socket
        self.user_id = user_id
        self.told: list[tuple[str, str, int]] = []
        self.here: dict[str, set[str]] = {}
        self.counts: dict[str, int] = {}
        self.close_code: int | None = None

    async def listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                self.hear(json.loads(text))

    def hear(self, message: dict[str, Any]) -> None:
        data, kind = message["data"], message["type"]
        if kind not in ("presence", "join", "leave"):
            return
        topic = data["topic"]
        self.told.append((kind, data.get("userId", ""), data["count"]))
        self.counts[topic] = data["count"]
        known = self.here.setdefault(topic, set())
        if kind == "presence":
            known.clear()
            known.update(each["userId"] for each in data.get("members", ()))
        elif kind == "join":
            known.add(data["userId"])
        else:
            known.discard(data["userId"])

    async def watch(self, topic: str = TOPIC) -> None:
        """Subscribe and ask, and wait for the answer."""
        await self.say(type="subscribe", topic=topic)
        await self.say(type="presence", topic=topic)
        await until(lambda: topic in self.here)

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def knows(self, users: set[str], topic: str = TOPIC) -> None:
        await until(lambda: self.here.get(topic) == users and self.counts[topic] == len(users))


@asynccontextmanager
async def visitor(url: str, user_id: str) -> AsyncIterator[Visitor]:
    token = mint_token(SECRET, user_id)
    async with connect(f"{url}/?token={token}", proxy=None, compression=None, max_queue=None) as socket:
        device = Visitor(socket, user_id)
        listening = asyncio.create_task(device.listen())
        yield device
        listening.cancel()


async def two_nodes(start_gateway: StartGateway, url: str, prefix: str = "tellwire") -> tuple[Gateway, Gateway]:
    settings: dict[str, Any] = {"engine": "redis", "redis_url": url, "redis_prefix": prefix, "topics": TOPICS}
    return await start_gateway(**settings), await start_gateway(**settings)


@pytest.fixture
def environment(redis_server: RedisServer, redis_prefix: str) -> dict[str, Any]:
    return {
        "TELLWIRE_ENGINE": "redis",
        "TELLWIRE_REDIS_URL": redis_server.url,
        "TELLWIRE_REDIS_PREFIX": redis_prefix,
        "TELLWIRE_JWT_SECRET": SECRET,
        "TELLWIRE_API_KEY": API_KEY,
        "TELLWIRE_TOPICS": json.dumps(TOPICS),
    }


async def enter(stack: AsyncExitStack, url: str, users: Sequence[str]) -> list[Visitor]:
    """Connect so many users, who watch."""
    visitors = [await stack.enter_async_context(visitor(url, each)) for each in users]
    await asyncio.gather(*(each.watch() for each in visitors))
    return visitors


@pytest.mark.long
@pytest.mark.usefixtures("own_state")
async def test_the_members_of_a_node_that_is_killed_leave_within_its_lease(
    start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str, environment: dict[str, Any]
) -> None:
    one, two = await two_nodes(start_gateway, redis_server.url, redis_prefix)
    async with AsyncExitStack() as stack:
        (ann,) = await enter(stack, one.ws_url, ["ann"])
        async with serving(**environment) as third:
            victims = await enter(stack, f"ws://127.0.0.1:{third.port}", ["ben", "cat", "dan"])
            await ann.knows({"ann", "ben", "cat", "dan"})
            # Long enough that the other nodes may say who is dead.
            await asyncio.sleep(NODE_LEASE_SECONDS + 1)
            third.process.kill()
            killed_at = time.monotonic()
            await asyncio.gather(*(each.socket.wait_closed() for each in victims))
        await enter(stack, two.ws_url, ["ben"])
        await ann.knows({"ann", "ben"})
        # The lease, and the moment after it at which the others look.
        assert time.monotonic() - killed_at < NODE_LEASE_SECONDS + 5
        assert {user for kind, user, _ in ann.told if kind == "leave"} == {"cat", "dan"}
        for node in (one, two):
            presence = node.node.engine.topic_presence
            assert presence is not None
            found = await presence.members(f"topic:{TOPIC}")  # type: ignore[arg-type]
            assert (found.count, {each.user_id for each in found.members}) == (2, {"ann", "ben"})


@pytest.mark.long
@pytest.mark.usefixtures("own_state")
async def test_the_users_of_a_node_that_drains_come_back_elsewhere_and_never_leave(
    start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str, environment: dict[str, Any]
) -> None:
    one, two = await two_nodes(start_gateway, redis_server.url, redis_prefix)
    users = [f"user-{number}" for number in range(10)]
    async with AsyncExitStack() as stack:
        (ann,) = await enter(stack, one.ws_url, ["ann"])
        async with serving(TELLWIRE_DRAIN_SPREAD_SECONDS="2", **environment) as third:
            visitors = await enter(stack, f"ws://127.0.0.1:{third.port}", users)
            await ann.knows({"ann", *users})
            third.process.send_signal(signal.SIGTERM)
            for each in visitors:
                await each.socket.wait_closed()
                assert each.socket.close_code == 1012
                await enter(stack, two.ws_url, [each.user_id])
            assert await asyncio.wait_for(third.process.wait(), 45) == 0
        # Whoever has not come back would leave in this time.
        await asyncio.sleep(12)
        assert [each for each in ann.told if each[0] == "leave"] == []
        assert ann.here[TOPIC] == {"ann", *users}


async def test_topics_of_all_masters_of_a_cluster_tell_who_comes_and_goes(
    redis_cluster: RedisCluster, redis_prefix: str, start_gateway: StartGateway
) -> None:
    one, two = await two_nodes(start_gateway, redis_cluster.url, redis_prefix)
    topics = [f"moc:{number}" for number in range(12)]
    async with visitor(one.ws_url, "ann") as ann, visitor(two.ws_url, "ben") as ben:
        for each in (ann, ben):
            await asyncio.gather(*(each.watch(topic) for topic in topics))
        for topic in topics:
            await ann.knows({"ann", "ben"}, topic)
            await ben.knows({"ann", "ben"}, topic)
        for topic in topics:
            await ben.say(type="unsubscribe", topic=topic)
        for topic in topics:
            await ann.knows({"ann"}, topic)


@pytest.mark.long
async def test_a_fail_over_that_forgets_the_last_changes_is_made_good(
    tmp_path: Path, redis_prefix: str, start_gateway: StartGateway
) -> None:
    sentinels = Sentinels(tmp_path, "--repl-diskless-sync-delay", "0")
    try:
        await asyncio.to_thread(sentinels.start)
        one, two = await two_nodes(start_gateway, sentinels.url, redis_prefix)
        async with AsyncExitStack() as stack:
            (ann,) = await enter(stack, one.ws_url, ["ann"])
            ben, cat = await enter(stack, two.ws_url, ["ben", "cat"])
            await ann.knows({"ann", "ben", "cat"})
            master, replica = sentinels.servers
            await until(lambda: "slave0" in master.command("INFO", "replication"))
            replica.freeze()
            master.command("CLIENT", "KILL", "TYPE", "replica")
            # The replica hears neither of the one who comes, nor of the one who goes.
            await enter(stack, two.ws_url, ["dan"])
            await ben.say(type="unsubscribe", topic=TOPIC)
            await ann.knows({"ann", "cat", "dan"})
            await asyncio.to_thread(master.kill)
            replica.thaw()
            await until(lambda: "role:master" in replica.command("INFO", "replication"))
            while True:
                # Nobody may connect until the nodes have found the new master.
                with contextlib.suppress(InvalidStatus):
                    await enter(stack, one.ws_url, ["eva"])
                    break
                await asyncio.sleep(0.1)
            for each in (ann, cat):
                await each.knows({"ann", "cat", "dan", "eva"})
            assert ann.socket.state.name == "OPEN"
    finally:
        sentinels.kill()
