"""tellwire beside the others: `tellwire serve` with its history in memory, in SQLite, or in Redis."""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.native import LoadError
from bench.peers import installing
from bench.peers.peer import Feature, Handshake, Options, Place, post
from bench.peers.running import Processes
from bench.processes import API_KEY, SECRET
from tellwire._version import __version__
from tellwire.auth import mint_token

_AUTHORIZATION = f"Bearer {API_KEY}"
_TITLES = {"memory": "memory", "sqlite": "SQLite"}
_NATIVE = Path(__file__).parents[2] / "native"
_SITE = "site"
_CURSOR = re.compile(rb'"cursor":"([^"]+)"')


class Tellwire:
    """The gateway of this checkout, started as users start it. `engine` is that without a Redis."""

    features = frozenset(Feature) - {Feature.REDIS}

    def __init__(self, name: str, engine: str) -> None:
        self.name = name
        self._engine = engine

    def install(self, folder: Path) -> str | None:
        """Install nothing: it is here."""
        return None

    def label(self) -> str:
        return f"tellwire {__version__}, {_TITLES[self._engine]}"

    def _environment(self, place: Place) -> Mapping[str, str]:
        """Return the variables of the server's environment beside the settings."""
        return {}

    def start(self, place: Place, options: Options) -> "_Running":
        """Start one `tellwire serve` for each node.

        Raises:
            RuntimeError: it did not start.
        """
        engine = {"TELLWIRE_ENGINE": "redis", "TELLWIRE_REDIS_URL": options.redis_url} if options.redis_url else None
        environment = {
            "TELLWIRE_API_KEY": API_KEY,
            "TELLWIRE_JWT_SECRET": SECRET,
            "TELLWIRE_MAX_CONNECTIONS": "1000000",
            **(engine or {"TELLWIRE_ENGINE": self._engine}),
            **self._environment(place),
        }
        running = _Running(place)
        for port in place.ports[: options.nodes]:
            command = "from tellwire.cli import main; main()"
            running.run(
                [sys.executable, "-c", command, "serve", "--port", str(port), "--log-level", "error"],
                [port],
                environment,
            )
        return running


class FastTellwire(Tellwire):
    """The same with `tellwire-fast`, the optional fan-out loop in C, which is built from `native/`."""

    def __init__(self) -> None:
        super().__init__("tellwire-fast", "memory")

    def install(self, folder: Path) -> str | None:
        """Build it for this Python, unless that has been done."""
        source, site = folder / "source", folder / _SITE
        program = (_NATIVE / "tellwire_fast.c").read_bytes()
        if site.exists() and (source / "tellwire_fast.c").read_bytes() == program:
            return None
        for old in (source, site):
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(_NATIVE, source)
        install: list[str | Path] = [
            installing.UV,
            "pip",
            "install",
            "--quiet",
            "--python",
            sys.executable,
            "--target",
            _SITE,
            str(source),
        ]
        return installing.refusal(install, folder)

    def label(self) -> str:
        return f"tellwire {__version__} + tellwire-fast"

    def _environment(self, place: Place) -> Mapping[str, str]:
        return {"PYTHONPATH": str(place.install_folder / _SITE)}


class _Running(Processes):
    # A line of a batch may be refused although its status is 200.
    refusals: Sequence[bytes] = (b'"code":',)

    def connect(self, user: str) -> Handshake:
        return Handshake(f"/?token={mint_token(SECRET, user)}")

    def resume(self, user: str, opened: bytes, last: bytes) -> Handshake:
        cursor = _CURSOR.search(last)
        if cursor is None:
            raise LoadError(f"a message without a cursor: {last[:200]!r}")
        hello = b'{"type":"hello","cursor":"%b"}' % cursor[1]
        return Handshake(f"/?token={mint_token(SECRET, user)}", steps=[(b"", hello)], ready=b'"last":true')

    def publish_one(self, user: str, payload: bytes) -> bytes:
        return post("/v1/publish", _line({"user": user}, payload), Authorization=_AUTHORIZATION)

    def publish_all(self, payload: bytes) -> bytes:
        return post("/v1/publish", _line({"all": True}, payload), Authorization=_AUTHORIZATION)

    def publish_batch(self, messages: Sequence[tuple[str, bytes]]) -> bytes:
        body = b"\n".join(_line({"user": user}, payload) for user, payload in messages)
        return post("/v1/publish/batch", body, "application/x-ndjson", Authorization=_AUTHORIZATION)


def _line(target: dict[str, object], payload: bytes) -> bytes:
    head = json.dumps({"target": target}, separators=(",", ":")).encode()
    return head[:-1] + b',"message":{"type":"notification","data":' + payload + b"}}"
