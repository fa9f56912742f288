"""Memory of a node, the kernel and Redis, for connections, users, streams, messages and states."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.machine import Cores
from bench.native import nobody
from bench.scale.amounts import Amounts
from bench.scale.costs import Memory
from bench.scale.installation import Installation, installation, kernel_bytes
from bench.scale.stages import BATCH, STATE_BYTES, states
from bench.traffic import MESSAGE_BYTES, batch_requests

STREAMS = 300
MESSAGES = 60


@dataclass(frozen=True, slots=True)
class _Grown:
    """A process without connections, and the growth of it, of the kernel and of Redis by connections."""

    process: float
    node: float
    kernel: float
    redis: float


def measure_memory(cores: Cores, engine: str, amounts: Amounts) -> Memory:
    """Return the bytes of everything. Each user has one connection, then four: so users and connections are apart."""
    count = amounts.memory_users
    single, fourfold = (_connections(cores, engine, amounts, devices) for devices in (1, 4))
    user, connection = _apart(single.node, fourfold.node, count)
    redis_user, redis_connection = _apart(single.redis, fourfold.redis, count)
    stream, message, state = _streams(cores, engine) if engine == "redis" else (0.0, 0.0, 0.0)
    return Memory(
        node_process=single.process,
        node_connection=connection,
        node_user=user,
        kernel_socket=single.kernel / count,
        redis_connection=redis_connection,
        redis_user=redis_user,
        redis_stream=stream,
        redis_message=message,
        redis_state=state,
    )


def _connections(cores: Cores, engine: str, amounts: Amounts, devices: int) -> _Grown:
    with installation(cores, engine) as on:
        # Few: the memory they free is used again, and is missing from the growth.
        with on.connected([["early-1", "early-2"]]):
            pass
        time.sleep(amounts.settle_seconds)
        process, kernel, redis = on.nodes[0].rss_bytes, kernel_bytes(), _redis_memory(on)
        users = [f"user-{number}" for number in range(amounts.memory_users // devices)]
        with on.connected([[user for user in users for _ in range(devices)]]):
            time.sleep(amounts.settle_seconds)
            # Half of the sockets are the load's.
            sockets = (kernel_bytes() - kernel) / 2
            return _Grown(process, on.nodes[0].rss_bytes - process, sockets, _redis_memory(on) - redis)


def _apart(single: float, fourfold: float, count: int) -> tuple[float, float]:
    """Return the bytes of a user and of a connection, from as many connections of as many users, and of a quarter."""
    user = max(0.0, (single - fourfold) / (count * 3 / 4))
    return user, single / count - user


def _streams(cores: Cores, engine: str) -> tuple[float, float, float]:
    """Return the bytes of a stream, and of a message and a state in it beside their own."""
    with installation(cores, engine) as on:
        users = [f"absent-{number}" for number in range(STREAMS)]
        message = batch_requests(users, BATCH)
        # The first message costs the keys of the stream, and room for others.
        stream = _kept(on, message) / STREAMS
        each = _kept(on, message * MESSAGES) / STREAMS / MESSAGES
        state = _kept(on, states(users)) / STREAMS
    return stream - each, each - MESSAGE_BYTES, state - STATE_BYTES


def _kept(on: Installation, requests: Sequence[bytes]) -> float:
    """Return the growth of Redis by these publications."""
    before = _redis_memory(on)
    with on.clients() as clients, nobody() as devices:
        devices.publish(clients, requests, 0)
    return _redis_memory(on) - before


def _redis_memory(on: Installation) -> float:
    return 0.0 if on.redis is None else on.redis.used_memory
