"""Requests of clients in Redis, beyond the contract: a lost answer, a killed Redis, a full one, and their keys."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot
from websockets.asyncio.client import ClientConnection

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.scripts import Script, time_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.requests import RedisRequests
from tellwire.errors import HistoryUnavailable, RequestRunning
from tellwire.limits import REQUEST_KEEP_SECONDS
from tellwire.messages import Message, create_message
from tellwire.model import Sender
from tellwire.publication import user_stream
from tellwire.testing import FakeClock
from tests.conftest import StartGateway, read
from tests.publications import for_user
from tests.redis_server import RedisServer, running

ANNA = "anna"
KINDS = ("requests", "request-order")


class Losing(RedisStore):
    """A store that loses the answers of so many calls that have run."""

    lost = 0

    async def call(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | str | int] = ()) -> Any:
        answer = await super().call(script, keys, args)
        if self.lost:
            self.lost -= 1
            raise HistoryUnavailable("the connection was lost")
        return answer


@pytest.fixture
def requests(redis_store: RedisStore, names: Names, clock: FakeClock) -> RedisRequests:
    return RedisRequests(redis_store, names, time_of(clock))


async def test_a_claim_whose_answer_was_lost_is_still_ours(redis_store: RedisStore, names: Names) -> None:
    store = Losing(redis_store.address)
    requests = RedisRequests(store, names, lambda: "")
    store.lost = 1
    assert await requests.begin(ANNA, "r1") is None
    with pytest.raises(RequestRunning):
        await requests.begin(ANNA, "r1")
    await requests.finish(ANNA, "r1", b"answer")
    store.lost = 1
    assert await requests.begin(ANNA, "r1") == b"answer"
    store.lost = 2
    with pytest.raises(HistoryUnavailable):
        await requests.begin(ANNA, "r2")
    await store.close()


async def test_a_redis_that_is_killed_forgets_none(tmp_path: Path, names: Names) -> None:
    with running(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        store = RedisStore(RedisAddress.parse(server.url))
        requests = RedisRequests(store, names, lambda: "")
        await store.open()
        assert await requests.begin(ANNA, "ended") is None
        await requests.finish(ANNA, "ended", b"answer")
        assert await requests.begin(ANNA, "running") is None
        await store.close()
        server.kill()
        server.start()
        store = RedisStore(RedisAddress.parse(server.url))
        requests = RedisRequests(store, names, lambda: "")
        await store.open()
        assert await requests.begin(ANNA, "ended") == b"answer"
        with pytest.raises(RequestRunning):
            await requests.begin(ANNA, "running")
        await store.close()


async def test_a_full_redis_begins_none(tmp_path: Path, names: Names) -> None:
    with running(tmp_path, "--maxmemory-policy", "noeviction") as server:
        store = RedisStore(RedisAddress.parse(server.url))
        requests = RedisRequests(store, names, lambda: "")
        await store.open()
        assert await requests.begin(ANNA, "r1") is None
        server.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(HistoryUnavailable):
            await requests.begin(ANNA, "r2")
        server.command("CONFIG", "SET", "maxmemory", "0")
        assert await requests.begin(ANNA, "r2") is None
        await store.close()


async def test_its_keys_are_in_one_slot_and_expire_by_themselves(redis_store: RedisStore, names: Names) -> None:
    requests = RedisRequests(redis_store, names, lambda: "")
    await requests.begin(ANNA, "r1")
    keys = [names.of_stream(kind, user_stream(ANNA)) for kind in KINDS]
    assert len({key_slot(key) for key in keys}) == 1
    for key in keys:
        left = await redis_store.command("TTL", key, key=key, writes=False)
        assert REQUEST_KEEP_SECONDS - 60 < left <= REQUEST_KEEP_SECONDS


async def test_old_ones_are_removed_with_the_next_one_and_both_keys_agree(
    requests: RedisRequests, redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    async def kept() -> tuple[set[bytes], list[bytes]]:
        table, order = (names.of_stream(kind, user_stream(ANNA)) for kind in KINDS)
        ids = set(await redis_store.command("HKEYS", table, key=table, writes=False))
        return ids, await redis_store.command("LRANGE", order, 0, -1, key=order, writes=False)

    for number in range(4):
        await requests.begin(ANNA, f"r{number}")
        await clock.advance(1)
    await clock.advance(1)
    await clock.advance(REQUEST_KEEP_SECONDS - 2.5)
    await requests.begin(ANNA, "new")
    assert await kept() == ({b"r3", b"new"}, [b"r3", b"new"])
    # One that begins anew is the last one.
    await clock.advance(REQUEST_KEEP_SECONDS + 1)
    await requests.begin(ANNA, "other")
    await requests.begin(ANNA, "r3")
    assert await kept() == ({b"other", b"r3"}, [b"other", b"r3"])
    await requests.forget(ANNA)
    assert await kept() == (set(), [])


# --- two nodes --------------------------------------------------------------------------------------------------------


async def test_two_nodes_that_are_asked_at_once_run_a_request_once(
    start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str
) -> None:
    on_redis = {"engine": "redis", "redis_url": redis_server.url, "redis_prefix": redis_prefix}
    nodes = [await start_gateway(**on_redis) for _ in range(2)]
    calls: list[str] = []

    async def add(data: str, sender: Sender) -> Message:
        calls.append(data)
        await asyncio.sleep(0)
        return create_message("added", data)

    for node in nodes:
        node.node.on_message("add", add)

    async def ask(device: ClientConnection, request_id: str) -> Any:
        """Ask as a client does: again, as long as the request is being run."""
        while True:
            await device.send(json.dumps({"type": "add", "data": request_id, "id": request_id}))
            answer = await read(device)
            if answer["data"].get("code") != "REQUEST_RUNNING":
                return answer["data"]["result"]["data"]

    async with nodes[0].device() as first, nodes[1].device() as second:
        for number in range(20):
            name = f"r{number}"
            answers: list[str] = await asyncio.gather(ask(first, name), ask(second, name))
            assert answers == [name, name]
    assert calls == [f"r{number}" for number in range(20)]


async def test_marks_on_two_nodes_at_once_are_all_kept(
    start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str
) -> None:
    on_redis = {"engine": "redis", "redis_url": redis_server.url, "redis_prefix": redis_prefix}
    nodes = [await start_gateway(**on_redis) for _ in range(2)]
    history = nodes[0].node.engine.history
    assert history is not None
    await history.append_all([for_user("user-1", create_message("note", number)) for number in range(40)])
    end = await history.position(user_stream("user-1"))
    assert end is not None

    async def mark(device: ClientConnection, offsets: range) -> None:
        left = set(map(str, offsets))
        for offset in offsets:
            cursor = str(end._replace(offset=offset))
            await device.send(json.dumps({"type": "read", "cursors": [cursor], "id": str(offset)}))
        while left:
            answer = await read(device)
            assert answer["type"] in ("ok", "marks"), answer
            left.discard(answer["data"].get("id"))

    # What they have not read must not hold up their end.
    async with nodes[0].device(max_queue=None) as first, nodes[1].device(max_queue=None) as second:
        await asyncio.gather(mark(first, range(1, 41, 2)), mark(second, range(2, 41, 2)))
    marks = await history.state(user_stream("user-1"), "marks")
    assert marks is not None
    assert json.loads(marks.payload)["data"]["read"] == [[1, 40]]
