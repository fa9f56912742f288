"""Requests about the user's own stream: seen, cancelled, read and dismissed; pages of older messages, also of topics.

    ack       `seen` ─▶ every device
    cancel    `cancelled` ─▶ every device, and the worker with the answer to its next update │ an error
    read      `marks` ─▶ every device
    dismiss   `dismissed`, or `marks` ─▶ every device │ an error
    history   history.page ─▶ the result │ an error, of a topic that the connection is not subscribed to

All of them change nothing the second time, so a client may repeat them. What devices are told comes before the answer:
where a state comes to them by another way than its publish, that is waited for.
"""

import asyncio
import random
from typing import Final
from weakref import WeakValueDictionary

from tellwire import protocol
from tellwire.engine import HandedOn
from tellwire.entry import Entry
from tellwire.errors import HistoryMissing, HistoryUnavailable, TopicForbidden, UploadUnknown
from tellwire.limits import DISMISSED_AT_ONCE, WELCOME_PAGE_BYTES
from tellwire.marks import MARKS, marked, marks_of, marks_state
from tellwire.ports import Broker, Clock, History, Peer
from tellwire.publication import (
    DISMISSED,
    UNSHOWN_STATUSES,
    Publication,
    StreamKey,
    is_own_state,
    topic_stream,
    upload_key,
    user_stream,
)
from tellwire.stream import HistoryPage, seen_state
from tellwire.topics import TopicRules
from tellwire.uploads import cancelled, dismissed

_MARK_ATTEMPTS: Final = 12
_MARK_PAUSE_SECONDS: Final = 0.05
"""Attempts to change the marks while other nodes, or functions, change them: each that fails means that one of theirs
has succeeded. The pauses between them are random, and grow by this bound."""

StreamRequest = (
    protocol.Acknowledge
    | protocol.Cancel
    | protocol.Mark
    | protocol.Dismiss
    | protocol.DismissEnded
    | protocol.ReadHistory
)


class StreamRequests:
    """The handling of requests about the user's own stream. Without a history only `ack` is accepted, and ignored."""

    def __init__(
        self,
        broker: Broker,
        history: History | None,
        clock: Clock,
        handed_on: HandedOn,
        topics: TopicRules | None = None,
    ) -> None:
        self._broker = broker
        self._history = history
        self._clock = clock
        self._handed_on = handed_on
        self._topics = topics or TopicRules()
        self._turns: WeakValueDictionary[StreamKey, asyncio.Lock] = WeakValueDictionary()

    async def perform(self, request: StreamRequest, peer: Peer) -> bytes | None:
        """Perform a request; return its result, as JSON.

        Raises:
            TellwireError: it was not done.
        """
        match request:
            case protocol.Acknowledge(cursor):
                await self._acknowledge(peer, cursor)
            case protocol.Cancel(upload_id):
                await self._cancel(peer, upload_id, is_repeatable=request.request_id is not None)
            case protocol.Mark():
                await self._mark(peer, request)
            case protocol.Dismiss(key):
                await self._dismiss(peer, key)
            case protocol.DismissEnded(version):
                await self._dismiss_ended(peer, version)
            case protocol.ReadHistory():
                return await self._read_page(peer, request)
        return None

    async def _acknowledge(self, peer: Peer, cursor: str) -> None:
        """Publish that the user has seen the log up to a cursor. A foreign cursor is ignored."""
        if self._history is None:
            return
        stream = user_stream(peer.user_id)
        position = await self._history.position(stream)
        offset = position and position.offset_of(cursor)
        if position is not None and offset is not None:
            await self._publish(seen_state(stream, position._replace(offset=offset), self._clock.now()))

    async def _mark(self, peer: Peer, request: protocol.Mark) -> None:
        """Publish that the user has read messages, or wants to see them no more. Foreign cursors are ignored."""
        history, stream = self._kept(), user_stream(peer.user_id)
        # One after the other, so that those of one process are not in each other's way.
        async with self._turns.setdefault(stream, asyncio.Lock()):
            for attempt in range(_MARK_ATTEMPTS):
                await asyncio.sleep(random.uniform(0, attempt * _MARK_PAUSE_SECONDS))  # noqa: S311 - jitter
                if await self._try_to_mark(history, stream, request):
                    return
        raise HistoryUnavailable("the marks of this user change too often just now")

    async def _try_to_mark(self, history: History, stream: StreamKey, request: protocol.Mark) -> bool:
        """Publish the marks with those of a request. False: they have changed since they were read."""
        position = await history.position(stream)
        if position is None:
            return True
        single = [position.offset_of(cursor) for cursor in request.cursors]
        last = position.offset_of(request.up_to or "")
        ranges = [(offset, offset) for offset in single if offset] + ([(1, last)] if last else [])
        known = await history.state(stream, MARKS)
        before = marks_of(known, position.epoch)
        after = marked(before, request.kind, ranges)
        if after == before:
            await self._told(known)
            return True
        state = marks_state(stream, after, known, self._clock.now())
        return await self._publish(state)

    async def _read_page(self, peer: Peer, request: protocol.ReadHistory) -> bytes:
        """Return a page of a log. A foreign cursor is before everything that is kept."""
        history, stream = self._kept(), _stream(peer, request.topic)
        offset = None
        is_empty = self._topics.retention_of(stream) is None
        if request.before is not None and not is_empty:
            position = await history.position(stream)
            offset = position and position.offset_of(request.before)
            is_empty = offset is None
        if is_empty:
            return protocol.history_result(HistoryPage([], more=False))
        return protocol.history_result(await history.page(stream, offset, request.limit, WELCOME_PAGE_BYTES))

    async def _cancel(self, peer: Peer, upload_id: str, *, is_repeatable: bool) -> None:
        entry = await self._kept().state(user_stream(peer.user_id), upload_key(upload_id))
        if entry is None:
            raise UploadUnknown(upload_id)
        if is_repeatable and entry.status == "cancelled":
            await self._told(entry)
            return
        await self._publish(cancelled(entry, self._clock.now()))

    async def _dismiss(self, peer: Peer, key: str) -> None:
        """Publish that an upload is dismissed. One that is kept no more is dismissed for this device alone."""
        entry = await self._kept().state(user_stream(peer.user_id), key)
        if entry is None or entry.status is None or is_own_state(key):
            await peer.send(protocol.dismissed(key))
        elif entry.status == DISMISSED:
            await self._told(entry)
        else:
            await self._publish(dismissed(entry, self._clock.now()))

    async def _dismiss_ended(self, peer: Peer, version: int) -> None:
        """Publish that all uploads are dismissed that have ended, with a state of at most this version."""
        history, stream = self._kept(), user_stream(peer.user_id)
        position = await history.position(stream)
        replay = await history.read(stream, None if position is None else str(position), 0)
        ended = [each for each in replay.snapshot if each.is_final and each.number <= version]
        states = [dismissed(each, self._clock.now()) for each in ended if each.status not in UNSHOWN_STATUSES]
        last: Entry | None = None
        # In turns of the event loop: a device must be able to take them all.
        for first in range(0, len(states), DISMISSED_AT_ONCE):
            for outcome in await self._broker.publish_all(states[first : first + DISMISSED_AT_ONCE]):
                if isinstance(outcome, Exception):
                    raise outcome
                last = outcome.entry or last
            await asyncio.sleep(0)
        # The others come before it, and where none comes there is one time-out.
        await self._told(last)

    async def _publish(self, state: Publication) -> bool:
        """Publish a state, and wait until the devices at this process have it. False: it was not kept."""
        entry = (await self._broker.publish(state)).entry
        await self._told(entry)
        return entry is not None

    async def _told(self, entry: Entry | None) -> None:
        """Wait until the devices at this process have a state that is kept."""
        if entry is not None and entry.stream is not None:
            await self._handed_on(entry.stream, entry.number)

    def _kept(self) -> History:
        if self._history is None:
            raise HistoryMissing
        return self._history


def _stream(peer: Peer, topic: str | None) -> StreamKey:
    """Return the stream whose log a client may read: the user's own, or that of a topic that it is subscribed to."""
    if topic is None:
        return user_stream(peer.user_id)
    stream = topic_stream(topic)
    if stream not in peer.subscriptions:
        raise TopicForbidden(topic, "this connection is not subscribed to it")
    return stream
