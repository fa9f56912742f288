"""One broadcaster on several event loops and threads at once, of both kinds, on a real gateway."""

import asyncio
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop

from tellwire import Broadcaster, HttpCarrier, create_message, sync, track_upload
from tests.conftest import API_KEY, Gateway


async def publish(broadcaster: Broadcaster, name: int) -> None:
    messages = [create_message("note", name) for _ in range(10)]
    await asyncio.gather(*[broadcaster.broadcast_to_user("user-1", message) for message in messages])
    async with track_upload("user-1", f"moc-{name}", "parts.csv", 10, broadcaster=broadcaster) as upload:
        async for _ in upload.count(range(10)):
            pass
    assert upload.failures == 0


def publish_on_a_loop(broadcaster: Broadcaster, name: int) -> None:
    with asyncio.Runner(loop_factory=[asyncio.new_event_loop, uvloop.new_event_loop][name % 2]) as runner:
        runner.run(publish(broadcaster, name))


def publish_in_a_thread(broadcaster: Broadcaster, name: int) -> None:
    with sync.use_broadcaster(broadcaster, other_threads=False):
        for _ in range(10):
            sync.broadcast_to_user("user-1", create_message("note", name))


async def test_several_event_loops_and_threads_share_a_broadcaster(gateway: Gateway) -> None:
    broadcaster = Broadcaster(HttpCarrier(gateway.url, API_KEY))
    notes: Counter[Any] = Counter()
    complete: set[str] = set()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(6) as pool:
        async with gateway.device() as device, asyncio.timeout(100):
            on_loops = [loop.run_in_executor(pool, publish_on_a_loop, broadcaster, name) for name in range(4)]
            in_threads = [loop.run_in_executor(pool, publish_in_a_thread, broadcaster, name) for name in range(4, 6)]
            await asyncio.gather(*on_loops, *in_threads, publish(broadcaster, 6))
            while notes.total() < 70 or len(complete) < 5:
                message = json.loads(await device.recv())
                if message["type"] == "note":
                    notes[message["data"]] += 1
                elif message["data"]["status"] == "complete":
                    complete.add(message["data"]["uploadId"])
    assert notes == dict.fromkeys(range(7), 10)
