"""The model: how often each operation happens on an installation, times its cost. Pure.

It is linear: no operation costs more because of others. `check` tells how far that is from real nodes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.scale.costs import Cost, Costs, Operation
from bench.scale.workload import Workload
from tellwire.limits import (
    HEARTBEAT_SECONDS,
    REDIS_COMPARE_PAUSE_SECONDS,
    REDIS_COMPARE_SECONDS,
    REDIS_COMPARED_AT_ONCE,
)

Rates = Mapping[Operation, float]
"""Operations per second."""

COMPARES_PER_SECOND = REDIS_COMPARED_AT_ONCE / REDIS_COMPARE_PAUSE_SECONDS
"""Streams that a node compares with Redis at most. With fewer, it compares each every `REDIS_COMPARE_SECONDS`."""

FRAME_BYTES = 4
"""Head of a WebSocket frame with up to 64 KiB."""
CURSOR_BYTES = 35
"""`cursor`, or `key` and `version`, that a message has on the wire."""
PACKET_BYTES = 40 + 29
"""Heads of TCP and IP, and of a TLS record with its tag, for each message: they rarely share a packet."""
PING_BYTES = 16 + 90
"""A client's ping, and its pong with a position, as JSON."""
CONNECT_BYTES_IN, CONNECT_BYTES_OUT = 3000, 4500
"""TLS handshake, request with a token of 1 KB, answer and welcome."""
REQUEST_BYTES_IN, REQUEST_BYTES_OUT = 350, 250
"""Heads of a publish over HTTP on a kept connection, and its answer."""


@dataclass(frozen=True, slots=True)
class Load:
    """The needs of an installation: cores that nodes and Redis keep busy, commands and bytes a second, memory."""

    node_cores: float
    redis_cores: float
    redis_commands: float
    redis_in: float
    redis_out: float
    devices_in: float
    devices_out: float
    node_memory: float
    redis_memory: float


def nodes_of_a_user(devices: float, nodes: int) -> float:
    """Return on how many nodes the connections of a user are, if each chose its node by chance."""
    return nodes * (1 - math.pow(1 - 1 / nodes, devices))


def pings(connections: float, messages_each: float) -> float:
    """Return the pings a second of clients that ping after `HEARTBEAT_SECONDS` without a message.

    `messages_each`: messages a second of one connection, at random times.
    """
    expected = messages_each * HEARTBEAT_SECONDS
    # The limit for few messages is one ping for each heartbeat.
    each = 1 / HEARTBEAT_SECONDS if expected < 1e-6 else messages_each / math.expm1(expected)
    return connections * each


def rates(workload: Workload, nodes: int) -> Rates:
    """Return the operations per second of all nodes together."""
    spread = nodes_of_a_user(workload.devices, nodes)
    to_connected = workload.publishes * (1 - workload.absent_share)
    to_all = workload.to_all_per_hour / 3600
    return {
        "base": nodes,
        "watch": 1,
        "connect": workload.connects,
        "ping": pings(workload.connections, to_connected / workload.users),
        "compare": min(workload.users * spread / REDIS_COMPARE_SECONDS, nodes * COMPARES_PER_SECOND),
        "publish": workload.publishes * (1 - workload.state_share - workload.batch_share),
        "state": workload.publishes * workload.state_share,
        "line": workload.publishes * workload.batch_share,
        "receive": to_connected * spread,
        "deliver": to_connected * (workload.devices - spread),
        "deliver_all": to_all * workload.connections,
    }


def total(of: Rates, costs: Costs, message_bytes: int | None = None) -> Cost:
    """Return the sum of rates times costs. `message_bytes`: their size, if it is not the measured one."""
    sized = costs.of if message_bytes is None else _for_messages_of(message_bytes, costs)
    found = Cost()
    for operation, often in of.items():
        found += sized[operation] * often
    return found


def load(workload: Workload, costs: Costs, nodes: int) -> Load:
    """Return the needs of a workload on this many nodes."""
    of = rates(workload, nodes)
    each = total(of, costs, workload.message_bytes)
    received = of["receive"] + of["deliver"] + of["deliver_all"]
    memory = costs.memory
    streams = workload.users * workload.users_a_day
    return Load(
        node_cores=each.node_us / 1e6,
        redis_cores=each.redis_us / 1e6,
        redis_commands=each.redis_commands,
        redis_in=each.redis_in,
        redis_out=each.redis_out,
        devices_in=of["connect"] * CONNECT_BYTES_IN + of["ping"] * (PING_BYTES / 4 + PACKET_BYTES),
        devices_out=received * (workload.message_bytes + CURSOR_BYTES + FRAME_BYTES + PACKET_BYTES)
        + of["connect"] * CONNECT_BYTES_OUT
        + of["ping"] * (PING_BYTES + PACKET_BYTES),
        node_memory=nodes * memory.node_process
        + workload.connections * (memory.node_connection + memory.kernel_socket)
        + workload.users * nodes_of_a_user(workload.devices, nodes) * memory.node_user,
        redis_memory=workload.connections * memory.redis_connection
        + workload.users * memory.redis_user
        + streams * memory.redis_stream
        + workload.kept_messages * (memory.redis_message + workload.message_bytes)
        + workload.users * workload.uploads_a_user * (memory.redis_state + workload.message_bytes),
    )


def _for_messages_of(message_bytes: int, costs: Costs) -> dict[Operation, Cost]:
    """A larger message is more bytes to Redis and from there to each node. CPU time hardly depends on it."""
    more = message_bytes - costs.message_bytes
    sized = dict(costs.of)
    for operation in ("publish", "state", "line"):
        sized[operation] = replace(sized[operation], redis_in=sized[operation].redis_in + more)
    sized["receive"] = replace(sized["receive"], redis_out=sized["receive"].redis_out + more)
    return sized
