"""The names of keys and channels in Redis. Pure.

All that belongs to a stream is in one hash slot, that of its bucket: `crc32(stream) % 1024`. So a script can change a
stream and the index of its bucket as one step, also in a Redis Cluster.

    {prefix}:{<bucket>}:<kind>:<stream>     a key of a stream, such as its log
    {prefix}:{<bucket>}:<kind>              a key of a bucket, such as its index of leases
    {prefix}:{<bucket>}:ch:<stream>         the channel of a stream
    {prefix}:{node:<name>}:<kind>           a key or, as `ch`, the channel of a node
    {prefix}:{nodes}:<kind>                 a key of all nodes
    {prefix}:{all}:ch                       the channel of everybody

Channels know no databases, unlike keys. So those of database 3 are called `ch3` in place of `ch`.
"""

import zlib
from collections.abc import Container, Iterable

from tellwire.limits import REDIS_BUCKETS
from tellwire.publication import StreamKey, is_of_escalations, stream_target, user_stream


def bucket_of(stream: StreamKey) -> int:
    """Return the bucket of a stream. That of a user's escalations is in the user's own: a script changes both."""
    if is_of_escalations(stream):
        stream = user_stream(stream_target(stream).user or "")
    return zlib.crc32(stream.encode()) % REDIS_BUCKETS


def upload_of(member: bytes) -> tuple[StreamKey, str]:
    """Return stream and key of a member of an index of leases: between them is a byte that no UTF-8 has."""
    stream, _, key = member.partition(b"\xff")
    return StreamKey(stream.decode()), key.decode()


class Names:
    """The names that begin with a prefix, in a database; installations that differ in either share a Redis."""

    def __init__(self, prefix: str, db: int = 0) -> None:
        self.prefix = prefix
        self._buckets = [f"{prefix}:{{{bucket}}}:" for bucket in range(REDIS_BUCKETS)]
        self._channel = f"ch{db or ''}"
        self.all_channel = f"{prefix}:{{all}}:{self._channel}".encode()

    def of_stream(self, kind: str, stream: StreamKey) -> bytes:
        """Return a key of a stream."""
        return f"{self._buckets[bucket_of(stream)]}{kind}:{stream}".encode()

    def all_of_stream(self, kinds: Iterable[str], stream: StreamKey, of_bucket: Container[str] = ()) -> list[bytes]:
        """Return the keys of these kinds, of a stream, or of its bucket."""
        bucket = self._buckets[bucket_of(stream)]
        return [
            f"{bucket}{kind}".encode() if kind in of_bucket else f"{bucket}{kind}:{stream}".encode() for kind in kinds
        ]

    def of_bucket(self, kind: str, bucket: int) -> bytes:
        """Return a key of a bucket."""
        return f"{self._buckets[bucket]}{kind}".encode()

    def channel(self, stream: StreamKey) -> bytes:
        """Return the channel of a stream."""
        return self.of_stream(self._channel, stream)

    def of_node(self, kind: str, node: str) -> bytes:
        """Return a key of a node."""
        return f"{self.prefix}:{{node:{node}}}:{kind}".encode()

    def node_channel(self, node: str) -> bytes:
        """Return the channel of a node."""
        return self.of_node(self._channel, node)

    def of_nodes(self, kind: str) -> bytes:
        """Return a key that all nodes share."""
        return f"{self.prefix}:{{nodes}}:{kind}".encode()
