"""How long a client waits for what. The defaults are those of `@tellwire/client`, where it has the same means."""

from dataclasses import dataclass, fields
from typing import Final

from tellwire.errors import ConfigError

TICK_SECONDS: Final = 5.0
"""A client looks at the clock at least this often, so that it notices soon that the machine has slept."""

LATE_SECONDS: Final = 5.0
"""A look that comes this much too late comes after a sleep."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds.

    Raises:
        ConfigError: one of them is not more than zero.
    """

    first_wait_seconds: float = 0.5
    """The wait after a first failure is anything up to this; the bound doubles with each further one …"""

    longest_wait_seconds: float = 30.0
    """… up to this."""

    settled_seconds: float = 10.0
    """A connection this old was a success: the bound is the first again."""

    connect_seconds: float = 15.0
    """How long `get_token` may take, and then how long it may take to connect."""

    ping_seconds: float = 20.0
    """A server this quiet is asked for a sign of life, by a WebSocket ping, which costs nothing on AWS."""

    heartbeat_seconds: float = 240.0
    """After this long without a message in either direction comes a `ping`: API Gateway closes after 600 s."""

    answer_seconds: float = 5.0
    """A server that gives no sign of life for this long after it was asked is gone."""

    wake_seconds: float = 2.0
    """The same when the machine has just woken up, and the connection most likely has not survived."""

    renew_seconds: float = 60.0
    """How long before it expires a token is renewed; a random part is added, up to as much again."""

    replace_seconds: float = 110 * 60.0
    """A connection this old, give or take 4 %, is replaced: servers close it after two hours."""

    overlap_seconds: float = 5.0
    """How long the old connection stays beside the new one: what was on its way to it alone arrives meanwhile."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not value > 0:
                raise ConfigError(f"{each.name}: got {value!r}; allowed: more than 0")
