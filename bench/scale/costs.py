"""Costs of one operation, as they were measured: CPU time of a node and of Redis, and the bytes between them. Pure.

base          a second of a node without connections: its lease and its heartbeats
watch         a second of the watch over the leases of all uploads, which the nodes share
connect       a handshake with a token that is new to the node, a `hello` that missed nothing, and the end
ping          a `ping` message of a client and its `pong`
compare       a comparison of the end of a subscribed stream with that in Redis
publish       a notification to a user, in a request of its own
state         an update of an upload, in a request of its own
line          a notification to a user, one line of a batch
receive       a message from the channel of a stream, to the first connection of the user on this node
deliver       the same message to each further connection of the user on this node
deliver_all   a message to everybody, for each connection
"""

from dataclasses import astuple, dataclass
from operator import add
from typing import Literal, get_args

Operation = Literal[
    "base", "watch", "connect", "ping", "compare", "publish", "state", "line", "receive", "deliver", "deliver_all"
]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one operation: microseconds of CPU, commands in Redis, and bytes to (`in`) and from (`out`) Redis."""

    node_us: float = 0.0
    redis_us: float = 0.0
    redis_commands: float = 0.0
    redis_in: float = 0.0
    redis_out: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*map(add, astuple(self), astuple(other)))

    def at_least_nothing(self) -> "Cost":
        """Return it with 0 in place of negative values: the difference of two measurements may be one."""
        return Cost(*(max(0.0, each) for each in astuple(self)))

    def __mul__(self, times: float) -> "Cost":
        return Cost(*(each * times for each in astuple(self)))


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: of a node's process without connections, of a connection and a subscribed user in it, of the kernel for a
    socket; and in Redis of a registered connection, a connected user, a stream that has something, a message and a
    state, without their payloads."""

    node_process: float
    node_connection: float
    node_user: float
    kernel_socket: float
    redis_connection: float
    redis_user: float
    redis_stream: float
    redis_message: float
    redis_state: float


@dataclass(frozen=True, slots=True)
class Costs:
    """All costs of an engine. `message_bytes` is the size of the messages that were measured, as JSON."""

    engine: str
    message_bytes: int
    memory: Memory
    of: dict[Operation, Cost]
