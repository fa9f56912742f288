"""The one lane of a Redis that is no cluster, with the same methods as `cluster.ClusterLanes`."""

from collections.abc import Callable

from redis.exceptions import RedisError

from tellwire.engines.redis.link.address import Endpoint
from tellwire.engines.redis.link.dial import Dialer
from tellwire.engines.redis.link.lane import Lane
from tellwire.engines.redis.link.waiting import Waiting
from tellwire.engines.redis.link.words import unavailable


class OneLane:
    """The lane to the one master. `returned` is called when it answers again."""

    def __init__(self, dialer: Dialer, wait_replicas: int, returned: Callable[[], None]) -> None:
        self._dialer = dialer
        self._lane = Lane(dialer.dial, wait_replicas=wait_replicas, returned=returned)

    def submit(self, call: Waiting) -> None:
        """Put a call in the line."""
        self._lane.submit(call)

    def trouble(self, key: bytes | None) -> str | None:
        """The trouble of the master."""
        return self._lane.trouble

    @property
    def keeps_all(self) -> bool | None:
        """True if the master has on its disk all that it answers; None: it was not asked yet."""
        return self._lane.keeps_all

    async def endpoint(self, key: bytes) -> Endpoint:
        """Return the master.

        Raises:
            HistoryUnavailable: no Sentinel names it.
        """
        try:
            return await self._dialer.master()
        except (RedisError, OSError) as error:
            raise unavailable(error) from error

    async def close(self) -> None:
        """Close the lane. Waiting calls fail."""
        await self._lane.close()
