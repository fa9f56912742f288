"""Signatures of webhooks, as in Standard Webhooks (https://www.standardwebhooks.com), for which there are libraries.

    webhook-id          the id of the request: the same when it is sent again
    webhook-timestamp   the time at which it was sent, in epoch seconds
    webhook-signature   `v1,` and HMAC-SHA-256 of `<id>.<timestamp>.<body>`, in base64; one for each secret

So neither the body can be changed, nor can an old request be sent again later or under another id. Pure.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from typing import Final

from tellwire.errors import ConfigError
from tellwire.limits import MIN_WEBHOOK_SECRET_BYTES, WEBHOOK_TOLERANCE_SECONDS

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1,"


def key_of(secret: str, setting: str = "TELLWIRE_WEBHOOK_SECRET") -> bytes:
    """Return the key in a secret: `whsec_` and base64, or any text, whose UTF-8 it is.

    Raises:
        ConfigError: it is too short, or no base64 after `whsec_`. It is not quoted.
    """
    try:
        is_base64 = secret.startswith(_PREFIX)
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if is_base64 else secret.encode()
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ConfigError(f"{setting}: got one that is not valid; allowed: text, or whsec_ and base64") from error
    if len(key) < MIN_WEBHOOK_SECRET_BYTES:
        raise ConfigError(f"{setting}: got {len(key)} bytes; allowed: at least {MIN_WEBHOOK_SECRET_BYTES}")
    return key


def signed_headers(keys: Iterable[bytes], request_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign a request, with a signature by each key."""
    signatures = [_VERSION + _signature(key, request_id, timestamp, body) for key in keys]
    return {ID: request_id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


def is_signed(
    keys: Iterable[bytes],
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    tolerance_seconds: float = WEBHOOK_TOLERANCE_SECONDS,
) -> bool:
    """Return True if one of the keys has signed a request, not longer than `tolerance_seconds` from `now`.

    Names of `headers` are in lower case.
    """
    request_id, timestamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now - int(timestamp)) > tolerance_seconds:
        return False
    given = [each.removeprefix(_VERSION) for each in headers.get(SIGNATURE, "").split() if each.startswith(_VERSION)]
    expected = [_signature(key, request_id, int(timestamp), body) for key in keys]
    return any(hmac.compare_digest(one.encode(), each.encode()) for one in given for each in expected)


def _signature(key: bytes, request_id: str, timestamp: int, body: bytes) -> str:
    signed = b"%b.%d.%b" % (request_id.encode(), timestamp, body)
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")
