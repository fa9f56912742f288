"""A server that keeps streams, as a model, and a client whose connections are lost.

The server keeps a message in a `Stream` before it delivers it, hears a connection before it reads for its welcome, and
answers page by page while other messages go out. Everything on its way is in a queue, and nothing moves by itself.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from tellwire import protocol
from tellwire.client.decode import ReceivedMessage, read_message
from tellwire.client.inbox import Inbox
from tellwire.client.stream import Bounds
from tellwire.entry import Entry
from tellwire.messages import create_message, create_upload_progress_message, encode_message
from tellwire.position import Position
from tellwire.publication import Publication
from tellwire.retention import Retention
from tellwire.stream import Stream
from tellwire.wire import Welcome
from tests.publications import for_user
from tests.unit.client.driven import AskToken, Close, Driven, Drop, Send

RETENTION = Retention()

_MANY = 100


@dataclass
class Line:
    """One connection, as the server sees it."""

    coming: deque[bytes] = field(default_factory=deque)
    hellos: deque[bytes] = field(default_factory=deque)
    pages: Iterator[bytes] = field(default_factory=lambda: iter(()))


class World:
    """Both ends. `taken` are the messages that the application has, `log` all of the log in their order.

    `excused` are the messages that a client need not have, by what a welcome told it.
    """

    def __init__(self, cursor: str | None, max_buffered: int, published_before: int = 0) -> None:
        self.epochs = 0
        self.stream = self._new_stream()
        self.lines: dict[int, Line] = {}
        self.undelivered: deque[Entry] = deque()
        self.log: list[str] = []
        self.states: list[tuple[str, int]] = []
        self.excused: set[str] = set()
        self.not_yet: set[str] = set()
        self.read_aloud: list[str] = []
        self.taken: list[ReceivedMessage] = []
        self.was_told: list[bool] = []
        self.should_hear_of_a_loss = False
        self.has_heard_of_a_loss = False
        self._bounds = Bounds(buffered_messages=max_buffered)
        self._count = 0
        for _ in range(published_before):
            self.says(0)
        self.undelivered.clear()
        self._begin(cursor)

    def _new_stream(self) -> Stream:
        self.epochs += 1
        return Stream(f"e{self.epochs}", retention=RETENTION)

    def _begin(self, cursor: str | None) -> None:
        self.driven = Driven(recover=True, cursor=cursor, jitter=0.0, bounds=self._bounds, rotate_after_seconds=1000)
        self.inbox = Inbox()
        self.asking: int | None = None
        self._passed = 0
        self._told = 0
        self.driven.start()
        self._acts()

    # --- what is published --------------------------------------------------------------------------------------------

    def says(self, size: int) -> None:
        """Say something for the log."""
        self._count += 1
        said = for_user("anna", create_message("said", {"number": self._count, "filling": "x" * size}))
        self.log.append(said.id)
        self._keep(said)

    def progresses(self, upload: int) -> None:
        self._count += 1
        message = create_upload_progress_message(f"u{upload}", "f.csv", self._count / 1000, "")
        self._keep(for_user("anna", message))

    def calls(self) -> None:
        """Say something to who is there."""
        self._count += 1
        payload = encode_message(create_message("call", self._count))
        for line in self.lines.values():
            line.coming.append(payload)

    def _keep(self, said: Publication) -> None:
        entry = self.stream.append(said, self.driven.now if hasattr(self, "driven") else 0.0)
        assert entry is not None
        self.undelivered.append(entry)

    # --- the server ---------------------------------------------------------------------------------------------------

    def delivers(self, *, newest_first: bool = False) -> None:
        if not self.undelivered:
            return
        last_is_log = self.undelivered[-1].key is None
        entry = self.undelivered.pop() if newest_first and last_is_log else self.undelivered.popleft()
        for line in self.lines.values():
            line.coming.append(entry.payload)

    def answers(self, number: int) -> None:
        """Read for the next hello. Its welcome takes the place of one that is under way."""
        line = self._line(number)
        if line is None or not line.hellos:
            return
        hello = msgspec.json.decode(line.hellos.popleft())
        cursor = hello.get("cursors", {}).get("user")
        replay = self.stream.read(cursor, self.driven.now)
        kept = {entry.id for entry in self.stream._log}
        gone = {each for each in self.log if each not in kept}
        if cursor is None:
            self.not_yet |= set(self.log)
        elif not replay.recovered:
            self.excused |= gone
        elif cursor == "0":
            self.not_yet |= gone
        head = Welcome("c", "u", replay.cursor, replay.recovered, "2026-11-28T00:00:00.000Z", 25)
        line.pages = protocol.welcome(head, replay)

    def turns_a_page(self, number: int) -> None:
        line = self._line(number)
        page = None if line is None else next(line.pages, None)
        if line is not None and page is not None:
            line.coming.append(page)

    def forgets_the_user(self) -> None:
        """Lose the stream, and keep the connections."""
        while self.undelivered:
            self.delivers()
        self.stream = self._new_stream()

    def restarts(self, *, with_a_file: bool) -> None:
        self.undelivered.clear()
        if not with_a_file:
            self.stream = self._new_stream()
        for number in list(self.lines):
            self.loses(number)

    # --- the client ---------------------------------------------------------------------------------------------------

    def opens(self) -> None:
        """Open the attempt under way."""
        if self.asking is None and self.driven.status == "waiting":
            self.driven.passes(self.driven.wait)
            self._acts()
        if self.asking is not None:
            number, self.asking = self.asking, None
            self.lines[number] = Line()
            if self.driven.cursor is None:
                self.not_yet |= set(self.log)
            self.driven.token(number).opened(number)
            self._acts()

    def hears(self, number: int, count: int = 1) -> None:
        """Deliver some messages that are on their way to the client."""
        line = self._line(number)
        real = next((each for each, its in self.lines.items() if its is line), 0)
        for _ in range(count):
            if line is None or not line.coming:
                return
            message = read_message(line.coming.popleft())
            assert message is not None
            if message.type == "call" and self.driven.machine._find(real):
                self.read_aloud.append(str(message.id))
            self._notices(message)
            self.driven.received(real, message)
            self._acts()

    def loses(self, number: int) -> None:
        """Cut a connection; messages on their way are lost."""
        line = self._line(number)
        for real, its in list(self.lines.items()):
            if its is line:
                del self.lines[real]
                self.driven.closed(real, 1006)
        self._acts()

    def comes_back(self, pages: int) -> None:
        """Lose the connection, and hear some of the welcome on the next one."""
        self.loses(0)
        self.opens()
        self.answers(0)
        for _ in range(pages):
            self.turns_a_page(0)
            self.hears(0)

    def replaces(self) -> None:
        """Age the connection until a second one is begun."""
        self.settles()
        self.driven.passes(1040)
        self._acts()

    def falls_silent(self) -> None:
        """Silence the server until the client looks for another connection."""
        self.settles()
        self.driven.answers = False
        self.driven.passes(246)
        self.driven.answers = True
        self._acts()

    def takes(self, count: int) -> None:
        """Take some of the messages that were passed on."""
        while count and self.inbox._messages:
            count -= 1
            self.taken.append(self.inbox._messages.popleft())

    def crashes(self) -> None:
        """End the program and begin another where it was."""
        machine = self.driven.machine
        cursor = machine.cursors(self.inbox.cursor).get("user")
        lost_at = machine._recovery._user.resequencer.lost_at
        self.taken = [message for message in self.taken if not self._comes_again(message, lost_at)]
        lost = {str(message.id) for message in self.inbox._messages}
        self.read_aloud = [each for each in self.read_aloud if each not in lost and self._was_taken(each)]
        self.lines.clear()
        self._begin(cursor)

    def settles(self) -> None:
        """Deliver everything, until nothing is on its way."""
        for _ in range(_MANY):
            self.opens()
            while self.undelivered:
                self.delivers()
            for number in range(len(self.lines)):
                self.answers(number)
                for _ in range(_MANY):
                    self.turns_a_page(number)
                self.hears(number, 10_000)
            is_quiet = not any(line.coming or line.hellos for line in self.lines.values())
            if is_quiet and self.driven.status == "open" and not self.driven.machine._recovery.wants_hello:
                break
            self.driven.passes(1.01)
            self._acts()
        else:
            raise AssertionError("it never comes to rest")
        self.takes(10_000)

    # --- between the two ----------------------------------------------------------------------------------------------

    def _comes_again(self, message: ReceivedMessage, lost_at: str | None) -> bool:
        """Return True if a message comes again because the loss before it was not told yet."""
        cursor, lost = Position.parse(message.cursor), Position.parse(lost_at)
        return bool(lost_at and cursor and (lost is None or cursor.epoch != lost.epoch or cursor > lost))

    def _was_taken(self, message_id: str) -> bool:
        return any(message.id == message_id for message in self.taken)

    def _line(self, number: int) -> Line | None:
        lines = list(self.lines.values())
        return lines[number % len(lines)] if lines else None

    def _notices(self, message: ReceivedMessage) -> None:
        if message.type == "welcome" and not message.data["recovered"]:
            self.should_hear_of_a_loss = True

    def _acts(self) -> None:
        for action in self.driven.asked():
            match action:
                case AskToken(number, "connect"):
                    self.asking = number
                case Send(number, payload) if b'"hello"' in payload and number in self.lines:
                    self.lines[number].hellos.append(payload)
                case Close(number) | Drop(number) if number in self.lines:
                    del self.lines[number]
                    self.driven.closed(number, 1000)
        self.inbox.put(*self.driven.passed[self._passed :])
        self._passed = len(self.driven.passed)
        told = [state.recovered for state in self.driven.states[self._told :]]
        self._told = len(self.driven.states)
        self.has_heard_of_a_loss |= False in told
