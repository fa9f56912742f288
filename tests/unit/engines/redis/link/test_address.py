"""Addresses of a Redis: every form, and the words for wrong ones, which never have the password in them."""

import pytest

from tellwire.engines.redis.link.address import Endpoint, RedisAddress
from tellwire.errors import ConfigError

SECRET = "pa55-word"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://host", "redis://host:6379"),
        (" redis://host \n", "redis://host:6379"),
        ("redis://host:6380/3", "redis://host:6380/3"),
        ("redis://host/", "redis://host:6379"),
        ("redis://[::1]", "redis://[::1]:6379"),
        ("redis://[fe80::1%eth0]:7000", "redis://[fe80::1%eth0]:7000"),
        ("rediss://:pa55-word@host", "rediss://:********@host:6379"),
        ("redis://me:pa55-word@host", "redis://me:********@host:6379"),
        ("redis+sentinel://h1,h2:1/main", "redis+sentinel://h1:26379,h2:1/main"),
        ("rediss+sentinel://:pa55-word@h1/main/2", "rediss+sentinel://:********@h1:26379/main/2"),
        ("redis+cluster://h1:7000,[::1]:7001", "redis+cluster://h1:7000,[::1]:7001"),
        ("rediss+cluster://me:pa55-word@h1/0", "rediss+cluster://me:********@h1:6379"),
    ],
)
def test_an_address_is_parsed_and_shown_without_its_password(url: str, masked: str) -> None:
    address = RedisAddress.parse(url)
    assert address.masked == masked
    assert SECRET not in repr(address)
    assert SECRET not in str(address)


def test_user_and_password_are_unescaped() -> None:
    address = RedisAddress.parse("redis://a%40b:p%2F%3A%25%C3%BC%23@host:1/2")
    assert (address.username, address.password) == ("a@b", "p/:%ü#")
    assert (address.hosts, address.db) == ((Endpoint("host", 1),), 2)


def test_the_default_user_has_a_password_alone() -> None:
    address = RedisAddress.parse("redis://:x:y@host")
    assert (address.username, address.password) == (None, "x:y")


def test_sentinels_may_have_a_login_of_their_own() -> None:
    address = RedisAddress.parse("redis+sentinel://:a@h/m%20n?sentinel_username=u&sentinel_password=p%26")
    assert (address.master, address.sentinel_username, address.sentinel_password) == ("m n", "u", "p&")


def test_tls_files_are_options() -> None:
    address = RedisAddress.parse("rediss://h?ssl_ca_certs=/a/b.pem&ssl_certfile=c&ssl_keyfile=k")
    assert (address.ssl_ca_certs, address.ssl_certfile, address.ssl_keyfile) == ("/a/b.pem", "c", "k")


def test_a_tls_file_that_is_missing_is_an_error_of_the_settings() -> None:
    with pytest.raises(ConfigError, match="TLS files that cannot be read"):
        RedisAddress.parse("rediss://h?ssl_ca_certs=/no/such/file").ssl_context()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "an address of an unknown form"),
        (SECRET, "an address of an unknown form"),
        (f"http://{SECRET}@host", "an address of an unknown form"),
        (f"REDIS://{SECRET}@h", "an address of an unknown form"),
        (f"unix:///{SECRET}", "an address of an unknown form"),
        ("redis://", "an invalid host"),
        ("redis://:6379", "an invalid host"),
        (f"redis://{SECRET}@host", "a user without a password"),
        (f"redis://u:{SECRET}/x@host", "an invalid port"),
        (f"redis://u:{SECRET}?x@host", "an invalid port"),
        (f"redis://u:{SECRET}#@host", "a '#'"),
        (f"redis://u:{SECRET}%@host", "a '%' in the password"),
        (f"redis://u:{SECRET}%ff@host", "not UTF-8"),
        ("redis://host:0", "an invalid port"),
        ("redis://host:65536", "an invalid port"),
        ("redis://host:²", "an invalid port"),
        ("redis://::1", "an invalid host"),
        ("redis://[::1", "an invalid host"),
        ("redis://[host]", "an invalid host"),
        ("redis://a b", "an invalid host"),
        ("redis://a\nb", "an invalid host"),
        ("redis://h1,h2", "2 hosts"),
        ("redis://h/x", "an invalid path"),
        ("redis://h/1/2", "an invalid path"),
        ("redis://h/-1", "an invalid path"),
        ("redis+sentinel://h", "no master's name"),
        ("redis+sentinel://h/m/x", "an invalid path"),
        ("redis+cluster://h/1", "database 1"),
        (f"redis://h?password={SECRET}", "an unknown option"),
        ("redis://h?ssl_ca_certs=x", "needs rediss://"),
        ("rediss://h?ssl_ca_certs=", "twice or empty"),
        ("rediss://h?ssl_ca_certs=a&ssl_ca_certs=b", "twice or empty"),
        ("rediss://h?ssl_certfile=a", "one of ssl_certfile and ssl_keyfile"),
        ("rediss://h?x", "invalid options"),
    ],
)
def test_a_wrong_address_is_told_without_its_secret(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RedisAddress.parse(url)
    assert words in str(caught.value)
    assert str(caught.value).startswith("TELLWIRE_REDIS_URL: got ")
    assert "pa55" not in str(caught.value)
    assert "pa55" not in repr(caught.value)


def test_a_password_is_not_in_what_a_traceback_with_values_shows() -> None:
    address = RedisAddress.parse("redis+sentinel://u:pa55word@h/m?sentinel_username=s&sentinel_password=pa55word")
    assert "pa55" not in repr(address)
    assert "pa55" not in str(list(address.__rich_repr__()))
