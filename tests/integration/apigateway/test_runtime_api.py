"""Lambda's Runtime API: its requests and answers, and the guard before them."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tellwire.apigateway.runner.exchange import Exchange
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.runtime_api import RuntimeApi
from tellwire.limits import MAX_FUNCTION_RESULT_BYTES, MAX_HEAD_BYTES

NEXT = "/2018-06-01/runtime/invocation/next"
RESPONSE = "/2018-06-01/runtime/invocation/one/response"
ERROR = "/2018-06-01/runtime/invocation/one/error"
INIT_ERROR = "/2018-06-01/runtime/init/error"


class Taker:
    """A runtime with one invocation, whose id is `one`."""

    def __init__(self) -> None:
        self.outcome: bytes | HandlerFailed | None = None
        self.failure: HandlerFailed | None = None
        self.waiting: Exchange | None = None
        self.answers_at_once = True

    def wants_next(self, exchange: Exchange) -> None:
        self.waiting = exchange
        if self.answers_at_once:
            exchange.answer(200, b'"event"', {"Lambda-Runtime-Aws-Request-Id": "one"})

    def ends(self, request_id: str, outcome: bytes | HandlerFailed) -> bool:
        self.outcome = outcome
        return request_id == "one"

    def cannot_start(self, failure: HandlerFailed) -> bool:
        is_first, self.failure = self.failure is None, failure
        return is_first


class Client:
    """One connection to the Runtime API."""

    def __init__(self, address: str) -> None:
        self.authority, _, self.secret = address.partition("/")

    async def open(self) -> None:
        host, port = self.authority.split(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))

    def send(self, method: str, path: str, body: bytes = b"", secret: str | None = None, **headers: str) -> None:
        target = f"/{self.secret if secret is None else secret}{path}"
        named = {"Host": self.authority, "Content-Length": str(len(body))}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)
        self._writer.write(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(100):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            return int(head[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def status(self, *request: str, body: bytes = b"", secret: str | None = None) -> int:
        self.send(request[0], request[1], body, secret)
        return (await self.answer())[0]

    async def is_cut(self) -> bool:
        async with asyncio.timeout(100):
            try:
                return await self._reader.read(1) == b""
            except ConnectionError:
                return True

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def api() -> AsyncIterator[RuntimeApi]:
    api = RuntimeApi()
    await api.start()
    yield api
    await api.close()


@pytest.fixture
def taker() -> Taker:
    return Taker()


@pytest.fixture
async def client(api: RuntimeApi, taker: Taker) -> AsyncIterator[Client]:
    client = Client(api.admit(taker))
    await client.open()
    yield client
    client.close()


async def test_an_invocation_is_taken_and_answered_on_one_connection(client: Client, taker: Taker) -> None:
    client.send("GET", NEXT)
    status, headers, body = await client.answer()
    assert (status, headers["lambda-runtime-aws-request-id"], body) == (200, "one", b'"event"')
    assert await client.status("POST", RESPONSE, body=b'{"statusCode": 200}') == 202
    assert taker.outcome == b'{"statusCode": 200}'


async def test_an_error_has_lambdas_shape(client: Client, taker: Taker) -> None:
    told = {"errorType": "TypeError", "errorMessage": "x is not a function", "trace": ["at y"]}
    assert await client.status("POST", ERROR, body=json.dumps(told).encode()) == 202
    assert isinstance(taker.outcome, HandlerFailed)
    assert taker.outcome.payload == told
    client.send("POST", ERROR, b"no json", Lambda_Runtime_Function_Error_Type="Own.Kind")
    assert (await client.answer())[0] == 202
    assert taker.outcome.error_type == "Own.Kind"


async def test_an_error_at_the_start_is_told_once(client: Client, taker: Taker) -> None:
    told = b'{"errorType": "Runtime.ImportModuleError", "errorMessage": "no such module"}'
    assert await client.status("POST", INIT_ERROR, body=told) == 202
    assert taker.failure is not None
    assert taker.failure.message == "no such module"
    assert await client.status("POST", INIT_ERROR, body=told) == 403


async def test_a_runtime_without_its_secret_takes_nothing(client: Client, taker: Taker) -> None:
    for secret in ("", "x", client.secret[:-1], client.secret + "x"):
        assert await client.status("GET", NEXT, secret=secret) == 403
    assert taker.waiting is None


async def test_nobody_takes_anything_after_the_end_of_the_process(
    client: Client, api: RuntimeApi, taker: Taker
) -> None:
    api.dismiss(taker)
    assert await client.status("GET", NEXT) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "evil.example:3001"},
        {"Host": ""},
    ],
)
async def test_a_page_in_a_browser_takes_nothing_even_with_the_secret(
    client: Client, taker: Taker, headers: dict[str, str]
) -> None:
    client.send("GET", NEXT, b"", None, **headers)
    assert (await client.answer())[0] == 403
    assert taker.waiting is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/2018-06-01/runtime/invocation/other", 404),
        ("POST", NEXT, 404),
        ("GET", "/2020-01-01/extension/event/next", 404),
        ("POST", "/2018-06-01/runtime/invocation/two/response", 400),
    ],
)
async def test_what_there_is_not_is_refused(client: Client, method: str, path: str, status: int) -> None:
    assert await client.status(method, path) == status


async def test_a_result_comes_in_chunks_or_after_a_question(client: Client, taker: Taker) -> None:
    client.send("POST", RESPONSE, Content_Length="", Transfer_Encoding="chunked")
    client.write(b'3\r\n"ab\r\n2\r\nc"\r\n0\r\n\r\n')
    assert (await client.answer())[0] == 202
    assert taker.outcome == b'"abc"'
    client.send("POST", RESPONSE, Content_Length="3", Expect="100-continue")
    assert await client._reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.write(b"123")
    assert (await client.answer())[0] == 202
    assert taker.outcome == b"123"


async def test_a_result_over_the_limit_is_a_failure_with_its_size(client: Client, taker: Taker) -> None:
    assert await client.status("POST", RESPONSE, body=b"x" * MAX_FUNCTION_RESULT_BYTES) == 202
    assert await client.status("POST", RESPONSE, body=b"x" * (MAX_FUNCTION_RESULT_BYTES + 1)) == 413
    assert isinstance(taker.outcome, HandlerFailed)
    assert taker.outcome.error_type == "Function.ResponseSizeTooLarge"
    assert await client.status("GET", NEXT) == 200


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + 1), b"\x16\x03\x01 tls\r\n\r\n"])
async def test_what_is_no_request_ends_the_connection(client: Client, data: bytes) -> None:
    client.write(data)
    assert await client.is_cut()


async def test_a_second_request_before_the_answer_ends_the_connection(client: Client, taker: Taker) -> None:
    taker.answers_at_once = False
    client.send("GET", NEXT)
    client.send("GET", NEXT)
    assert await client.is_cut()
    assert taker.waiting is not None
    assert not taker.waiting.is_open
    taker.waiting.answer(200, b"nobody hears it")


async def test_a_closed_api_ends_what_waits(client: Client, api: RuntimeApi, taker: Taker) -> None:
    taker.answers_at_once = False
    client.send("GET", NEXT)
    while taker.waiting is None:
        await asyncio.sleep(0.01)
    await api.close()
    assert await client.is_cut()
