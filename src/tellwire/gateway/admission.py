"""Admission of handshakes, before their token is verified: client address, rate limit and origin. Pure.

The rate limit protects the verification of tokens from floods; the check of origins keeps pages of other sites from
using a token that they should not have.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from tellwire.errors import ConfigError
from tellwire.limits import HANDSHAKE_BURST, HANDSHAKES_PER_SECOND, TRACKED_ADDRESSES
from tellwire.rate import Buckets, Rate

Network = IPv4Network | IPv6Network
_DEFAULT_PORTS = {"http": 80, "https": 443}
# A host, or all subdomains of one: `*.com` would be the pages of nearly everybody.
_HOST = re.compile(r"[^*]+|\*\.(?:[^*.]+\.)+[^*.]+|\*\.localhost")
# 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80, and each as `for="…"; proto=…`.
_HOP = re.compile(
    r"""(?:for=)?"?(?:\[([^\]]+)\](?::\d*)?|([^\[\]:";]+)(?::\d*)?|([^\[\]";]*:[^\[\]";]*:[^\[\]";]*))"?(?:;.*)?""",
    re.IGNORECASE,
)


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
    first address that is not one of theirs. Addresses that a client made up are further left. Ports, brackets and the
    `for=` of RFC 7239 are taken off.
    """
    if not forwarded_for:
        return peer
    address = peer
    # Empty elements of a list are ignored (RFC 9110 §5.6.1).
    for hop in reversed([hop for each in forwarded_for.split(",") if (hop := each.strip())]):
        parsed = _parsed_hop(hop)
        if parsed is None or not _is_in(address, trusted):
            break
        address = str(parsed)
    return address


def _parsed_hop(hop: str) -> IPv4Address | IPv6Address | None:
    match = _HOP.fullmatch(hop)
    return None if match is None else _parsed(next(filter(None, match.groups()), ""))


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


@lru_cache(TRACKED_ADDRESSES)
def address_key(address: str) -> str | None:
    """Return the name under which an address is counted; None for loopback, which is not.

    IPv6 clients share one per /64, the network of one customer. Loopback is a developer, a test, or a proxy that should
    be configured as trusted.
    """
    parsed = _parsed(address)
    if parsed is not None and parsed.is_loopback:
        return None
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


class HandshakeLimiter:
    """A token bucket for each address (see `address_key`); loopback is exempt."""

    def __init__(
        self,
        per_second: float = HANDSHAKES_PER_SECOND,
        burst: int = HANDSHAKE_BURST,
        max_addresses: int = TRACKED_ADDRESSES,
    ) -> None:
        self._buckets = Buckets(Rate(per_second, burst), max_addresses)

    def allows(self, address: str, now: float) -> bool:
        """Count one handshake, at a time of a clock that never goes back. False: the address has made too many."""
        key = address_key(address)
        return key is None or self._buckets.take(key, now)


class Origins:
    """The origins whose pages may connect. Without a list, all may: a token authenticates, and no cookie is used.

    `https://*.example.com` stands for every subdomain of example.com, at any depth, and not for example.com itself. A
    client without `Origin` is not a browser, and always may.

    Raises:
        ConfigError: an entry is not an origin.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        entries = [_from_setting(origin) for origin in allowed]
        self._allowed = frozenset(each for each in entries if not each.host.startswith("*."))
        self._subdomains = frozenset(each._replace(host=each.host[1:]) for each in entries if each.host[0] == "*")

    def trusts(self, origin: str | None, host: str | None) -> bool:
        """Return True if a request with cookies may come from a page of `origin`: one of `host` (the header), or of the
        list. Without `origin` it comes from no page of another site.
        """
        if origin is None:
            return True
        normal = _normal_origin(origin)
        if normal is not None and host:
            here = _normal_origin(f"{normal.scheme}://{host}")
            if here == normal:
                return True
        return bool(self._allowed or self._subdomains) and self.allows(origin)

    def allows(self, origin: str | None) -> bool:
        """Return True if a page from `origin` (the header; None without one) may connect."""
        if origin is None or not (self._allowed or self._subdomains):
            return True
        normal = _normal_origin(origin)
        if normal is None:
            return False
        return normal in self._allowed or any(
            len(normal.host) > len(each.host)
            and normal.host.endswith(each.host)
            and normal._replace(host=each.host) == each
            for each in self._subdomains
        )


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None


def _from_setting(text: str) -> _Origin:
    normal = _normal_origin(text)
    rest = urlsplit(text)._replace(scheme="", netloc="").geturl() if normal else ""
    if normal is None or rest not in ("", "/") or "@" in text or not _HOST.fullmatch(normal.host):
        raise ConfigError(
            f"TELLWIRE_ALLOWED_ORIGINS: got {text!r}; allowed: origins such as https://app.example.com, or "
            "https://*.example.com for all subdomains"
        )
    return normal


def _normal_origin(text: str) -> _Origin | None:
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
        # Browsers write the name of a host in ASCII.
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:
        return None
    if not parts.scheme or not host:
        return None
    return _Origin(parts.scheme, host, port or _DEFAULT_PORTS.get(parts.scheme))
