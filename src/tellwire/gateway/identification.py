"""Identification of users: the ways beside a token that the request itself brings.

    a token in a cookie ─▶ its verification │ else the connect webhook │ else the program's own function

A browser sends cookies along from any page. So a request with cookies counts only from a page of the address that it
goes to, or of `allowed_origins`; what has no `Origin` comes from no page of another site.
"""

import asyncio
import inspect
import logging
from typing import Any, Final

from tellwire.auth import Gatekeeper
from tellwire.auth.request import HandshakeRequest, Identify, Who
from tellwire.errors import (
    IdentityUnavailable,
    InvalidMessage,
    NotAllowed,
    NotSignedIn,
    TellwireError,
    TokenExpired,
    TokenMissing,
    shown,
)
from tellwire.gateway.admission import Origins
from tellwire.limits import IDENTIFY_AT_ONCE, IDENTIFY_SECONDS, MAX_USER_ID_BYTES
from tellwire.model import Identity
from tellwire.ports import Clock
from tellwire.server.refusal import Refusal
from tellwire.text import require_id
from tellwire.webhooks.connect import ConnectWebhook

logger = logging.getLogger("tellwire.gateway")

TOKENS: Final = "the subprotocols tellwire.v1, token.<jwt>; or Authorization: Bearer <jwt>; or ?token=<jwt>"


class Identification:
    """The ways of a node. Without any, a request needs a token. `takes_tokens` is False where nothing verifies tokens.

    A function has `seconds`, and an identity of it lasts `lasts_seconds` unless it says when it ends.
    """

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        origins: Origins,
        clock: Clock,
        lasts_seconds: float,
        *,
        takes_tokens: bool = True,
        cookie: str | None = None,
        webhook: ConnectWebhook | None = None,
        identify: Identify | None = None,
        seconds: float = IDENTIFY_SECONDS,
    ) -> None:
        self._gatekeeper = gatekeeper
        self._origins = origins
        self._clock = clock
        self._lasts_seconds = lasts_seconds
        self.takes_tokens = takes_tokens
        self._cookie = cookie
        self._webhook = webhook
        self._identify = identify
        self._seconds = seconds
        self._room = asyncio.Semaphore(IDENTIFY_AT_ONCE)

    @property
    def needs_token(self) -> bool:
        """True if there is no other way: a request without a token is refused at once."""
        return self._cookie is None and self._webhook is None and self._identify is None

    async def identity(self, request: HandshakeRequest, allowed: str = TOKENS) -> Identity:
        """Return the user of a request that brings no token itself. `allowed` are the ways to bring one.

        Raises:
            Refusal: it has cookies, and comes from a page of another site.
            TokenRefused: it is nobody that is known; or the token in the cookie is not valid.
            NotAllowed: who it is may not connect. UserShutOut: they are shut out.
            IdentityUnavailable, KeysUnavailable, PublishError: nobody knows, just now.
        """
        self._require_own_page(request)
        token = None if self._cookie is None else request.cookies.get(self._cookie)
        if token:
            return await self._gatekeeper.authenticate(token)
        if self._webhook is not None:
            identity = await self._webhook.identify(request)
        elif self._identify is not None:
            identity = self._identity_of(await self._asked(self._identify, request))
        else:
            raise TokenMissing(allowed if self._cookie is None else f"{allowed}; or the cookie {self._cookie}")
        if identity.expires_at <= self._clock.now():
            raise TokenExpired
        await self._gatekeeper.admit(identity)
        return identity

    def _require_own_page(self, request: HandshakeRequest) -> None:
        origin = request.headers.get("origin")
        if "cookie" not in request.headers or self._origins.trusts(origin, request.headers.get("host")):
            return
        message = "Cookies count only from pages of this address, and of those in TELLWIRE_ALLOWED_ORIGINS"
        raise Refusal(403, "ORIGIN_NOT_ALLOWED", message, f"origin {shown(origin)}", close_code=4403)

    async def _asked(self, identify: Identify, request: HandshakeRequest) -> Who:
        try:
            async with asyncio.timeout(self._seconds), self._room:
                if _is_async(identify):
                    answer: Any = identify(request)
                else:
                    answer = await asyncio.to_thread(identify, request)
                who: Who = await answer if inspect.isawaitable(answer) else answer
                return who
        except (TellwireError, Refusal):
            raise
        except PermissionError:
            raise NotAllowed from None
        except TimeoutError:
            logger.error("identify has not answered within %g seconds", self._seconds)  # noqa: TRY400 - no trace helps
            raise IdentityUnavailable from None
        except Exception:
            logger.exception("identify failed")
            raise IdentityUnavailable from None

    def _identity_of(self, who: Who) -> Identity:
        if who is None:
            raise NotSignedIn
        if isinstance(who, Identity):
            return who
        try:
            user_id = require_id("identify", str(who) if type(who) is int else who, MAX_USER_ID_BYTES)
        except InvalidMessage as error:
            logger.error("%s", error)  # noqa: TRY400 - no trace helps
            raise IdentityUnavailable from None
        return Identity(user_id, self._clock.now() + self._lasts_seconds)


def _is_async(identify: Any) -> bool:
    return inspect.iscoroutinefunction(identify) or inspect.iscoroutinefunction(type(identify).__call__)
