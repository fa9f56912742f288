"""Python interface to the C code of the load, which is compiled when first needed.

Every call has a timeout and releases the interpreter's lock. Anything unexpected raises `LoadError`: a throughput with
lost messages would be wrong.
"""

import ctypes
import functools
import os
import subprocess
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_SOURCES = Path(__file__).parent / "native"
_BUILD = Path(__file__).parent / ".build"
_WHY_BYTES = 1024
_TIMES = 64 * 24
_STRAY_SECONDS = 0.05
TIMEOUT_SECONDS = 30.0


class LoadError(Exception):
    """A socket did not open, a response was not 200, or a message was lost."""


class _Received(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("messages", "bytes", "strays", "closed", "fewest", "most", "pings")
    )


class _Requests(ctypes.Structure):
    _fields_ = (
        ("blob", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("messages", ctypes.c_int64),
        ("interval", ctypes.c_int64),
        ("one_at_a_time", ctypes.c_int),
    )


class _Load(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("elapsed", "cpu", "sent", "answered", "delivered", "began", "latest")),
        ("why", ctypes.c_char * _WHY_BYTES),
    )


def compile_source(source: str, *options: str) -> Path:
    """Return the compiled form of a file in `native/`, and compile it if the source is newer."""
    path = _SOURCES / source
    built = _BUILD / (path.stem + (".so" if "-shared" in options else ""))
    if not built.exists() or built.stat().st_mtime < path.stat().st_mtime:
        _BUILD.mkdir(exist_ok=True)
        unfinished = built.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-Wall", *options, "-o", unfinished, path], check=True, timeout=60)
        unfinished.replace(built)
    return built


@functools.cache
def _library() -> Any:
    library = ctypes.CDLL(str(compile_source("native.c", "-shared", "-fPIC")))
    library.fleet_open.restype = ctypes.c_void_p
    for name in ("fleet_free", "fleet_reset"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)
        getattr(library, name).restype = None
    library.fleet_received.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    library.fleet_counts.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    library.fleet_counts.restype = None
    library.fleet_ask.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int, ctypes.c_int)
    library.fleet_drain.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int)
    library.publish.argtypes = (
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.POINTER(_Requests),
        ctypes.c_int,
        ctypes.POINTER(_Load),
    )
    library.open_sockets.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_char_p,
    )
    return library


class Sockets:
    """A group of open sockets, which are closed together, by a reset."""

    def __init__(self, fds: "array[int]") -> None:
        self.fds = fds

    def __len__(self) -> int:
        return len(self.fds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        fds, self.fds = self.fds, array("i")
        for fd in fds:
            if fd >= 0:
                os.close(fd)


def joined(groups: Iterable[Sockets], *, in_turn: bool = False) -> Sockets:
    """Return one group with the sockets of all, which own none any more. `in_turn`: first the first of each."""
    taken = []
    for group in groups:
        taken.append(group.fds)
        group.fds = array("i")
    ordered = chain.from_iterable(zip(*taken, strict=True) if in_turn else taken)
    return Sockets(array("i", ordered))


def open_sockets(port: int, requests: Sequence[bytes], window: int = 64) -> Sockets:
    """Connect to loopback once per request, `window` at a time, and wait for the 101 (an empty request: connect only).

    Raises:
        LoadError: one of them did not open; all are closed then.
    """
    fds = array("i", [-1] * len(requests))
    blob, starts = _joined(requests)
    why = ctypes.create_string_buffer(_WHY_BYTES)
    sockets = Sockets(fds)
    milliseconds = int(2 * TIMEOUT_SECONDS * 1000)
    address, start_address = fds.buffer_info()[0], starts.buffer_info()[0]
    if _library().open_sockets(port, blob, start_address, len(requests), window, milliseconds, address, why):
        sockets.close()
        raise LoadError(f"opening {len(requests)} sockets: {why.value.decode(errors='replace')}")
    return sockets


@dataclass(frozen=True, slots=True)
class Load:
    """The cost of a series of requests: wall time, CPU time of the load's thread, and the counts in the responses.

    `behind_seconds`: the most that a paced request was sent too late, as all clients were busy, or the load itself.
    """

    seconds: float
    cpu_seconds: float
    delivered: int
    behind_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Times:
    """Counts of the times from sent to received, in microseconds: exact below 128, above in 64 steps a power of two."""

    counts: Sequence[int]

    @property
    def total(self) -> int:
        return sum(self.counts)

    def percentile(self, share: float) -> float:
        """Return the milliseconds within which this share of the messages arrived."""
        wanted, seen = share * self.total, 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen >= wanted and seen:
                power = max(0, index // 64 - 1)
                return (index - 64 * power << power) / 1000
        return 0.0


class Fleet:
    """A group of devices, whose received messages are counted on each socket."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self._fleet = _library().fleet_open(ctypes.c_void_p(sockets.fds.buffer_info()[0]), len(sockets))

    def __len__(self) -> int:
        return len(self._sockets)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _library().fleet_free(self._fleet)
        self._sockets.close()

    def drain(self, messages: int) -> None:
        """Read until this many messages have arrived since the last `settle`."""
        if _library().fleet_drain(self._fleet, messages, int(TIMEOUT_SECONDS * 1000)):
            raise LoadError(f"timed out: {self._received().messages} of {messages} messages arrived")

    def idle(self, seconds: float) -> int:
        """Only answer pings for this time, and return the number of pings since the last `settle`.

        Raises:
            LoadError: another frame arrived, or a connection was closed.
        """
        _library().fleet_drain(self._fleet, 1, int(seconds * 1000))
        got = self._received()
        if got.messages or got.strays or got.closed:
            raise LoadError(f"idle devices got {got.messages} messages, {got.strays} strays; {got.closed} were closed")
        return int(got.pings)

    def publish(
        self,
        clients: Sockets,
        requests: Sequence[bytes],
        messages_each: int,
        *,
        one_at_a_time: bool = False,
    ) -> Load:
        """Send HTTP requests, one outstanding per client, until all are answered and all their messages have arrived.

        With `one_at_a_time`, a request waits until every message of the last has arrived.
        """
        return self._publish(clients, requests, messages_each * len(requests), one_at_a_time=one_at_a_time)

    def publish_paced(self, clients: Sockets, requests: Sequence[bytes], messages: int, per_second: float) -> Load:
        """Send so many requests a second, whether the earlier ones are answered or not, while a client is free.

        `messages` is the number that arrive in all. Those with a mark (`traffic.TIMED`) are timed; see `counts`.
        """
        return self._publish(clients, requests, messages, interval=int(1e9 / per_second))

    def ask(self, request: bytes, window: int = 64) -> None:
        """Send one request from every device, each answered with one message."""
        frame = _client_frame(request)
        if _library().fleet_ask(self._fleet, frame, len(frame), window, int(TIMEOUT_SECONDS * 1000)):
            raise LoadError(f"asking: {self._received().messages} of {len(self)} devices were answered")

    def counts(self) -> tuple[Sequence[int], Times]:
        """Return the messages of every device since the last `settle` or `reset`, and their times."""
        messages, times = array("q", bytes(8 * len(self))), array("q", bytes(8 * _TIMES))
        _library().fleet_counts(self._fleet, messages.buffer_info()[0], times.buffer_info()[0])
        return messages, Times(times)

    def reset(self) -> None:
        """Count anew.

        Raises:
            LoadError: something arrived that is no message, or a connection was closed.
        """
        got = self._received()
        if got.strays or got.closed:
            raise LoadError(f"{got.strays} strays, {got.closed} connections closed")
        _library().fleet_reset(self._fleet)

    def _publish(
        self,
        clients: Sockets,
        requests: Sequence[bytes],
        messages: int,
        *,
        interval: int = 0,
        one_at_a_time: bool = False,
    ) -> Load:
        blob, starts = _joined(requests)
        # A copy, since the times are written into it.
        series = _Requests(
            ctypes.addressof(copy := ctypes.create_string_buffer(blob, len(blob))),
            starts.buffer_info()[0],
            len(requests),
            messages,
            interval,
            one_at_a_time,
        )
        load = _Load()
        address = clients.fds.buffer_info()[0]
        milliseconds = int(TIMEOUT_SECONDS * 1000 + interval * len(requests) / 1e6)
        if _library().publish(self._fleet, address, len(clients), series, milliseconds, load):
            raise LoadError(f"publishing: {load.why.decode(errors='replace')}")
        del copy
        return Load(load.elapsed / 1e9, load.cpu / 1e9, load.delivered, load.latest / 1e9)

    def settle(self, messages_each: int, bytes_each: int) -> None:
        """Check the exact number of messages and bytes of every device, and reset the counters.

        Raises:
            LoadError: a message is missing, or there are others.
        """
        _library().fleet_drain(self._fleet, messages_each * len(self) + 1, int(_STRAY_SECONDS * 1000))
        got = self._received()
        total_bytes = bytes_each * len(self)
        expected = (messages_each, messages_each, total_bytes if len(self) else 0, 0, 0)
        if (got.fewest, got.most, got.bytes, got.strays, got.closed) != expected:
            raise LoadError(
                f"{len(self)} devices should have {messages_each} messages each, {total_bytes} bytes in all; they have "
                f"{got.fewest} to {got.most}, {got.bytes} bytes, {got.strays} strays, {got.closed} closed"
            )
        _library().fleet_reset(self._fleet)

    def _received(self) -> _Received:
        received = _Received()
        _library().fleet_received(self._fleet, ctypes.byref(received))
        return received


def nobody() -> Fleet:
    """Return a fleet without devices, for publications to users who are not connected."""
    return Fleet(Sockets(array("i")))


def _joined(requests: Sequence[bytes]) -> tuple[bytes, "array[int]"]:
    return b"".join(requests), array("q", accumulate(map(len, requests), initial=0))


def _client_frame(text: bytes) -> bytes:
    """Return a text message as a client sends it (RFC 6455 §5.2). The mask is zero, so the text stays as it is."""
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0x80 | 126]) + size.to_bytes(2, "big")
    return head + bytes(4) + text
