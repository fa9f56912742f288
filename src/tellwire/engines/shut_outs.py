"""Shut-outs of one process: a dictionary that a file may keep, and the hub that closes connections."""

from collections.abc import Iterable
from typing import Protocol

from tellwire.carriers.hub import Hub
from tellwire.errors import HistoryUnavailable
from tellwire.limits import MAX_SHUT_OUTS
from tellwire.model import Identity
from tellwire.ports import Clock
from tellwire.shut_out import ShutOut, require_let_in


class ShutOutFile(Protocol):
    """A store of shut-outs that outlives the process."""

    async def load(self) -> list[ShutOut]:
        """Return all shut-outs.

        Raises:
            HistoryUnavailable: they cannot be read.
        """
        ...

    async def keep(self, entry: ShutOut) -> None:
        """Keep one, in place of an earlier one of its kind.

        Raises:
            HistoryUnavailable: it is not kept.
        """
        ...

    async def remove(self, user_id: str, keys: Iterable[str]) -> None:
        """Remove those of a user with these keys.

        Raises:
            HistoryUnavailable: they may still be kept.
        """
        ...


class LocalShutOuts:
    """`ShutOuts` of a process. Without a `file` they end with it. Call `load` once before use."""

    def __init__(
        self, hub: Hub, clock: Clock, file: ShutOutFile | None = None, max_entries: int = MAX_SHUT_OUTS
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._file = file
        self._max_entries = max_entries
        self._by_user: dict[str, dict[str, ShutOut]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    async def load(self) -> None:
        """Read the file.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        for entry in [] if self._file is None else await self._file.load():
            self._put(entry)

    async def shut_out(self, entry: ShutOut) -> int:
        if len(self) >= self._max_entries:
            await self._forget_those_that_ended()
            if len(self) >= self._max_entries:
                raise HistoryUnavailable(f"{self._max_entries:,} users are shut out, and no more can be")
        if self._file is not None:
            await self._file.keep(entry)
        self._put(entry)
        return self._hub.expel(entry.user_id, entry.is_for, entry.error) if self._clock.now() < entry.until else 0

    async def let_in(self, user_id: str) -> int:
        entries = self._by_user.get(user_id, {})
        if entries and self._file is not None:
            await self._file.remove(user_id, list(entries))
        now = self._clock.now()
        return sum(now < each.until for each in self._by_user.pop(user_id, {}).values())

    async def of(self, user_id: str) -> list[ShutOut]:
        now = self._clock.now()
        return [each for each in self._by_user.get(user_id, {}).values() if now < each.until]

    def admits_at_once(self, identity: Identity) -> bool:
        return identity.user_id not in self._by_user

    async def admit(self, identity: Identity) -> None:
        entries = self._by_user.get(identity.user_id)
        if entries:
            require_let_in(entries.values(), identity.stamp, self._clock.now())

    def _put(self, entry: ShutOut) -> None:
        self._by_user.setdefault(entry.user_id, {})[entry.key] = entry

    async def _forget_those_that_ended(self) -> None:
        now = self._clock.now()
        for user_id, entries in list(self._by_user.items()):
            ended = [key for key, each in entries.items() if each.until <= now]
            if ended and self._file is not None:
                await self._file.remove(user_id, ended)
            for key in ended:
                del entries[key]
            if not entries:
                self._by_user.pop(user_id, None)
