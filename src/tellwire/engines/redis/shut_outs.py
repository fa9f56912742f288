"""Shut-outs in Redis: a hash beside each user's stream, and a message on its channel, with which nodes close sockets.

A message on a channel may be lost. So a node also reads the hash when it compares streams, every few seconds: to close
what is closed already is harmless. A handshake that is half done then sees the shut-out when it is registered.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from tellwire.carriers.hub import Hub
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import script, time_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.errors import HistoryUnavailable, PublishError
from tellwire.limits import SHUT_OUTS_PER_USER
from tellwire.model import Identity, TokenStamp
from tellwire.ports import Clock
from tellwire.publication import StreamKey, stream_target, user_stream
from tellwire.shut_out import ShutOut, require_let_in

logger = logging.getLogger("tellwire.engines.redis")

_SHUT_OUT: Final = script("shut_out")
_SHUT_OUTS: Final = script("shut_outs")
_LET_IN: Final = script("let_in")

_shut_out: Final = msgspec.json.Decoder(ShutOut)
_encode: Final = msgspec.json.Encoder().encode


def decode_shut_outs(values: Iterable[bytes | None]) -> list[ShutOut]:
    """Return the shut-outs in the values of a hash; None stands for none."""
    return [_shut_out.decode(value) for value in values if value is not None]


def kinds_of(stamp: TokenStamp) -> tuple[str, ...]:
    """Return the kinds of shut-outs that may be for a token: few, however many tokens of its user are shut out."""
    return ("user", "issued") if stamp.token_id is None else ("user", "issued", f"token:{stamp.token_id}")


class RedisShutOuts:
    """`ShutOuts` of all nodes.

    `hub` has the connections of this process (None: it has none). `count_live` counts those of the given ids that are
    on live nodes, and `stamp_of` reads the traits of a token from a registered connection.
    """

    def __init__(
        self,
        store: RedisStore,
        names: Names,
        clock: Clock,
        hub: Hub | None,
        count_live: Callable[[Iterable[bytes]], int],
        stamp_of: Callable[[bytes], TokenStamp],
    ) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._time = time_of(clock)
        self._hub = hub
        self._count_live = count_live
        self._stamp_of = stamp_of
        self._checks: dict[StreamKey, asyncio.Task[None]] = {}

    async def shut_out(self, entry: ShutOut) -> int:
        stream = user_stream(entry.user_id)
        keys = [self._key(stream), self._names.of_stream("conns", stream), self._names.channel(stream)]
        args = (self._time(), entry.key, _encode(entry), repr(entry.until), SHUT_OUTS_PER_USER)
        found = await self._store.call(_SHUT_OUT, keys, args)
        if found is None:
            raise HistoryUnavailable(f"{SHUT_OUTS_PER_USER:,} tokens of this user are shut out, and no more can be")
        registered = zip(found[::2], found[1::2], strict=True)
        return self._count_live([each for each, text in registered if entry.is_for(self._stamp_of(text))])

    async def let_in(self, user_id: str) -> int:
        return len(self._lasting(await self._store.call(_LET_IN, [self._key(user_stream(user_id))])))

    async def of(self, user_id: str) -> list[ShutOut]:
        return self._lasting(await self._store.call(_SHUT_OUTS, [self._key(user_stream(user_id))]))

    def admits_at_once(self, identity: Identity) -> bool:
        return False  # the store is asked

    async def admit(self, identity: Identity) -> None:
        found = await self._store.call(_SHUT_OUTS, [self._key(user_stream(identity.user_id))], kinds_of(identity.stamp))
        require_let_in(decode_shut_outs(found), identity.stamp, self._clock.now())

    def on_expel(self, stream: StreamKey, header: Sequence[Any], payload: bytes) -> None:
        """Close connections because of a message on the channel of a stream."""
        self._expel(_shut_out.decode(payload))

    def check_soon(self, stream: StreamKey) -> None:
        """Close connections that are shut out, soon: a message on the channel of their stream may have been lost."""
        if stream not in self._checks:
            task = self._checks[stream] = asyncio.get_running_loop().create_task(self._check(stream))
            task.add_done_callback(lambda done: self._checks.pop(stream, None))

    def close(self) -> None:
        """End all checks."""
        for task in self._checks.values():
            task.cancel()

    async def _check(self, stream: StreamKey) -> None:
        try:
            for entry in await self.of(stream_target(stream).user or ""):
                self._expel(entry)
        except PublishError as error:
            logger.debug("nobody knows who is shut out just now; this is checked again: %s", error)

    def _expel(self, entry: ShutOut) -> None:
        if self._hub is not None and self._clock.now() < entry.until:
            self._hub.expel(entry.user_id, entry.is_for, entry.error)

    def _lasting(self, values: Iterable[bytes]) -> list[ShutOut]:
        now = self._clock.now()
        return [each for each in decode_shut_outs(values) if now < each.until]

    def _key(self, stream: StreamKey) -> bytes:
        return self._names.of_stream("shut", stream)
