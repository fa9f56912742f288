"""The machine: which core does what, how many sockets a process may have, and what it all ran on."""

import os
import platform
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = (
    "tellwire",
    "uvicorn",
    "uvloop",
    "httptools",
    "websockets",
    "starlette",
    "msgspec",
    "pyjwt",
    "cryptography",
    "pyreqwest",
    "boto3",
    "botocore",
    "urllib3",
    "aiobotocore",
    "aiohttp",
)
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the server under test (or the baseline in its place) has, and which the load.

    Asked for once, at the start: a process that is pinned already, and its children, see one core only.
    """

    server: int
    load: int
    count: int

    @classmethod
    def of_this_process(cls) -> "Cores":
        """Return two different cores of those this process may use.

        Raises:
            RuntimeError: there is only one. Load and server would take turns, and no figure would mean anything.
        """
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise RuntimeError(f"the benchmarks need two cores; this process may use {len(cores)}")
        return cls(cores[0], cores[-1], len(cores))


def require_core(process_id: int, core: int) -> None:
    """Check that a process is where it should be: a server that shares the load's core looks slow, and proves nothing.

    Raises:
        RuntimeError: it is not on this core, and on this one only.
    """
    allowed = os.sched_getaffinity(process_id)
    if allowed != {core}:
        raise RuntimeError(f"process {process_id} should be on core {core} only; it may use {sorted(allowed)}")


def pin(process_id: int, core: int) -> None:
    """Keep a process on one core. Threads it starts later stay there too."""
    os.sched_setaffinity(process_id, {core})


def allow_many_sockets() -> None:
    """Raise this process's limit of open files as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def going_first() -> Iterator[None]:
    """Let this process and its children go before all others, where that is allowed (to root, mostly).

    Otherwise what else runs here is in the figures, and more so of those who wait and wake often.
    """
    session = Path("/proc/self/autogroup")  # where there are autogroups, nice levels count within one only
    before = session.read_text().split()[-1] if session.exists() else None
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        if before is not None:
            session.write_text("-20")
    try:
        yield
    finally:
        if before is not None:
            with suppress(PermissionError):
                session.write_text(before)


def describe(cores: Cores) -> dict[str, Any]:
    """Return what a figure means nothing without."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpu": _cpu_model(),
        "cores": cores.count,
        "server_core": cores.server,
        "load_core": cores.load,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "load_average": os.getloadavg()[0],
    }


def cpu_seconds(process_id: int) -> float:
    """Return the CPU time of a process so far: all threads, user and system."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(process_id: int) -> int:
    """Return the memory a process has in RAM. The kernel's socket buffers are not in it."""
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def commit() -> str:
    """Return the commit that is measured, marked when files differ from it."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", "../src")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}-modified" if changed else head


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", *arguments]
    return subprocess.run(command, cwd=_HERE, check=True, capture_output=True, text=True, timeout=10).stdout.strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
