"""A producer that is frozen, as a Lambda is between two events, and finds its gateway restarted when it thaws."""

import asyncio
import os
import signal
import sys

import pytest

from tests.conftest import API_KEY, Gateway, StartGateway, read

PRODUCER = """
import sys
from tellwire.sync import broadcast_to_user, create_message

for line in sys.stdin:
    delivery = broadcast_to_user("user-1", create_message("note", line.strip()))
    print(delivery.delivered, flush=True)
"""


FORKING = """
import os
from tellwire import ConfigError
from tellwire.sync import broadcast_to_user, create_message

message = create_message("note", 1)
print(broadcast_to_user("user-1", message).delivered, flush=True)
if os.fork() == 0:
    try:
        broadcast_to_user("user-1", message)
    except ConfigError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""

EXITING = """
import atexit
from tellwire.sync import broadcast_to_user, create_message

message = create_message("note", 1)

def too_late():
    try:
        broadcast_to_user("user-1", message)
    except RuntimeError as error:
        print(error, flush=True)

atexit.register(too_late)
print(broadcast_to_user("user-1", message).delivered, flush=True)
"""


@pytest.mark.parametrize(
    ("program", "words"),
    [(FORKING, "this process was forked after a first publish"), (EXITING, "the interpreter is exiting")],
)
async def test_unsupported_calls_of_synchronous_code_raise_and_do_not_hang(
    gateway: Gateway, program: str, words: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "ignore",
        "-c",
        program,
        env=os.environ | {"TELLWIRE_URL": gateway.url, "TELLWIRE_API_KEY": API_KEY},
        stdout=-1,
        stderr=-1,
    )
    out, err = await asyncio.wait_for(process.communicate(), 45)
    assert (process.returncode, err) == (0, b"")
    assert words in out.decode()


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
