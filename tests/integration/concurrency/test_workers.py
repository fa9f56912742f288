"""Producers in every kind of worker: the real servers, with and without a fork, before and after a first publish."""

import asyncio
import json
import os
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from bench.processes import free_port
from tellwire.http_messages import PlainRequest
from tellwire.plain_http import _MAX_THREADS as THREADS
from tellwire.plain_http import PlainHttp
from tests.conftest import API_KEY, Gateway

ROOT = Path(__file__).parents[3]
SECONDS = 40
PROGRAMS = "tests.integration.concurrency.programs"


def environment(gateway: Gateway, **more: str) -> dict[str, str]:
    settings = gateway.node.settings
    way = {"TELLWIRE_URL": gateway.url, "TELLWIRE_API_KEY": API_KEY}
    if settings.redis_url is not None:
        way = {"TELLWIRE_REDIS_URL": settings.redis_url, "TELLWIRE_REDIS_PREFIX": settings.redis_prefix}
    return os.environ | {
        **way,
        "PYTHONPATH": str(ROOT),
        # Those who fork a program with threads are warned; it is what these tests do.
        "PYTHONWARNINGS": "ignore",
        **more,
    }


@asynccontextmanager
async def running(*arguments: str, env: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python program beside the test; at the end it is terminated."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        out, _ = await asyncio.wait_for(process.communicate(), SECONDS)
        sys.stdout.write(out.decode())  # pytest shows it if the test fails


async def result_of(program: str, *arguments: str, env: dict[str, str]) -> str:
    """Run a program to its end and return its output."""
    async with running("-c", program, *arguments, env=env) as process:
        out, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0, out.decode()
    return out.decode().strip()


async def received(device: ClientConnection, *, notes: int, complete: int) -> None:
    """Wait until a device has got these messages."""
    seen: Counter[str] = Counter()
    async with asyncio.timeout(SECONDS):
        while seen["note"] < notes or seen["complete"] < complete:
            message: dict[str, Any] = json.loads(await device.recv())
            seen[message["type"]] += 1
            if message["type"] == "upload_progress":
                seen[message["data"]["status"]] += 1
    assert seen["failed"] == 0


async def answers(port: int, count: int) -> list[int]:
    """Make requests to a server that is starting, all at once, and return the process ids in its answers."""

    def get() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=SECONDS) as response:
            return int(response.read())

    async with asyncio.timeout(SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
        return await asyncio.gather(*[asyncio.to_thread(get) for _ in range(count)])


@pytest.mark.parametrize("preload", ["", "preloaded", "published before the fork"])
@pytest.mark.parametrize(
    ("worker", "application"),
    [
        ("sync", "wsgi"),
        ("gthread", "wsgi"),
        ("gevent", "wsgi"),
        ("asgi", "asgi"),
        ("uvicorn_worker.UvicornWorker", "asgi"),
    ],
)
async def test_a_worker_of_gunicorn_publishes(gateway: Gateway, worker: str, application: str, preload: str) -> None:
    port = free_port()
    arguments = ["-m", "gunicorn", f"{PROGRAMS}:{application}", "-k", worker, "-b", f"127.0.0.1:{port}", "-w", "2"]
    arguments += ["--no-control-socket", "--graceful-timeout", "2"]
    arguments += ["--threads", "4"] if worker == "gthread" else []
    arguments += ["--preload"] if preload else []
    env = environment(gateway, FIRST_USE="import" if preload.startswith("published") else "")
    async with gateway.device() as device, running(*arguments, env=env) as server:
        processes = await answers(port, 4)
        await received(device, notes=8, complete=4)
    assert server.pid not in processes


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["alone", "two workers"])
async def test_uvicorn_publishes(gateway: Gateway, workers: list[str]) -> None:
    port = free_port()
    arguments = ["-m", "uvicorn", f"{PROGRAMS}:asgi", "--port", str(port), *workers]
    async with gateway.device() as device, running(*arguments, env=environment(gateway)):
        await answers(port, 4)
        await received(device, notes=8, complete=4)


CELERY = """
from tests.integration.concurrency.celery_app import publish

print([result.get(timeout=100, interval=0.05) for result in [publish.delay() for _ in range(4)]])
"""


@pytest.mark.parametrize(
    ("pool", "first_use"),
    [
        ("prefork", "import"),
        ("gevent", ""),
        *[pytest.param(pool, "", marks=pytest.mark.long) for pool in ("prefork", "threads", "eventlet", "solo")],
    ],
)
async def test_a_task_of_celery_publishes(gateway: Gateway, tmp_path: Path, pool: str, first_use: str) -> None:
    for folder in ("queue", "control", "results"):
        (tmp_path / folder).mkdir()
    env = environment(gateway, BROKER_FOLDER=str(tmp_path))
    worker = ["-m", "celery", "-A", "tests.integration.concurrency.celery_app", "worker", "-P", pool, "-c", "2"]
    worker += ["--without-heartbeat", "--without-gossip", "--without-mingle", "-l", "warning"]
    async with gateway.device() as device, running(*worker, env=env | {"FIRST_USE": first_use}):
        processes = json.loads(await result_of(CELERY, env=env))
        assert len(processes) == 4
        await received(device, notes=8, complete=4)


MULTIPROCESSING = """
import multiprocessing, sys
from tests.integration.concurrency.programs import elsewhere, publish_in_each_way, publish_with

if __name__ == "__main__":
    publish_in_each_way()
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        pool.apply(publish_in_each_way)
    child = context.Process(target=publish_with, args=(elsewhere,))
    child.start()
    child.join()
    print(child.exitcode)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_a_process_of_multiprocessing_publishes(gateway: Gateway, tmp_path: Path, method: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(MULTIPROCESSING)
    async with (
        gateway.device() as device,
        running(str(program), method, env=environment(gateway)) as process,
    ):
        out, _ = await asyncio.wait_for(process.communicate(), SECONDS)
        assert (process.returncode, out.decode().strip()) == (0, "0"), out.decode()
        await received(device, notes=5, complete=2)


GREEN = """
import sys

if sys.argv[1].startswith("gevent"):
    from gevent import monkey
    monkey.patch_all(thread=sys.argv[1] == "gevent")
    import gevent
    spawn, wait, sleep = gevent.spawn, lambda started: started.get(), gevent.sleep
else:
    import eventlet
    eventlet.monkey_patch()
    spawn, wait, sleep = eventlet.spawn, lambda started: started.wait(), eventlet.sleep

import asyncio
from tests.integration.concurrency.programs import publish_in_each_way
from tellwire import sync

turns = 0

def count_turns():
    global turns
    while True:
        sleep(0)
        turns += 1

spawn(count_turns)
for started in [spawn(publish_in_each_way) for _ in range(8)]:
    wait(started)
# The loop's executor is used for AWS credentials.
async def in_a_thread():
    return await asyncio.to_thread(sum, [1, 2])
from tellwire.background import run
assert run(in_a_thread()) == 3
print("others had turns" if turns > 20 else turns)
"""


@pytest.mark.parametrize("library", ["gevent", "gevent without threads", "eventlet"])
async def test_greenlets_publish_at_once_and_others_have_their_turn(gateway: Gateway, library: str) -> None:
    async with gateway.device() as device:
        assert await result_of(GREEN, library, env=environment(gateway)) == "others had turns"
        await received(device, notes=16, complete=8)


GENERATIONS = """
import asyncio, os
from tests.integration.concurrency.programs import publish_in_each_way, publish_in_each_way_asynchronously

def child(generations):
    process = os.fork()
    if process == 0:
        publish_in_each_way()
        asyncio.run(publish_in_each_way_asynchronously())
        if generations > 1:
            child(generations - 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0

publish_in_each_way()
child(2)
publish_in_each_way()
print("done")
"""


async def test_children_and_their_children_publish_with_clients_of_their_own(gateway: Gateway) -> None:
    async with gateway.device() as device:
        assert await result_of(GENERATIONS, env=environment(gateway)) == "done"
        await received(device, notes=12, complete=6)


AWS = """
import os
from tellwire.aws_api.client import AwsClient, AwsRequest, Payload
from tellwire.aws_api.credentials import FixedCredentials
from tellwire.aws_api.sigv4 import Credentials
from tellwire.background import run

credentials = FixedCredentials(Credentials("a", "b", None))
client = AwsClient("dynamodb", os.environ["TELLWIRE_URL"], "eu-central-1", credentials)
request = AwsRequest("DynamoDB Query", "GET", "/healthz", Payload.of(None))

print(run(client.call(request)).status, flush=True)
if os.fork() == 0:
    print(run(client.call(request)).status, flush=True)
    os._exit(0)
os.wait()
"""


async def test_a_client_of_aws_works_in_a_child_too(gateway: Gateway) -> None:
    assert (await result_of(AWS, env=environment(gateway))).split() == ["200", "200"]


FORKED_IN_A_BLOCK = """
import os
from tellwire import CannotRunHere, sync

with sync.track_upload("user-1", "moc-1", "parts.csv", 10) as upload:
    if os.fork() == 0:
        try:
            upload.update(rows=5)
        except CannotRunHere as error:
            print(error, flush=True)
        raise SystemExit
    os.wait()
    upload.update(rows=10)
"""


async def test_a_child_that_leaves_the_block_of_its_parent_does_not_end_the_upload(gateway: Gateway) -> None:
    async with gateway.device() as device:
        out = await result_of(FORKED_IN_A_BLOCK, env=environment(gateway))
        assert out.startswith("an upload belongs to the process that entered track_upload")
        await received(device, notes=0, complete=1)


EXITING = """
import atexit, sys

def late():
    # Registered before the background loop, so called after its end.
    sync.broadcast_to_user("user-1", hello)
    with sync.track_upload("user-1", "moc-1", "parts.csv", 10) as upload:
        for _ in upload.count(range(10)):
            pass
    assert upload.failures == 0, upload.failures
    print("done", flush=True)

atexit.register(late)
from tellwire import sync
hello = sync.create_message("note", "hello")
if sys.argv[1] == "used before":
    sync.broadcast_to_user("user-1", hello)
"""


@pytest.mark.parametrize("use", ["used before", "first used there"])
async def test_an_exit_handler_publishes(gateway: Gateway, use: str) -> None:
    async with gateway.device() as device:
        assert await result_of(EXITING, use, env=environment(gateway)) == "done"
        await received(device, notes=1, complete=1)


LEFT_OPEN = """
import sys
from tellwire import sync

def rows(upload):
    with upload as open:
        yield from open.count(range(10))

left = rows(sync.track_upload("user-1", "moc-1", "parts.csv", 10, lease_seconds=1))
next(left)
sys.modules["left open"] = left
print("done", flush=True)
"""


async def test_a_generator_that_is_open_when_the_interpreter_exits_does_not_hold_it(gateway: Gateway) -> None:
    # No thread runs any more when it is closed: the lease tells the user.
    async with gateway.device():
        before = asyncio.get_running_loop().time()
        assert (await result_of(LEFT_OPEN, env=environment(gateway))).startswith("done")
        assert asyncio.get_running_loop().time() - before < 10


async def test_a_server_that_answers_byte_by_byte_keeps_no_thread() -> None:
    dripping: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if len(dripping) < THREADS:
                dripping.append(asyncio.current_task())
                while not reader.at_eof():
                    writer.write(b"H")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        client = PlainHttp(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", proxy=None)
        request = PlainRequest("GET", "/", {}, None, timeout_seconds=30)

        async def give_up() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.send(request), 0.5)

        await asyncio.gather(*(give_up() for _ in range(THREADS)))
        response = await asyncio.wait_for(client.send(request), 10)
        assert response.body == b"ok"
        client.close()
        await asyncio.gather(*filter(None, dripping))
