"""The conversation by which a client misses nothing, as pure code: when it says `hello`, and how long it waits.

Every connection that becomes the current one is asked at once, and again when something turns out to be missing, one
hello at a time and at least a second apart. What passes is for `place` to say. Where it cannot tell, for messages
without a place and on a server that keeps nothing, ids do, while there are two connections.
"""

from math import inf
from typing import Final

import msgspec

from tellwire.client.actions import Action, Pass, Send
from tellwire.client.lanes import has_place
from tellwire.client.place import Place
from tellwire.client.received import ReceivedMessage, WelcomePage
from tellwire.client.twins import Twins

_AGAIN_SECONDS: Final = 1.0


class Recovery:
    """What is asked of the current connection, and what is passed on of all. `place` is where the program is."""

    def __init__(self, place: Place, answer_seconds: float, *, is_wanted: bool = True) -> None:
        self.place = place
        self.twins = Twins()
        self._answer_seconds = answer_seconds
        self._is_wanted = is_wanted
        self._number: int | None = None
        self._is_asked = False  # and the answer has not ended
        self._is_paused = False
        self._answer_by = inf
        self._said_at = -inf

    # --- the current connection ---------------------------------------------------------------------------------------

    def begin(self, number: int, now: float, *, missed_nothing: bool = False) -> list[Action]:
        """Ask this connection, which is the current one from now on."""
        if not self._is_wanted:
            return []
        self._forget()
        self._number, self._said_at = number, -inf
        self.place.hold(missed_nothing=missed_nothing)
        return self._ask(now)

    def end(self, number: int) -> None:
        """Take note that a connection has ended, or is the current one no more."""
        if number == self._number:
            self._forget()

    def stop(self) -> list[Action]:
        """Pass on what is held and needs no answer: there will be none."""
        self._forget()
        return _passed(self.place.flush())

    def pause(self, number: int) -> None:
        """Take note that nothing is read, so that the lack of an answer says nothing."""
        if number == self._number:
            self._is_paused = True

    def resume(self, number: int, now: float) -> None:
        """Take note that what may have come meanwhile is being read."""
        if number == self._number and self._is_paused:
            self._is_paused = False
            self._expect(now)

    @property
    def due(self) -> float:
        """When to call `tick` next, at the latest."""
        return min(self._give_up_at, self._ask_at)

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        self.twins.tick(now)
        if now >= self._give_up_at:
            return self._give_up()
        return self._ask(now)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def received(self, message: ReceivedMessage, now: float, *, is_beside: bool) -> list[Action]:
        """Pass on what can be. `is_beside`: it came by another than the current connection, while that is open."""
        if not has_place(message) or self.place.is_loose:
            if not self.twins.is_first(message.id):
                return []
        elif is_beside:
            # Either it is in the welcome of the current connection, or it comes there, too.
            return []
        return _passed(self.place.live(message)) + self._ask(now)

    def welcomed(self, number: int, page: WelcomePage, now: float) -> tuple[list[Action], bool | None]:
        """Take a page of the answer. Return what follows, and, after the last page, whether all was recovered."""
        if number != self._number or not self._is_asked:
            return [], None
        told = self.place.page(page)
        if page.last:
            self._is_asked, self._answer_by = False, inf
        else:
            self._expect(now)
        return _passed(told.messages) + self._ask(now), told.recovered

    def unknown_type(self, number: int) -> list[Action] | None:
        """Take note that the server does not know what it was sent; None: it was not asked."""
        is_answer = number == self._number and self._answer_by < inf
        return self._give_up() if is_answer else None

    # --- hello --------------------------------------------------------------------------------------------------------

    @property
    def _give_up_at(self) -> float:
        return inf if self._is_paused else self._answer_by

    @property
    def _ask_at(self) -> float:
        is_due = self.place.wants_hello and self._number is not None and not self._is_asked
        return self._said_at + _AGAIN_SECONDS if is_due else inf

    def _ask(self, now: float) -> list[Action]:
        if self._number is None or now < self._ask_at:
            return []
        cursor = self.place.hello()
        self._said_at, self._is_asked = now, True
        self._expect(now)
        hello = {"type": "hello"} if cursor is None else {"type": "hello", "cursor": cursor}
        return [Send(self._number, msgspec.json.encode(hello))]

    def _expect(self, now: float) -> None:
        # An answer that is late is taken all the same, but not waited for again.
        if self._is_asked and not self.place.is_loose:
            self._answer_by = now + self._answer_seconds

    def _give_up(self) -> list[Action]:
        self._answer_by = inf
        released = self.place.let_go()
        return _passed([each for each in released if not has_place(each) or self.twins.is_first(each.id)])

    def _forget(self) -> None:
        self._number, self._answer_by = None, inf
        self._is_asked = self._is_paused = False


def _passed(messages: list[ReceivedMessage]) -> list[Action]:
    return [Pass(messages)] if messages else []
