"""The producers of `test_workers`, which publish through Redis: forks, greenlets, pools and exit handlers."""

import pytest

from bench.processes import free_port
from tests.conftest import Gateway, StartGateway
from tests.integration.concurrency.test_workers import (
    EXITING,
    PROGRAMS,
    answers,
    environment,
    received,
    result_of,
    running,
    test_a_child_that_leaves_the_block_of_its_parent_does_not_end_the_upload,
    test_a_generator_that_is_open_when_the_interpreter_exits_does_not_hold_it,
    test_a_process_of_multiprocessing_publishes,
    test_children_and_their_children_publish_with_clients_of_their_own,
    test_greenlets_publish_at_once_and_others_have_their_turn,
)
from tests.redis_server import RedisServer

__all__ = [
    "test_a_child_that_leaves_the_block_of_its_parent_does_not_end_the_upload",
    "test_a_generator_that_is_open_when_the_interpreter_exits_does_not_hold_it",
    "test_a_process_of_multiprocessing_publishes",
    "test_children_and_their_children_publish_with_clients_of_their_own",
    "test_greenlets_publish_at_once_and_others_have_their_turn",
]

pytestmark = pytest.mark.long


@pytest.fixture
async def gateway(start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str) -> Gateway:
    """A node on Redis."""
    started = await start_gateway(engine="redis", redis_url=redis_server.url, redis_prefix=redis_prefix)
    assert isinstance(started, Gateway)
    return started


@pytest.mark.parametrize(("worker", "application"), [("sync", "wsgi"), ("gevent", "wsgi"), ("asgi", "asgi")])
async def test_a_worker_of_gunicorn_that_was_forked_after_a_publish_publishes(
    gateway: Gateway, worker: str, application: str
) -> None:
    port = free_port()
    arguments = ["-m", "gunicorn", f"{PROGRAMS}:{application}", "-k", worker, "-b", f"127.0.0.1:{port}", "-w", "2"]
    arguments += ["--no-control-socket", "--graceful-timeout", "2", "--preload"]
    async with gateway.device() as device, running(*arguments, env=environment(gateway, FIRST_USE="import")) as server:
        processes = await answers(port, 4)
        await received(device, notes=8, complete=4)
    assert server.pid not in processes


async def test_an_exit_handler_publishes_by_a_name_if_the_program_has_published_before(gateway: Gateway) -> None:
    env = environment(gateway)
    # Python starts no thread there any more, not even to resolve a name.
    env["TELLWIRE_REDIS_URL"] = env["TELLWIRE_REDIS_URL"].replace("127.0.0.1", "localhost")
    async with gateway.device() as device:
        assert await result_of(EXITING, "used before", env=env) == "done"
        await received(device, notes=1, complete=1)


async def test_the_first_publish_of_a_program_cannot_be_in_an_exit_handler(gateway: Gateway) -> None:
    out = await result_of(EXITING, "first used there", env=environment(gateway))
    assert "CannotRunHere: an exit handler cannot import the package redis" in out
