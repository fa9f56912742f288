"""The uploads that are to be heard of, as pure code.

Their workers promise a word in each `leaseSeconds`, so a silence of most of that time may be the connection's.
"""

from math import inf

from tellwire.client.decode import ReceivedMessage
from tellwire.messages import TERMINAL_STATUSES

_SHARE = 2 / 3
_MAX_UPLOADS = 1_000


class Leases:
    """The leases of running uploads, by their keys."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str | None, str], float] = {}

    @property
    def silence_seconds(self) -> float:
        """The longest silence that no running upload explains; infinity if none has a lease."""
        return min(self._seconds.values(), default=inf) * _SHARE

    def heard(self, message: ReceivedMessage) -> None:
        """Take a message that has passed."""
        if message.key is None:
            return
        key = (message.topic, message.key)
        match message.type, message.data:
            case "upload_progress", {"leaseSeconds": int() | float() as seconds, **rest} if seconds > 0:
                if rest.get("status") not in TERMINAL_STATUSES:
                    if len(self._seconds) < _MAX_UPLOADS or key in self._seconds:
                        self._seconds[key] = float(seconds)
                    return
        self._seconds.pop(key, None)
