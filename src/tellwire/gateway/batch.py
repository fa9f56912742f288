"""`POST /v1/publish/batch`: many publishes in one body, one a line, published a few in each turn of the event loop.

    body ─▶ lines ─▶ a group of them ─▶ broker.publish_all ─▶ an answer for each ─▶ the next group, a turn later

A batch of one turn, all of it kept, such as producers gather, is answered without ASGI: each of its lines is a
publish. A turn is bounded by lines, by their bytes, and by the connections that get them: a line for a user with a
thousand devices is a thousand times the work.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from starlette.requests import Request

from tellwire.engine import Engine
from tellwire.errors import TellwireError
from tellwire.gateway.http import NDJSON
from tellwire.http_problems import LineProblem
from tellwire.limits import (
    BATCH_BYTES_PER_TURN,
    BATCH_DELIVERIES_PER_TURN,
    BATCH_LINES_PER_TURN,
    DIRECT_BATCH_BYTES,
)
from tellwire.model import Target
from tellwire.ports import Broker, Published
from tellwire.publication import Publication
from tellwire.publish_requests import Line, joined, line_answer, lines_of, read_line
from tellwire.server.direct import Answer, Respond
from tellwire.topics import TopicRules

logger = logging.getLogger("tellwire.gateway")

_NDJSON_HEADERS: Final = ((b"content-type", NDJSON.encode()),)

_RESTARTING: Final = msgspec.json.encode(
    LineProblem("RESTARTING", "The server is restarting; publish this line again", 503)
)


class Batches:
    """Publishes batches through an engine."""

    def __init__(self, engine: Engine, is_ending: Callable[[], bool]) -> None:
        self._broker = engine.broker
        self._hub = engine.hub
        self._is_ending = is_ending

    def receivers_of(self, target: Target) -> int:
        """Count the connections of this process that a publication for a target goes to."""
        return 0 if self._hub is None else self._hub.receivers(target)

    async def publish(self, body: bytes, request: Request) -> list[bytes]:
        """Publish the lines of a body, and return their answers. It ends early when the client has gone.

        When the server ends, the lines that are left are answered with `RESTARTING`.
        """
        answers: list[bytes] = []
        for group in self._groups(lines_of(body)):
            if self._is_ending():
                answers += [_RESTARTING] * len(group)
                continue
            outcomes = iter(await self._broker.publish_all([each for each in group if isinstance(each, Publication)]))
            answers += [_answer(next(outcomes) if isinstance(each, Publication) else each) for each in group]
            await asyncio.sleep(0)
            if await request.is_disconnected():
                break
        return answers

    def whole_turn(self, body: bytes) -> list[Line] | None:
        """Return the lines of a body, decoded, if all of them are one turn. None: they are more, or none."""
        if body.count(b"\n") > BATCH_LINES_PER_TURN:
            return None
        groups = self._groups(lines_of(body))
        first = next(groups, None)
        return first if next(groups, None) is None else None

    def _groups(self, lines: Iterator[bytes]) -> Iterator[list[Line]]:
        """Yield the lines of one turn after the other, decoded."""
        group: list[Line] = []
        count = size = deliveries = 0
        for line in lines:
            read = read_line(line)
            receivers = self.receivers_of(read.target) if isinstance(read, Publication) else 0
            if group and deliveries + receivers > BATCH_DELIVERIES_PER_TURN:
                yield group
                group, count, size, deliveries = [], 0, 0, 0
            group.append(read)
            count, size, deliveries = count + 1, size + len(line), deliveries + receivers
            if count >= BATCH_LINES_PER_TURN or size >= BATCH_BYTES_PER_TURN:
                yield group
                group, count, size, deliveries = [], 0, 0, 0
        if group:
            yield group


class DirectBatch:
    """The answers to batches of one turn."""

    max_bytes: Final = DIRECT_BATCH_BYTES

    def __init__(self, batches: Batches, broker: Broker, topics: TopicRules) -> None:
        self._batches = batches
        self._broker = broker
        self._topics = topics

    def answer(self, address: str, body: bytes, respond: Respond) -> bool:
        lines = self._batches.whole_turn(body)
        # One that is not kept does not wait for the history, and could overtake others.
        if not lines or any(isinstance(each, Publication) and not self._topics.keeps(each) for each in lines):
            return False
        answers = _Answers(address, len(lines), respond)
        for number, line in enumerate(lines):
            if isinstance(line, Publication):
                self._broker.publish_soon(line, functools.partial(answers.note, number))
            else:
                answers.note(number, line)
        return True


class _Answers:
    """The answers to the lines of a batch, sent when all are known."""

    __slots__ = ("_address", "_answers", "_missing", "_respond")

    def __init__(self, address: str, count: int, respond: Respond) -> None:
        self._address = address
        self._answers = [b""] * count
        self._missing = count
        self._respond = respond

    def note(self, number: int, outcome: Published | Exception) -> None:
        self._answers[number] = _answer(outcome)
        self._missing -= 1
        if not self._missing:
            tell_batch(self._address, len(self._answers))
            self._respond(Answer(200, joined(self._answers), _NDJSON_HEADERS))


def tell_batch(address: str, count: int) -> None:
    """Write a batch into the log of a developer."""
    logger.debug("%s published a batch: %d lines", address, count)


def _answer(outcome: Published | Exception) -> bytes:
    if isinstance(outcome, Published):
        return line_answer(outcome.delivery)
    if not isinstance(outcome, TellwireError):
        # Earlier lines are delivered, so an unexpected error must not lose their answers.
        logger.error("a line of a batch failed", exc_info=outcome)
    return line_answer(outcome)
