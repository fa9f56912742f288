"""`POST /v1/publish`, answered without ASGI (`server.direct`).

    body ─▶ read_publish ─▶ Publication ─▶ broker.publish_soon ─▶ the answer

Only a key that this client's address has sent before is let in here. Whatever is refused goes the long way, where
refusals are counted, told and answered.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Final

from tellwire.api_keys import Scope
from tellwire.errors import TellwireError
from tellwire.gateway.admission import Network, client_address
from tellwire.gateway.api_key import ApiKeyGuard
from tellwire.gateway.http import answer_of, error_response, internal_error
from tellwire.gateway.publish_rates import PublishRates
from tellwire.limits import MAX_PUBLISH_BYTES
from tellwire.model import Target
from tellwire.ports import Broker, Published
from tellwire.publication import Publication
from tellwire.publish_requests import encoded, read_publish
from tellwire.server.direct import Answer, Direct, Respond

logger = logging.getLogger("tellwire.gateway")


class GuardedDirect:
    """An endpoint of producers that is answered without ASGI. `answer` gets a client's address, a body, and the way to
    respond; False: it does not take the request. `count` returns the number of publishes in a body.
    """

    def __init__(
        self,
        answer: Callable[[str, bytes, Respond], bool],
        max_bytes: int,
        key: ApiKeyGuard,
        trusted_proxies: Sequence[Network],
        rates: PublishRates,
        count: Callable[[bytes], int] = lambda body: 1,
    ) -> None:
        self.max_bytes: Final = max_bytes
        self._answer = answer
        self._key = key
        self._trusted_proxies = trusted_proxies
        self._rates = rates
        self._count = count

    def admit(self, headers: Sequence[tuple[bytes, bytes]], client: str) -> Direct | None:
        if any(name == b"traceparent" for name, _ in headers):
            return None  # it is read on the long way; producers of ours have it in the body
        address = self._address(headers, client)
        key = self._key.known(headers, address, Scope.PUBLISH)
        if key is None:
            return None
        return functools.partial(self._answer_guarded, self._key.keys, key.name, address)

    def _address(self, headers: Sequence[tuple[bytes, bytes]], client: str) -> str:
        if not self._trusted_proxies or not client:
            return client
        lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
        return client_address(client, ",".join(lines), self._trusted_proxies)

    def _answer_guarded(self, keys: object, key: str, address: str, body: bytes, respond: Respond) -> bool:
        # Otherwise one of them may be withdrawn.
        if keys is not self._key.keys:
            return False
        if self._rates.rate is None:
            return self._answer(address, body, respond)
        if not self._rates.allows(key) or not self._answer(address, body, respond):
            return False
        self._rates.spend(key, self._count(body))
        return True


class DirectPublish:
    """The answers to publishes, one publication each."""

    max_bytes: Final = MAX_PUBLISH_BYTES

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def answer(self, address: str, body: bytes, respond: Respond) -> bool:
        try:
            publication = read_publish(body)
        except TellwireError:
            return False
        self._broker.publish_soon(publication, functools.partial(_end, address, publication, respond))
        return True


def _end(address: str, publication: Publication, respond: Respond, outcome: Published | Exception) -> None:
    if isinstance(outcome, Published):
        tell_published(address, publication, outcome)
        respond(Answer(200, encoded(outcome.delivery)))
    elif isinstance(outcome, TellwireError):
        respond(answer_of(error_response(outcome)))
    else:
        logger.error("a publish failed", exc_info=outcome)
        respond(answer_of(internal_error()))


def tell_published(address: str, publication: Publication, published: Published) -> None:
    """Write a publish into the log of a developer."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "%s published %s for %s: %d delivered",
            address,
            publication.type,
            _words(publication.target),
            published.delivery.delivered,
        )


def _words(target: Target) -> str:
    if target.user is not None:
        return f"the user {target.user!r}"
    return "everybody" if target.all else f"{len(target.connection_ids)} connections"
