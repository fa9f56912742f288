"""What is said to users, and what they say of it: kept first, put in its place, and then told to their devices.

    deliver      a message ─▶ history.append ─▶ the live carrier ─▶ devices
    welcome      history.read ─▶ pages for one client that comes back
    acknowledge  how much of the log the user has seen ─▶ a state, to every device
    cancel       the upload's last state, cancelled ─▶ every device; its worker learns it from its next delivery
    lapse        what a worker fell silent on: stalled, then failed

The gateway and the functions on AWS both do with this what clients ask for. A client that is away reads from the
history; one that is here gets it now, and knows by its place that nothing is missing. Messages for connections, or for
everybody, are for who is here: they are not kept.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from tellwire import protocol
from tellwire.errors import GatewayError, HistoryUnavailable, InvalidMessage, UploadUnknown
from tellwire.limits import HEARTBEAT_SECONDS
from tellwire.model import ConnectionInfo, Delivery, Target
from tellwire.ports import Clock, History
from tellwire.stream import Entry, Replay, Said, upload_key
from tellwire.uploads import cancelled, lapsed
from tellwire.wire import Welcome

logger = logging.getLogger("tellwire.broker")


class LiveCarrier(Protocol):
    """A `Carrier` that may leave out a state that has not gone out yet for a newer one of its `key`, and let a final
    one go first.
    """

    async def deliver(
        self, target: Target, payload: bytes, key: str | None = None, *, is_final: bool = False
    ) -> Delivery: ...

    async def connections(self, user_id: str) -> list[ConnectionInfo]: ...

    async def disconnect(self, connection_id: str) -> bool: ...


class Streams:
    """A `Carrier` that keeps what it carries. `kept` hears of every entry of a user, before it is delivered."""

    def __init__(
        self,
        history: History,
        carrier: LiveCarrier,
        clock: Clock,
        kept: Callable[[str, Entry], None] = lambda user_id, entry: None,
    ) -> None:
        self._history = history
        self._carrier = carrier
        self._clock = clock
        self._kept = kept

    # --- a carrier ----------------------------------------------------------------------------------------------------

    async def deliver(self, target: Target, payload: bytes) -> Delivery:
        """Deliver, as every carrier does; a message that was published before goes to nobody. One that is kept and
        cannot be delivered just now counts as `unsent`, at least once: devices are told of it when they come back.

        Raises:
            HistoryUnavailable: it cannot be kept, and was not delivered.
        """
        if target.user is None:
            return await self._carrier.deliver(target, payload)
        said = Said.read(payload)
        return await self._told(target, said, await self._history.append(target.user, said))

    async def deliver_all(self, messages: Sequence[tuple[Target, bytes]]) -> list[Delivery | Exception]:
        """Deliver one after the other, kept together. What goes wrong with one is its answer, and stops no other."""
        saids = [_said(target, payload) for target, payload in messages]
        kept = [
            (target.user or "", said)
            for (target, _), said in zip(messages, saids, strict=True)
            if isinstance(said, Said)
        ]
        entries: Iterator[Entry | HistoryUnavailable | None]
        try:
            entries = iter(await self._history.append_all(kept))
        except HistoryUnavailable as error:
            entries = itertools.repeat(error)
        answers: list[Delivery | Exception] = []
        for (target, payload), said in zip(messages, saids, strict=True):
            try:
                if isinstance(said, Said):
                    answers.append(await self._told(target, said, next(entries)))
                else:
                    answers.append(said or await self._carrier.deliver(target, payload))
            except Exception as error:  # noqa: BLE001 - whoever publishes them tells it
                answers.append(error)
        return answers

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return await self._carrier.connections(user_id)

    async def disconnect(self, connection_id: str) -> bool:
        return await self._carrier.disconnect(connection_id)

    # --- what clients ask for -----------------------------------------------------------------------------------------

    async def welcome(
        self,
        user_id: str,
        cursor: str | None,
        connection_id: str,
        expires_at: str,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
    ) -> Iterator[bytes]:
        """Return the pages that tell a client of this user what it missed.

        The client must be hearing live messages already, so that nothing falls between the two.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        replay = await self._history.read(user_id, cursor)
        if await self._lapse_all(user_id, replay):
            replay = await self._history.read(user_id, cursor)
        head = Welcome(connection_id, user_id, replay.cursor, replay.recovered, expires_at, heartbeat_seconds)
        return protocol.welcome(head, replay)

    async def acknowledge(self, user_id: str, cursor: str) -> None:
        """Let all devices know that the user has seen the log up to here. A cursor that is not ours changes nothing.

        Raises:
            HistoryUnavailable: it cannot be kept.
        """
        await self._tell_user(user_id, await self._history.acknowledge(user_id, cursor))

    async def cancel(self, user_id: str, upload_id: str) -> None:
        """Let all devices, and its worker, know that an upload is not wanted any more.

        Raises:
            UploadUnknown: there is none of this id.
            UploadOver: it has ended.
            HistoryUnavailable: it cannot be kept.
        """
        entry = await self._history.state(user_id, upload_key(upload_id))
        if entry is None:
            raise UploadUnknown(upload_id)
        await self._tell_user(user_id, await self._history.append(user_id, cancelled(entry, self._clock.now())))

    async def lapse(self, user_id: str, entry: Entry) -> bool:
        """Say what is to be said of an upload whose lease may be over. False if it is not.

        Raises:
            HistoryUnavailable: it cannot be kept.
        """
        was_taken = False
        for said in lapsed(entry, self._clock.now()):
            taken = await self._history.append(user_id, said)
            if taken is None:
                break
            was_taken = True
            await self._tell_user(user_id, taken)
        return was_taken

    async def _lapse_all(self, user_id: str, replay: Replay) -> bool:
        return any([await self.lapse(user_id, entry) for entry in replay.states])

    async def _told(self, target: Target, said: Said, entry: Entry | HistoryUnavailable | None) -> Delivery:
        if isinstance(entry, HistoryUnavailable):
            raise entry
        if entry is None:
            return await self._not_taken(target.user or "", said)
        return await self._tell(target, entry)

    async def _not_taken(self, user_id: str, said: Said) -> Delivery:
        """Say why a message goes to nobody: it was published before, or its upload goes on no more."""
        if said.key is None or said.is_final:
            return Delivery()
        known = await self._history.state(user_id, said.key)
        return Delivery(cancelled=known is not None and known.status == "cancelled")

    async def _tell_user(self, user_id: str, entry: Entry | None) -> None:
        if entry is not None:
            await self._tell(Target(user=user_id), entry)

    async def _tell(self, target: Target, entry: Entry) -> Delivery:
        self._kept(target.user or "", entry)
        try:
            return await self._carrier.deliver(target, entry.payload, entry.key, is_final=entry.is_final)
        except GatewayError as error:
            # It is kept, so whoever is there hears of it at last; to publish it again would be to say it twice.
            logger.warning("what is kept for a user could not be delivered just now: %s", error)
            return Delivery(unsent=1)


def _said(target: Target, payload: bytes) -> Said | InvalidMessage | None:
    """Return what is to be kept, None if nothing is, or what is wrong with it."""
    try:
        return None if target.user is None else Said.read(payload)
    except InvalidMessage as error:
        return error
