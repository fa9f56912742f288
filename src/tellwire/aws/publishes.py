"""The HTTP API of producers in a Lambda function: `POST /v1/publish` and `/v1/publish/batch`, as on a gateway.

    a request     ─▶ read_publish, or the lines of a batch ─▶ the broker ─▶ 200 with a Delivery, or the answers
    an invocation ─▶ a publish, or a list of them, as JSON ─▶ the same ─▶ a Delivery, a LineProblem, or a list of both

A request must be signed: a function URL with `AuthType: NONE` would let everybody write to every user. Of a batch, the
publishes of one stream are in their order, and those of different streams go side by side. What a repetition cannot
mend, such as a missing right, is raised, so that Lambda counts it.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tellwire.aws.http_events import HttpRequest, answer
from tellwire.compressed_bodies import inflated, too_many_lines
from tellwire.engines.aws.concurrently import each
from tellwire.errors import TellwireError
from tellwire.http_problems import Problem, RequestRefused, headers_of
from tellwire.limits import AWS_BATCH_LINES, MAX_BATCH_BYTES, MAX_PUBLISH_BYTES
from tellwire.model import Delivery
from tellwire.ports import Broker
from tellwire.publication import Publication
from tellwire.publish_requests import (
    Line,
    count_lines,
    joined,
    line_answer,
    line_problem,
    lines_of,
    read_line,
    read_publish,
)

logger = logging.getLogger("tellwire.aws")

_JSON: Final = "application/json"
_NDJSON: Final = "application/x-ndjson"
_PUBLISH: Final = "/v1/publish"
_BATCH: Final = "/v1/publish/batch"

Outcome = Delivery | Exception


class Publishes:
    """The publishes of one function, through a broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def answer_request(self, request: HttpRequest) -> dict[str, Any]:
        """Answer a request over HTTP.

        Raises:
            TellwireError: a right or a setting is missing.
        """
        try:
            return await self._route(request)
        except RequestRefused as refused:
            return _refusal(refused.status, refused.problem, refused.headers)
        except TellwireError as error:
            if not _is_answered(error):
                raise
            return _refusal(error.http_status, Problem(error.code, str(error)), headers_of(error))

    async def answer_invocation(self, event: Any) -> Any:
        """Answer a direct invocation.

        Raises:
            TellwireError: a right or a setting is missing, or AWS does not respond: another attempt may succeed.
        """
        if isinstance(event, list):
            if len(event) > AWS_BATCH_LINES:
                raise too_many_lines(AWS_BATCH_LINES)
            outcomes = await self._publish_all([read_line(_encoded(one)) for one in event])
            return [_plain(one if isinstance(one, Delivery) else line_problem(one)) for one in outcomes]
        try:
            return _plain((await self._broker.publish(read_publish(_encoded(event)))).delivery)
        except TellwireError as error:
            if error.http_status >= 500:
                raise  # an asynchronous invocation is repeated then
            return _plain(line_problem(error))

    async def _route(self, request: HttpRequest) -> dict[str, Any]:
        is_batch = request.path.endswith(_BATCH)
        if not (is_batch or request.path.endswith(_PUBLISH)):
            raise RequestRefused(404, f"path: allowed: {_PUBLISH}, {_BATCH}")
        if request.method != "POST":
            raise RequestRefused(405, f"method: got {request.method}; allowed: POST", {"allow": "POST"})
        if not request.is_signed:
            problem = Problem("NOT_SIGNED", "The request has no signature of AWS's: protect this function with AWS_IAM")
            return _refusal(403, problem)
        encoding = request.headers.get("content-encoding", "")
        if is_batch:
            return await self._batch(inflated(request.body, encoding, MAX_BATCH_BYTES))
        publication = read_publish(inflated(request.body, encoding, MAX_PUBLISH_BYTES))
        published = await self._broker.publish(publication)
        return answer(200, msgspec.json.encode(_whole(published.delivery)), _JSON)

    async def _batch(self, body: bytes) -> dict[str, Any]:
        if count_lines(body) > AWS_BATCH_LINES:
            raise too_many_lines(AWS_BATCH_LINES)
        outcomes = await self._publish_all([read_line(line) for line in lines_of(body)])
        return answer(200, joined([line_answer(one) for one in outcomes]), _NDJSON)

    async def _publish_all(self, lines: Sequence[Line]) -> list[Outcome]:
        streams: dict[str | None, list[tuple[int, Publication]]] = {}
        outcomes: list[Outcome] = [line if isinstance(line, Exception) else Delivery() for line in lines]
        for number, line in enumerate(lines):
            if isinstance(line, Publication):
                streams.setdefault(line.stream, []).append((number, line))

        async def publish(of_one_stream: list[tuple[int, Publication]]) -> None:
            for number, publication in of_one_stream:
                outcomes[number] = await self._outcome(publication)

        await each(list(streams.values()), publish)
        return outcomes

    async def _outcome(self, publication: Publication) -> Outcome:
        try:
            return _whole((await self._broker.publish(publication)).delivery)
        except Exception as error:
            # Others are delivered, so no error may lose their answers.
            if not (isinstance(error, TellwireError) and _is_answered(error)):
                logger.exception("a line of a batch failed")
            return error


def _is_answered(error: TellwireError) -> bool:
    return error.http_status < 500 or error.retryable


def _refusal(status: int, problem: Problem, headers: Any = None) -> dict[str, Any]:
    return answer(status, msgspec.json.encode(problem), _JSON, headers)


def _whole(delivery: Delivery) -> Delivery:
    """Return a delivery without the token to go on with it, which this API has no use for."""
    return Delivery(**{name: getattr(delivery, name) for name in Delivery.__struct_fields__})


def _encoded(value: Any) -> bytes:
    # As it came: Lambda has decoded it, halves of pairs included.
    return json.dumps(value).encode()


def _plain(answered: Any) -> Any:
    return msgspec.to_builtins(answered)
