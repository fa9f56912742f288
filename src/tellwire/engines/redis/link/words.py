"""The errors of Redis in words for people. Nothing of an address, a password or a payload is in them. Pure."""

import socket
import ssl
from collections.abc import Iterator
from typing import Final

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)

from tellwire.errors import HistoryUnavailable
from tellwire.limits import REDIS_TIMEOUT_SECONDS

UNREACHABLE: Final = "Redis cannot be reached"
REFUSED: Final = "Redis refused a command; the log has more"

_BY_CLASS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (OutOfMemoryError, "the memory of Redis is full (maxmemory)"),
    (BusyLoadingError, "Redis is loading its data"),
    (NoPermissionError, "the user of TELLWIRE_REDIS_URL may not use a command or a key (ACL)"),
    (AuthenticationError, "Redis does not accept the user or password of TELLWIRE_REDIS_URL"),
    (AuthorizationError, "Redis does not accept the user or password of TELLWIRE_REDIS_URL"),
    (ReadOnlyError, "this Redis is a replica, and takes no writes"),
    (MasterDownError, "the Redis replica has lost its master"),
    (ClusterDownError, "the Redis Cluster is down, or a part of it"),
    (MasterNotFoundError, "no Sentinel can be reached that knows the master of TELLWIRE_REDIS_URL"),
    (InvalidResponse, "no Redis answers at the address of TELLWIRE_REDIS_URL"),
    (TryAgainError, "a slot of the Redis Cluster is on its way to another node"),
)
# Of the way to it: causes of redis-py's own errors. Their texts have the address.
_BY_CAUSE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (
        ssl.SSLCertVerificationError,
        "the TLS certificate of Redis is not trusted (ssl_ca_certs), or is for another host",
    ),
    (socket.gaierror, "the host name in TELLWIRE_REDIS_URL cannot be resolved"),
)
_BY_CODE: Final = {
    "NOAUTH": "Redis does not accept the user or password of TELLWIRE_REDIS_URL",
    "WRONGPASS": "Redis does not accept the user or password of TELLWIRE_REDIS_URL",
    "NOPERM": "the user of TELLWIRE_REDIS_URL may not use a command or a key (ACL)",
    "MISCONF": "Redis cannot write to its disk (MISCONF)",
    "NOREPLICAS": "Redis has too few replicas (min-replicas-to-write)",
    "BUSY": "Redis is busy with another script",
    "DB": "Redis has no database of the number in TELLWIRE_REDIS_URL",
    "UNBLOCKED": "this Redis has become a replica",
}


class TooSlow(Exception):
    """An answer that did not come in time."""


def unavailable(error: Exception) -> HistoryUnavailable:
    """Return an error of Redis, or of the way to it, as the engine raises it."""
    if isinstance(error, TooSlow):
        return HistoryUnavailable(f"Redis did not answer within {REDIS_TIMEOUT_SECONDS:g} s")
    words = next((words for kind, words in _BY_CLASS if isinstance(error, kind)), None)
    words = words or next(
        (words for kind, words in _BY_CAUSE for each in _causes(error) if isinstance(each, kind)), None
    )
    code = str(error).partition(" ")[0]
    words = words or _BY_CODE.get(code)
    if words is None and code in ("ERR", "WRONGTYPE", "CROSSSLOT"):
        words = REFUSED
    return HistoryUnavailable(words or UNREACHABLE)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_about_the_server(error: Exception) -> bool:
    """True if another call will not do better on this connection."""
    if isinstance(error, ReadOnlyError | MasterDownError | ClusterDownError | AuthenticationError | BusyLoadingError):
        return True
    return str(error).startswith(("NOAUTH", "UNBLOCKED"))
