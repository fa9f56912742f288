"""The machine: cores for server and load, the limit of open sockets, and a description for the results."""

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
    """The core of the server under test (or of the baseline), and the core of the load.

    Determined once, at the start: a process that is pinned already, and its children, see one core only.
    """

    server: int
    load: int
    count: int

    @classmethod
    def of_this_process(cls) -> "Cores":
        """Return two different cores of those this process may use.

        Raises:
            RuntimeError: there is only one. Load and server would share it, and the figures would be wrong.
        """
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise RuntimeError(f"the benchmarks need two cores; this process may use {len(cores)}")
        return cls(cores[0], cores[-1], len(cores))


def require_core(process_id: int, core: int) -> None:
    """Check that a process is pinned to a core: a server that shares the load's core would look slow.

    Raises:
        RuntimeError: it may run on other cores.
    """
    allowed = os.sched_getaffinity(process_id)
    if allowed != {core}:
        raise RuntimeError(f"process {process_id} should be on core {core} only; it may use {sorted(allowed)}")


def pin(process_id: int, core: int) -> None:
    """Pin a process to one core, with the threads that it starts later."""
    os.sched_setaffinity(process_id, {core})


def allow_many_sockets() -> None:
    """Raise this process's limit of open files to its maximum."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def highest_priority() -> Iterator[None]:
    """Give this process and its children the highest priority, if that is allowed (usually to root only).

    Otherwise other processes affect the figures, most of all those of servers that often wait.
    """
    autogroup = Path("/proc/self/autogroup")  # with autogroups, nice levels count within a group only
    before = autogroup.read_text().split()[-1] if autogroup.exists() else None
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        if before is not None:
            autogroup.write_text("-20")
    try:
        yield
    finally:
        if before is not None:
            with suppress(PermissionError):
                autogroup.write_text(before)


def describe(cores: Cores) -> dict[str, Any]:
    """Return the machine, the versions and the commit of a run."""
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
    """Return the CPU time of a process so far: all threads, user and system, in steps of 10 ms."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def precise_cpu_seconds(process_id: int) -> float:
    """Return the CPU time of the threads that a process has now, as the scheduler counts it, in nanoseconds."""
    tasks = Path(f"/proc/{process_id}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9


def rss_bytes(process_id: int) -> int:
    """Return the resident memory of a process. The kernel's socket buffers are not included."""
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def commit() -> str:
    """Return the measured commit, marked if files differ from it."""
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
