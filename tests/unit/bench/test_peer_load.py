"""The load of `python -m bench peers` against a server that delivers, loses, doubles or delays on purpose."""

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from bench.native import LoadError
from bench.peers.load import Crowd, Missed, Outcome, Pace, Requests
from bench.peers.peer import MARK, Answers, Handshake, post

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the load is compiled by gcc")

DEVICES = 3
PAYLOAD = b'{"message":"%b"}' % MARK
ONE_BY_ONE = Pace(9.0, one_at_a_time=True, most=4)


class Server:
    """A server of one thread: the body of each request goes to all devices, as the `deliver` of a test has it."""

    answers = Answers.HTTP
    opening = b""
    refusals: Sequence[bytes] = (b'"error"',)
    heartbeats: Mapping[bytes, bytes] = {b"beat": b"alive"}
    pids: Sequence[int] = ()

    def __init__(self, listener: socket.socket) -> None:
        self.device_ports: Sequence[int] = [listener.getsockname()[1]]
        self.publish_ports: Sequence[int] = self.device_ports
        self.devices: dict[int, socket.socket] = {}
        self.published = 0
        self.answer = b"{}"
        self.heard: list[bytes] = []

    def deliver(self, device: int, frame: bytes) -> bytes:
        return frame

    def connect(self, user: str) -> Handshake:
        return Handshake("/", steps=[(b"who", user.encode())], ready=b"welcome")

    def resume(self, user: str, opened: bytes, last: bytes) -> Handshake:
        raise NotImplementedError

    def publish_one(self, user: str, payload: bytes) -> bytes:
        raise NotImplementedError

    def publish_all(self, payload: bytes) -> bytes:
        return post("/publish", payload)

    def publish_batch(self, messages: Sequence[tuple[str, bytes]]) -> bytes:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the load goes away where a run ends early
            self.converse(connection)
        if connection not in self.devices.values():
            connection.close()

    def converse(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            if data.startswith(b"GET"):
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frame(b"who are you"))
                user = connection.recv(65536)[6:]
                connection.sendall(frame(b"beat"))
                self.heard += [user, connection.recv(65536)[6:]]
                self.devices[int(user[-1:])] = connection
                connection.sendall(frame(b"welcome"))
                return
            self.published += 1
            for number, device in self.devices.items():
                if delivered := self.deliver(number, frame(data.partition(b"\r\n\r\n")[2])):
                    device.sendall(delivered)
            self.respond(connection)

    def respond(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self.answer) + self.answer)


def frame(text: bytes) -> bytes:
    return bytes([0x81, len(text)]) + text


@contextmanager
def serving(server: type[Server]) -> Iterator[tuple[Server, Crowd]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = server(listener)
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=running.serve, args=[connection], daemon=True)
                threads.append(thread)
                thread.start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        with Crowd(running, DEVICES, timeout_seconds=1.0) as crowd:
            crowd.open([running.connect(f"user-{number}") for number in range(DEVICES)], window=1)
            yield running, crowd
        listener.shutdown(socket.SHUT_RDWR)
        for thread in (acceptor, *threads):
            thread.join(5)
        for device in running.devices.values():
            device.close()


def publish(running: Server, crowd: Crowd, pace: Pace = ONE_BY_ONE) -> Outcome:
    return crowd.publish(Requests.of([running.publish_all(PAYLOAD)]), 1, pace)


def test_every_delivery_is_counted_and_timed() -> None:
    with serving(Server) as (running, crowd):
        outcome = publish(running, crowd)
        assert (outcome.requests, outcome.deliveries) == (4, 4 * DEVICES)
        assert outcome.times.total == 4 * DEVICES
        assert running.heard == [b"user-0", b"alive", b"user-1", b"alive", b"user-2", b"alive"]
        assert publish(running, crowd).deliveries == 4 * DEVICES  # a run of its own, with other marks


class _Loses(Server):
    def deliver(self, device: int, frame: bytes) -> bytes:
        return b"" if (device, self.published) == (1, 3) else frame


def test_a_lost_delivery_ends_the_run_and_is_named() -> None:
    with serving(_Loses) as (running, crowd), pytest.raises(Missed, match=r"missing: 1 \(number 2 at device 1\)"):
        publish(running, crowd, Pace(0.1, most=4))


class _Closes(Server):
    def deliver(self, device: int, frame: bytes) -> bytes:
        if (device, self.published) == (1, 2):
            self.devices[device].shutdown(socket.SHUT_RDWR)
            return b""
        return b"" if device == 1 and self.published > 2 else frame


def test_a_device_that_the_server_closes_is_missed_also_in_the_next_run() -> None:
    with serving(_Closes) as (running, crowd):
        for _ in range(2):
            with pytest.raises(Missed, match="at device 1"):
                publish(running, crowd, Pace(0.1, most=4))
        assert crowd.gone == 1


class _Doubles(Server):
    def deliver(self, device: int, frame: bytes) -> bytes:
        return frame + frame if (device, self.published) == (2, 1) else frame


def test_a_double_delivery_ends_the_run() -> None:
    with serving(_Doubles) as (running, crowd), pytest.raises(Missed, match="1 doubles"):
        publish(running, crowd)


class _Replaces(Server):
    """A double in place of another message: their sum is right."""

    def deliver(self, device: int, frame: bytes) -> bytes:
        if (device, self.published) == (0, 1):
            self.first = frame
        return self.first if (device, self.published) == (0, 2) else frame


def test_a_double_does_not_hide_a_loss() -> None:
    with serving(_Replaces) as (running, crowd), pytest.raises(Missed, match="number 1 at device 0"):
        publish(running, crowd, Pace(0.1, most=4))


def test_a_message_at_the_wrong_device_ends_the_run() -> None:
    with serving(Server) as (running, crowd), pytest.raises(Missed, match="2 strays"):
        crowd.publish(Requests.of([running.publish_all(PAYLOAD)], [1]), 1, Pace(9.0, most=1))


class _Cuts(Server):
    """Deliveries in pieces: the mark is cut, and so is the head of the frame."""

    def deliver(self, device: int, frame: bytes) -> bytes:
        for part in (frame[:1], frame[1:30], frame[30:40]):
            self.devices[device].sendall(part)
            time.sleep(0.002)
        return frame[40:]


def test_a_mark_that_is_cut_is_found() -> None:
    with serving(_Cuts) as (running, crowd):
        assert publish(running, crowd).times.total == 4 * DEVICES


class _Pings(Server):
    """A protocol of lines that pings a client between its requests."""

    answers = Answers.LINES
    refusals = ()

    def publish_all(self, payload: bytes) -> bytes:
        return b"PUB\r\n\r\n" + payload

    def respond(self, connection: socket.socket) -> None:
        for part in (b"+OK\r\n", b"PI", b"NG\r\n"):
            connection.sendall(part)
            time.sleep(0.005)
        self.heard.append(connection.recv(6))


def test_a_ping_between_requests_is_no_answer() -> None:
    with serving(_Pings) as (running, crowd):
        outcome = publish(running, crowd, Pace(0.2, per_second=20.0))
        assert outcome.deliveries == outcome.requests * DEVICES
        assert running.heard.count(b"PONG\r\n") >= outcome.requests - 1 > 0


class _Talks(_Pings):
    def respond(self, connection: socket.socket) -> None:
        connection.sendall(b"+OK\r\n")
        time.sleep(0.005)
        connection.sendall(b"+OK\r\n")


def test_an_answer_to_no_request_ends_the_run() -> None:
    with serving(_Talks) as (running, crowd), pytest.raises(LoadError, match="an answer to no request"):
        publish(running, crowd, Pace(0.2, per_second=20.0))


class _Joins(Server):
    """All messages of a device in one frame, as after a reconnect."""

    def deliver(self, device: int, frame: bytes) -> bytes:
        if device == 0:
            self.held = getattr(self, "held", b"") + frame[2:]
        if self.published < 4:
            return b""
        return bytes([0x81, 126]) + len(self.held).to_bytes(2, "big") + self.held


def test_marks_are_counted_not_frames() -> None:
    with serving(_Joins) as (running, crowd):
        assert publish(running, crowd, Pace(9.0, most=4)).deliveries == 4 * DEVICES


class _Stalls(Server):
    def deliver(self, device: int, frame: bytes) -> bytes:
        if (device, self.published) == (0, 1):
            time.sleep(0.1)
        return frame


def test_time_counts_from_when_a_message_was_due() -> None:
    """Only the first of five waits in the server, but the others are due meanwhile."""
    with serving(_Stalls) as (running, crowd):
        outcome = publish(running, crowd, Pace(0.05, per_second=100))
        assert outcome.requests == 5
        assert outcome.times.percentile(0.2) >= 50
        assert outcome.behind_seconds >= 0.05


class _ClosesResting(Server):
    """The second connection for requests is closed before its first one."""

    def serve(self, connection: socket.socket) -> None:
        if len(self.devices) == DEVICES and not self.is_resting:
            self.is_resting = True
            super().serve(connection)
        elif len(self.devices) == DEVICES:
            connection.close()
        else:
            super().serve(connection)

    is_resting = False


def test_a_connection_for_requests_that_rests_may_be_closed() -> None:
    with serving(_ClosesResting) as (running, crowd):
        outcome = crowd.publish(Requests.of([running.publish_all(PAYLOAD)]), 2, Pace(0.1, per_second=50))
        assert outcome.requests == 5


class _Refuses(Server):
    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener)
        self.answer = b'{"error":"no"}'


def test_a_refusal_with_status_200_ends_the_run() -> None:
    with serving(_Refuses) as (running, crowd), pytest.raises(LoadError, match="refused"):
        publish(running, crowd)
