"""Tracked tasks in a real worker, with a real Redis as its broker: devices are told of each end as it was."""

import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from celery import chord
from celery.exceptions import TaskRevokedError
from redis import Redis
from websockets.asyncio.client import ClientConnection

from tellwire.celery import in_parts
from tests.conftest import API_KEY, Gateway
from tests.integration.concurrency.test_workers import environment, running
from tests.redis_server import RedisServer
from tests.tools import SECONDS, until

NAME = "tests.integration.celery.tasks"


class Device:
    """A device of user-1, and all that it was told."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.messages: list[dict[str, Any]] = []

    async def listen(self) -> None:
        async for text in self._socket:
            self.messages.append(json.loads(text))

    def statuses(self, upload_id: str) -> list[str]:
        """The statuses of an upload in order, without repetition."""
        data = [each["data"] for each in self.messages if each["type"] == "upload_progress"]
        found = [each["status"] for each in data if each["uploadId"] == upload_id]
        return [each for at, each in enumerate(found) if at == 0 or found[at - 1] != each]

    async def ended(self, upload_id: str, *ends: str) -> list[str]:
        """Wait for an end of an upload; its statuses."""
        await until(lambda: self.statuses(upload_id)[-1:] and self.statuses(upload_id)[-1] in ends)
        return self.statuses(upload_id)

    def errors(self, upload_id: str) -> list[str]:
        data = [each["data"] for each in self.messages if each["type"] == "error"]
        return [each["code"] for each in data if each["details"]["uploadId"] == upload_id]

    async def cancel(self, upload_id: str) -> None:
        await self._socket.send(json.dumps({"type": "cancel", "uploadId": upload_id}))


class Program:
    """The program of the tests, as those have it that give tasks to its worker."""

    def __init__(self, tasks: Any, redis: Any, prefix: str) -> None:
        self.tasks, self._redis, self._prefix = tasks, redis, prefix

    async def arrived(self) -> str:
        """Wait until a task is at its gate; its name."""
        async with asyncio.timeout(SECONDS):
            while (name := self._redis.lpop(f"{self._prefix}arrived")) is None:
                await asyncio.sleep(0.01)
        return str(name.decode())

    def open(self, name: str) -> None:
        self._redis.rpush(f"{self._prefix}gate:{name}", "go")


@pytest.fixture
async def program(
    gateway: Gateway, redis_server: RedisServer, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Program]:
    own = {"BROKER_URL": redis_server.url, "BROKER_PREFIX": f"{redis_prefix}:"}
    for name, value in {**own, "TELLWIRE_URL": gateway.url, "TELLWIRE_API_KEY": API_KEY}.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop(NAME, None)
    tasks: ModuleType = importlib.import_module(NAME)
    redis = Redis.from_url(redis_server.url)
    yield Program(tasks, redis, f"{redis_prefix}:")
    redis.close()


@asynccontextmanager
async def worker_and_device(gateway: Gateway, pool: str, *more: str) -> AsyncIterator[Device]:
    arguments = ["-m", "celery", "-A", NAME, "worker", "-P", pool, "-c", "2", "-l", "warning", *more]
    arguments += ["--without-heartbeat", "--without-gossip", "--without-mingle"]
    async with gateway.device() as socket, running(*arguments, env=environment(gateway)):
        device = Device(socket)
        listening = asyncio.create_task(device.listen())
        try:
            yield device
        finally:
            listening.cancel()


async def result_of(result: Any) -> Any:
    return await asyncio.to_thread(result.get, timeout=SECONDS)


@pytest.mark.parametrize("pool", ["prefork", "threads", pytest.param("gevent", marks=pytest.mark.long)])
async def test_each_end_of_a_task_is_told_as_it_is(gateway: Gateway, program: Program, pool: str) -> None:
    tasks = program.tasks
    async with worker_and_device(gateway, pool) as device:
        again, in_vain = (tasks.fail_at_first.delay("user-1", name, count) for name, count in (("a", 1), ("b", 2)))
        assert await result_of(again) == 3
        assert await device.ended("a", "complete") == ["running", "retrying", "running", "complete"]
        assert await device.ended("b", "failed") == ["running", "retrying", "running", "failed"]
        await until(lambda: device.errors("b"))
        assert (device.errors("a"), device.errors("b")) == ([], ["UPLOAD_FAILED"])
        assert isinstance(in_vain.result, ConnectionError)

        tasks.forget.delay("user-1", "forgotten")
        await device.ended("forgotten", "complete")

        parts = in_parts([tasks.import_rows.s("user-1", first) for first in range(4)], upload_id="parts")
        assert await result_of(chord(parts)(tasks.total.s())) == 40
        assert (await device.ended("parts", "complete"))[-2:] == ["running", "complete"]

        cancelled = tasks.wait.delay("user-1", "cancelled")
        assert await program.arrived() == "cancelled"
        await device.cancel("cancelled")
        with pytest.raises(TaskRevokedError):
            await result_of(cancelled)
        assert await device.ended("cancelled", "cancelled") == ["running", "cancelled"]


async def test_a_task_that_is_revoked_before_it_begins_is_cancelled(gateway: Gateway, program: Program) -> None:
    tasks = program.tasks
    async with worker_and_device(gateway, "threads") as device:
        assert await result_of(tasks.import_rows.delay("user-1", 0)) == 10  # the worker listens
        # Before it is sent: a worker may have a task in its pool before it is known to have begun.
        await asyncio.to_thread(tasks.app.control.revoke, "task-1", reply=True, timeout=SECONDS, limit=1)
        tasks.wait.apply_async(("user-1", "revoked"), task_id="task-1")
        assert await device.ended("revoked", "cancelled") == ["cancelled"]
        assert device.errors("revoked") == []


@pytest.mark.parametrize(
    ("options", "end", "codes"),
    [
        ({"soft_time_limit": 3}, "failed", ["TASK_TIMED_OUT"]),
        ({"time_limit": 3}, "failed", ["TASK_TIMED_OUT"]),
        ({}, "cancelled", []),
    ],
)
async def test_a_process_that_is_stopped_is_told(
    gateway: Gateway, program: Program, options: dict[str, int], end: str, codes: list[str]
) -> None:
    tasks = program.tasks
    async with worker_and_device(gateway, "prefork") as device:
        task = tasks.wait.apply_async(("user-1", "stopped"), **options)
        await program.arrived()
        if not options:
            tasks.app.control.revoke(task.id, terminate=True)
        statuses = await device.ended("stopped", "failed", "cancelled")
        # A busy machine takes longer than the lease to tell of it.
        assert [each for each in statuses if each != "stalled"] == ["running", end]
        await until(lambda: len(device.errors("stopped")) >= len(codes))
        assert device.errors("stopped") == codes
        # A worker that is asked to end while it reads the result of a stopped task may hang.
        assert await result_of(tasks.import_rows.delay("user-1", 0)) == 10


async def test_a_process_that_is_killed_is_told_and_a_late_acknowledgement_begins_again(
    gateway: Gateway, program: Program
) -> None:
    tasks = program.tasks
    async with worker_and_device(gateway, "prefork") as device:
        task = tasks.begin_again.delay("user-1")
        os.kill(int(await program.arrived()), signal.SIGKILL)
        statuses = await device.ended(task.id, "complete")
        assert [each for each in statuses if each != "stalled"][-2:] == ["running", "complete"]
        assert device.errors(task.id) == []
