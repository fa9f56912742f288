"""The user of a connection, as the project's own server knows them.

    POST {"type": "connect", "timestamp": …, "data": {"path", "query", "clientAddress", "headers": {…}}}
    200 {"userId": …, "expiresAt"?: …, "info"?: …, "topics"?: […]} │ 401 nobody │ 403 not allowed │ else: nobody knows

The query is sent without a token, and of the headers those that a setting names. Nothing is kept: a session may have
ended since.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from tellwire import wire
from tellwire.auth.request import HandshakeRequest
from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import IdentityUnavailable, InvalidMessage, NotAllowed, NotSignedIn
from tellwire.limits import MAX_USER_ID_BYTES
from tellwire.model import Identity, new_message_id, timestamp
from tellwire.ports import Clock
from tellwire.text import require_id
from tellwire.webhooks.webhook import Webhook, WebhookFailed


class _Data(Struct, rename="camel"):
    path: str
    query: str
    client_address: str
    headers: Mapping[str, str]


class _Call(Struct):
    type: str
    timestamp: str
    data: _Data


class _Answer(Struct, rename="camel"):
    user_id: str
    expires_at: datetime | None = None
    info: dict[str, Any] | None = None
    topics: list[str] | None = None


_answer: Final = msgspec.json.Decoder(_Answer)


class ConnectWebhook:
    """Asks a `Webhook` who makes a request. `headers` are the names of those that it gets.

    `info` and `topics` of an answer become claims of these names. An identity ends after `lasts_seconds`, unless the
    answer says when.
    """

    def __init__(
        self,
        webhook: Webhook,
        clock: Clock,
        headers: Sequence[str],
        lasts_seconds: float,
        topics_claim: str = "topics",
        info_claim: str = "info",
    ) -> None:
        self._webhook = webhook
        self._clock = clock
        self._headers = tuple(name.lower() for name in headers)
        self._lasts_seconds = lasts_seconds
        self._claims = (topics_claim, info_claim)

    async def identify(self, request: HandshakeRequest) -> Identity:
        """Return the user who makes a request.

        Raises:
            NotSignedIn: the server says that it is nobody (401).
            NotAllowed: the server says that they may not connect (403).
            IdentityUnavailable: it does not answer, or not with a user.
        """
        headers = {name: request.headers[name] for name in self._headers if name in request.headers}
        data = _Data(request.path, request.query_without_token, request.client_address, headers)
        try:
            answer = await self._webhook.post(
                wire.encode(_Call("connect", timestamp(), data)), f"msg_{new_message_id()}"
            )
        except WebhookFailed:
            raise IdentityUnavailable from None
        if answer.status == 401:
            raise NotSignedIn
        if answer.status == 403:
            raise NotAllowed
        identity = self._identity_in(answer.body) if answer.is_success else None
        if identity is None:
            self._webhook.tell(f"it answered {answer.status} without a user")
            raise IdentityUnavailable
        return identity

    def _identity_in(self, body: bytes) -> Identity | None:
        try:
            found = _answer.decode(body)
            user_id = require_id("userId", found.user_id, MAX_USER_ID_BYTES)
            ends_at = None if found.expires_at is None else found.expires_at.timestamp()
        except (*DECODE_ERRORS, InvalidMessage, ValueError, OverflowError):
            return None
        topics_claim, info_claim = self._claims
        given = {topics_claim: found.topics, info_claim: found.info}
        claims = {name: value for name, value in given.items() if value is not None}
        return Identity(user_id, self._clock.now() + self._lasts_seconds if ends_at is None else ends_at, claims)
