"""A producer that is frozen, as a Lambda is between two events, and finds its gateway restarted when it thaws."""

import asyncio
import os
import signal
import sys

from tests.conftest import API_KEY, StartGateway, read

PRODUCER = """
import sys
from tellwire.sync import broadcast_to_user, create_message

for line in sys.stdin:
    delivery = broadcast_to_user("user-1", create_message("note", line.strip()))
    print(delivery.delivered, flush=True)
"""


async def test_a_synchronous_producer_goes_on_after_a_freeze(start_gateway: StartGateway) -> None:
    first = await start_gateway()
    port = first.node.address[1]
    producer = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PRODUCER,
        env=os.environ | {"TELLWIRE_URL": first.url, "TELLWIRE_API_KEY": API_KEY},
        stdin=-1,
        stdout=-1,
    )
    assert producer.stdin is not None
    assert producer.stdout is not None
    try:
        producer.stdin.write(b"before\n")
        assert await asyncio.wait_for(producer.stdout.readline(), 45) == b"0\n"

        producer.send_signal(signal.SIGSTOP)
        await first.ends()
        second = await start_gateway(port=port)
        async with second.device() as device:
            producer.stdin.write(b"after\n")
            producer.send_signal(signal.SIGCONT)
            assert (await asyncio.wait_for(read(device), 45))["data"] == "after"
            assert await asyncio.wait_for(producer.stdout.readline(), 45) == b"1\n"
    finally:
        producer.kill()
        await producer.communicate()
