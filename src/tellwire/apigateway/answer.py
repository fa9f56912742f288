"""Answers of routes, read from the results of integrations: a status, a body for the client, a subprotocol. Pure.

Behind a proxy integration the result says it. A custom integration (`AWS` in place of `AWS_PROXY`) passes on: the
function or the service gets the message itself, and its result is the answer. Mapping templates may change both.

Source: developer guide, "Set up data transformations for WebSocket APIs".
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tellwire.apigateway.definition import CONNECT, Event, Route
from tellwire.apigateway.integration import MalformedResponse, read_response
from tellwire.apigateway.mapping import Mapper, MappingFailed
from tellwire.limits import MAX_MESSAGE_BYTES

_OK: Final = 200


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


def custom_text(mapper: Mapper, event: Event) -> str:
    """Return the input of a custom integration: the message; an empty object for `$connect` and `$disconnect`.

    Raises:
        MalformedResponse: the mapping template fails.
    """
    try:
        mapped = mapper.request(event)
    except MappingFailed as error:
        raise MalformedResponse(str(error)) from error
    return str(event.get("body", "{}")) if mapped is None else mapped


def custom_input(text: str) -> Any:
    """Return the input of a function behind a custom integration.

    Raises:
        MalformedResponse: the text is not JSON, so that API Gateway cannot invoke the function.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedResponse("is behind a custom integration, and its input is not JSON") from error


def mock_status(text: str) -> int:
    """Return the status that the mapping template of a mock gives: 200 if it does not say one."""
    try:
        status = msgspec.json.decode(text)["statusCode"]
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError):
        return _OK
    return status if isinstance(status, int) else _OK


def custom_answer(route: Route, mapper: Mapper, event: Event, output: str | None, status: int = _OK) -> Answer:
    """Return the answer of a custom integration: its output, as the mapping template of the response has it.

    `output` is None if there is none to pass on.

    Raises:
        MalformedResponse: the mapping template fails, or the answer is bigger than a message may be.
    """
    if not route.has_response or route.key == CONNECT:
        return Answer()
    try:
        mapped = mapper.response(event, status, output or "{}")
    except MappingFailed as error:
        raise MalformedResponse(str(error)) from error
    text = output if mapped is None else mapped
    payload = text.encode("utf-8", "replace") if text is not None else None
    if payload is not None and len(payload) > MAX_MESSAGE_BYTES:
        raise MalformedResponse(f"returned {len(payload):,} bytes; allowed: at most {MAX_MESSAGE_BYTES:,}")
    return Answer(payload=payload)
