"""Peers: the servers that `python -m bench peers` measures beside each other, and their interface for it.

A peer is started pinned to one core. The load opens WebSockets with its `Handshake`s, and sends it the bytes of whole
requests. A delivery is a `Mark` in a data frame, wherever it stands there; all other frames (replies, openings,
heartbeats) are not counted. The load writes number and time into the marks as it sends them, so they must reach the
devices as they are: a peer must not compress.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import Protocol

HOST = "127.0.0.1"
MARK = b"bench!000-0000000000-0000000000000000000"
"""A mark as the load finds it in a request: run, number of the message, and nanoseconds at which it was due."""


class Feature(StrEnum):
    """Abilities of a peer. It takes part in the scenarios for which it has all that they need."""

    USERS = auto()
    """A message goes to the devices of one user."""
    EVERYBODY = auto()
    """One request reaches all devices."""
    BATCH = auto()
    """One request has messages for several users, each its own."""
    TOKENS = auto()
    """A handshake proves its user, with a JWT (HS256)."""
    HISTORY = auto()
    """Messages are kept, and those that were missed come after a reconnect."""
    NODES = auto()
    """Several processes are one service, by a Redis."""
    REDIS = auto()
    """It needs a Redis also on one node."""


class Answers(Enum):
    """Kinds of answers to a request."""

    HTTP = auto()
    LINES = auto()
    """One line each, as in the protocol of NATS."""


@dataclass(frozen=True, slots=True)
class Options:
    """The way in which a peer is started. With several `nodes` there is always a `redis_url`."""

    history: bool = False
    nodes: int = 1
    redis_url: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a peer: a port for each node and a second one for those that need it, a core, and folders.

    `install_folder` is that of `install`; `folder` is an empty one for files of this run, which is removed at the end.
    """

    ports: Sequence[int]
    second_ports: Sequence[int]
    core: int
    install_folder: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Handshake:
    """The opening of one WebSocket: a request, then texts to say, until the device is ready.

    `steps` are pairs of what is awaited (bytes that a frame must contain; nothing: at once) and what is said then. The
    device is ready when a frame has contained `ready`; if that is empty, with the last step, or with the 101.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[tuple[bytes, bytes]] = ()
    ready: bytes = b""
    is_binary: bool = False


class Running(Protocol):
    """A peer that runs, on one or more nodes. `node` counts from 0."""

    device_ports: Sequence[int]
    """Ports of WebSockets, for each node."""
    publish_ports: Sequence[int]
    """Ports of requests, for each node: of keep-alive connections of plain TCP."""
    answers: Answers
    opening: bytes
    """Said first on each connection for requests; empty: nothing. One line answers it, after the server's first."""
    refusals: Sequence[bytes]
    """Words of an answer by which a peer refuses although its status is 200, such as `"error":`."""
    heartbeats: Mapping[bytes, bytes]
    """Texts of the peer's own heartbeat, and their answers. Pings of WebSocket are always answered."""

    @property
    def pids(self) -> Sequence[int]:
        """Return the processes whose CPU time and memory count: all of the peer itself, but no Redis."""
        ...

    def connect(self, user: str) -> Handshake:
        """Return the handshake of a device of this user, who also gets messages for everybody."""
        ...

    def resume(self, user: str, opened: bytes, last: bytes) -> Handshake:
        """Return the handshake after which it also gets all that it missed. With `Feature.HISTORY` only.

        `opened` is the frame that had `ready` at the last connection, `last` the last frame with a mark.
        """
        ...

    def publish_one(self, user: str, payload: bytes) -> bytes:
        """Return a request with a message for one user. `payload` is a JSON object of about 150 bytes, with a mark."""
        ...

    def publish_all(self, payload: bytes) -> bytes:
        """Return a request with one message for everybody."""
        ...

    def publish_batch(self, messages: Sequence[tuple[str, bytes]]) -> bytes:
        """Return a request with a message for each of these users, in this order."""
        ...

    def stop(self) -> None:
        """End all its processes, by their ids."""
        ...


class Peer(Protocol):
    """A server to measure. All its methods but `install` are called after `install` returned None."""

    name: str
    """For the command line, such as `socket.io`."""
    features: frozenset[Feature]

    def install(self, folder: Path) -> str | None:
        """Install it into a folder of its own, which may be there already. Return None, or why that is not possible."""
        ...

    def label(self) -> str:
        """Return its name for tables, with its version, such as `Socket.IO 4.8.1`."""
        ...

    def start(self, place: Place, options: Options) -> Running:
        """Start it, and return when it accepts connections.

        Raises:
            RuntimeError: it did not start.
        """
        ...


def post(path: str, body: bytes, content_type: str = "application/json", **headers: str) -> bytes:
    """Return an HTTP request on a keep-alive connection. Underscores in names of headers are hyphens."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
