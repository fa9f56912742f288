"""Wrong API keys, counted for each address: a token bucket that only wrong ones take from. Pure.

IPv6 clients share one per /64, the network of one customer. Loopback is counted, too.
"""

from tellwire.gateway.admission import address_key
from tellwire.limits import API_KEY_GUESSES, API_KEY_GUESSES_PER_SECOND, TRACKED_ADDRESSES
from tellwire.rate import Buckets, Rate


class Guesses:
    """Wrong keys by address. Times are monotonic."""

    def __init__(
        self,
        burst: int = API_KEY_GUESSES,
        per_second: float = API_KEY_GUESSES_PER_SECOND,
        max_addresses: int = TRACKED_ADDRESSES,
    ) -> None:
        self._buckets = Buckets(Rate(per_second, burst), max_addresses)

    def __len__(self) -> int:
        return len(self._buckets)

    def may_try(self, address: str, now: float) -> bool:
        """Return False if the address has sent too many wrong keys."""
        return self._buckets.may_take(address_key(address) or address, now)

    def count(self, address: str, now: float) -> bool:
        """Count a wrong key. True for the first one of an address in some time: it is worth a line in the log."""
        key = address_key(address) or address
        is_first = self._buckets.is_full(key, now)
        self._buckets.take(key, now)
        return is_first
