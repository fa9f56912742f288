"""Centrifugo, from the path, on one core (`GOMAXPROCS=1`): https://centrifugal.dev.

The server subscribes each connection to the channels of its token, as Centrifugo's documentation recommends for
notifications: the user's own, and one for everybody. Its history is in memory, or in Redis with that as its engine.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt

from bench.native import LoadError
from bench.peers.peer import Feature, Handshake, Options, Place, post
from bench.peers.running import Processes
from bench.processes import API_KEY, SECRET

_PROGRAM = "centrifugo"
_EVERYBODY = "all"
_PATH = "/connection/websocket"
_HISTORY_MESSAGES = 1000
_TOKEN_SECONDS = 3600
_NO_VERSION = "0.0.0"
_BUILT = re.compile(rb"mod\tgithub\.com/centrifugal/centrifugo/v6\tv([\d.]+)")
_OFFSET = re.compile(rb'"offset":(\d+)')


class Centrifugo:
    """The binary `centrifugo`."""

    name = "centrifugo"
    features = frozenset(Feature) - {Feature.REDIS}

    def install(self, folder: Path) -> str | None:
        """Look for it on the path."""
        if shutil.which(_PROGRAM):
            return None
        return "no `centrifugo` on the path: go install github.com/centrifugal/centrifugo/v6@latest"

    def label(self) -> str:
        said = subprocess.run([_PROGRAM, "version"], capture_output=True, text=True, timeout=10, check=True).stdout
        found = re.search(r"v?(\d+\.\d+\.\d+)", said)
        version = found[1] if found else _NO_VERSION
        return f"Centrifugo {_version_built() if version == _NO_VERSION else version}"

    def start(self, place: Place, options: Options) -> "_Running":
        """Start one process for each node.

        Raises:
            RuntimeError: it did not start.
        """
        running = _Running(place, in_parallel=options.redis_url is not None)
        config = place.folder / "centrifugo.json"
        config.write_text(json.dumps(_config(options)))
        for port in place.ports[: options.nodes]:
            command = [_PROGRAM, "--config", str(config), "--http_server.port", str(port)]
            running.run([*command, "--http_server.address", "127.0.0.1"], [port], {"GOMAXPROCS": "1"})
        return running


def _version_built() -> str:
    """Return the version that the compiler wrote into the binary: `go install` leaves 0.0.0 as its own word."""
    found = _BUILT.search(Path(shutil.which(_PROGRAM) or _PROGRAM).read_bytes())
    return found[1].decode() if found else _NO_VERSION


def _config(options: Options) -> Mapping[str, Any]:
    history = {
        "history_size": _HISTORY_MESSAGES,
        "history_ttl": "24h",
        "force_recovery": True,
        "force_positioning": True,
    }
    redis = {"engine": {"type": "redis", "redis": {"address": options.redis_url}}} if options.redis_url else {}
    return {
        "client": {
            "token": {"hmac_secret_key": SECRET},
            "allowed_origins": ["*"],
            # Its ping is a line that may stand in a frame with others, where the load does not look for it: no device
            # is cut because of a pong.
            "pong_timeout": "-1ns",
        },
        "http_api": {"key": API_KEY},
        "channel": {"namespaces": [{"name": "user", **(history if options.history else {})}]},
        "log": {"level": "error"},
        **redis,
    }


class _Running(Processes):
    refusals: Sequence[bytes] = (b'"error":',)
    # Its own ping is an empty command, answered with the same.
    heartbeats: Mapping[bytes, bytes] = {b"{}": b"{}"}

    def __init__(self, place: Place, *, in_parallel: bool) -> None:
        super().__init__(place)
        # With Redis the publishes of a batch share its round trips; in memory it would only cost goroutines.
        self._batch_head = b'{"parallel":true,"commands":[' if in_parallel else b'{"commands":['

    def connect(self, user: str) -> Handshake:
        return _handshake({"token": _token(user)})

    def resume(self, user: str, opened: bytes, last: bytes) -> Handshake:
        subs: dict[str, Any] = next((json.loads(line) for line in opened.splitlines() if b'"connect"' in line), {})
        epoch = subs.get("connect", {}).get("subs", {}).get(_channel(user), {}).get("epoch")
        offset = _OFFSET.search(last)
        if epoch is None or offset is None:
            raise LoadError(f"no position: {opened[:300]!r}, {last[:300]!r}")
        position = {"recover": True, "epoch": epoch, "offset": int(offset[1])}
        return _handshake({"token": _token(user), "subs": {_channel(user): position}})

    def publish_one(self, user: str, payload: bytes) -> bytes:
        return post("/api/publish", _publication(_channel(user), payload), X_API_Key=API_KEY)

    def publish_all(self, payload: bytes) -> bytes:
        return post("/api/publish", _publication(_EVERYBODY, payload), X_API_Key=API_KEY)

    def publish_batch(self, messages: Sequence[tuple[str, bytes]]) -> bytes:
        commands = b",".join(
            b'{"publish":' + _publication(_channel(user), payload) + b"}" for user, payload in messages
        )
        return post("/api/batch", self._batch_head + commands + b"]}", X_API_Key=API_KEY)


def _channel(user: str) -> str:
    return f"user:{user}"


def _publication(channel: str, payload: bytes) -> bytes:
    return b'{"channel":"' + channel.encode() + b'","data":' + payload + b"}"


def _token(user: str) -> str:
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + _TOKEN_SECONDS, "channels": [_channel(user), _EVERYBODY]}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def _handshake(command: Mapping[str, Any]) -> Handshake:
    connect = json.dumps({"id": 1, "connect": command}, separators=(",", ":")).encode()
    return Handshake(_PATH, steps=[(b"", connect)], ready=b'"connect":{')
