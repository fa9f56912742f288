"""Connections to the Redis of an address: its master, with the help of Sentinels, and the slots of a cluster."""

import asyncio
from typing import Any

from redis.asyncio import Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from tellwire.engines.redis.link.address import Endpoint, RedisAddress
from tellwire.engines.redis.link.call_link import CallLink, connect
from tellwire.engines.redis.link.words import UNREACHABLE, unavailable
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.limits import REDIS_TIMEOUT_SECONDS


class Dialer:
    """Connections to the Redis of an address."""

    def __init__(self, address: RedisAddress) -> None:
        self.address = address
        self._sentinel = self._make_sentinel() if address.kind == "sentinel" else None
        self._is_closed = False

    async def dial(self) -> CallLink:
        """Open a connection to the master, ready for commands. Whoever gets it closes it.

        Raises:
            ReadOnlyError: it is a replica by now: a fail-over is not known yet where its name comes from.
        """
        link = await self.dial_to(await self.master())
        try:
            is_replica = b"role:slave" in await link.say("INFO", "replication")
        except BaseException:
            await link.close()
            raise
        if is_replica:
            await link.close()
            raise ReadOnlyError("a replica")
        return link

    async def dial_to(self, host: Endpoint) -> CallLink:
        """Open a connection to one Redis, ready for commands. Whoever gets it closes it."""
        link = await connect(host, self.address)
        try:
            found = await link.say("CONFIG", "GET", "appendonly", "appendfsync")
        except ResponseError:
            return link  # CONFIG is forbidden, as it is where somebody else runs Redis
        except BaseException:
            await link.close()
            raise
        words = dict(zip(found[::2], found[1::2], strict=True))
        link.keeps_all = words == {b"appendonly": b"yes", b"appendfsync": b"always"}
        return link

    async def probe(self) -> dict[str, str]:
        """Return the fields of `INFO`, and `sharded`: "no" without the channels of a cluster.

        Raises:
            ConfigError: it refuses the login.
            HistoryUnavailable: it cannot be reached.
        """
        hosts = self.address.hosts if self.address.kind == "cluster" else [None]
        failure: HistoryUnavailable | None = None
        for host in hosts:
            try:
                return await self._facts(host)
            except HistoryUnavailable as error:
                failure = error
        raise failure or HistoryUnavailable(UNREACHABLE)

    async def _facts(self, host: Endpoint | None) -> dict[str, str]:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                facts = await self._probe(host or await self.master())
        except (AuthenticationError, NoPermissionError) as error:
            raise ConfigError(f"TELLWIRE_REDIS_URL: {unavailable(error).reason}") from None
        except (RedisError, OSError, TimeoutError) as error:
            raise unavailable(error) from error
        if facts.get("loading", "0") != "0":
            # It answers INFO already, and nothing else.
            raise unavailable(BusyLoadingError())
        return facts

    async def _probe(self, host: Endpoint) -> dict[str, str]:
        link = await connect(host, self.address)
        try:
            info = (await link.say("INFO")).decode()
            sharded = (await link.say("COMMAND", "INFO", "SPUBLISH"))[0]
        finally:
            await link.close()
        facts = dict(line.partition(":")[::2] for line in info.splitlines())
        return facts | {"sharded": "no" if sharded is None else "yes"}

    async def slots(self, endpoint: Endpoint) -> dict[int, Endpoint]:
        """Return the master of each slot of a cluster, as one of its nodes knows it.

        Raises:
            ConfigError: it is no node of a cluster, or refuses the login.
        """
        link = await connect(endpoint, self.address)
        try:
            ranges = await link.say("CLUSTER", "SLOTS")
        except ResponseError as error:
            if "cluster support disabled" in str(error):
                raise ConfigError(
                    "TELLWIRE_REDIS_URL: got a Redis that is no cluster; needed: an address that begins with redis://"
                ) from None
            raise
        finally:
            await link.close()
        slots: dict[int, Endpoint] = {}
        for first, last, (host, port, *_), *_ in ranges:
            # Without a name of its own, a node is where it was asked.
            master = Endpoint(host.decode() if host else endpoint.host, port)
            slots.update(dict.fromkeys(range(first, last + 1), master))
        return slots

    async def close(self) -> None:
        """Close all connections but those that were dialled."""
        self._is_closed = True
        if self._sentinel is not None:
            # A list of its own: who asks puts the Sentinel that knows the master first.
            for each in tuple(self._sentinel.sentinels):
                await each.aclose()

    async def master(self) -> Endpoint:
        """Return the master."""
        if self._sentinel is None:
            return self.address.hosts[0]
        try:
            host, port = await self._sentinel.discover_master(self.address.master)
        finally:
            if self._is_closed:
                # Whoever asked meanwhile went on to the next Sentinel, with a new connection.
                await self.close()
        return Endpoint(str(host), int(port))

    def _make_sentinel(self) -> Sentinel:
        login = {"username": self.address.sentinel_username, "password": self.address.sentinel_password}
        tls = {"ssl": True, **self._tls()} if self.address.tls else {}
        return Sentinel(  # type: ignore[no-untyped-call]
            self.address.hosts,
            sentinel_kwargs={**login, **self._options(), **tls, "socket_timeout": REDIS_TIMEOUT_SECONDS / 4},
            **self._login(),
        )

    def _login(self) -> dict[str, Any]:
        return {"username": self.address.username, "password": self.address.password}

    def _options(self) -> dict[str, Any]:
        # Timeouts and repetitions are ours: a pipeline has one timeout, and a call that failed may have happened.
        return {
            "protocol": 2,
            "socket_timeout": None,
            "socket_keepalive": True,
            "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
        }

    def _tls(self) -> dict[str, Any]:
        names = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
        return {name: getattr(self.address, name) for name in names if getattr(self.address, name) is not None}
