"""The requests of the application, as pure code. Each is sent in its turn, again on every connection that follows, and
again later after an error that allows it. It is settled once: by the server's answer, or when its time is over.

The server knows a repeated request by its id, so whatever was not answered can be repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from tellwire import errors
from tellwire.client.actions import Action, Send, Settle
from tellwire.client.backoff import bound_seconds
from tellwire.client.decode import ReceivedMessage
from tellwire.client.options import ClientOptions
from tellwire.client.pacing import Pacing
from tellwire.client.request_error import RequestError
from tellwire.errors import TellwireError


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The most requests, and bytes of them, that wait for an answer."""

    requests: int = 100
    request_bytes: int = 1024 * 1024


RETRYABLE: Final = frozenset(
    each.code
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, TellwireError) and each.retryable
)
"""The codes after which the same request can be repeated: those of `tellwire.errors`."""


@dataclass(slots=True)
class _Request:
    """A request that waits. `sent_on` is the number of its link; 0: it is to be sent, not before `at`."""

    id: str
    payload: bytes
    until: float
    sent_on: int = 0
    at: float = -inf
    failures: int = 0

    @property
    def is_own(self) -> bool:
        """True if the client makes it for itself."""
        return self.until == inf


class Requests:
    """The requests without an answer, in the order of their calls. `jitter` returns a random number from 0 to 1."""

    def __init__(
        self, options: ClientOptions, jitter: Callable[[], float], limits: RequestLimits, pacing: Pacing
    ) -> None:
        self._options = options
        self._jitter = jitter
        self._limits = limits
        self._waiting: dict[str, _Request] = {}
        self._pacing = pacing
        self.due = inf

    def obey(self, requests_per_second: float | None, request_burst: float | None) -> None:
        """Take the limits of a welcome; None if it does not say one."""
        self._pacing.obey(requests_per_second, request_burst)

    def add(self, request_id: str, payload: bytes, until: float) -> list[Action]:
        """Add a request, if there is room for it."""
        waiting = [each for each in self._waiting.values() if not each.is_own]
        size = len(payload) + sum(len(each.payload) for each in waiting)
        if len(waiting) >= self._limits.requests or size > self._limits.request_bytes:
            return [Settle(request_id, error=RequestError("QUEUE_FULL", "Too many requests wait for an answer"))]
        self._waiting[request_id] = _Request(request_id, payload, until)
        return []

    def add_own(self, request_id: str, payload: bytes) -> None:
        """Add a request that the client makes for itself. It takes no room, and has no time limit."""
        self._waiting[request_id] = _Request(request_id, payload, inf)

    def drop(self, request_id: str) -> None:
        """Forget a request that nobody waits for any more. The server may have got it."""
        self._waiting.pop(request_id, None)

    def reject(self, code: str, message: str) -> list[Action]:
        """Settle all of them with an error."""
        waiting = [each.id for each in self._waiting.values() if not each.is_own]
        settled: list[Action] = [Settle(each, error=RequestError(code, message)) for each in waiting]
        self._waiting.clear()
        self.due = inf
        return settled

    def answered(self, message: ReceivedMessage, now: float) -> tuple[bool, list[Settle]]:
        """Take an `ok` or an `error`: settle its request, or repeat it later.

        An error without an id that asks for patience may be about any of those that were sent. Return whether it is an
        answer, which does not pass, and the actions.
        """
        data = message.data if isinstance(message.data, dict) else {}
        request_id, code = data.get("id"), data.get("code")
        is_error = message.type == "error"
        if is_error and code in RETRYABLE:
            is_about_any = request_id is None and code == "TOO_MANY_REQUESTS"
            for each in self._waiting.values():
                if each.id == request_id or (is_about_any and each.sent_on):
                    each.at = now + self._jitter() * bound_seconds(self._options, each.failures)
                    each.sent_on, each.failures = 0, each.failures + 1
        elif isinstance(request_id, str) and self._waiting.pop(request_id, None) is not None:
            error = RequestError(str(code), str(data.get("message", "")), data.get("details")) if is_error else None
            return True, [Settle(request_id, data.get("result"), error)]
        return not is_error or request_id is not None, []

    def proceed(self, now: float, number: int | None) -> list[Action]:
        """Give up requests that were not answered in time, and send others on a link; None: there is none."""
        actions: list[Action] = []
        self.due = inf
        for each in [each for each in self._waiting.values() if each.until <= now]:
            del self._waiting[each.id]
            actions.append(Settle(each.id, error=RequestError("TIMEOUT", "The server did not answer in time")))
        for each in self._waiting.values():
            self.due = min(self.due, each.until)
            if number is None or each.sent_on == number:
                continue
            at = each.at if each.at > now and not each.sent_on else self._pacing.turn(now)
            if at <= now:
                each.sent_on, each.at = number, now
                actions.append(Send(number, each.payload))
            else:
                self.due = min(self.due, at)
        return actions

    def awaited_since(self, number: int) -> float:
        """Return the time since which an answer is awaited on a link; infinity if none is."""
        return min((each.at for each in self._waiting.values() if each.sent_on == number), default=inf)

    def set_back(self, seconds: float) -> None:
        """Follow a clock that was set back, by so many negative seconds. A sleep counts as time that has passed."""
        for each in self._waiting.values():
            each.until += seconds
            each.at += seconds
