"""Answers of routes, read from the results of functions: a status, a body for the client, a subprotocol. Pure.

Behind a proxy integration the result says it. A custom integration (`AWS` in place of `AWS_PROXY`) passes on: the
function gets the message itself, and its result is the answer. Mapping templates, which could change both, are not run
here.

Source: developer guide, "Set up data transformations for WebSocket APIs".
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from tellwire.apigateway.definition import CONNECT, Route
from tellwire.apigateway.integration import MalformedResponse, read_response
from tellwire.limits import MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a route: `payload` goes to the client, `refusal` is the body of a refused handshake."""

    status: int = 200
    payload: bytes | None = None
    subprotocol: str | None = None
    refusal: bytes = b""

    @property
    def is_success(self) -> bool:
        return self.status < 300


def proxy_answer(route: Route, result: Any) -> Answer:
    """Return the answer that a proxy's result says.

    Raises:
        MalformedResponse: it is not a proxy response.
    """
    response = read_response(result)
    return Answer(
        response.status_code,
        payload=response.payload if route.has_response and route.key != CONNECT else None,
        subprotocol=response.subprotocol if route.key == CONNECT else None,
        refusal=(response.body or "").encode("utf-8", "replace"),
    )


def custom_input(text: str | None) -> Any:
    """Return the input of a custom integration: the message; an empty object for `$connect` and `$disconnect`.

    Raises:
        MalformedResponse: the message is not JSON, so that API Gateway cannot invoke the function.
    """
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedResponse("is behind a custom integration, and the message is not JSON") from error


def custom_answer(route: Route, result: Any) -> Answer:
    """Return the answer of a custom integration: the result as it is.

    Raises:
        MalformedResponse: it is bigger than a message may be.
    """
    if not route.has_response or route.key == CONNECT:
        return Answer()
    payload = msgspec.json.encode(result)
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MalformedResponse(f"returned {len(payload):,} bytes; allowed: at most {MAX_MESSAGE_BYTES:,}")
    return Answer(payload=payload)
