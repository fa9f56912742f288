"""A proxy with the faults of networks and busy services."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """A request on its way. `action` is the operation for DynamoDB, the method for everything else."""

    method: str
    path: str
    action: str
    body: bytes

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass(frozen=True)
class Fault:
    """The fault of a request: a wait for an event, an answer of the proxy, a lost answer, or none."""

    until: threading.Event | None = None
    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_dropped: bool = False


NONE = Fault()
NEVER = threading.Event()
"""An event that is set at the end of the test only."""


def throttled() -> Fault:
    """DynamoDB's answer when a partition is too hot."""
    name = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
    return Fault(status=400, body=json.dumps({"__type": name, "message": "Too many requests"}).encode())


def gone() -> Fault:
    """API Gateway's answer for a connection that is not there."""
    return Fault(status=410, headers={"x-amzn-ErrorType": "GoneException"})


@dataclass
class Proxy:
    """A running proxy. Set `fault` to a function that returns the fault of a request."""

    url: str
    fault: Callable[[Request], Fault] = lambda _: NONE
    requests: list[Request] = field(default_factory=list)
    clients: set[socket.socket] = field(default_factory=set)

    def seen(self, action: str) -> int:
        """Return the number of requests with this action."""
        return sum(request.action == action for request in self.requests)

    def hang_up(self) -> None:
        """Close the connections that clients keep open for their next request."""
        for client in self.clients.copy():
            client.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # As many as a broadcast opens at once: the system lets what does not fit try again seconds later.
    request_queue_size = 256

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        parts = urlsplit(target)
        self.upstream = parts.netloc
        self.proxy = Proxy(f"http://127.0.0.1:{self.server_port}{parts.path}")
        self.stopped = threading.Event()

    def get_request(self) -> tuple[socket.socket, Any]:
        client, address = super().get_request()
        self.proxy.clients.add(client)
        return client, address

    def close_request(self, request: Any) -> None:
        self.proxy.clients.discard(request)
        super().close_request(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        action = self.headers.get("x-amz-target", self.command).rpartition(".")[2]
        request = Request(self.command, self.path, action, body)
        self.server.proxy.requests.append(request)
        fault = self.server.proxy.fault(request)
        while fault.until is not None and not fault.until.wait(0.02):
            if self.server.stopped.is_set():
                return
        if fault.is_dropped:
            self.close_connection = True
        elif fault.status is not None:
            self._answer(fault.status, fault.headers, fault.body)
        else:
            self._answer(*self._forward(body))

    do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815 - the names of http.server

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=100)
        with closing(connection):
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        try:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # whoever asked waits no more

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def faulty_proxy(target: str) -> Iterator[Proxy]:
    """Run a proxy before a server on this machine, until the block ends. The target's path is the proxy's, too."""
    server = _Server(target)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="faulty-proxy")
    thread.start()
    try:
        yield server.proxy
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
