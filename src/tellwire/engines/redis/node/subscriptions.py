"""The streams whose connections this node holds: it subscribes to their channels, and hands their messages to the hub.

    channel ─▶ feed (pure) ─▶ hub.hand_out
                  └▶ a number is missing ─▶ read the history from there, then what has come meanwhile

Pub/sub may lose messages. So the end of each feed is compared with the store's (`compare.lua`): at once where a channel
was subscribed to again, and of all in turns every few seconds. Within an epoch the missing messages are read and handed
out in order, before later ones. In another epoch nobody knows what a device has: each is told where the stream is, with
a `pong`, and our clients then ask with a `hello`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from tellwire import protocol
from tellwire.carriers.hub import Hub
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.engines.redis.node.channels import Channel, Channels
from tellwire.engines.redis.node.feed import NO_EPOCH, Feed, Head, Verdict, has_less, head_of
from tellwire.errors import HistoryUnavailable
from tellwire.limits import (
    REDIS_BUFFERED_BYTES,
    REDIS_COMPARE_PAUSE_SECONDS,
    REDIS_COMPARE_SECONDS,
    REDIS_COMPARE_SETTLES_SECONDS,
    REDIS_COMPARED_AT_ONCE,
    REDIS_FETCH_PAUSE_SECONDS,
    REDIS_FETCHED_BYTES_AT_ONCE,
    REDIS_FETCHES_AT_ONCE,
    REDIS_HANDED_ON_SECONDS,
    REDIS_MESSAGE_COST_BYTES,
)
from tellwire.ports import Clock, History, Present
from tellwire.position import Position, StreamEnd
from tellwire.publication import StreamKey, topic_of, user_stream

logger = logging.getLogger("tellwire.engines.redis")

_COMPARE: Final = script("compare")
_COMPARE_TOPIC: Final = script("compare_topic")
_header: Final = msgspec.json.Decoder(list[Any])
_NUMBERED: Final = ("m", "s")

Take = Callable[[StreamKey, Sequence[Any], bytes], None]
"""Takes a message of a stream's channel that is none of its messages: a header, and a payload."""


class Watched:
    """A stream that connections of this node belong to: those that have entered, or are about to."""

    __slots__ = (
        "buffer",
        "buffered_bytes",
        "channel",
        "connections",
        "expels",
        "feed",
        "has_begun",
        "is_queued",
        "stream",
        "topic",
        "waiting",
    )

    def __init__(self, stream: StreamKey) -> None:
        self.stream = stream
        self.topic = topic_of(stream)
        self.connections: dict[str, Present] = {}
        self.feed = Feed()
        self.channel: Channel | None = None
        # Messages that wait, before the feed has begun and during a fetch. None: they need not.
        self.buffer: list[tuple[Sequence[Any], bytes]] | None = []
        self.buffered_bytes = 0
        self.has_begun = False
        self.is_queued = False
        self.expels = 0
        # Versions of states that somebody waits for.
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []


class Subscriptions:
    """The streams of this node. `run` must run as long as it is used.

    `history` is where missing messages are read. `renew` gives a stream a new epoch, above what this node has seen.
    `on_expel` closes connections.
    `missing` is called with connections of this node that the store does not know, `shut_out` with the stream of a user
    who may be shut out, and `counts` with that of a topic, and the nodes that have subscribers, each followed by their
    number. `members` takes messages about the members of a topic, and `compared` is called with the stream of a topic
    when it is compared with the store.
    """

    def __init__(
        self,
        store: RedisStore,
        names: Names,
        hub: Hub,
        clock: Clock,
        channels: Channels,
    ) -> None:
        self._store = store
        self._names = names
        self._hub = hub
        self._clock = clock
        self._channels = channels
        self.history: History | None = None
        self.renew: Callable[[StreamKey, Head], Awaitable[None]] | None = None
        self.missing: Callable[[list[Present]], None] = lambda connections: None
        self.on_expel: Take = lambda stream, header, payload: None
        self.shut_out: Callable[[StreamKey], None] = lambda stream: None
        self.counts: Callable[[StreamKey, Sequence[bytes]], None] = lambda stream, counts: None
        self.members: Take = lambda stream, header, payload: None
        self.compared: Callable[[StreamKey], None] = lambda stream: None
        self._by_stream: dict[StreamKey, Watched] = {}
        self._to_compare: deque[Watched] = deque()
        self._compare_now = asyncio.Event()
        self._fetches: set[asyncio.Task[None]] = set()
        self._fetch_room = asyncio.Semaphore(REDIS_FETCHES_AT_ONCE)
        store.on_return(self.compare_all)

    def __len__(self) -> int:
        return len(self._by_stream)

    def known_end(self, stream: StreamKey) -> StreamEnd | None:
        """Return the end of a stream as far as this node has handed it out; None if it holds no connection of it."""
        watched = self._by_stream.get(stream)
        head = None if watched is None else watched.feed.head
        return None if head is None else head.end

    def count(self, stream: StreamKey) -> int:
        """Return the number of connections of this node that belong to a stream, or are about to."""
        watched = self._by_stream.get(stream)
        return 0 if watched is None else len(watched.connections)

    def all(self) -> list[Watched]:
        """Return all streams that this node holds connections of."""
        return list(self._by_stream.values())

    def of_user(self, user_id: str) -> Watched | None:
        """Return the stream of a user, if this node holds a connection of it."""
        return self._by_stream.get(user_stream(user_id))

    def holds(self, stream: StreamKey, connection: Present) -> bool:
        """Return True if a connection belongs to a stream, or is about to."""
        watched = self._by_stream.get(stream)
        return watched is not None and connection.connection_id in watched.connections

    async def join(self, stream: StreamKey, connection: Present) -> Watched:
        """Add a connection to a stream, and wait until its channel is subscribed to. `part` undoes it, in any case.

        Raises:
            HistoryUnavailable: Redis is away.
        """
        watched = self._by_stream.get(stream)
        if watched is None:
            watched = self._by_stream[stream] = Watched(stream)
            watched.channel = self._channels.subscribe(
                self._names.channel(stream), partial(self._received, watched), partial(self.compare, [watched])
            )
        watched.connections[connection.connection_id] = connection
        if watched.channel is not None:
            await watched.channel.ready()
        return watched

    def begin(self, watched: Watched, head: Head | None) -> None:
        """Begin to hand on messages after this head, which was read after the channel was subscribed to."""
        if not watched.has_begun:
            watched.has_begun = True
            watched.feed.begin(head)
            # A turn later, when the hub has the connection: those that were published since are for it, too.
            asyncio.get_running_loop().call_soon(self._release_first, watched)

    def part(self, stream: StreamKey, connection: Present) -> bool:
        """Remove a connection from a stream, and unsubscribe after the last one. False: it was not there."""
        watched = self._by_stream.get(stream)
        if watched is None or watched.connections.pop(connection.connection_id, None) is None:
            return False
        if not watched.connections:
            del self._by_stream[stream]
            if watched.channel is not None:
                self._channels.unsubscribe(watched.channel)
        return True

    async def handed_on(self, stream: StreamKey, version: int) -> None:
        """Wait until this node has handed out a state, which was published, for `REDIS_HANDED_ON_SECONDS` at most."""
        watched = self._by_stream.get(stream)
        if watched is None or watched.feed.version >= version:
            return
        waiting = version, asyncio.get_running_loop().create_future()
        watched.waiting.append(waiting)
        try:
            async with asyncio.timeout(REDIS_HANDED_ON_SECONDS):
                await waiting[1]
        except TimeoutError:
            self.compare([watched])
        finally:
            watched.waiting.remove(waiting)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _received(self, watched: Watched, data: bytes) -> None:
        """Handle a message of a stream's channel: a header in JSON, a newline, and the payload as devices get it."""
        line, _, payload = data.partition(b"\n")
        header = _header.decode(line)
        # Only what has a number waits for its turn: the history has it, should too much wait.
        if watched.buffer is None or header[0] not in _NUMBERED:
            self._handle(watched, header, payload)
        else:
            self._buffer(watched, header, payload)

    def _handle(self, watched: Watched, header: Sequence[Any], payload: bytes, pause_seconds: float = 0.0) -> None:
        kind = header[0]
        if kind in _NUMBERED and self._is_too_early(watched, header[1]):
            return
        if kind == "m":
            key, is_final = None, False
            verdict = watched.feed.message(header[1], header[2])
        elif kind == "s":
            key, is_final = header[4], bool(header[3])
            verdict = watched.feed.state(header[1], header[2])
        else:
            self._handle_other(watched, header, payload)
            return
        if verdict is Verdict.DELIVER:
            self._hub.hand_out(watched.stream, payload, key, is_final=is_final)
            self._tell_waiting(watched)
        elif verdict is Verdict.FETCH:
            self._fetch_soon(watched, pause_seconds)
            self._buffer(watched, header, payload)
        elif verdict is Verdict.ANNOUNCE:
            self._hub.hand_out(watched.stream, payload, key, is_final=is_final)
            self._announce(watched, watched.feed.head)

    def _tell_waiting(self, watched: Watched) -> None:
        for version, waiting in watched.waiting:
            if version <= watched.feed.version and not waiting.done():
                waiting.set_result(None)

    def _is_too_early(self, watched: Watched, epoch: str) -> bool:
        """Return True for a message of another epoch while the store is in trouble: devices would say hello, and get no
        answer. The comparison after the trouble finds it.
        """
        if watched.feed.epoch in (NO_EPOCH, epoch):
            return False
        return self._store.trouble(self._names.channel(watched.stream)) is not None

    def _handle_other(self, watched: Watched, header: Sequence[Any], payload: bytes) -> None:
        if header[0] == "x":
            watched.expels += 1
            self.on_expel(watched.stream, header, payload)
        elif header[0] == "u":
            self._hub.hand_out(watched.stream, payload)
        elif header[0] == "p":
            self.members(watched.stream, header, payload)

    def _buffer(self, watched: Watched, header: Sequence[Any], payload: bytes) -> None:
        if watched.buffer is None:
            return
        watched.buffer.append((header, payload))
        watched.buffered_bytes += len(payload) + REDIS_MESSAGE_COST_BYTES
        if watched.buffered_bytes > REDIS_BUFFERED_BYTES:
            # A comparison will find that they are missing.
            watched.buffer, watched.buffered_bytes = [], 0

    # --- comparing, and fetching what is missing ----------------------------------------------------------------------

    def compare(self, streams: Sequence[Watched]) -> None:
        """Compare these streams with the store soon."""
        for watched in streams:
            if not watched.is_queued:
                watched.is_queued = True
                self._to_compare.append(watched)
        self._compare_now.set()

    def compare_all(self) -> None:
        """Compare all streams with the store soon."""
        self.compare(self.all())

    async def run(self) -> None:
        """Compare, when asked and in turns. It never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._compare_in_turns())
            group.create_task(self._compare_when_asked())

    async def close(self) -> None:
        """End all fetches."""
        for task in list(self._fetches):
            task.cancel()
        if self._fetches:
            await asyncio.wait(self._fetches)

    async def _compare_in_turns(self) -> None:
        turn: deque[Watched] = deque()
        while True:
            await self._clock.sleep(REDIS_COMPARE_PAUSE_SECONDS)
            if not turn:
                turn.extend(self.all())
                share = -(-len(turn) * REDIS_COMPARE_PAUSE_SECONDS // REDIS_COMPARE_SECONDS)
                count = min(REDIS_COMPARED_AT_ONCE, max(1, int(share)))
            if self._store.trouble() is None:
                self.compare([turn.popleft() for _ in range(min(count, len(turn)))])

    async def _compare_when_asked(self) -> None:
        while True:
            await self._compare_now.wait()
            self._compare_now.clear()
            while self._to_compare:
                some = [self._to_compare.popleft() for _ in range(min(REDIS_COMPARED_AT_ONCE, len(self._to_compare)))]
                for each in some:
                    each.is_queued = False
                try:
                    await self._compare([each for each in some if self._by_stream.get(each.stream) is each])
                except Exception:
                    # Nobody else would notice that this has ended.
                    logger.exception("streams cannot be compared with Redis, trying again")

    async def _compare(self, streams: Sequence[Watched]) -> None:
        before = [each.feed.head for each in streams]
        answers = await self._store.call_all([self._call_of(each) for each in streams])
        behind: dict[Watched, Head | None] = {}
        for watched, known, answer in zip(streams, before, answers, strict=True):
            if isinstance(answer, BaseException) or self._by_stream.get(watched.stream) is not watched:
                continue
            head = head_of(*answer[:4])
            self._compare_connections(watched, answer[4:])
            if head is not None and known is not None and has_less(head, known):
                await self._renew_epoch(watched, known)
            elif head is not None and watched.buffer is None and watched.feed.is_behind(head):
                behind[watched] = watched.feed.head
        if behind:
            # What the store has may be on its way to us.
            self.spawn(self._settle(behind))

    def _compare_connections(self, watched: Watched, found: Sequence[Any]) -> None:
        if watched.topic is not None:
            self.counts(watched.stream, found[0])
            self.compared(watched.stream)
            return
        missing, is_shut_out = found
        if missing:
            named = [each.decode() for each in missing]
            self.missing([watched.connections[each] for each in named if each in watched.connections])
        if is_shut_out:
            self.shut_out(watched.stream)

    async def _renew_epoch(self, watched: Watched, known: Head) -> None:
        """Give a stream whose store has lost something a new epoch."""
        if self.renew is not None:
            try:
                await self.renew(watched.stream, known)
            except HistoryUnavailable as error:
                logger.info("a stream of which Redis has lost something cannot be renewed yet: %s", error.reason)
            else:
                self.compare([watched])

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work about a stream beside all else; `close` ends it."""
        task = asyncio.create_task(work)
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    async def _settle(self, behind: dict[Watched, Head | None]) -> None:
        await asyncio.sleep(REDIS_COMPARE_SETTLES_SECONDS)
        for watched, before in behind.items():
            # One whose feed has moved on gets its messages; the next comparison finds it again.
            if watched.buffer is None and watched.feed.head == before:
                self._fetch_soon(watched)

    def _call_of(self, watched: Watched) -> Call:
        if watched.topic is not None:
            return Call(_COMPARE_TOPIC, self._keys_of(watched)[:2], ())
        return Call(_COMPARE, self._keys_of(watched), list(watched.connections))

    def _keys_of(self, watched: Watched) -> list[bytes]:
        return [self._names.of_stream(kind, watched.stream) for kind in ("conns", "meta", "shut")]

    def _fetch_soon(self, watched: Watched, pause_seconds: float = 0.0) -> None:
        watched.buffer, watched.buffered_bytes = [], 0
        self.spawn(self._fetch(watched, pause_seconds))

    async def _fetch(self, watched: Watched, pause_seconds: float) -> None:
        """Read the missing entries, and hand them out before those that have come meanwhile."""
        is_whole = False
        before = watched.feed.head
        try:
            await asyncio.sleep(pause_seconds)
            async with self._fetch_room:
                await self._read_missing(watched)
            is_whole = True
        except HistoryUnavailable as error:
            logger.info("messages that pub/sub has lost cannot be read yet: %s", error.reason)
        except Exception:
            logger.exception("messages that pub/sub has lost cannot be read")
        finally:
            buffered, watched.buffer = watched.buffer or [], None
            # Without the missing ones, these wait in the history, too.
            kept = buffered if is_whole else []
            # A fetch that has brought nothing is not repeated at once.
            self._release(watched, kept, 0.0 if watched.feed.head != before else REDIS_COMPARE_SETTLES_SECONDS)

    def _release_first(self, watched: Watched) -> None:
        buffered, watched.buffer = watched.buffer or [], None
        self._release(watched, buffered, 0.0)

    def _release(self, watched: Watched, buffered: Sequence[tuple[Sequence[Any], bytes]], pause_seconds: float) -> None:
        for header, payload in buffered:
            if watched.buffer is None:
                self._handle(watched, header, payload, pause_seconds)
            else:  # a gap again
                self._buffer(watched, header, payload)

    async def _read_missing(self, watched: Watched) -> None:
        feed, history = watched.feed, self.history
        *fields, _, _ = await self._store.call(_COMPARE, self._keys_of(watched), [])
        head = head_of(*fields)
        if history is None or head is None:
            return
        # The read begins after the comparison, so it has all that this has seen.
        replay = await history.read(watched.stream, feed.cursor_in(head.epoch), feed.version)
        position = Position.parse(replay.cursor) or Position(head.epoch, head.offset)
        is_same = feed.epoch in (NO_EPOCH, position.epoch)
        if is_same or replay.recovered:
            await self._hand_out(watched, [(payload, None, False) for payload in replay.messages])
        # Versions rise from epoch to epoch; of the log of another one, nobody knows which messages were delivered.
        states = [each for each in replay.snapshot if each.number > feed.version]
        await self._hand_out(watched, [(each.payload, each.key, each.is_final) for each in states])
        numbers = [each.number for each in states]
        version, newest = max([head.version, *numbers]), max([head.newest, *numbers])
        feed.begin(Head(position.epoch, position.offset, version, newest))
        self._tell_waiting(watched)
        if not (is_same and replay.recovered):
            self._announce(watched, feed.head)

    async def _hand_out(self, watched: Watched, messages: Sequence[tuple[bytes, str | None, bool]]) -> None:
        cost = 0
        for payload, key, is_final in messages:
            self._hub.hand_out(watched.stream, payload, key, is_final=is_final)
            cost += len(payload) + REDIS_MESSAGE_COST_BYTES
            if cost >= REDIS_FETCHED_BYTES_AT_ONCE:
                cost = 0
                await asyncio.sleep(REDIS_FETCH_PAUSE_SECONDS)

    def _announce(self, watched: Watched, head: Head | None) -> None:
        """Tell each device where its stream is."""
        if head is not None:
            ends = (head.end, {}) if watched.topic is None else (None, {watched.topic: head.end})
            self._hub.hand_out(watched.stream, protocol.pong(*ends))


__all__ = ["Subscriptions", "Take", "Watched"]
