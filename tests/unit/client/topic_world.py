"""A server with topics, as a model, and a client that follows them while its connections are lost.

The server has one task for each request of a connection: it lets the connection hear the topic, then reads for the
pages, and sends them while live messages go out. Some of those are lost on the way to a connection; a pong says where a
stream ends. Everything on its way is in a queue, and nothing moves by itself.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tellwire import protocol
from tellwire.client.actions import AskToken, Close, Drop, Send, TopicChanged
from tellwire.client.decode import ReceivedMessage, read_message
from tellwire.client.stream import Bounds
from tellwire.entry import Entry
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.model import Target
from tellwire.position import StreamEnd
from tellwire.publication import Publication
from tellwire.retention import Retention
from tellwire.stream import Stream
from tellwire.wire import Welcome
from tests.unit.client.driven import Driven

_MANY = 100


@dataclass
class Line:
    """One connection, as the server sees it."""

    coming: deque[bytes] = field(default_factory=deque)
    requests: deque[dict[str, Any]] = field(default_factory=deque)
    pages: deque[Iterator[bytes]] = field(default_factory=deque)
    topics: set[str] = field(default_factory=set)


class Room:
    """A topic at the server, and the messages that the application has of it since it was followed last.

    `excused` are the messages that a client need not have, by what an answer told it; `not_yet` those of before.
    """

    def __init__(self, name: str, retention: Retention) -> None:
        self.name = name
        self.retention = retention
        self.epochs = 0
        self.stream = self.new_stream()
        self.log: list[str] = []
        self.is_forbidden = False
        self.begin()

    def begin(self) -> None:
        """Follow it anew."""
        self.taken: list[ReceivedMessage] = []
        self.excused: set[str] = set()
        self.not_yet: set[str] = set(self.log)
        self.is_refused = False
        self.has_heard_of_a_loss = False
        self.was_told_of_a_loss = False

    def new_stream(self) -> Stream:
        self.epochs += 1
        return Stream(f"{self.name}{self.epochs}", retention=self.retention)


class TopicWorld:
    """Both ends."""

    def __init__(self, max_buffered: int, retention: Retention) -> None:
        self.rooms = {name: Room(name, retention) for name in ("a", "b")}
        self.lines: dict[int, Line] = {}
        self.undelivered: deque[tuple[str, Entry]] = deque()
        self.followed: set[str] = set()
        self._count = 0
        self._passed = 0
        self.driven = Driven(
            recover=True, jitter=0.0, bounds=Bounds(buffered_messages=max_buffered), rotate_after_seconds=1000
        )
        self.asking: int | None = None
        self.driven.start()
        self._acts()

    # --- what is published --------------------------------------------------------------------------------------------

    def says(self, name: str) -> None:
        self._count += 1
        said = Publication.of(Target(topic=name), create_message("said", self._count))
        self.rooms[name].log.append(said.id)
        self._keep(name, said)

    def progresses(self, name: str) -> None:
        self._count += 1
        message = create_upload_progress_message("u1", "f.csv", self._count / 1000, "")
        self._keep(name, Publication.of(Target(topic=name), message))

    def _keep(self, name: str, said: Publication) -> None:
        entry = self.rooms[name].stream.append(said, self.driven.now)
        assert entry is not None
        self.undelivered.append((name, entry))

    # --- the server ---------------------------------------------------------------------------------------------------

    def delivers(self, *, is_lost: bool = False) -> None:
        if self.undelivered:
            name, entry = self.undelivered.popleft()
            for line in self.lines.values():
                if name in line.topics and not is_lost:
                    line.coming.append(entry.payload)

    def answers(self, number: int) -> None:
        """Begin with the next request of a connection."""
        line = self._line(number)
        if line is None or not line.requests:
            return
        request = line.requests.popleft()
        match request["type"]:
            case "hello":
                head = Welcome(
                    "c", "u", "e:0", recovered=True, expires_at="2026-11-28T00:00:00.000Z", heartbeat_seconds=25
                )
                line.coming.append(next(protocol.welcome(head, Stream("e").read(None, self.driven.now))))
                for stream, cursor in request.get("cursors", {}).items():
                    if stream != "user":
                        self._subscribe(line, stream.removeprefix("topic:"), cursor or None)
            case "subscribe":
                self._subscribe(line, request["topic"], request.get("cursor"))
            case "unsubscribe":
                line.topics.discard(request["topic"])
                line.coming.append(protocol.unsubscribed(request["topic"]))

    def _subscribe(self, line: Line, name: str, cursor: str | None) -> None:
        room = self.rooms[name]
        if room.is_forbidden:
            line.topics.discard(name)
            error = {"code": "TOPIC_FORBIDDEN", "message": "No", "topic": name}
            line.coming.append(msgspec.json.encode({"type": "error", "data": error}))
            return
        line.topics.add(name)
        replay = room.stream.read(cursor, self.driven.now)
        gone = set(room.log) - {entry.id for entry in room.stream._log}
        if cursor is None:
            room.not_yet |= set(room.log)
        elif not replay.recovered:
            room.excused |= gone
            room.was_told_of_a_loss = True
        line.pages.append(protocol.subscribed(name, replay))

    def turns_a_page(self, number: int) -> None:
        line = self._line(number)
        while line is not None and line.pages:
            page = next(line.pages[0], None)
            if page is not None:
                line.coming.append(page)
                return
            line.pages.popleft()

    def forbids(self, name: str) -> None:
        """Withdraw the right to a topic, or give it again."""
        room = self.rooms[name]
        room.is_forbidden = not room.is_forbidden
        for line in self.lines.values() if room.is_forbidden else ():
            if name in line.topics:
                line.topics.discard(name)
                data = {"topic": name, "code": "TOPIC_FORBIDDEN", "message": "No"}
                line.coming.append(msgspec.json.encode({"type": "unsubscribed", "data": data}))

    def forgets(self, name: str) -> None:
        """Lose the stream of a topic, and keep the connections."""
        self.rooms[name].stream = self.rooms[name].new_stream()
        self.undelivered = deque(each for each in self.undelivered if each[0] != name)

    def tells_ends(self) -> None:
        ends = {name: _end_of(room.stream) for name, room in self.rooms.items()}
        for line in self.lines.values():
            known = {name: end for name, end in ends.items() if name in line.topics}
            line.coming.append(protocol.pong(_end_of(Stream("e")), known))

    # --- the client ---------------------------------------------------------------------------------------------------

    def follows(self, name: str) -> None:
        if name not in self.followed:
            self.followed.add(name)
            self.rooms[name].begin()
            self.driven.machine.follow(name, None, self.driven.now)
            self.driven.does([])
            self._acts()

    def leaves(self, name: str) -> None:
        if name in self.followed:
            self.followed.discard(name)
            self.driven.machine.leave(name, self.driven.now)
            self.driven.does([])
            self._acts()

    def opens(self) -> None:
        """Open the connection of the next attempt."""
        if self.driven.status == "waiting":
            self.driven.passes(max(self.driven.wait, 0.0))
            self._acts()
        if self.asking is not None:
            number, self.asking = self.asking, None
            self.driven.token(number)
            self.lines[number] = Line()
            self.driven.opened(number)
            self._acts()

    def hears(self, number: int, count: int = 1) -> None:
        line = self._line(number)
        real = next((each for each, its in self.lines.items() if its is line), 0)
        for _ in range(count):
            if line is None or not line.coming:
                return
            message = read_message(line.coming.popleft())
            assert message is not None
            self.driven.received(real, message)
            self._acts()

    def loses(self, number: int) -> None:
        line = self._line(number)
        for real, its in list(self.lines.items()):
            if its is line:
                del self.lines[real]
                self.driven.closed(real, 1006)
        self._acts()

    def replaces(self) -> None:
        """Age the connection until a second one is begun."""
        self.settles()
        self.driven.passes(1040)
        self._acts()

    def waits(self, seconds: float) -> None:
        self.driven.passes(seconds)
        self._acts()

    def settles(self) -> None:
        """Deliver everything, until nothing is on its way and nothing is behind."""
        quiet = 0
        for _ in range(_MANY):
            self.opens()
            while self.undelivered:
                self.delivers()
            self.tells_ends()
            for number in range(len(self.lines)):
                while (line := self._line(number)) is not None and (line.requests or line.pages or line.coming):
                    self.answers(number)
                    self.turns_a_page(number)
                    self.hears(number, 10_000)
            quiet = quiet + 1 if self.driven.status == "open" and not self.asking else 0
            if quiet > 5:
                return
            self.waits(2.01)
        raise AssertionError("it never comes to rest")

    # --- between the two ----------------------------------------------------------------------------------------------

    def _line(self, number: int) -> Line | None:
        lines = list(self.lines.values())
        return lines[number % len(lines)] if lines else None

    def _acts(self) -> None:
        for action in self.driven.asked():
            match action:
                case AskToken(number, "connect"):
                    self.asking = number
                case Send(number, payload) if number in self.lines:
                    message = msgspec.json.decode(payload)
                    if message["type"] in ("hello", "subscribe", "unsubscribe"):
                        self.lines[number].requests.append(message)
                case Close(number) | Drop(number) if number in self.lines:
                    del self.lines[number]
                    self.driven.closed(number, 1000)
                case TopicChanged(topic, state):
                    self.rooms[topic].is_refused = state.status == "refused"
                    self.rooms[topic].has_heard_of_a_loss |= state.recovered is False
        for message in self.driven.passed[self._passed :]:
            assert message.topic in self.followed, "of a topic that is followed"
            self.rooms[message.topic].taken.append(message)
        self._passed = len(self.driven.passed)


def _end_of(stream: Stream) -> StreamEnd:
    return StreamEnd(stream.position, stream.version)
