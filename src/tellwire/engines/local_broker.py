"""The broker of one process: a publication is kept and handed out without a task of its own.

    publish_soon ─▶ history.append_soon ─▶ kept ─▶ the line ─▶ at the end of the turn: the hub ─▶ done

What was kept in one turn of the event loop is handed out at its end, in the order in which it was kept; neighbours of
one stream together. A single one for a few devices is handed out at once, if no other waits. So the order of deliveries
is that of the history, whoever publishes and in whichever way.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from tellwire.broker import refused
from tellwire.carriers.hub import Hub
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable, TellwireError, TooManyEscalations, code_of
from tellwire.escalations import make_room
from tellwire.model import Delivery
from tellwire.ports import LocalHistory, NullObserver, Observer, PublishDone, Published
from tellwire.publication import Publication
from tellwire.topics import TopicRules
from tellwire.uploads import no_room

logger = logging.getLogger("tellwire.broker")


class _Publish:
    """A publish on its way. `entry` is None until it is kept, and for a publication that is not kept.

    With `may_be_alone` it is handed out at once to a few receivers, unless others wait to be.
    """

    __slots__ = ("began_at", "done", "entry", "may_be_alone", "publication")

    def __init__(self, publication: Publication, done: PublishDone, *, may_be_alone: bool = False) -> None:
        self.may_be_alone = may_be_alone
        self.publication = publication
        self.done = done
        self.entry: Entry | None = None
        self.began_at = 0.0


class LocalBroker:
    """A `Broker` of a history and a hub of this process. `on_kept` gets every entry before it is delivered.

    `topics` say which publications of topics are kept; the others are only handed out.
    """

    def __init__(
        self,
        history: LocalHistory,
        hub: Hub,
        on_kept: Callable[[Entry], None] = lambda entry: None,
        observer: Observer | None = None,
        topics: TopicRules | None = None,
    ) -> None:
        self._history = history
        self._hub = hub
        self._topics = topics or TopicRules()
        self._on_kept = on_kept
        self._observer = observer or NullObserver()
        self._is_observed = type(self._observer) is not NullObserver
        self._line: list[_Publish] = []
        # An engine belongs to the loop that it was opened on. To ask for the running one is a system call.
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- Broker -------------------------------------------------------------------------------------------------------

    def publish_soon(self, publication: Publication, done: PublishDone) -> None:
        self._publish(_Publish(publication, done, may_be_alone=True))

    async def publish(self, publication: Publication) -> Published:
        (outcome,) = await self._outcomes([publication])
        return _unless_error(outcome)

    async def publish_linked(self, publications: Sequence[Publication]) -> list[Published]:
        together = _Together(len(publications))
        publishes = [_Publish(each, together.done(index)) for index, each in enumerate(publications)]
        for publish in publishes:
            publish.began_at = time.perf_counter()
        self._history.append_linked_soon(publications, partial(self._appended_linked, publishes))
        return [_unless_error(outcome) for outcome in await together.outcomes()]

    async def publish_all(self, publications: Sequence[Publication]) -> list[Published | Exception]:
        outcomes: list[Published | Exception] = []
        start = 0
        for index, publication in enumerate(publications):
            if not self._topics.keeps(publication):
                # It does not overtake what comes before it.
                outcomes += await self._outcomes(publications[start:index])
                outcomes += await self._outcomes([publication])
                start = index + 1
        return outcomes + await self._outcomes(publications[start:])

    async def _outcomes(self, publications: Sequence[Publication]) -> list[Published | Exception]:
        together = _Together(len(publications))
        for index, publication in enumerate(publications):
            self._publish(_Publish(publication, together.done(index)))
        return await together.outcomes()

    def _publish(self, publish: _Publish) -> None:
        if self._is_observed:
            publish.began_at = time.perf_counter()
        publication = publish.publication
        # Most are for a user, and are kept: they ask no rules.
        if publication.target.user is not None or self._topics.keeps(publication):
            self._history.append_soon(publication, partial(self._appended, publish))
        else:
            self._line_up(publish)

    # --- kept, or not -------------------------------------------------------------------------------------------------

    def _appended(self, publish: _Publish, outcome: Entry | TellwireError | None) -> None:
        if isinstance(outcome, Entry):
            self._kept(publish, outcome)
        elif outcome is None:
            self._start(self._tell_not_kept(publish))
        elif isinstance(outcome, TooManyEscalations):
            self._start(self._make_room(publish, outcome))
        else:
            self._fail(publish, outcome)

    def _appended_linked(self, publishes: Sequence[_Publish], outcome: list[Entry | None] | HistoryUnavailable) -> None:
        if isinstance(outcome, HistoryUnavailable):
            for publish in publishes:
                self._fail(publish, outcome)
            return
        for publish, entry in zip(publishes, outcome, strict=True):
            if entry is None:
                publish.done(Published(None, Delivery()))
            else:
                self._kept(publish, entry)

    def _kept(self, publish: _Publish, entry: Entry) -> None:
        publish.entry = entry
        self._on_kept(entry)
        if publish.may_be_alone and not self._line and self._hub.has_few_receivers(entry):
            # To gather costs more than it saves.
            self._hand_out_alone(publish, entry)
        else:
            self._line_up(publish)

    async def _tell_not_kept(self, publish: _Publish) -> None:
        """Answer a publication that was not kept."""
        try:
            delivery = await self._delivery_of_not_kept(publish.publication)
        except Exception as error:  # noqa: BLE001 - it is this publication's outcome
            self._fail(publish, error)
        else:
            self._end(publish, delivery)

    async def _delivery_of_not_kept(self, publication: Publication) -> Delivery:
        if publication.key is None or publication.stream is None:
            return Delivery()
        state = await self._history.state(publication.stream, publication.key)
        if state is not None:
            return refused(publication, state)
        if publication.replaces is None:
            logger.warning("an upload of a user is not shown, because too many are running")
            await self.publish(no_room(publication))
        return Delivery()

    async def _make_room(self, publish: _Publish, error: TooManyEscalations) -> None:
        """Publish again, if escalations that are acknowledged make room for that of this publication."""
        try:
            ended = await make_room(self._history, publish.publication.target.user or "")
        except Exception as failed:  # noqa: BLE001 - it is this publication's outcome
            self._fail(publish, failed)
            return
        for entry in ended:
            self._on_kept(entry)
        if ended:
            self._publish(publish)
        else:
            self._fail(publish, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- handed out ---------------------------------------------------------------------------------------------------

    def _line_up(self, publish: _Publish) -> None:
        if not self._line:
            self._loop.call_soon(self._hand_out)
        self._line.append(publish)

    def _hand_out_alone(self, publish: _Publish, entry: Entry) -> None:
        try:
            delivery = self._hub.hand_out_alone(entry)
        except Exception as error:
            logger.exception("a publication cannot be handed out")
            self._fail(publish, error)
        else:
            self._end(publish, delivery)

    def _hand_out(self) -> None:
        line, self._line = self._line, []
        start, count = 0, len(line)
        while start < count:
            end = start + 1
            receivers = _receivers(line[start].publication)
            while receivers is not None and end < count and _receivers(line[end].publication) == receivers:
                end += 1
            self._hand_out_together(line[start:end])
            start = end

    def _hand_out_together(self, publishes: Sequence[_Publish]) -> None:
        """Hand out neighbours with the same receivers."""
        publications = [each.entry or each.publication for each in publishes]
        first = publications[0]
        try:
            if first.stream is not None:
                deliveries = self._hub.hand_out_together(first.stream, publications)
            elif first.target.all:
                deliveries = self._hub.hand_to_all_together(publications)
            else:
                deliveries = [self._hub.hand_to(first.target.connection_ids, first.payload)]
        except Exception as error:
            logger.exception("publications cannot be handed out")
            for publish in publishes:
                self._fail(publish, error)
            return
        for publish, delivery in zip(publishes, deliveries, strict=True):
            self._end(publish, delivery)

    def _end(self, publish: _Publish, delivery: Delivery) -> None:
        published = Published(publish.entry, delivery)
        if self._is_observed:
            try:
                self._observer.published(publish.publication, published, time.perf_counter() - publish.began_at)
            except Exception:
                # It is the program's own, and this publish and those after it have their answers to get.
                logger.exception("the observer of a publish failed")
        publish.done(published)

    def _fail(self, publish: _Publish, error: Exception) -> None:
        if self._is_observed:
            try:
                self._observer.publish_failed(code_of(error))
            except Exception:
                logger.exception("the observer of a publish failed")
        publish.done(error)


class _Together:
    """The outcomes of several publishes, once all are known."""

    __slots__ = ("_future", "_missing", "_outcomes")

    def __init__(self, count: int) -> None:
        self._outcomes: list[Any] = [None] * count
        self._missing = count
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(self, index: int) -> PublishDone:
        return partial(self._note, index)

    def _note(self, index: int, outcome: Published | Exception) -> None:
        self._outcomes[index] = outcome
        self._missing -= 1
        # Who waits may have been cancelled.
        if not self._missing and not self._future.done():
            self._future.set_result(None)

    async def outcomes(self) -> list[Published | Exception]:
        if self._missing:
            await self._future
        return self._outcomes


def _unless_error(outcome: Published | Exception) -> Published:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _receivers(publication: Publication) -> str | None:
    """Return a name for the receivers of a publication; None: it is for some connections."""
    if publication.stream is not None:
        return publication.stream
    return "all" if publication.target.all else None
