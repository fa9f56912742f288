"""The contract of every `Broker`: a publication is kept in its stream, then delivered, as one step."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tellwire.broker import BrokerCarrier, ComposedBroker, LiveBroker
from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.entry import Entry
from tellwire.errors import GatewayUnreachable, HistoryUnavailable, PublishError
from tellwire.messages import UploadProgress, UploadProgressMessage, create_message
from tellwire.model import Delivery, Target
from tellwire.ports import Broker, History, Published
from tellwire.position import START
from tellwire.publication import Publication, user_stream
from tellwire.stream import DEFAULT_RETENTION
from tellwire.testing import FakeClock, MemoryCarrier
from tests.contract.conftest import in_redis
from tests.dynamodb import create_history_table, local_environment
from tests.publications import for_user, publication

ALL = Target(all=True)


class Recording(MemoryCarrier):
    """A carrier that records publications, and the history at the time of each delivery."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self.delivered: list[Publication] = []
        self.kept: list[int] = []

    async def deliver(self, publication: Publication) -> Delivery:
        self.delivered.append(publication)
        if publication.stream is not None:
            self.kept.append(len((await self._history.read(publication.stream, START)).messages))
        return await super().deliver(publication)


@pytest.fixture(params=["memory", "sqlite", "redis", "moto"])
async def history(request: pytest.FixtureRequest, tmp_path: Path, redis_prefix: str) -> AsyncIterator[History]:
    history: History
    match request.param:
        case "memory":
            history = MemoryHistory(FakeClock())
        case "sqlite":
            history = SqliteHistory(tmp_path / "history.sqlite3", FakeClock())
        case "redis":
            server = request.getfixturevalue("redis_server")
            history = in_redis(server, redis_prefix, FakeClock(), DEFAULT_RETENTION)
        case _:
            url, name = request.getfixturevalue("moto_dynamodb"), f"broker-{tmp_path.name}"
            create_history_table(url, name)
            environ = {**local_environment(url), "HISTORY_TABLE_NAME": name}
            history = DynamoHistory(open_history_table(environ), FakeClock(), hole_seconds=0.01)
    yield history
    await history.close()


@pytest.fixture
def carrier(history: History) -> Recording:
    return Recording(history)


@pytest.fixture
def broker(history: History, carrier: Recording) -> Broker:
    return ComposedBroker(history, carrier)


def note(number: int, user_id: str = "anna") -> Publication:
    return for_user(user_id, create_message("note", number))


def upload(
    progress: float, status: str = "running", second: int = 0, run: str | None = None, upload_id: str = "u1"
) -> Publication:
    data = UploadProgress(upload_id=upload_id, file_name="f", progress=progress, message="", status=status, run=run)  # type: ignore[arg-type]
    return for_user("anna", UploadProgressMessage(data, f"2026-11-28T10:00:{second:02}.000Z"))


async def test_a_publication_is_kept_before_it_is_delivered(broker: Broker, carrier: Recording) -> None:
    published = [await broker.publish(note(number)) for number in range(3)]
    assert [each.entry and each.entry.number for each in published] == [1, 2, 3]
    assert all(each.delivery == Delivery(delivered=1) for each in published)
    assert carrier.kept == [1, 2, 3]
    assert [message["data"] for message in carrier.sent_to("anna")] == [0, 1, 2]
    assert all("cursor" in message for message in carrier.sent_to("anna"))


async def test_a_publication_without_a_stream_is_only_delivered(broker: Broker, carrier: Recording) -> None:
    published = await broker.publish(publication(ALL, create_message("note", 1)))
    assert published == Published(None, Delivery(delivered=1))
    assert not isinstance(carrier.delivered[0], Entry)


async def test_a_publication_that_is_kept_already_is_delivered_to_nobody(broker: Broker, carrier: Recording) -> None:
    once = msgspec.structs.replace(create_message("note", 1), id="import-17")
    assert (await broker.publish(for_user("anna", once))).entry is not None
    assert await broker.publish(for_user("anna", once)) == Published(None, Delivery())
    assert len(carrier.delivered) == 1


async def test_a_worker_whose_upload_was_cancelled_is_told_so(broker: Broker, carrier: Recording) -> None:
    await broker.publish(upload(40))
    await broker.publish(upload(40, "cancelled", second=1))
    assert await broker.publish(upload(41, second=2)) == Published(None, Delivery(cancelled=True))
    assert len(carrier.delivered) == 2


async def test_a_worker_of_a_superseded_run_is_told_so_and_whether_its_run_was_cancelled(
    broker: Broker, carrier: Recording
) -> None:
    await broker.publish(upload(40, run="first"))
    await broker.publish(upload(0, run="second"))
    for status in ("running", "complete"):
        late = upload(100, status, second=1, run="first")
        assert await broker.publish(late) == Published(None, Delivery(superseded=True))
    await broker.publish(upload(0, "cancelled", run="second"))
    await broker.publish(upload(0, run="third"))
    late = upload(50, second=2, run="second")
    assert await broker.publish(late) == Published(None, Delivery(cancelled=True, superseded=True))
    assert len(carrier.delivered) == 4


async def test_a_user_with_too_many_running_uploads_is_told_once_that_another_one_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tellwire.limits.MAX_RUNNING_UPLOADS", 3)
    history = MemoryHistory(FakeClock())
    carrier = Recording(history)
    broker = ComposedBroker(history, carrier)
    for number in range(3):
        assert (await broker.publish(upload(1, upload_id=f"u{number}"))).entry is not None
    for second in range(3):
        assert (await broker.publish(upload(1, second=second, upload_id="one-more"))).entry is None
    (error,) = [message for message in carrier.sent_to("anna") if message["type"] == "error"]
    assert (error["data"]["code"], error["data"]["details"]["uploadId"]) == ("TOO_MANY_UPLOADS", "one-more")
    await broker.publish(upload(100, "complete", second=1, upload_id="u0"))
    assert (await broker.publish(upload(2, second=4, upload_id="one-more"))).entry is not None


async def test_a_publication_that_cannot_be_delivered_is_kept_and_counts_as_unsent(
    broker: Broker, carrier: Recording, history: History
) -> None:
    carrier.error = GatewayUnreachable("http://gateway", "away")
    published = await broker.publish(note(1))
    assert (published.entry is not None, published.delivery) == (True, Delivery(unsent=1))
    assert len((await history.read(user_stream("anna"), START)).messages) == 1
    with pytest.raises(PublishError):
        await broker.publish(publication(ALL, create_message("note", 1)))


async def test_a_publication_that_cannot_be_kept_is_not_delivered(
    broker: Broker, carrier: Recording, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*arguments: object) -> object:
        raise HistoryUnavailable("no disk")

    monkeypatch.setattr(history, "append", fails)
    monkeypatch.setattr(history, "append_all", fails)
    with pytest.raises(HistoryUnavailable):
        await broker.publish(note(1))
    kept, live = await broker.publish_all([note(1), publication(ALL, create_message("note", 2))])
    assert isinstance(kept, HistoryUnavailable)
    assert live == Published(None, Delivery(delivered=1))
    assert [each.target for each in carrier.delivered] == [ALL]


async def test_many_are_published_in_order_and_one_that_fails_stops_no_other(
    broker: Broker, carrier: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver = carrier.deliver

    async def faulty(publication: Publication) -> Delivery:
        if publication.target.user == "ben":
            raise RuntimeError("a fault")
        return await deliver(publication)

    monkeypatch.setattr(carrier, "deliver", faulty)
    outcomes = await broker.publish_all(
        [note(0), publication(ALL, create_message("note", 1)), note(2, "ben"), note(3), note(4)]
    )
    assert [type(each).__name__ for each in outcomes] == ["Published", "Published", "RuntimeError", *["Published"] * 2]
    assert [message["data"] for message in carrier.sent_to("anna")] == [0, 3, 4]


async def test_publishes_that_are_begun_one_after_the_other_are_delivered_in_that_order(
    broker: Broker, carrier: Recording
) -> None:
    await asyncio.gather(*(broker.publish(note(number)) for number in range(20)))
    cursors = [int(message["cursor"].rpartition(":")[2]) for message in carrier.sent_to("anna")]
    assert sorted(cursors) == list(range(1, 21))
    by_offset = sorted(carrier.sent_to("anna"), key=lambda message: int(message["cursor"].rpartition(":")[2]))
    assert [message["data"] for message in by_offset] == list(range(20))


async def test_a_publish_that_calls_back_has_the_outcome_of_one_that_is_awaited(
    broker: Broker, carrier: Recording
) -> None:
    async def soon(publication: Publication) -> Published | Exception:
        outcome: asyncio.Future[Published | Exception] = asyncio.get_running_loop().create_future()
        broker.publish_soon(publication, outcome.set_result)
        return await asyncio.wait_for(outcome, 45)

    once = for_user("anna", msgspec.structs.replace(create_message("note", 1), id="import-17"))
    first, again = await soon(once), await soon(once)
    assert isinstance(first, Published)
    assert (first.entry and first.entry.number, first.delivery) == (1, Delivery(delivered=1))
    assert again == Published(None, Delivery())
    carrier.error = GatewayUnreachable("http://gateway", "away")
    assert isinstance(await soon(publication(ALL, create_message("note", 2))), PublishError)


async def test_a_live_broker_keeps_nothing() -> None:
    carrier = MemoryCarrier()
    broker = LiveBroker(carrier)
    assert await broker.publish(note(1)) == Published(None, Delivery(delivered=1))
    carrier.error = GatewayUnreachable("http://gateway", "away")
    (failed,) = await broker.publish_all([note(2)])
    assert isinstance(failed, GatewayUnreachable)
    assert "cursor" not in carrier.sent_to("anna")[0]


async def test_a_carrier_over_a_broker_publishes(broker: Broker, carrier: Recording) -> None:
    over = BrokerCarrier(broker, carrier)
    assert await over.deliver(note(1)) == Delivery(delivered=1)
    assert carrier.kept == [1]
    assert await over.connections("anna") == []
    assert await over.disconnect("nobody") is False
