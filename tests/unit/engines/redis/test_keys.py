"""Names of keys: all of a stream, and the index of its bucket, are in one slot of a cluster."""

from redis.crc import key_slot

from tellwire.engines.redis.keys import Names, bucket_of
from tellwire.limits import REDIS_BUCKETS
from tellwire.publication import user_stream


def test_all_keys_of_a_stream_and_of_its_bucket_are_in_one_slot() -> None:
    names = Names("tellwire")
    for user_id in ("u", "user-1", "{x}", "a{b}c", "ü", "}{"):
        stream = user_stream(user_id)
        keys = [names.of_stream(kind, stream) for kind in ("log", "meta")]
        keys += [names.channel(stream), names.of_bucket("leases", bucket_of(stream))]
        assert len({key_slot(key) for key in keys}) == 1, user_id


def test_streams_are_spread_over_all_buckets() -> None:
    assert len({bucket_of(user_stream(f"user-{index}")) for index in range(20_000)}) == REDIS_BUCKETS


def test_prefixes_keep_installations_apart() -> None:
    stream = user_stream("u")
    assert Names("a").of_stream("log", stream) != Names("b").of_stream("log", stream)


def test_databases_keep_installations_apart() -> None:
    stream = user_stream("u")
    first, second = Names("a", 1), Names("a", 2)
    assert first.channel(stream) != second.channel(stream)
    assert first.node_channel("abcd") != second.node_channel("abcd")
    assert len({Names("a", db).all_channel for db in range(16)}) == 16
