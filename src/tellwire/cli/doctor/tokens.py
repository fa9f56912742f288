"""The key sets, as they are fetched now, the clock against theirs, and a token against all keys."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from tellwire.auth import make_authenticator
from tellwire.auth.cognito import cognito_issuer
from tellwire.auth.compact import claims_of, read_token
from tellwire.auth.jwk import parse_jwks
from tellwire.cli.doctor.findings import Finding, error, ok, warning
from tellwire.config import Settings
from tellwire.errors import ConfigError, TellwireError
from tellwire.limits import JWKS_MAX_BYTES
from tellwire.model import timestamp
from tellwire.ports import SystemClock

_TIMEOUT_SECONDS: Final = 5.0
_SHOWN_KEYS: Final = 10


def key_set_findings(url: str, body: bytes, content_type: str) -> Iterator[Finding]:
    """Look at a key set that was fetched."""
    name = f"key set {url}"
    try:
        found = parse_jwks(body)
        found.require_key()
    except ConfigError as wrong:
        given = f" (Content-Type {content_type})" if content_type else ""
        yield error(name, f"{wrong}{given}", "Set the address of the key set itself, often /.well-known/jwks.json")
        return
    keys = msgspec.json.decode(body, type=dict[str, Any])["keys"]
    shown = [f"{each.get('kid', 'without kid')} ({each.get('alg') or each.get('kty')})" for each in keys[:_SHOWN_KEYS]]
    yield ok(name, f"{len(found.keys)} usable keys: {', '.join(shown)}")
    if found.skipped:
        yield warning(name, f"not used: {'; '.join(found.skipped)[:300]}", "Remove these keys from the set")


def skew_finding(url: str, date: str | None, asked_at: float, answered_at: float, leeway: float) -> Finding | None:
    """Compare this machine's clock with the `Date` of an answer, which has whole seconds. None: it has none."""
    try:
        theirs = None if date is None else parsedate_to_datetime(date).timestamp()
    except ValueError:
        theirs = None
    if theirs is None:
        return None
    ahead = asked_at - (theirs + 1) if asked_at > theirs + 1 else min(0.0, answered_at - theirs)
    if abs(ahead) <= leeway:
        return ok("clock", f"within {leeway:g} seconds of {url}")
    way = "ahead of" if ahead > 0 else "behind"
    return error("clock", f"{abs(ahead):.0f} seconds {way} {url}", "Set this machine's clock by NTP (timedatectl)")


def token_claims(claims: Mapping[str, Any], now: float, settings: Settings) -> str:
    """Describe the claims that decide about a token, and nothing that is secret."""
    exp = claims.get("exp")
    until = timestamp(exp) if isinstance(exp, int | float) and 0 <= exp < 2**35 else exp
    left = f", {exp - now:,.0f} seconds from now" if isinstance(exp, int | float) else ""
    named = {"user": claims.get(settings.jwt_user_claim), "iss": claims.get("iss"), "aud": claims.get("aud")}
    said = ", ".join(f"{name} {value!r}" for name, value in named.items() if value is not None)
    return f"{said}, exp {until}{left}"


async def check_token(settings: Settings, token: str) -> Finding:
    """Verify a token as the gateway does, and say why it is refused."""
    described = ""
    try:
        signed = read_token(token)
        header = f"alg {signed.header.get('alg')}, kid {signed.header.get('kid')}"
        described = f"{header}; {token_claims(claims_of(signed), time.time(), settings)}"
        identity = await make_authenticator(settings, SystemClock()).authenticate(token)
    except TellwireError as refused:
        wanted = f"issuer {_any(settings.jwt_issuers)}, audience {_any(settings.jwt_audiences)}"
        remedy = f"Sign it with a key of {', '.join(settings.key_sources)}; allowed: {wanted}"
        return error("token", f"{refused} ({refused.code}). It has {described or 'no readable claims'}", remedy)
    return ok("token", f"accepted, as user {identity.user_id!r}: {described}")


def _any(names: tuple[str, ...]) -> str:
    return " or ".join(names) or "any"


def check_key_sets(settings: Settings) -> Iterator[Finding]:
    """Fetch each key set that the settings name."""
    urls = list(settings.jwks_urls)
    if settings.cognito_user_pool_id and settings.cognito_client_id:
        urls.append(f"{cognito_issuer(settings.cognito_user_pool_id)}/.well-known/jwks.json")
    if not settings.key_sources:
        yield error("tokens", "no way to verify tokens", "Set TELLWIRE_JWT_SECRET, TELLWIRE_JWKS_URL or a Cognito pool")
    for url in urls:
        asked_at = time.time()
        try:
            body, headers = _fetch(url)
        except OSError as failed:
            yield error(
                f"key set {url}", f"cannot be fetched: {failed}", "Let this machine reach it, or set its address"
            )
            continue
        content_type = headers.get("content-type", "")
        yield from key_set_findings(url, body, content_type)
        skew = skew_finding(url, headers.get("date"), asked_at, time.time(), settings.jwt_leeway_seconds)
        if skew is not None:
            yield skew


def _fetch(url: str) -> tuple[bytes, Mapping[str, str]]:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - the settings allow https alone
            return answer.read(JWKS_MAX_BYTES), {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as refused:
        with refused:
            raise OSError(f"it answered {refused.code}") from refused
