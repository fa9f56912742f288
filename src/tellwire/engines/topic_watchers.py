"""The connections of this process that are told who comes into a topic and leaves it.

    watch    `presence` to the connection ─▶ from then on every change
    changed  `Telling` chooses ─▶ encoded once ─▶ all that watch the topic

What is told is the knowledge of this process: whoever has it calls `changed` after each change, and `tell_due` when
`next_at` has come.
"""

from collections.abc import Callable

from tellwire import protocol
from tellwire.carriers.hub import Hub
from tellwire.limits import MAX_PRESENCE_MEMBERS, PRESENCE_COUNT_SECONDS
from tellwire.ports import Clock, Present
from tellwire.publication import StreamKey, topic_of
from tellwire.topic_members import Change, Members, Tell, Telling

MembersOf = Callable[[StreamKey], Members]
"""Returns the members of a topic as this process knows them: all of them counted, and those that are told."""


class _Watched:
    """The watchers of one topic. `whole` is a `presence` as it was at `whole_at`, for a topic with many members."""

    __slots__ = ("connection_ids", "telling", "whole", "whole_at")

    def __init__(self, count: int) -> None:
        self.connection_ids: dict[str, None] = {}
        self.telling = Telling(count)
        self.whole = b""
        self.whole_at = 0.0


class TopicWatchers:
    """The watchers of all topics, among the connections of a hub.

    `told` counts the changes that were told by name, `untold` those that were not: of topics with many members only
    their number is.
    """

    def __init__(self, hub: Hub, clock: Clock, members_of: MembersOf) -> None:
        self._hub = hub
        self._clock = clock
        self._members_of = members_of
        self._watched: dict[StreamKey, _Watched] = {}
        self._due: dict[StreamKey, float] = {}
        self.told = 0
        self.untold = 0

    def __contains__(self, stream: StreamKey) -> bool:
        """Return True if somebody watches a topic."""
        return stream in self._watched

    def __len__(self) -> int:
        """Return the number of topics that somebody watches."""
        return len(self._watched)

    def add(self, connection: Present, stream: StreamKey) -> None:
        """Send a connection a `presence`, and tell it each change from now on. Not one that is not subscribed (any
        more).
        """
        connection_id = connection.connection_id
        if stream not in self._hub.topics_of(connection_id):
            return
        watched = self._watched.get(stream)
        if watched is None:
            watched = self._watched[stream] = _Watched(self._members_of(stream).count)
        watched.connection_ids[connection_id] = None
        self._hub.hand_to((connection_id,), self._whole(stream, watched))

    def remove(self, connection_id: str, stream: StreamKey) -> None:
        """Tell a connection no more. It need not be there."""
        watched = self._watched.get(stream)
        if watched is None:
            return
        watched.connection_ids.pop(connection_id, None)
        if not watched.connection_ids:
            del self._watched[stream]
            self._due.pop(stream, None)

    def changed(self, stream: StreamKey, change: Change, count: int) -> None:
        """Tell a change, after which there are `count` members; or later, see `tell_due`."""
        watched = self._watched.get(stream)
        if watched is None:
            return
        tell = watched.telling.changed(count, self._clock.monotonic())
        if tell is Tell.CHANGE:
            self.told += 1
            topic, member = topic_of(stream) or "", change.member
            if change.is_join:
                self._send(watched, protocol.join(topic, member, count))
            else:
                self._send(watched, protocol.leave(topic, member.user_id, count))
        else:
            self.untold += 1
            self._tell(tell, stream, watched)

    def tell_anew(self, stream: StreamKey) -> None:
        """Tell all members anew: changes may have been missed."""
        watched = self._watched.get(stream)
        if watched is not None:
            watched.telling = Telling(self._members_of(stream).count)
            watched.whole = b""
            self._due.pop(stream, None)
            self._send(watched, self._whole(stream, watched))

    def counted(self, stream: StreamKey, count: int) -> None:
        """Tell that there are `count` members now, where the changes are not known by name: all of them anew or, where
        they are many, their number.
        """
        watched = self._watched.get(stream)
        if watched is not None:
            tell = watched.telling.changed(count, self._clock.monotonic())
            self.untold += 1
            self._tell(Tell.ALL if tell is Tell.CHANGE else tell, stream, watched)

    @property
    def next_at(self) -> float | None:
        """The time, on the monotonic clock, at which `tell_due` has something to tell; None: there is nothing."""
        return min(self._due.values(), default=None)

    def tell_due(self) -> None:
        """Tell the number of members of topics in which many have come or gone."""
        now = self._clock.monotonic()
        for stream in [stream for stream, at in self._due.items() if at <= now]:
            watched = self._watched.get(stream)
            if watched is not None:  # a slow consumer may have been closed, and have been the last
                self._tell(watched.telling.due(self._members_of(stream).count, now), stream, watched)

    def _tell(self, tell: Tell | None, stream: StreamKey, watched: _Watched) -> None:
        if tell is Tell.COUNT:
            self._send(watched, protocol.presence(topic_of(stream) or "", self._members_of(stream).count))
        elif tell is Tell.ALL:
            self._send(watched, self._whole(stream, watched))
        self._note_due(stream, watched)

    def _note_due(self, stream: StreamKey, watched: _Watched) -> None:
        at = watched.telling.next_at
        if at is None or self._watched.get(stream) is not watched:
            self._due.pop(stream, None)
        else:
            self._due[stream] = at

    def _whole(self, stream: StreamKey, watched: _Watched) -> bytes:
        """Return a `presence` with the members. Where they are many it may be a second old: in a storm each of
        thousands asks once, and it would be another one each time.
        """
        now = self._clock.monotonic()
        if watched.whole and now - watched.whole_at < PRESENCE_COUNT_SECONDS:
            watched.telling.lag()
            self._note_due(stream, watched)
            return watched.whole
        members = self._members_of(stream)
        whole = protocol.presence(topic_of(stream) or "", members.count, members.members)
        watched.whole, watched.whole_at = (whole, now) if members.count > MAX_PRESENCE_MEMBERS else (b"", now)
        return whole

    def _send(self, watched: _Watched, payload: bytes) -> None:
        self._hub.hand_to_ready(watched.connection_ids, payload)
