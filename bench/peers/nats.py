"""NATS, from the path, on one core (`GOMAXPROCS=1`), with WebSockets for devices: https://nats.io.

A user is a subject. Devices have no tokens (NATS has its own kind, signed by an operator's key). There is no API over
HTTP: the load publishes in NATS's own protocol over TCP, verbose, so that each publish is answered.
"""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.peers.peer import Answers, Feature, Handshake, Options, Place
from bench.peers.running import Processes

_PROGRAM = "nats-server"
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1","protocol":1}\r\n'
_EVERYBODY = "all"


class Nats:
    """The binary `nats-server`."""

    name = "nats"
    features = frozenset({Feature.USERS, Feature.EVERYBODY})

    def install(self, folder: Path) -> str | None:
        """Look for it on the path."""
        if shutil.which(_PROGRAM):
            return None
        return "no `nats-server` on the path: go install github.com/nats-io/nats-server/v2@latest"

    def label(self) -> str:
        said = subprocess.run([_PROGRAM, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        found = re.search(r"(\d+\.\d+\.\d+)", said)
        return f"NATS {found[1] if found else '(version unknown)'}"

    def start(self, place: Place, options: Options) -> "_Running":
        """Start it.

        Raises:
            RuntimeError: it did not start.
        """
        running = _Running(place)
        port, second = place.ports[0], place.second_ports[0]
        config = place.folder / "nats.conf"
        config.write_text(
            f"""
            listen: "127.0.0.1:{second}"
            websocket {{ listen: "127.0.0.1:{port}", no_tls: true, compression: false }}
            ping_interval: "10m"
            max_connections: 100000
            """
        )
        running.run([_PROGRAM, "-c", config], [port, second], {"GOMAXPROCS": "1"})
        return running


class _Running(Processes):
    answers = Answers.LINES
    opening = _CONNECT.replace(b'"verbose":false', b'"verbose":true')
    heartbeats: Mapping[bytes, bytes] = {b"PING\r\n": b"PONG\r\n"}

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.publish_ports: Sequence[int] = place.second_ports

    def connect(self, user: str) -> Handshake:
        subscribe = f"SUB user.{user} 1\r\nSUB {_EVERYBODY} 2\r\nPING\r\n".encode()
        return Handshake("/", steps=[(b"INFO ", _CONNECT + subscribe)], ready=b"PONG", is_binary=True)

    def publish_one(self, user: str, payload: bytes) -> bytes:
        return _publish(f"user.{user}", payload)

    def publish_all(self, payload: bytes) -> bytes:
        return _publish(_EVERYBODY, payload)


def _publish(subject: str, payload: bytes) -> bytes:
    return f"PUB {subject} {len(payload)}\r\n".encode() + payload + b"\r\n"
