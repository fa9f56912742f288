"""Making of HS256 tokens: for development, tests, and back ends that share a secret with the gateway."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tellwire.auth.compact import encoded
from tellwire.auth.keys import Secrets, hmac_with
from tellwire.errors import InvalidMessage
from tellwire.limits import MAX_PRESENCE_INFO_BYTES, MAX_USER_ID_BYTES
from tellwire.text import is_text

_HEADER: Final = encoded(b'{"alg":"HS256","typ":"JWT"}')


def mint_token(
    secret: str,
    user_id: str,
    ttl_seconds: float = 3600,
    *,
    issuer: str | None = None,
    audience: str | None = None,
    user_claim: str = "sub",
    token_id: str | None = None,
    topics: Sequence[str] = (),
    topics_claim: str = "topics",
    info: Mapping[str, Any] | None = None,
    info_claim: str = "info",
) -> str:
    """Return a token that opens a connection for `user_id` during `ttl_seconds` (negative: already expired).

    `user_claim` is the gateway's `jwt_user_claim`; `token_id` is the token's `jti`, by which it can be shut out.
    `topics` are patterns of the topics that it allows to follow, in the claim `topics_claim`.
    `info` is for others in a topic to see, such as a name: an object of at most 1 KiB, in the claim `info_claim`.

    Raises:
        ConfigError: the secret is shorter than 32 bytes.
        InvalidMessage: `user_id` is no user's id, `ttl_seconds` is no number of seconds, or `info` is no such object.
    """
    Secrets([secret])
    _require_user(user_id)
    if isinstance(ttl_seconds, bool) or not isinstance(ttl_seconds, int | float) or not math.isfinite(ttl_seconds):
        raise InvalidMessage("ttl_seconds", ttl_seconds, "a number of seconds")
    info = None if info is None else _required_info(info)
    now = int(time.time())
    claims: dict[str, object] = {user_claim: str(user_id), "iat": now, "exp": now + int(ttl_seconds)}
    optional: dict[str, object] = {
        "iss": issuer,
        "aud": audience,
        "jti": token_id,
        topics_claim: list(topics) or None,
        info_claim: info,
    }
    claims |= {name: value for name, value in optional.items() if value is not None}
    signed = _HEADER + b"." + encoded(msgspec.json.encode(claims))
    signature = hmac_with(secret.encode(), "HS256")(signed)
    return (signed + b"." + encoded(signature)).decode("ascii")


def _required_info(info: object) -> Mapping[str, Any]:
    if not isinstance(info, Mapping):
        raise InvalidMessage("info", info, 'an object, such as {"name": "Ann"}')
    try:
        size = len(msgspec.json.encode(info))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessage("info", info, f"an object that is JSON: {error}") from error
    if size > MAX_PRESENCE_INFO_BYTES:
        raise InvalidMessage("info", f"{size:,} bytes", f"at most {MAX_PRESENCE_INFO_BYTES:,} bytes of JSON")
    return info


def _require_user(user_id: object) -> None:
    if not isinstance(user_id, str) or not user_id.strip():
        raise InvalidMessage("user_id", user_id, "a non-empty text")
    if not is_text(user_id) or len(user_id.encode()) > MAX_USER_ID_BYTES:
        raise InvalidMessage("user_id", user_id, f"text of at most {MAX_USER_ID_BYTES:,} bytes in UTF-8")
