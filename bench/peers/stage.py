"""A stage: one contender that runs on the server's core, with its devices on the load's core."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.measured_redis import MeasuredRedis, measured_redis
from bench.native import LoadError
from bench.peers.contenders import Contender
from bench.peers.load import Crowd
from bench.peers.peer import MARK, Place, Running
from bench.processes import free_port

_REDIS_OPTIONS = ("--appendonly", "yes", "--appendfsync", "everysec")
"""The same Redis for every peer: with a file, which it syncs once a second."""
PAYLOAD_BYTES = 150
_RECOVERY_SECONDS = 1.0


@dataclass(slots=True)
class Stage:
    """A running contender, and a crowd of devices that may be open."""

    contender: Contender
    running: Running
    crowd: Crowd
    redis: MeasuredRedis | None

    @property
    def key(self) -> str:
        return self.contender.key

    def recover(self) -> None:
        """Drop the late messages of a failed run, and open all devices anew if the server has closed some."""
        self.crowd.idle(_RECOVERY_SECONDS)
        if self.crowd.gone:
            self.crowd.close()
            self.open_users()

    def cpu_seconds(self) -> float:
        """Return the CPU time of the server so far: of all its processes and threads, without Redis."""
        return sum(machine.precise_cpu_seconds(pid) for pid in self.running.pids)

    def redis_seconds(self) -> float:
        """Return the CPU time of its Redis so far; 0 without one."""
        return self.redis.counts()["us"] / 1e6 if self.redis else 0.0

    def rss_bytes(self) -> int:
        """Return the resident memory of all its processes. The kernel's socket buffers are not included."""
        return sum(machine.rss_bytes(pid) for pid in self.running.pids)

    def open_users(self, first: int = 0, end: int | None = None) -> None:
        """Open one device for each user, from number `first` to before `end`."""
        end = len(self.crowd) if end is None else end
        self.crowd.open([self.running.connect(user(number)) for number in range(first, end)], first)


@contextmanager
def stage(
    contender: Contender, cores: machine.Cores, devices: int, *, nodes: int = 1, keeps: bool = False
) -> Iterator[Stage]:
    """Start a contender with room for so many devices, and end it.

    Raises:
        LoadError: it did not start.
    """
    with ExitStack() as stack:
        redis = stack.enter_context(measured_redis(cores, *_REDIS_OPTIONS)) if contender.needs_redis else None
        ports = [free_port() for _ in range(2 * nodes)]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        place = Place(ports[:nodes], ports[nodes:], cores.server, contender.install_folder, folder)
        if redis is not None:
            contender = contender.on(nodes, redis.url)
        try:
            running = contender.peer.start(place, contender.options)
        except (OSError, RuntimeError) as error:
            raise LoadError(str(error)) from error
        stack.callback(running.stop)
        yield Stage(contender, running, stack.enter_context(Crowd(running, devices, keeps=keeps)), redis)


def user(number: int) -> str:
    """Return the name of a user, as long as all others."""
    return f"user-{number:06}"


def payload(size: int = PAYLOAD_BYTES) -> bytes:
    """Return a notification's data of so many bytes, with a mark."""
    data = b'{"title":"Upload complete","message":"%b %b","severity":"success"}'
    return data % (MARK, b"." * (size - len(data % (MARK, b""))))
