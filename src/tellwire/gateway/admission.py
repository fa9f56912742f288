"""Admission of handshakes, before their token is verified: client address, rate limit and origin. Pure.

The rate limit protects the verification of tokens from floods; the check of origins keeps pages of other sites from
using a token that they should not have.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from tellwire.errors import ConfigError
from tellwire.limits import HANDSHAKE_BURST, HANDSHAKES_PER_SECOND, TRACKED_ADDRESSES

Network = IPv4Network | IPv6Network
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks such as `10.0.0.0/8`.

    Raises:
        ConfigError: one of them is neither.
    """
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise ConfigError(f"TELLWIRE_TRUSTED_PROXIES: {error}; allowed: addresses and networks in CIDR form") from error


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Return the address of the client.

    `forwarded_for` (`X-Forwarded-For`) counts only as far as trusted proxies wrote it: read from the right, it is the
    first address that is not one of theirs. Addresses that a client made up are further left.
    """
    address = peer
    for hop in reversed([hop.strip() for hop in forwarded_for.split(",")]):
        if not _is_in(address, trusted) or not _parsed(hop):
            break
        address = hop
    return address


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d.
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed


class HandshakeLimiter:
    """A token bucket per address. IPv6 clients share one per /64, the network of one customer.

    Loopback is exempt: it is a developer, a test, or a proxy that should be configured as trusted.
    """

    def __init__(
        self,
        per_second: float = HANDSHAKES_PER_SECOND,
        burst: int = HANDSHAKE_BURST,
        max_addresses: int = TRACKED_ADDRESSES,
    ) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._max_addresses = max_addresses
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, address: str, now: float) -> bool:
        """Count one handshake. False: the address has made too many."""
        parsed = _parsed(address)
        if parsed is not None and parsed.is_loopback:
            return True
        key = str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
        left, since = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - since) * self._per_second)
        if len(self._buckets) >= self._max_addresses:
            del self._buckets[next(iter(self._buckets))]
        allowed = left >= 1.0
        self._buckets[key] = (left - 1.0 if allowed else left, now)
        return allowed


class Origins:
    """The origins whose pages may connect. Without a list, all may: a token authenticates, and no cookie is used.

    A client without `Origin` is not a browser, and always may.

    Raises:
        ConfigError: an entry is not an origin.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(self._from_setting(origin) for origin in allowed)

    def allows(self, origin: str | None) -> bool:
        """Return True if a page from `origin` (the header; None without one) may connect."""
        return not self._allowed or origin is None or _normal_origin(origin) in self._allowed

    @staticmethod
    def _from_setting(origin: str) -> tuple[str, str, int | None]:
        normal = _normal_origin(origin)
        if normal is None or urlsplit(origin).path not in ("", "/"):
            raise ConfigError(
                f"TELLWIRE_ALLOWED_ORIGINS: got {origin!r}; allowed: origins such as https://app.example.com"
            )
        return normal


def _normal_origin(origin: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS.get(parts.scheme)
