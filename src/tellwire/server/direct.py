"""Requests that are answered without ASGI, for an endpoint that is asked thousands of times a second.

    a head ─▶ DirectEndpoint.admit ─▶ Direct ─▶ a body ─▶ respond(Answer), now or later
                                       └ the same head again, but for its Content-Length: nothing of it is parsed

An ASGI request is a task, a scope, a router, and a message for every part of the answer: some 150 µs. Here it is one
call. A request that is not plain, or that the endpoint does not take, goes to the ASGI application as before.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)(?=\r\n)", re.IGNORECASE)
_LONGEST_LENGTH: Final = 8
_MOST_ANSWERS: Final = 64


class Answer(NamedTuple):
    """A whole answer. `headers` are in lower case, without the length of the body."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)


Respond = Callable[[Answer], None]

Direct = Callable[[bytes, Respond], bool]
"""Answers a request with this body by one call of `respond`, now or later. False: it does not take the request."""


class DirectEndpoint(Protocol):
    """An endpoint for requests with a body of at most `max_bytes`."""

    @property
    def max_bytes(self) -> int: ...

    def admit(self, headers: Sequence[tuple[bytes, bytes]], client: str) -> Direct | None:
        """Return the answerer of the requests with these headers, names in lower case, from a client's address. None:
        the ASGI application answers them.
        """
        ...


@dataclass(frozen=True, slots=True)
class KnownHead:
    """A head that a connection has sent before, around the digits of its Content-Length."""

    before: bytes
    after: bytes
    direct: Direct
    max_bytes: int

    @classmethod
    def of(cls, head: bytes, direct: Direct, max_bytes: int) -> "KnownHead | None":
        """Return a head that can be recognised; None if it has not exactly one Content-Length."""
        found = list(_LENGTH.finditer(head))
        if len(found) != 1:
            return None
        (length,) = found
        return cls(head[: length.start(1)], head[length.end(1) :], direct, max_bytes)

    def body(self, unread: bytearray) -> tuple[int, int] | None:
        """Return the start and the end of the body of the request that `unread` begins with. None: it has another head,
        or is not here as a whole.
        """
        if not unread.startswith(self.before):
            return None
        start = len(self.before)
        end = unread.find(b"\r", start, start + _LONGEST_LENGTH)
        digits = unread[start:end]
        if end < 0 or not digits.isdigit() or not unread.startswith(self.after, end):
            return None
        start = end + len(self.after)
        end = start + int(digits)
        return (start, end) if end <= len(unread) and end - start <= self.max_bytes else None


class Answers:
    """The bytes of answers, for all connections of a server. Most answers are the same few, for a second each."""

    def __init__(self) -> None:
        self._default_headers: object = None
        self._encoded: dict[Answer, bytes] = {}

    def encoded(self, answer: Answer, default_headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Return the bytes of an answer. `default_headers` are another list when they change: one has the time."""
        if self._default_headers is not default_headers:
            self._default_headers = default_headers
            self._encoded.clear()
        known = self._encoded.get(answer)
        if known is None:
            known = encoded(answer, default_headers)
            if len(self._encoded) < _MOST_ANSWERS:
                self._encoded[answer] = known
        return known


def encoded(answer: Answer, default_headers: Sequence[tuple[bytes, bytes]], *, is_last: bool = False) -> bytes:
    """Return the bytes of an answer. `is_last`: the connection ends after it."""
    last = [(b"connection", b"close")] if is_last else []
    length = (b"content-length", b"%d" % len(answer.body))
    lines = [b"%b: %b\r\n" % header for header in (*default_headers, *answer.headers, *last, length)]
    return b"".join([STATUS_LINE[answer.status], *lines, b"\r\n", answer.body])
