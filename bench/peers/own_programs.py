"""Peers that are libraries: Socket.IO, `ws`, uWebSockets.js, Bun, python-socketio, FastAPI and Django Channels.

For each, `programs` has the smallest program that uses it as its documentation has it. All have the same endpoints:
`/ws?user=…` (but for Socket.IO), `/publish?user=…`, `/publish-all` and `/publish-batch`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.peers import installing
from bench.peers.peer import Feature, Handshake, Options, Peer, Place, post
from bench.peers.running import Processes

_IMPORT = """import("PACKAGE").catch((error) => {
  console.log(String(error).split("\\n").at(-1))
  process.exit(1)
})"""
_FEATURES = frozenset({Feature.USERS, Feature.EVERYBODY, Feature.BATCH})


class Program(Processes):
    """A program of the bench that runs."""

    def connect(self, user: str) -> Handshake:
        return Handshake(f"/ws?user={quote(user)}")

    def publish_one(self, user: str, payload: bytes) -> bytes:
        return post(f"/publish?user={quote(user)}", payload)

    def publish_all(self, payload: bytes) -> bytes:
        return post("/publish-all", payload)

    def publish_batch(self, messages: Sequence[tuple[str, bytes]]) -> bytes:
        lines = [b'{"user":"%s","message":%s}' % (user.encode(), payload) for user, payload in messages]
        return post("/publish-batch", b"\n".join(lines), "application/x-ndjson")


class SocketIoProgram(Program):
    """A program that speaks Socket.IO: version 4 of Engine.IO on a WebSocket, in the namespace `/`."""

    heartbeats: Mapping[bytes, bytes] = {b"2": b"3"}

    def connect(self, user: str) -> Handshake:
        connect = b'40{"user":"%s"}' % user.encode()
        return Handshake("/socket.io/?EIO=4&transport=websocket", steps=((b'0{"sid"', connect),), ready=b'40{"sid"')


@dataclass(slots=True)
class NodePeer:
    """A program on Node. `package` is the npm package to show."""

    name: str
    title: str
    program: str
    package: str
    runs: type[Program] = Program
    features: frozenset[Feature] = _FEATURES

    def install(self, folder: Path) -> str | None:
        why = installing.install_packages(self.program, folder)
        # A package may bring a build for another Node or another C library only.
        return why or installing.refusal(["node", "--eval", _IMPORT.replace("PACKAGE", self.package)], folder)

    def label(self) -> str:
        return f"{self.title} {installing.package_version(self.program, self.package)}"

    def start(self, place: Place, options: Options) -> Program:
        running = self.runs(place)
        running.run(["node", place.install_folder / "server.js", str(place.ports[0])], place.ports[:1])
        return running


@dataclass(slots=True)
class BunPeer:
    """Bun, from its npm package."""

    name = "bun"
    features = _FEATURES

    def install(self, folder: Path) -> str | None:
        why = installing.install_packages("bun", folder)
        return why or installing.refusal([_bun(folder), "--version"], folder)

    def label(self) -> str:
        return f"Bun {installing.package_version('bun', 'bun')} (uWebSockets)"

    def start(self, place: Place, options: Options) -> Program:
        running = Program(place)
        running.run(
            [_bun(place.install_folder), place.install_folder / "server.js", str(place.ports[0])], place.ports[:1]
        )
        return running


@dataclass(slots=True)
class PythonPeer:
    """A program on Python, under uvicorn. `package` is the one to show."""

    name: str
    title: str
    program: str
    package: str
    runs: type[Program] = Program
    features: frozenset[Feature] = _FEATURES

    def install(self, folder: Path) -> str | None:
        return installing.install_venv(self.program, folder)

    def label(self) -> str:
        return f"{self.title} {installing.required_version(self.program, self.package)}"

    def start(self, place: Place, options: Options) -> Program:
        running = self.runs(place)
        running.run(_python(place, place.ports[0]), place.ports[:1])
        return running


@dataclass(slots=True)
class ChannelsPeer:
    """Django Channels, with a Redis as channel layer: the one for production."""

    name = "channels"
    features = _FEATURES | {Feature.REDIS, Feature.NODES}

    def install(self, folder: Path) -> str | None:
        return installing.install_venv("channels", folder)

    def label(self) -> str:
        return f"Django Channels {installing.required_version('channels', 'channels')}"

    def start(self, place: Place, options: Options) -> Program:
        running = Program(place)
        for port in place.ports[: options.nodes]:
            running.run([*_python(place, port), str(options.redis_url)], [port])
        return running


def _bun(folder: Path) -> Path:
    """Return the program of this machine's kind: the package's own link to it is made by a script, which is not run."""
    return next((folder / "node_modules" / "@oven").glob("*/bin/bun"), folder / "bun")


def _python(place: Place, port: int) -> list[str | Path]:
    folder = place.install_folder
    return [folder / "venv" / "bin" / "python", folder / "server.py", str(port)]


PEERS: Sequence[Peer] = (
    NodePeer("uwebsockets", "uWebSockets.js, uwebsockets", "uwebsockets", "uwebsockets"),
    BunPeer(),
    NodePeer("ws", "ws", "ws", "ws"),
    NodePeer("socket.io", "Socket.IO", "socketio", "socket.io", SocketIoProgram),
    PythonPeer("python-socketio", "python-socketio", "python_socketio", "python-socketio", SocketIoProgram),
    PythonPeer("fastapi", "FastAPI", "fastapi", "fastapi"),
    ChannelsPeer(),
)
