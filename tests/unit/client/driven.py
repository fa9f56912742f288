"""A machine, its time and its actions: the shell for tests."""

import base64
import json
from collections.abc import Callable
from typing import Any

from tellwire.client.actions import Action, AskToken, Close, Drop, Open, Pass, Send
from tellwire.client.close_codes import CloseReason, Refusal
from tellwire.client.decode import ReceivedMessage
from tellwire.client.encode import PING
from tellwire.client.machine import Machine
from tellwire.client.options import ClientOptions
from tellwire.client.state import ConnectionState
from tellwire.client.stream import Bounds


def jwt(expires_at: float, name: str = "t") -> str:
    """Return a text in the form of a JWT that expires then."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires_at, "jti": name}).encode()).decode().rstrip("=")
    return f"head.{claims}.signature"


def message(message_type: str, data: Any = None, message_id: str | None = None) -> ReceivedMessage:
    return ReceivedMessage(message_type, data, id=message_id)


class Driven:
    """Plays the shell. Time stands still but for `passes`, in which every tick comes when it is due.

    `asked` are the actions since they were looked at last, `passed` what the program got, `states` all states so far,
    `jitter` the next random number. The server answers pings while `answers`. It says hello if it shall `recover`.
    """

    def __init__(
        self,
        jitter: float = 0.5,
        gives_up: Callable[[CloseReason], bool] = lambda _: False,
        *,
        recover: bool = False,
        cursor: str | None = None,
        bounds: Bounds | None = None,
        **options: float,
    ) -> None:
        self.now = 1_000_000.0
        self.jitter = jitter
        self.answers = True
        self.machine = Machine(
            ClientOptions(**options),
            lambda: self.jitter,
            gives_up,
            recover=recover,
            cursors={} if cursor is None else {"user": cursor},
            bounds=bounds,
        )
        self.passed: list[ReceivedMessage] = []
        self.states: list[ConnectionState] = []
        self._asked: list[Action] = []

    @property
    def state(self) -> ConnectionState:
        return self.machine.state

    @property
    def cursor(self) -> str | None:
        return self.machine.cursors().get("user")

    @property
    def status(self) -> str:
        return self.machine.state.status

    @property
    def statuses(self) -> list[str]:
        return [state.status for state in self.states]

    @property
    def wait(self) -> float:
        """The seconds to the next attempt."""
        assert self.state.retry_at is not None
        return round(self.state.retry_at - self.now, 6)

    def asked(self) -> list[Action]:
        asked, self._asked = self._asked, []
        return asked

    def does(self, actions: list[Action]) -> "Driven":
        actions = [*actions, *self.machine.proceed(self.now)]
        self._asked += [each for each in actions if not isinstance(each, Pass)]
        for each in actions:
            if isinstance(each, Pass):
                self.passed += each.messages
            if isinstance(each, Send) and each.payload == PING and self.answers:
                self.received(each.number, message("pong"))
        if not self.states or self.states[-1] is not self.state:
            self.states.append(self.state)
        return self

    # --- events -------------------------------------------------------------------------------------------------------

    def start(self) -> "Driven":
        return self.does(self.machine.start(self.now))

    def token(self, number: int, token: str = "a.b.c") -> "Driven":
        return self.does(self.machine.token(number, token, self.now))

    def no_token(self, number: int, why: str = "no") -> "Driven":
        return self.does(self.machine.no_token(number, why, self.now))

    def opened(self, number: int) -> "Driven":
        return self.does(self.machine.opened(number, self.now))

    def refused(self, number: int, status: int, error: str | None = None, retry_after: float = 0.0) -> "Driven":
        refusal = Refusal(status, error, error and f"about {error}", retry_after)
        return self.does(self.machine.refused(number, refusal, self.now))

    def unreachable(self, number: int) -> "Driven":
        return self.does(self.machine.unreachable(number, "connection refused", self.now))

    def closed(self, number: int, code: int, text: str = "") -> "Driven":
        return self.does(self.machine.closed(number, code, text, self.now))

    def received(self, number: int, each: ReceivedMessage | None) -> bool:
        """Receive a message, and return True if the application got it at once."""
        before = len(self.passed)
        self.does(self.machine.received(number, each, self.now))
        return any(passed is each for passed in self.passed[before:])

    def stop(self) -> "Driven":
        return self.does(self.machine.stop())

    # --- time ---------------------------------------------------------------------------------------------------------

    def passes(self, seconds: float) -> "Driven":
        """Advance the time."""
        end = self.now + seconds
        while (due := self.machine.due) is not None and due <= end:
            self.now = max(self.now, due)
            self.does(self.machine.tick(self.now))
        self.now = end
        return self

    def sleeps(self, seconds: float) -> "Driven":
        """Advance the time without ticks, as in a sleep: the next one comes much too late."""
        self.now += seconds
        return self.does(self.machine.tick(self.now))

    # --- shorthands ---------------------------------------------------------------------------------------------------

    def connected(self, token: str = "a.b.c") -> "Driven":
        """Start and open the connection number 1."""
        self.start().token(1, token).opened(1)
        self.asked()
        return self

    def reconnects(self, token: str = "a.b.c") -> int:
        """Open the next attempt, and return its number."""
        if self.status == "waiting":
            self.passes(max(self.wait, 0.0))
        number = self.next_number
        self.token(number, token).opened(number)
        self.asked()
        return number

    @property
    def next_number(self) -> int:
        """The number of the last attempt that asked for a token."""
        return next(each.number for each in reversed(self._asked) if isinstance(each, AskToken))

    @property
    def why(self) -> str:
        """The purpose of the last token that was asked for."""
        return next(each.why for each in reversed(self._asked) if isinstance(each, AskToken))


__all__ = ["PING", "AskToken", "Close", "Driven", "Drop", "Open", "Send", "jwt", "message"]
