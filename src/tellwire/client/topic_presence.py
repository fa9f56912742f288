"""The presence of topics, as pure code: the members, as far as the server tells them, and when it is to be asked.

It is asked by a request of the client's own, as soon as the topic is subscribed to, and again after every answer about
the topic. What was told before is kept without a connection, and is not live then.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tellwire.client.actions import Action, PresenceChanged, Settle
from tellwire.client.decode import ReceivedMessage
from tellwire.client.encode import presence
from tellwire.client.presence_state import Member, PresenceState
from tellwire.client.requests import Requests

NOBODY: Final = PresenceState()

_OFF: Final = "PRESENCE_OFF"


@dataclass(slots=True)
class _Watched:
    """A topic whose presence is wanted. `asking` is the id of the request without an answer."""

    state: PresenceState = NOBODY
    asking: str | None = None


class TopicPresences:
    """The topics whose presence the application wants. `new_id` returns ids of requests."""

    def __init__(self, requests: Requests, new_id: Callable[[], str]) -> None:
        self._requests = requests
        self._new_id = new_id
        self._watched: dict[str, _Watched] = {}
        self._changed: dict[str, PresenceState] = {}

    # --- what the application asks, and what becomes of topics -------------------------------------------------------

    def watch(self, topic: str, *, is_subscribed: bool) -> None:
        """Report the members of a topic from now on. `is_subscribed`: it was answered on this connection."""
        if topic not in self._watched:
            self._watched[topic] = _Watched()
            if is_subscribed:
                self.ask(topic)

    def unwatch(self, topic: str) -> None:
        """Report them no longer: the topic was left."""
        self.clear(topic)
        self._watched.pop(topic, None)

    def ask(self, topic: str) -> None:
        """Ask who is there: the last page of an answer about the topic has come."""
        watched = self._watched.get(topic)
        if watched is None or watched.state.code == _OFF:
            return
        self.withdraw(topic)
        watched.asking = self._new_id()
        self._requests.add_own(watched.asking, presence(watched.asking, topic))

    def withdraw(self, topic: str) -> None:
        """Wait for no answer: the connection has ended, or the subscription."""
        if (watched := self._watched.get(topic)) is not None and watched.asking is not None:
            self._requests.drop(watched.asking)
            watched.asking = None

    def lose(self, topic: str) -> None:
        """Note that there is no connection."""
        self.withdraw(topic)
        if (watched := self._watched.get(topic)) is not None and watched.state.is_live:
            self._become(topic, replace(watched.state, is_live=False))

    def clear(self, topic: str) -> None:
        """Know nobody any more."""
        self.withdraw(topic)
        self._become(topic, NOBODY)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def receive(self, message: ReceivedMessage) -> None:
        """Take in a `presence`, a `join` or a `leave`."""
        data = message.data if isinstance(message.data, dict) else {}
        topic, count = data.get("topic"), data.get("count")
        if not isinstance(topic, str) or not isinstance(count, int) or (watched := self._watched.get(topic)) is None:
            return
        if message.type == "presence":
            self._become(topic, _snapshot(watched.state, data.get("members"), count))
        elif watched.state.is_live:
            self._become(topic, _changed(watched.state, message.type, data, count))

    def answered(self, settled: Settle) -> bool:
        """Take the outcome of a request; return True if it was one of these."""
        topic = next((topic for topic, each in self._watched.items() if each.asking == settled.id), None)
        if topic is None:
            return False
        self._watched[topic].asking = None
        if settled.error is not None:
            self._become(topic, replace(NOBODY, code=settled.error.code, message=str(settled.error)))
        return True

    def told(self) -> list[Action]:
        """Return the states that are new."""
        changed, self._changed = self._changed, {}
        return [PresenceChanged(topic, state) for topic, state in changed.items()]

    def _become(self, topic: str, state: PresenceState) -> None:
        watched = self._watched.get(topic)
        if watched is not None and state != watched.state:
            watched.state = self._changed[topic] = state


def _snapshot(before: PresenceState, members: Any, count: int) -> PresenceState:
    if not isinstance(members, list):
        return PresenceState(before.members, count, is_complete=False, is_live=True)
    told = tuple(_member(each) for each in members if isinstance(each, dict))
    return PresenceState(told, count, is_complete=len(told) == count, is_live=True)


def _changed(before: PresenceState, what: str, data: Mapping[str, Any], count: int) -> PresenceState:
    member = _member(data)
    members = tuple(each for each in before.members if each.user_id != member.user_id)
    if what == "join":
        is_known = len(members) < len(before.members)
        updated = tuple(member if each.user_id == member.user_id else each for each in before.members)
        members = updated if is_known else (*members, member)
    return PresenceState(members, count, is_complete=before.is_complete and len(members) == count, is_live=True)


def _member(data: Mapping[str, Any]) -> Member:
    info = data.get("info")
    return Member(str(data.get("userId")), info if isinstance(info, dict) else None)
