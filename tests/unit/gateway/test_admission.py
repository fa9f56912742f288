"""Addresses behind proxies, how often they may knock, and origins."""

import pytest

from tellwire.errors import ConfigError
from tellwire.gateway.admission import HandshakeLimiter, Origins, client_address, parse_networks

TRUSTED = parse_networks(["10.0.0.0/8", "::1", "127.0.0.1"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.7", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1,unknown", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.9", "10.0.0.9"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_header_counts_as_far_as_trusted_proxies_wrote_it(peer: str, forwarded_for: str, address: str) -> None:
    assert client_address(peer, forwarded_for, TRUSTED) == address


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("198.51.100.1:51234", "198.51.100.1"),
        ("198.51.100.1:", "198.51.100.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
        ('"198.51.100.1:51234"', "198.51.100.1"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("For=198.51.100.1;proto=https;by=10.0.0.1", "198.51.100.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        (" 198.51.100.1:1 ,, ", "198.51.100.1"),
        ("unknown", "10.0.0.1"),
        ("_hidden", "10.0.0.1"),
        ("198.51.100.1:x", "10.0.0.1"),
        ("198.51.100.1:80:80", "10.0.0.1"),
        ("[198.51.100.1", "10.0.0.1"),
        ("198.51.100.256", "10.0.0.1"),
        (":", "10.0.0.1"),
        ("[]:1", "10.0.0.1"),
        ("[" * 5000 + ":" * 5000, "10.0.0.1"),
    ],
)
def test_an_address_may_have_a_port_brackets_and_a_name(hop: str, address: str) -> None:
    assert client_address("10.0.0.1", hop, TRUSTED) == address
    assert client_address("10.0.0.1", f"1.2.3.4, {hop}, 10.0.0.2:99", TRUSTED) == address.replace(
        "10.0.0.1", "10.0.0.2"
    )


def test_without_trusted_proxies_the_header_is_never_believed() -> None:
    assert client_address("127.0.0.1", "198.51.100.1", ()) == "127.0.0.1"


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="TELLWIRE_TRUSTED_PROXIES"):
        parse_networks(["proxy.local"])


def test_an_address_may_knock_so_often_and_then_slower() -> None:
    limiter = HandshakeLimiter(per_second=2, burst=3)
    assert [limiter.allows("203.0.113.7", 100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [limiter.allows("203.0.113.7", 101.0) for _ in range(3)] == [True, True, False]
    assert limiter.allows("203.0.113.8", 101.0)


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    limiter = HandshakeLimiter(per_second=1, burst=1)
    assert limiter.allows("203.0.113.7", 100.0)
    assert not limiter.allows("203.0.113.7", 50.0)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_exempt(address: str) -> None:
    limiter = HandshakeLimiter(per_second=1, burst=1)
    assert all(limiter.allows(address, 0.0) for _ in range(50))


def test_one_ipv6_customer_is_one_address() -> None:
    limiter = HandshakeLimiter(per_second=1, burst=1)
    assert limiter.allows("2001:db8::1", 0.0)
    assert not limiter.allows("2001:db8::ffff", 0.0)
    assert limiter.allows("2001:db8:0:1::1", 0.0)


def test_it_remembers_a_bounded_number_of_addresses() -> None:
    limiter = HandshakeLimiter(per_second=1, burst=1, max_addresses=2)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        assert limiter.allows(address, 0.0)
    assert limiter.allows("192.0.2.1", 0.0), "the one that was quiet longest is forgotten"
    assert not limiter.allows("192.0.2.3", 0.0)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.com", True),
        ("https://app.example.com:443", True),
        ("HTTPS://APP.example.com", True),
        ("http://localhost:5173", True),
        (None, True),
        ("http://app.example.com", False),
        ("https://app.example.com:8443", False),
        ("https://evil.example", False),
        ("https://app.example.com.evil.example", False),
        ("null", False),
        ("", False),
        ("https://[", False),
    ],
)
def test_only_pages_of_listed_origins_may_connect(origin: str | None, allowed: bool) -> None:
    assert Origins(["https://app.example.com", "http://localhost:5173/"]).allows(origin) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://x.example.com", True),
        ("https://a.b.example.com", True),
        ("https://X.EXAMPLE.com:443", True),
        ("https://example.com", False),
        ("https://.example.com", False),
        ("https://badexample.com", False),
        ("https://x.example.com.evil.example", False),
        ("http://x.example.com", False),
        ("https://x.example.com:8443", False),
        ("http://app.localhost:3000", True),
        ("https://xn--bcher-kva.example", True),
        ("null", False),
    ],
)
def test_a_star_stands_for_every_subdomain(origin: str, allowed: bool) -> None:
    listed = ["https://*.example.com", "http://*.localhost:3000", "https://bücher.example"]
    assert Origins(listed).allows(origin) is allowed


def test_without_a_list_every_page_may() -> None:
    assert Origins().allows("https://anywhere.example")
    assert Origins().allows("null")


@pytest.mark.parametrize(
    "origin",
    [
        "app.example.com",
        "*",
        "https://app.example.com/path",
        "https://app.example.com?q",
        "https://app.example.com#f",
        "https://user@app.example.com",
        "https://*",
        "https://*.com",
        "https://a.*.com",
        "https://*a.com",
        "https://*.*.com",
        "",
    ],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="TELLWIRE_ALLOWED_ORIGINS"):
        Origins([origin])
