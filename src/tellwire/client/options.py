"""Client options: durations, with the same names and defaults as in `@tellwire/client`."""

from dataclasses import dataclass, fields
from math import inf
from typing import Final

from tellwire.errors import ConfigError

REQUEST_TIMEOUT_SECONDS: Final = 30.0
"""The time for the answer to a request, over all connections that it needs."""

TICK_SECONDS: Final = 5.0
"""The longest time between two looks at the clock, so that a sleep of the machine is noticed soon."""

LATE_SECONDS: Final = 5.0
"""A timer that is later than this fires after a sleep of the machine."""

HEARTBEAT_SECONDS: Final = 240.0
"""The heartbeat until a welcome names one: API Gateway closes after 600 s without a message."""

ROTATE_AFTER_SECONDS: Final = 6600.0
"""The age at which a connection is replaced until a welcome names one: servers close it after two hours."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Durations in seconds.

    Raises:
        ConfigError: one of them is not more than 0; `heartbeat_seconds` and `rotate_after_seconds` may be 0.
    """

    backoff_first_seconds: float = 0.5
    """The bound of the random wait after a first failure; it doubles with each further one …"""

    backoff_max_seconds: float = 30.0
    """… up to this."""

    stable_after_seconds: float = 10.0
    """The backoff begins anew after a connection that was open for this long."""

    connect_timeout_seconds: float = 15.0
    """The time for `get_token` to answer, and then the same again for the handshake."""

    answer_timeout_seconds: float = 5.0
    """The time for the answer to a ping, and for each page of a welcome."""

    wake_timeout_seconds: float = 2.0
    """The time for the answer to a ping when the machine has just woken up: most connections do not survive a sleep."""

    renew_before_seconds: float = 60.0
    """A token is renewed this long before it expires; a random part is added, up to as much again."""

    overlap_seconds: float = 5.0
    """The old connection stays open this long beside the new one, for messages that were on their way."""

    heartbeat_seconds: float | None = None
    """A ping is sent after this long without a message from the server. 0: never. None: as the server says."""

    rotate_after_seconds: float | None = None
    """A connection of this age, give or take 4 %, is replaced. 0: never. None: as the server says."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            is_optional = each.default is None
            is_allowed = value is None or 0 <= value < inf if is_optional else 0 < value < inf
            if not is_allowed:
                raise ConfigError(
                    f"{each.name}: got {value!r}; allowed: {'0 or more' if is_optional else 'more than 0'}"
                )


class Pace:
    """The heartbeat and the rotation in force: those of the options, else of the last welcome, else the defaults."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._heartbeat_seconds = HEARTBEAT_SECONDS
        self._rotate_after_seconds = ROTATE_AFTER_SECONDS

    def obey(self, heartbeat_seconds: float | None, rotate_after_seconds: float | None) -> None:
        """Take the durations of a welcome; None if it does not say one."""
        self._heartbeat_seconds = heartbeat_seconds or self._heartbeat_seconds
        self._rotate_after_seconds = rotate_after_seconds or self._rotate_after_seconds

    @property
    def heartbeat_seconds(self) -> float:
        """The silence after which to send a ping; infinity for never."""
        return _choose(self._options.heartbeat_seconds, self._heartbeat_seconds)

    @property
    def rotate_after_seconds(self) -> float:
        """The age at which to replace a connection; infinity for never."""
        return _choose(self._options.rotate_after_seconds, self._rotate_after_seconds)


def _choose(option: float | None, default: float) -> float:
    return default if option is None else option or inf
