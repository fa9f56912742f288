"""The events that functions receive, with exactly the keys AWS sends, in its order. Pure.

In: the API, the client, the handshake or message, and the time. Out: a dict that is JSON. A key that AWS leaves out is
absent here, never null. Golden samples are in spec/apigateway/.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from tellwire.apigateway.assumptions import disconnect_reason
from tellwire.apigateway.definition import CONNECT, DISCONNECT, Api, Event
from tellwire.model import new_connection_id
from tellwire.server.handshake import UpgradeRequest

new_request_id = new_connection_id
"""Make the id of a request or a message: it has the form of a connection id."""

_NOT_FOR_INTEGRATIONS = frozenset({"connection", "upgrade"})


@dataclass(frozen=True, slots=True)
class ClientContext:
    """The client of a connection to the API `api_id`, with the properties that events contain."""

    connection_id: str
    connected_at: float
    source_ip: str
    user_agent: str | None = None
    authorizer: Mapping[str, Any] | None = None
    api_id: str = ""

    @property
    def identity(self) -> dict[str, str]:
        """Return `requestContext.identity`: the user agent first, and only if there is one."""
        agent = {} if self.user_agent is None else {"userAgent": self.user_agent}
        return {**agent, "sourceIp": self.source_ip}


@dataclass(frozen=True, slots=True)
class HandshakeInput:
    """The headers and the query of a handshake: headers as the client wrote them, and those a load balancer adds."""

    headers: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]

    @classmethod
    def read(
        cls, request: UpgradeRequest, now: float, *, source_ip: str, port: int, is_secure: bool = False
    ) -> "HandshakeInput":
        """Read the headers and the query of a handshake, and add the headers that API Gateway adds."""
        before = request.headers.get("x-forwarded-for")
        added = {
            "X-Amzn-Trace-Id": f"Root=1-{int(now):08x}-{os.urandom(12).hex()}",
            "X-Forwarded-For": f"{before}, {source_ip}" if before else source_ip,
            "X-Forwarded-Port": str(port),
            "X-Forwarded-Proto": "https" if is_secure else "http",
        }
        headers_sent = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.sent_headers)
        sent = [(name, value) for name, value in headers_sent if name.title() not in added]
        headers = sorted([*sent, *added.items()], key=_by_name)
        return cls(tuple(headers), tuple(parse_qsl(request.query, keep_blank_values=True)))

    def for_integration(self) -> Event:
        """Return the headers and the query as a CONNECT event has them."""
        kept = [(name, value) for name, value in self.headers if name.lower() not in _NOT_FOR_INTEGRATIONS]
        return _both_forms("headers", "multiValueHeaders", kept) | self._query()

    def for_authorizer(self) -> Event:
        """Return the headers and the query as the authorizer's event has them: with the hop-by-hop headers."""
        headers = sorted([*self.headers, ("content-length", "0")], key=_by_name)
        return _both_forms("headers", "multiValueHeaders", headers) | self._query()

    def _query(self) -> Event:
        if not self.query:
            return {}
        return _both_forms("queryStringParameters", "multiValueQueryStringParameters", self.query)


def connect_event(api: Api, client: ClientContext, handshake: HandshakeInput, now: float) -> Event:
    """Return the event of `$connect`."""
    context = _context(api, client, CONNECT, "CONNECT", now)
    return handshake.for_integration() | _stage_variables(api) | {"requestContext": context, "isBase64Encoded": False}


def authorizer_event(api: Api, client: ClientContext, handshake: HandshakeInput, now: float) -> Event:
    """Return the event of a REQUEST authorizer."""
    return {
        "type": "REQUEST",
        "methodArn": api.connect_arn,
        **handshake.for_authorizer(),
        "stageVariables": dict(api.stage_variables),
        "requestContext": _context(api, client, CONNECT, "CONNECT", now),
    }


def message_event(api: Api, client: ClientContext, route_key: str, body: str, now: float) -> Event:
    """Return the event of a message; `route_key` is the selected route, which may be `$default`."""
    context = _context(api, client, route_key, "MESSAGE", now, before={"messageId": new_request_id()})
    return _stage_variables(api) | {"requestContext": context, "body": body, "isBase64Encoded": False}


def disconnect_event(api: Api, client: ClientContext, code: int, reason: str, now: float) -> Event:
    """Return the event of `$disconnect`."""
    host = api.domain_name or api.execute_api_host
    headers = {"Host": host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}
    context = _context(
        api,
        client,
        DISCONNECT,
        "DISCONNECT",
        now,
        before={"disconnectStatusCode": code},
        after={"disconnectReason": disconnect_reason(code, reason)},
    )
    return _both_forms("headers", "multiValueHeaders", headers.items()) | {
        "requestContext": context,
        "isBase64Encoded": False,
    }


def _context(
    api: Api,
    client: ClientContext,
    route_key: str,
    event_type: str,
    now: float,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> Event:
    """Return `requestContext`. Keys of some events only: `before` the event's type and `after` its direction."""
    request_id = new_request_id()
    return {
        "routeKey": route_key,
        **({} if client.authorizer is None else {"authorizer": dict(client.authorizer)}),
        **(before or {}),
        "eventType": event_type,
        "extendedRequestId": request_id,
        "requestTime": _request_time(now),
        "messageDirection": "IN",
        **(after or {}),
        "stage": api.stage,
        "connectedAt": int(client.connected_at * 1000),
        "requestTimeEpoch": int(now * 1000),
        "identity": client.identity,
        "requestId": request_id,
        "domainName": api.domain_name or api.execute_api_host,
        "connectionId": client.connection_id,
        "apiId": api.api_id,
    }


def _request_time(now: float) -> str:
    # strftime would write the month in the language of the process.
    _, day, month, year, clock, _ = formatdate(now, usegmt=True).split()
    return f"{day}/{month}/{year}:{clock} +0000"


def _stage_variables(api: Api) -> Event:
    return {"stageVariables": dict(api.stage_variables)} if api.stage_variables else {}


def _both_forms(single: str, multi: str, pairs: Iterable[tuple[str, str]]) -> Event:
    """Return pairs in the two forms that events have; the last value of a name is its single value."""
    gathered: dict[str, list[str]] = {}
    for name, value in pairs:
        gathered.setdefault(name, []).append(value)
    return {single: {name: values[-1] for name, values in gathered.items()}, multi: gathered}


def _by_name(pair: tuple[str, str]) -> str:
    return pair[0].lower()
