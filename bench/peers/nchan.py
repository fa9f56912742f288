"""nchan: nginx's module for publish and subscribe, if nginx has it."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.peers.installing import PROGRAMS
from bench.peers.peer import Feature, Handshake, Options, Peer, Place, post
from bench.peers.running import Processes

_MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"), Path("/usr/local/lib/nginx/modules"))
_FILE = "ngx_nchan_module.so"
_MISSING = "needs nginx with its module nchan: `apt-get install nginx libnginx-mod-nchan`"


class Nchan(Processes):
    """nginx with nchan that runs."""

    is_for_all = False

    def connect(self, user: str) -> Handshake:
        return Handshake("/ws-all" if self.is_for_all else f"/ws?user={quote(user)}")

    def publish_one(self, user: str, payload: bytes) -> bytes:
        return post(f"/publish?user={quote(user)}", payload)

    def publish_all(self, payload: bytes) -> bytes:
        return post("/publish-all", payload)


@dataclass(slots=True)
class NchanPeer:
    """nchan, with one worker of nginx. It has no batches: a request has one message.

    A device that gets messages for its user and for all subscribes to two channels at once. That doubles the cost, so
    devices that subscribe to the channel of all only are measured, too.
    """

    name: str
    is_for_all: bool
    features: frozenset[Feature]

    def install(self, folder: Path) -> str | None:
        return None if _nginx() is not None and _module() is not None else _MISSING

    def label(self) -> str:
        return f"nchan{_version()}{', one channel for all' if self.is_for_all else ''}"

    def start(self, place: Place, options: Options) -> Nchan:
        source = (PROGRAMS / "nchan" / "nginx.conf").read_text()
        configuration = place.folder / "nginx.conf"
        configuration.write_text(source.replace("PORT", str(place.ports[0])).replace("MODULE", str(_module())))
        running = Nchan(place)
        running.is_for_all = self.is_for_all
        running.run([_nginx() or "nginx", "-p", place.folder, "-c", configuration, "-e", "stderr"], place.ports[:1])
        return running


def _nginx() -> str | None:
    """Return the path of nginx; on Debian, that of `root` is not the path of everybody."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def _module() -> Path | None:
    return next((folder / _FILE for folder in _MODULES if (folder / _FILE).exists()), None)


def _version() -> str:
    """Return the version of Debian's package, with a space before it; empty elsewhere."""
    command = ["dpkg-query", "--show", "--showformat", "${Version}", "libnginx-mod-nchan"]
    if shutil.which(command[0]) is None:
        return ""
    found = re.search(r"\d+\.\d+\.\d+", subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return f" {found[0]}" if found else ""


PEERS: Sequence[Peer] = (
    NchanPeer("nchan", is_for_all=False, features=frozenset({Feature.USERS, Feature.EVERYBODY})),
    NchanPeer("nchan-all", is_for_all=True, features=frozenset({Feature.EVERYBODY})),
)
