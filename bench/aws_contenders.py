"""The contenders: tellwire, boto3 and aiobotocore, each in its own process on the load's core.

Each does the same two tasks in the way of its documentation: post to one connection after the other, and send one
message to all connections of a user, which are looked up in the table first. The second with as many concurrent
requests as tellwire makes (64), and with 32 threads for boto3.

CPU time is that of the process with all its threads.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

from bench import machine
from bench.aws_server import TABLE, USER, connection_ids
from bench.native import TIMEOUT_SECONDS, LoadError

NAMES = ("tellwire", "boto3", "aiobotocore")
THREADS = 32
AT_A_TIME = 64
PAYLOAD = b"." * 200
_STOP_SECONDS = 10.0
_QUERY = {
    "TableName": TABLE,
    "ConsistentRead": True,
    "KeyConditionExpression": "userId = :user",
    "ExpressionAttributeValues": {":user": {"S": USER}},
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spent:
    """The times of one order, in seconds."""

    wall: float
    cpu: float


class Contender:
    """A running contender. Made by `contender`."""

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self._connection = connection

    def post(self, count: int) -> Spent:
        """Post to this many connections, one after the other."""
        self._connection.send(("post", count))
        return self.answer()

    def broadcast(self) -> Spent:
        """Send one message to every connection of the user."""
        self._connection.send(("broadcast", 0))
        return self.answer()

    def answer(self) -> Spent:
        """Return the times of the last order; the first answer only says that the process is ready.

        Raises:
            LoadError: the process failed.
        """
        if not self._connection.poll(2 * TIMEOUT_SECONDS):
            raise LoadError(f"{self.name} does not answer")
        try:
            spent: Spent = self._connection.recv()
        except EOFError as error:
            raise LoadError(f"{self.name}: its process ended") from error
        return spent


@contextmanager
def contender(name: str, cores: machine.Cores, environment: Mapping[str, str]) -> Iterator[Contender]:
    """Run one of `NAMES` in a new process with this environment."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, name, cores.load, dict(environment)), daemon=True)
    process.start()
    theirs.close()
    try:
        running = Contender(name, ours)
        running.answer()
        yield running
    finally:
        # The worker ends when its end of the pipe does.
        ours.close()
        process.join(_STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


# --- in the contender's process --------------------------------------------------------------------------------------


class _Client(Protocol):
    def post(self, ids: Sequence[str]) -> None: ...
    def broadcast(self) -> None: ...
    def close(self) -> None: ...


def _work(orders: Connection, name: str, core: int, environment: Mapping[str, str]) -> None:
    machine.pin(0, core)
    os.environ.clear()
    os.environ.update(environment)
    clients: dict[str, Callable[[], _Client]] = {"tellwire": _Tellwire, "boto3": _Boto3, "aiobotocore": _Aiobotocore}
    client = clients[name]()
    try:
        _obey(orders, client)
    finally:
        client.close()


def _obey(orders: Connection, client: _Client) -> None:
    orders.send(Spent(0.0, 0.0))
    while True:
        try:
            order, count = orders.recv()
        except EOFError:
            return
        ids = connection_ids(count)
        began, cpu_before = time.perf_counter(), time.process_time()
        if order == "post":
            client.post(ids)
        else:
            client.broadcast()
        orders.send(Spent(time.perf_counter() - began, time.process_time() - cpu_before))


class _Tellwire:
    def __init__(self) -> None:
        from tellwire.engines.aws.carrier import AwsCarrier
        from tellwire.engines.aws.environment import open_management, open_table

        self._loop = asyncio.new_event_loop()
        self._management = open_management(os.environ)
        self._carrier = AwsCarrier(open_table(os.environ), self._management)

    def post(self, ids: Sequence[str]) -> None:
        self._loop.run_until_complete(self._post(ids))

    async def _post(self, ids: Sequence[str]) -> None:
        from tellwire.aws_api.client import Payload

        for connection_id in ids:
            if not await self._management.post(connection_id, Payload.of(PAYLOAD)):
                raise LoadError(f"{connection_id} is gone")

    def broadcast(self) -> None:
        from tellwire.model import Target
        from tellwire.publication import Publication, user_stream

        publication = Publication(Target(user=USER), user_stream(USER), "t0", "note", PAYLOAD, 0.0)
        delivery = self._loop.run_until_complete(self._carrier.deliver(publication))
        if delivery.failed or delivery.gone or delivery.unsent:
            raise LoadError(str(delivery))

    def close(self) -> None:
        self._loop.run_until_complete(self._carrier.close())
        self._loop.close()


class _Boto3:
    def __init__(self) -> None:
        import boto3
        from botocore.config import Config

        # With its default of ten, more threads would open connections and throw them away.
        config = Config(max_pool_connections=THREADS)
        endpoint = os.environ["WEBSOCKET_API_ENDPOINT"]
        self._dynamodb = boto3.client("dynamodb", config=config)
        self._management = boto3.client("apigatewaymanagementapi", endpoint_url=endpoint, config=config)
        self._threads = ThreadPoolExecutor(THREADS)

    def post(self, ids: Sequence[str]) -> None:
        for connection_id in ids:
            self._management.post_to_connection(ConnectionId=connection_id, Data=PAYLOAD)

    def broadcast(self) -> None:
        for page in self._dynamodb.get_paginator("query").paginate(**_QUERY):
            ids = [item["connectionId"]["S"] for item in page["Items"]]
            for _ in self._threads.map(self._post_to, ids):
                pass

    def _post_to(self, connection_id: str) -> None:
        self._management.post_to_connection(ConnectionId=connection_id, Data=PAYLOAD)

    def close(self) -> None:
        self._threads.shutdown()


class _Aiobotocore:
    def __init__(self) -> None:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        self._loop = asyncio.new_event_loop()
        self._session = get_session()
        self._config = AioConfig(max_pool_connections=AT_A_TIME)
        self._clients = [
            self._session.create_client("dynamodb", config=self._config),
            self._session.create_client(
                "apigatewaymanagementapi", endpoint_url=os.environ["WEBSOCKET_API_ENDPOINT"], config=self._config
            ),
        ]
        self._dynamodb: Any = self._run(self._clients[0].__aenter__())
        self._management: Any = self._run(self._clients[1].__aenter__())

    def post(self, ids: Sequence[str]) -> None:
        self._run(self._post(iter(ids)))

    def broadcast(self) -> None:
        self._run(self._broadcast())

    async def _broadcast(self) -> None:
        async for page in self._dynamodb.get_paginator("query").paginate(**_QUERY):
            ids = iter([item["connectionId"]["S"] for item in page["Items"]])
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_A_TIME):
                    group.create_task(self._post(ids))

    async def _post(self, ids: Iterator[str]) -> None:
        for connection_id in ids:
            await self._management.post_to_connection(ConnectionId=connection_id, Data=PAYLOAD)

    def close(self) -> None:
        for client in self._clients:
            self._run(client.__aexit__(None, None, None))
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)
