"""Publishes that never raise: their failures are counted, and logged once per episode."""

import logging
from collections.abc import Awaitable
from time import monotonic
from typing import Final

from tellwire.errors import InvalidMessage, MessageTooBig
from tellwire.model import Delivery

logger = logging.getLogger("tellwire.broadcast")

_AGAIN_SECONDS: Final = 60.0


class Attempts:
    """The publishes of the `try_` forms over one broadcaster. From any thread.

    An episode begins with a failure, and ends with a success. A failure of another kind is logged, too. A message that
    is refused for its content or its target, such as one to no user, is no episode: it is logged once a minute.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._in_episode = 0
        self._logged: set[type[Exception]] = set()
        self._logged_until = 0.0

    async def outcome(self, publish: Awaitable[Delivery]) -> Delivery | None:
        """Return the delivery of a publish; None if it raised anything but a cancellation."""
        try:
            delivery = await publish
        except Exception as error:  # noqa: BLE001 - this is its purpose
            self.failed(error)
            return None
        self._succeeded()
        return delivery

    def failed(self, error: Exception) -> None:
        """Count a publish that failed, and log it if it is the first of its kind in this episode."""
        self.failures += 1
        if isinstance(error, InvalidMessage | MessageTooBig):
            now = monotonic()
            if now >= self._logged_until:
                self._logged_until = now + _AGAIN_SECONDS
                self._log(error)
            return
        self._in_episode += 1
        if type(error) not in self._logged:
            self._logged.add(type(error))
            self._log(error)

    def _log(self, error: Exception) -> None:
        logger.warning("not published, and the program goes on: %s: %s", type(error).__name__, error)

    def _succeeded(self) -> None:
        if self._logged:
            logger.warning("messages are published again; %d were not", self._in_episode)
            self._logged.clear()
            self._in_episode = 0
