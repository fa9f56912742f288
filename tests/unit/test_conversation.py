"""The bounds of a conversation. Its answers to clients have a contract."""

from typing import Any, cast

import pytest

from tellwire import protocol
from tellwire.conversation import Conversation
from tellwire.engine import Engine
from tellwire.errors import HistoryUnavailable
from tellwire.limited_log import LINES
from tellwire.message_handlers import MessageHandlers
from tellwire.messages import create_message
from tellwire.testing import FakeClock


class Away:
    """A history whose store is away."""

    async def state(self, stream: str, key: str) -> None:
        raise HistoryUnavailable("Redis is away")


class Peer:
    connection_id, user_id, expires_at = "L0SM9cOFvHcCIhw=", "user-1", float("inf")
    answers = 0

    async def send(self, payload: bytes) -> bool:
        self.answers += 1
        return True


class Unreachable(Peer):
    """A client to whom nothing can be sent just now."""

    async def send(self, payload: bytes) -> bool:
        self.answers += 1
        raise HistoryUnavailable("API Gateway does not respond")


async def test_a_request_whose_answer_cannot_be_sent_has_not_failed() -> None:
    handlers = MessageHandlers()
    handlers.on_message("rename", lambda data, sender: create_message("renamed", data))
    conversation = Conversation(Engine(cast("Any", None), cast("Any", None)), cast("Any", None), FakeClock(), handlers)
    peer = Unreachable()
    with pytest.raises(HistoryUnavailable):
        await conversation.handle(protocol.Custom("rename", 1, request_id="q1"), cast("Any", peer))
    assert peer.answers == 1


async def test_requests_that_fail_while_a_store_is_away_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    engine = Engine(cast("Any", None), cast("Any", None), history=cast("Any", Away()))
    conversation = Conversation(engine, cast("Any", None), clock)
    peer = Peer()
    for _ in range(1000):
        await conversation.handle(protocol.Cancel("u1"), cast("Any", peer))
    assert peer.answers == 1000
    assert len(caplog.records) == int(LINES.burst)
    await clock.advance(60)
    await conversation.handle(protocol.Cancel("u1"), cast("Any", peer))
    assert "failed requests: 980 more lines were left out" in caplog.text
