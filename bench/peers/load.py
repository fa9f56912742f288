"""Python interface to the load in C: a crowd of devices, and requests that publish to them.

`Crowd.publish` raises `Missed` unless every delivery arrived: each device has each of its messages once. So a figure
with lost messages does not exist. All calls have a timeout and release the interpreter's lock.
"""

import ctypes
import functools
import socket
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from types import TracebackType
from typing import Any, Self

from bench.native import LoadError, Times, compile_source
from bench.peers.peer import HOST, MARK, Answers, Handshake, Running

_WHY_BYTES = 1024
_TIMES = 64 * 24
_SETTLE_MS = 30
_TIMEOUT_SECONDS = 15.0
_TEND_SECONDS = 1.0
_HANDSHAKE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_RUNS = 1000


class Missed(LoadError):
    """Deliveries are missing, or there were others."""


class _Opening(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("first", "end", "steps", "window", "is_slow", "timeout_ms")),
        ("elapsed", ctypes.c_int64),
        ("cpu", ctypes.c_int64),
        ("why", ctypes.c_char * _WHY_BYTES),
    )


class _Plan(ctypes.Structure):
    _fields_ = (
        ("blob", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("templates", "lines", "most", "duration", "interval")),
        *((name, ctypes.c_int) for name in ("one_at_a_time", "waits", "answers", "timeout_ms")),
        ("refusal", ctypes.c_char_p),
    )


class _Published(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("elapsed", "cpu", "sent", "answered", "expected", "latest")),
        ("why", ctypes.c_char * _WHY_BYTES),
    )


class _Counts(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("received", "doubles", "strays", "unordered", "closed", "pings", "heartbeats", "bytes")
    )


@functools.cache
def _library() -> Any:
    library = ctypes.CDLL(str(compile_source("load.c", "-shared", "-fPIC")))
    library.crowd_new.restype = ctypes.c_void_p
    library.crowd_missing.restype = ctypes.c_int64
    crowd, integer, wide, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_char_p
    for name, types in {
        "crowd_new": (integer, integer),
        "crowd_free": (crowd,),
        "crowd_close": (crowd, integer, integer),
        "crowd_add_heartbeat": (crowd, text, integer, text, integer),
        "crowd_begin": (crowd, integer, wide, ctypes.c_void_p, wide),
        "crowd_counts": (crowd, ctypes.POINTER(_Counts), ctypes.c_void_p),
        "crowd_readers": (crowd,),
        "crowd_gone": (crowd,),
        "crowd_missing": (crowd, ctypes.c_char_p, integer),
        "crowd_open": (crowd, ctypes.c_void_p, text, ctypes.c_void_p, ctypes.POINTER(_Opening)),
        "crowd_stop_reading": (crowd, integer, integer),
        "crowd_kept": (crowd, integer, integer, ctypes.POINTER(ctypes.c_void_p)),
        "crowd_drain": (crowd, wide, integer),
        "crowd_tend": (crowd,),
        "crowd_publish": (
            crowd,
            ctypes.c_void_p,
            integer,
            integer,
            ctypes.POINTER(_Plan),
            ctypes.POINTER(_Published),
        ),
    }.items():
        getattr(library, name).argtypes = types
    return library


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests to send, again and again, each with `lines` marks. `targets` are the devices of all marks in order.

    Without targets each message is for all devices.
    """

    blob: bytes
    starts: "array[int]"
    lines: int
    targets: "array[int] | None"

    @classmethod
    def of(cls, requests: Sequence[bytes], targets: Sequence[int] | None = None) -> Self:
        """Join them.

        Raises:
            LoadError: not all have the same number of marks, or a device is missing.
        """
        lines = {request.count(MARK) for request in requests}
        if len(lines) != 1 or 0 in lines:
            raise LoadError(f"requests must have the same number of marks; these have {sorted(lines)}")
        each = lines.pop()
        if targets is not None and len(targets) != each * len(requests):
            raise LoadError(f"{len(targets)} devices for {each * len(requests)} messages")
        starts = array("q", accumulate(map(len, requests), initial=0))
        return cls(b"".join(requests), starts, each, None if targets is None else array("i", targets))


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of a run.

    Without `per_second` the next request is sent as soon as a connection is free, for `seconds`. With `one_at_a_time`
    it also waits until all have the messages of the last. `most` bounds the number of requests.
    """

    seconds: float
    per_second: float | None = None
    one_at_a_time: bool = False
    most: int = 200_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run in which nothing was missed.

    `load_busy` is the share of the time in which the load was at work; near 1 the load is the limit, not the server.
    `behind_seconds`: the most that a paced request was sent after it was due.
    """

    seconds: float
    load_busy: float
    requests: int
    deliveries: int
    unordered: int
    closed: int
    behind_seconds: float
    times: Times


@dataclass(frozen=True, slots=True)
class Opened:
    """The time until devices were ready, and the load's share in it."""

    seconds: float
    load_busy: float


class Crowd:
    """Devices of one peer, open or not yet. `keeps`: they keep the texts that `Running.resume` needs.

    Example:
        with Crowd(running, 1_000) as crowd:
            crowd.open([running.connect(f"user-{n}") for n in range(1_000)])
    """

    def __init__(
        self, running: Running, count: int, *, keeps: bool = False, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> None:
        self._running = running
        self._lock = threading.RLock()
        self._timeout_seconds = timeout_seconds
        self._count = count
        self._crowd = _library().crowd_new(count, keeps)
        self._run = 0
        self._targets: array[int] | None = None
        for text, answer in running.heartbeats.items():
            frame = client_frame(answer)
            if _library().crowd_add_heartbeat(self._crowd, text, len(text), frame, len(frame)):
                raise LoadError(f"a heartbeat that is too long, or one too many: {text!r}")

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            _library().crowd_free(self._crowd)
            self._crowd = None

    def open(
        self, handshakes: Sequence[Handshake], first: int = 0, window: int = 64, *, is_slow: bool = False
    ) -> Opened:
        """Open a device for each handshake, from number `first` on, `window` at a time; at the nodes in turn.

        Raises:
            LoadError: one was refused, or is not ready in time.
        """
        ports = self._running.device_ports
        steps = {len(handshake.steps) for handshake in handshakes}
        if len(steps) != 1:
            raise LoadError("handshakes must have the same number of steps")
        scripts = [_script(each, ports[number % len(ports)]) for number, each in enumerate(handshakes, first)]
        parts = list(chain.from_iterable(scripts))
        starts = array("q", accumulate(map(len, parts), initial=0))
        of_devices = array("i", [ports[number % len(ports)] for number in range(first, first + len(handshakes))])
        timeout_ms = int(2000 * self._timeout_seconds)
        opening = _Opening(first, first + len(handshakes), steps.pop(), window, is_slow, timeout_ms)
        with self._lock:
            failed = _library().crowd_open(
                self._crowd, of_devices.buffer_info()[0], b"".join(parts), starts.buffer_info()[0], opening
            )
        if failed:
            raise LoadError(f"opening {len(handshakes)} devices: {opening.why.decode(errors='replace')}")
        return Opened(opening.elapsed / 1e9, opening.cpu / max(1, opening.elapsed))

    def close(self, first: int = 0, end: int | None = None) -> None:
        """Close devices by a reset: those from `first` to before `end`, or to the last."""
        with self._lock:
            _library().crowd_close(self._crowd, first, self._count if end is None else end)

    def stop_reading(self, first: int, end: int) -> None:
        """Leave these devices open, and read nothing of them any more. Nothing is expected of them."""
        with self._lock:
            _library().crowd_stop_reading(self._crowd, first, end)

    @property
    def gone(self) -> int:
        """Return the number of devices that the server has closed."""
        return int(_library().crowd_gone(self._crowd))

    def tend(self) -> None:
        """Answer the pings and heartbeats that have come meanwhile, unless the crowd is in use. See `Tender`."""
        if self._lock.acquire(blocking=False):
            try:
                if self._crowd is not None:
                    _library().crowd_tend(self._crowd)
            finally:
                self._lock.release()

    def idle(self, seconds: float) -> None:
        """Answer pings and heartbeats for some time."""
        with self._lock:
            _library().crowd_drain(self._crowd, 1 << 62, int(1000 * seconds))

    def kept(self, device: int) -> tuple[bytes, bytes]:
        """Return the texts that made a device ready, and its last frame with a mark."""
        text = ctypes.c_void_p()
        found = []
        for of_opening in (1, 0):
            length = _library().crowd_kept(self._crowd, device, of_opening, ctypes.byref(text))
            found.append(ctypes.string_at(text.value, length) if text.value and length else b"")
        return found[0], found[1]

    def publish(self, requests: Requests, connections: int, pace: Pace) -> Outcome:
        """Send requests over so many connections, and return when all deliveries have arrived.

        Raises:
            Missed: not all arrived, or others did.
            LoadError: a request was refused.
        """
        with self._lock:
            published = self.send(requests, connections, pace, waits=True)
            return self.reconcile(published)

    def send(self, requests: Requests, connections: int, pace: Pace, *, waits: bool = False) -> "_Published":
        """Send requests until all are answered, and, with `waits`, all deliveries have arrived. See `reconcile`.

        Raises:
            Missed: they did not arrive in time.
            LoadError: a request was refused.
        """
        most = pace.most if pace.per_second is None else int(pace.seconds * pace.per_second)
        self._begin(requests, most)
        readers = 1 if requests.targets is not None else _library().crowd_readers(self._crowd)
        blob = ctypes.create_string_buffer(requests.blob, len(requests.blob))
        plan = _Plan(
            blob=ctypes.addressof(blob),
            starts=requests.starts.buffer_info()[0],
            templates=len(requests.starts) - 1,
            lines=requests.lines,
            most=most,
            duration=0 if pace.per_second else int(1e9 * pace.seconds),
            interval=int(1e9 / pace.per_second) if pace.per_second else 0,
            one_at_a_time=pace.one_at_a_time,
            waits=waits,
            answers=[Answers.HTTP, Answers.LINES].index(self._running.answers),
            timeout_ms=int(1000 * (pace.seconds + self._timeout_seconds)),
            refusal=self._running.refusals[0] if self._running.refusals else None,
        )
        published = _Published()
        with self._lock, _clients(self._running, connections) as fds:
            failed = _library().crowd_publish(
                self._crowd, fds.buffer_info()[0], connections, readers, ctypes.byref(plan), ctypes.byref(published)
            )
        if failed:
            why = published.why.decode(errors="replace") or "a device cannot answer a ping"
            raise Missed(f"{why}; missing: {self._missing()}") if "out of time" in why else LoadError(why)
        return published

    def drain(self, published: "_Published") -> None:
        """Read until all its deliveries have arrived.

        Raises:
            Missed: they do not in time.
        """
        with self._lock:
            failed = _library().crowd_drain(self._crowd, published.expected, int(1000 * self._timeout_seconds))
        if failed:
            raise Missed(f"missing: {self._missing()}")

    def reconcile(self, published: "_Published") -> Outcome:
        """Compare all that arrived with all that was sent.

        Raises:
            Missed: a delivery is missing, double or stray.
        """
        with self._lock:
            _library().crowd_drain(self._crowd, published.expected + 1, _SETTLE_MS)
        counts, times = _Counts(), array("q", bytes(8 * _TIMES))
        _library().crowd_counts(self._crowd, ctypes.byref(counts), times.buffer_info()[0])
        missing = self._missing()
        if counts.received != published.expected or missing or counts.doubles or counts.strays:
            raise Missed(
                f"{counts.received} of {published.expected} deliveries, {counts.doubles} doubles, {counts.strays} "
                f"strays, {counts.closed} connections closed; missing: {missing or 'none'}"
            )
        return Outcome(
            seconds=published.elapsed / 1e9,
            load_busy=published.cpu / max(1, published.elapsed),
            requests=published.sent,
            deliveries=counts.received,
            unordered=counts.unordered,
            closed=counts.closed,
            behind_seconds=published.latest / 1e9,
            times=Times(times),
        )

    def _begin(self, requests: Requests, most: int) -> None:
        self._run = (self._run + 1) % _RUNS
        self._targets = requests.targets  # C keeps its address
        address, count = requests.targets.buffer_info() if requests.targets is not None else (None, 0)
        if _library().crowd_begin(self._crowd, self._run, most * requests.lines, address, count):
            raise LoadError("out of memory")

    def _missing(self) -> str:
        """Return the number of missing deliveries and the first of them; empty if there are none."""
        which = ctypes.create_string_buffer(_WHY_BYTES)
        count = _library().crowd_missing(self._crowd, which, _WHY_BYTES)
        return f"{count} ({which.value.decode()})" if count else ""


class Tender:
    """A thread that tends crowds once a second, so that no server cuts devices while another one is measured."""

    def __init__(self, crowds: Sequence[Crowd]) -> None:
        self._crowds = crowds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(_TEND_SECONDS):
            for crowd in self._crowds:
                crowd.tend()


def client_frame(text: bytes, *, is_binary: bool = False) -> bytes:
    """Return a message as a client sends it (RFC 6455 §5.2). The mask is zero, so the text stays as it is."""
    size = len(text)
    opcode = 0x82 if is_binary else 0x81
    head = bytes([opcode, 0x80 | size]) if size < 126 else bytes([opcode, 0x80 | 126]) + size.to_bytes(2, "big")
    return head + bytes(4) + text


def _script(handshake: Handshake, port: int) -> Iterator[bytes]:
    """Yield the request, the awaited and said parts of the steps, and the word that makes a device ready."""
    lines = [f"GET {handshake.path} HTTP/1.1", f"Host: {HOST}:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {_HANDSHAKE_KEY}", "Sec-WebSocket-Version: 13"]
    lines += [f"{name}: {value}" for name, value in handshake.headers.items()]
    yield "\r\n".join([*lines, "", ""]).encode()
    for awaited, said in handshake.steps:
        yield awaited
        yield client_frame(said, is_binary=handshake.is_binary)
    yield handshake.ready


@contextmanager
def _clients(running: Running, count: int) -> Iterator["array[int]"]:
    """Open connections for requests, at the nodes in turn. New ones for each run: servers close those that are idle."""
    ports = running.publish_ports
    clients: list[socket.socket] = []
    try:
        for number in range(count):
            clients.append(socket.create_connection((HOST, ports[number % len(ports)]), _TIMEOUT_SECONDS))
            clients[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if running.opening:
                _say_opening(clients[-1], running.opening)
            clients[-1].setblocking(False)
        yield array("i", [client.fileno() for client in clients])
    finally:
        for client in clients:
            client.close()


def _say_opening(client: socket.socket, opening: bytes) -> None:
    """Say it, and read until there is a line for it after the server's own first one."""
    client.sendall(opening)
    got = b""
    while got.count(b"\n") < 2:
        more = client.recv(65536)
        if not more:
            raise LoadError(f"the server closed a connection for requests: {got[:200]!r}")
        got += more
