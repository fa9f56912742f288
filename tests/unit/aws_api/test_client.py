"""The client against a scripted service: signatures, retries, deadlines, and a wrong clock."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from tellwire.apigateway.sigv4 import BadSignature, SignedRequest, verify
from tellwire.aws_api.client import AwsClient, AwsRequest, Payload, Retries, error_type_of, is_busy, refused
from tellwire.aws_api.credentials import FixedCredentials
from tellwire.aws_api.deadline import deadline
from tellwire.aws_api.sigv4 import Credentials
from tellwire.errors import AwsUnreachable, ConfigError
from tellwire.http_messages import HttpResponse
from tellwire.limits import DEADLINE_MARGIN_SECONDS
from tests.unit.aws_api.authority import make_authority
from tests.unit.aws_api.conftest import CREDENTIALS, QUICK, MakeClient, StartService
from tests.unit.aws_api.scripted import (
    DROPS,
    HANGS,
    OK,
    ReceivedRequest,
    Response,
    Service,
    Step,
    api_gateway_error,
    dynamodb_error,
)

NOW = 1_700_000_000.0

POST = AwsRequest("POST @connections", "POST", "/@connections/a%3D", Payload.of(b"hello"), may_repeat=False)
GET = AwsRequest("GET @connections", "GET", "/@connections/a%3D", Payload.of(None))
EACH = pytest.mark.parametrize("request_", [POST, GET], ids=["POST", "GET"])

BUSY = [
    Response(429),
    Response(500),
    Response(502),
    Response(503),
    Response(504),
    api_gateway_error(429, "LimitExceededException"),
    dynamodb_error("ProvisionedThroughputExceededException"),
    dynamodb_error("ThrottlingException"),
    dynamodb_error("TransactionConflictException"),
    dynamodb_error("RequestLimitExceeded"),
    api_gateway_error(400, "TooManyRequestsException"),
]


class Counted(FixedCredentials):
    """Credentials that count how often they were asked for: once for every attempt."""

    def __init__(self) -> None:
        super().__init__(CREDENTIALS)
        self.requests = 0

    async def current(self) -> Credentials:
        self.requests += 1
        return await super().current()


def check(request: ReceivedRequest, now: float = NOW, credentials: Credentials = CREDENTIALS) -> None:
    """Check a signature as API Gateway does."""
    url = urlsplit(request.target)
    verify(SignedRequest(request.method, url.path, url.query, request.headers, request.body), credentials, now)


# What is sent


async def test_a_request_is_signed_as_it_is_on_the_wire(start_service: StartService, make_client: MakeClient) -> None:
    service = await start_service(Response(200, b"{}", {"X-Amzn-RequestId": "r-1"}))
    client = make_client(f"{service.url}/prod", now=lambda: NOW)
    answer = await client.call(POST)
    assert (answer.status, answer.body, answer.headers["x-amzn-requestid"]) == (200, b"{}", "r-1")
    [request] = service.requests
    assert (request.method, request.target, request.body) == ("POST", "/prod/@connections/a%3D", b"hello")
    check(request)


async def test_the_sessions_token_is_sent_and_signed(start_service: StartService, make_client: MakeClient) -> None:
    service = await start_service()
    await make_client(service, now=lambda: NOW).call(GET)
    [request] = service.requests
    assert request.headers["x-amz-security-token"] == CREDENTIALS.session_token
    assert "x-amz-security-token" in request.headers["authorization"].partition("SignedHeaders=")[2]


async def test_no_token_is_sent_without_a_session(start_service: StartService, make_client: MakeClient) -> None:
    service = await start_service()
    lasting = Credentials("AKID", "s3cret")
    await make_client(service, credentials=FixedCredentials(lasting), now=lambda: NOW).call(GET)
    [request] = service.requests
    check(request, credentials=lasting)
    assert "x-amz-security-token" not in request.headers


@pytest.mark.parametrize("host", ["LocalHost", "Api.Example.COM:80", "api.example.com:8080"])
async def test_the_host_is_signed_as_the_http_client_says_it(
    host: str, start_service: StartService, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service()
    for name in ("http_proxy", "HTTP_PROXY"):  # who asks for hosts that there are not
        monkeypatch.setenv(name, service.url)
    url = f"http://{host}"
    await make_client(f"{url}:{urlsplit(service.url).port}" if host == "LocalHost" else url, now=lambda: NOW).call(GET)
    [request] = service.requests
    check(request)


# What is tried again


@EACH
@pytest.mark.parametrize("busy", BUSY, ids=lambda response: f"{response.status} {response.body[:20]!r}")
async def test_a_busy_service_is_asked_again(
    request_: AwsRequest, busy: Response, start_service: StartService, make_client: MakeClient
) -> None:
    service = await start_service(busy, busy, OK)
    assert (await make_client(service).call(request_)).status == 200
    assert len(service.requests) == 3


@EACH
async def test_a_service_that_stays_busy_gets_a_bounded_number_of_attempts(
    request_: AwsRequest, start_service: StartService, make_client: MakeClient
) -> None:
    service = await start_service(api_gateway_error(503, "ServiceUnavailable"))
    with pytest.raises(AwsUnreachable, match=r"it was busy \(503 ServiceUnavailable\)") as caught:
        await make_client(service).call(request_)
    assert caught.value.action == request_.action
    assert caught.value.retryable
    assert len(service.requests) == QUICK.attempts


async def test_a_single_attempt_is_not_retried(start_service: StartService, make_client: MakeClient) -> None:
    service = await start_service(Response(503))
    with pytest.raises(AwsUnreachable):
        await make_client(service, retries=Retries(attempts=1)).call(GET)
    assert len(service.requests) == 1


@EACH
@pytest.mark.parametrize(
    "answer",
    [
        api_gateway_error(400, "BadRequestException"),
        dynamodb_error("ValidationException"),
        dynamodb_error("ConditionalCheckFailedException"),
        api_gateway_error(403, "ForbiddenException"),
        api_gateway_error(403, "AccessDeniedException"),
        api_gateway_error(410, "GoneException"),
        api_gateway_error(403, "ThrottlingException"),
        Response(301, b"", {"Location": "/elsewhere"}),
        Response(404, b"<html>"),
        Response(400, b"\xff"),
    ],
    ids=lambda response: f"{response.status} {response.body[:60]!r}",
)
async def test_any_other_response_is_returned(
    request_: AwsRequest, answer: Response, start_service: StartService, make_client: MakeClient
) -> None:
    service = await start_service(answer)
    got = await make_client(service).call(request_)
    assert (got.status, got.body) == (answer.status, answer.body)
    assert len(service.requests) == 1


LOST = pytest.mark.parametrize(
    "lost", [DROPS, HANGS, Response(200, b"half", promised_bytes=99)], ids=["dropped", "timed out", "cut"]
)


@pytest.fixture
def short_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellwire.aws_api.client.AWS_ATTEMPT_SECONDS", 0.1)


@LOST
@pytest.mark.usefixtures("short_attempts")
async def test_a_post_that_may_have_been_received_is_not_retried(
    lost: Step, start_service: StartService, make_client: MakeClient
) -> None:
    service = await start_service(lost)
    with pytest.raises(AwsUnreachable, match="POST @connections: no answer"):
        await make_client(service).call(POST)
    assert len(service.requests) == 1


@LOST
@pytest.mark.usefixtures("short_attempts")
async def test_an_idempotent_request_is_retried(
    lost: Step, start_service: StartService, make_client: MakeClient
) -> None:
    service = await start_service(lost, OK)
    assert (await make_client(service).call(GET)).status == 200
    assert len(service.requests) == 2


@EACH
async def test_an_unreachable_service_is_retried(request_: AwsRequest, make_client: MakeClient) -> None:
    async with Service().running() as stopped:
        pass
    credentials = Counted()
    with pytest.raises(AwsUnreachable, match="Connection refused"):
        await make_client(stopped, credentials=credentials).call(request_)
    assert credentials.requests == QUICK.attempts


@pytest.mark.parametrize("pause_seconds", [0.0, 60.0])
async def test_a_connection_found_closed_after_a_pause_is_made_again(
    pause_seconds: float, start_service: StartService, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.http_client._PAUSE_SECONDS", pause_seconds)
    service = await start_service(OK, DROPS, OK)
    client = make_client(service)
    await client.call(POST)
    if pause_seconds:
        with pytest.raises(AwsUnreachable, match="connection"):
            await client.call(POST)
    else:
        assert (await client.call(POST)).status == 200
    assert service.connections == (1 if pause_seconds else 2)


# When it stops


async def test_no_attempt_begins_after_the_deadline(start_service: StartService, make_client: MakeClient) -> None:
    service = await start_service()
    with deadline(0), pytest.raises(AwsUnreachable, match="no time left"):
        await make_client(service).call(GET)
    assert not service.requests


async def test_no_attempt_begins_when_credentials_took_all_the_time(
    start_service: StartService, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds_left = [1.0]
    monkeypatch.setattr("tellwire.aws_api.client.remaining_seconds", lambda: seconds_left[0])

    class Slow(FixedCredentials):
        async def current(self) -> Credentials:
            seconds_left[0] = -1.0
            return await super().current()

    service = await start_service()
    with pytest.raises(AwsUnreachable, match="no time left"):
        await make_client(service, credentials=Slow(CREDENTIALS)).call(GET)
    assert not service.requests


@EACH
async def test_an_attempt_is_cut_at_the_deadline(
    request_: AwsRequest, start_service: StartService, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("tellwire.aws_api.deadline.time", clock)

    async def takes_all_the_time(_: ReceivedRequest) -> Step:
        clock.now += 1
        return HANGS

    service = await start_service(takes_all_the_time)
    with deadline(DEADLINE_MARGIN_SECONDS + 1), pytest.raises(AwsUnreachable, match="timed out"):
        await make_client(service).call(request_)
    assert len(service.requests) == 1


async def test_a_wait_that_would_go_past_the_deadline_is_not_begun(
    start_service: StartService, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.http_client.random.uniform", lambda _, longest: longest)
    service = await start_service(Response(503))
    client = make_client(service, retries=Retries(first_wait_seconds=30, longest_wait_seconds=30))
    with deadline(20), pytest.raises(AwsUnreachable, match="busy"):
        async with asyncio.timeout(100):
            await client.call(GET)
    assert len(service.requests) == 1


async def test_without_a_deadline_an_attempt_has_its_own_time(
    start_service: StartService, make_client: MakeClient, short_attempts: None
) -> None:
    service = await start_service(HANGS)
    with pytest.raises(AwsUnreachable, match="timed out"):
        async with asyncio.timeout(100):
            await make_client(service, retries=Retries(attempts=1)).call(GET)


# The clock


def clockwork(ahead_seconds: float, answer: Step = OK, *, dynamodb: bool = False, says_when: bool = True) -> Step:
    """A service that checks signatures by its own clock, which is that far ahead of ours."""

    async def step(request: ReceivedRequest) -> Step:
        try:
            check(request, NOW + ahead_seconds)
        except BadSignature as error:
            date = NOW + ahead_seconds if says_when else None
            if dynamodb:
                return dynamodb_error(error.error_type, str(error), date)
            return api_gateway_error(403, error.error_type, str(error), date)
        return answer

    return step


@EACH
@pytest.mark.parametrize("dynamodb", [False, True])
@pytest.mark.parametrize("ahead_seconds", [7200.0, -7200.0, 310.0])
async def test_a_wrong_clock_is_set_by_the_one_of_aws_and_stays_right(
    request_: AwsRequest, dynamodb: bool, ahead_seconds: float, start_service: StartService, make_client: MakeClient
) -> None:
    service = await start_service(clockwork(ahead_seconds, dynamodb=dynamodb))
    client = make_client(service, now=lambda: NOW)
    for _ in range(3):
        assert (await client.call(request_)).status == 200
    assert len(service.requests) == 1 + 3


@pytest.mark.parametrize("error_type", ["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"])
async def test_a_wrong_clock_has_several_names(
    error_type: str, start_service: StartService, make_client: MakeClient
) -> None:
    service = await start_service(api_gateway_error(403, error_type, date=NOW + 3600), clockwork(3600))
    assert (await make_client(service, now=lambda: NOW).call(GET)).status == 200


async def test_all_that_were_signed_by_the_wrong_clock_are_signed_again(
    start_service: StartService, make_client: MakeClient
) -> None:
    all_there = asyncio.Barrier(8)
    by_the_clock = clockwork(3600)
    assert callable(by_the_clock)

    async def step(request: ReceivedRequest) -> Step:
        if not request.headers["x-amz-date"].endswith("T231320Z"):
            await all_there.wait()
        return await by_the_clock(request)

    service = await start_service(step)
    client = make_client(service, now=lambda: NOW)

    async def call(number: int) -> int:
        return (await client.call(GET)).status

    # The first time all come by our clock, 22:13:20, and only then are they told.
    assert await asyncio.gather(*map(call, range(8))) == [200] * 8
    assert len(service.requests) == 16


async def test_a_clock_that_was_set_is_set_again_when_it_is_wrong_again(
    start_service: StartService, make_client: MakeClient
) -> None:
    service = await start_service(clockwork(3600))
    now = [NOW]
    client = make_client(service, now=lambda: now[0])
    await client.call(GET)
    now[0] += 3600  # somebody set it right
    assert (await client.call(GET)).status == 200
    assert len(service.requests) == 4


async def test_a_wrong_signature_is_not_the_clocks_fault(start_service: StartService, make_client: MakeClient) -> None:
    service = await start_service(clockwork(5))
    another = FixedCredentials(Credentials("AKID", "another"))
    answer = await make_client(service, credentials=another, now=lambda: NOW).call(GET)
    assert (answer.status, error_type_of(answer)) == (403, "InvalidSignatureException")
    assert len(service.requests) == 1


async def test_the_clock_is_set_once_for_a_request(start_service: StartService, make_client: MakeClient) -> None:
    service = await start_service(
        api_gateway_error(403, "RequestTimeTooSkewed", date=NOW + 3600),
        api_gateway_error(403, "RequestTimeTooSkewed", date=NOW - 3600),
    )
    assert (await make_client(service, now=lambda: NOW).call(GET)).status == 403
    assert len(service.requests) == 2


@pytest.mark.parametrize("date", [None, "", "yesterday", "Tue, 99 Nov 2023 22:13:20 GMT"])
async def test_a_service_that_does_not_say_when_it_is_cannot_set_the_clock(
    date: str | None, start_service: StartService, make_client: MakeClient
) -> None:
    headers = {"x-amzn-ErrorType": "RequestTimeTooSkewed"} | ({} if date is None else {"Date": date})
    service = await start_service(Response(403, b"{}", headers))
    assert (await make_client(service, now=lambda: NOW).call(GET)).status == 403
    assert len(service.requests) == 1


async def test_a_service_that_is_busy_once_the_clock_is_right_is_asked_again(
    start_service: StartService, make_client: MakeClient
) -> None:
    service = await start_service(clockwork(3600), Response(503), clockwork(3600))
    assert (await make_client(service, now=lambda: NOW).call(POST)).status == 200
    assert len(service.requests) == 3


# Errors


def answer(status: int = 400, body: bytes = b"", **headers: str) -> HttpResponse:
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("given", "error_type"),
    [
        (answer(x_amzn_errortype="GoneException"), "GoneException"),
        (answer(x_amzn_errortype="GoneException:http://internal.amazon.com/coral/x#y/"), "GoneException"),
        (answer(body=b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException"}'), "ThrottlingException"),
        (answer(body=b'{"__type":"com.amazon.coral.service#InvalidSignatureException"}'), "InvalidSignatureException"),
        (answer(body=b'{"__type":"ValidationException:"}'), "ValidationException"),
        (answer(body=b'{"__type":"ThrottlingException"}', x_amzn_errortype="ForbiddenException"), "ForbiddenException"),
        *((answer(body=body), "Unknown") for body in (b"", b"<html>", b"[]", b'"a"', b"{}", b'{"__type":null}')),
        *((answer(body=body), "Unknown") for body in (b'{"a":"\xff"}', b"[" * 100_000)),
    ],
)
def test_errors_have_the_names_of_aws(given: HttpResponse, error_type: str) -> None:
    assert error_type_of(given) == error_type


def test_an_answer_that_says_yes_is_not_busy() -> None:
    assert not is_busy(answer(200, b'{"__type":"ThrottlingException"}'))


@pytest.mark.parametrize("name", ["message", "Message"])
def test_a_refusal_names_the_action_the_status_and_the_reason(name: str) -> None:
    error = refused("DynamoDB Query", answer(400, b'{"__type":"x#ValidationException","%s":"No key"}' % name.encode()))
    assert str(error) == "DynamoDB Query: refused (400 ValidationException): No key"
    assert (error.action, error.status, error.error_type) == ("DynamoDB Query", 400, "ValidationException")


def test_a_refusal_without_a_message_says_so() -> None:
    assert "refused (403 Unknown): no reason given" in str(refused("GET @connections", answer(403, b"<html>")))


# As API Gateway answers, in one message: what it takes for the request, line by line, and what it signs of it.
WRONG_SIGNATURE = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details.\n\n"
    "The Canonical String for this request should have been\n'POST\n/prod/%40connections/a%253D\n\n"
    "host:abc.execute-api.eu-central-1.amazonaws.com\nx-amz-date:20231114T221320Z\nx-amz-security-token:session-t0ken\n"
    "\nhost;x-amz-date;x-amz-security-token\n2cf24dba'\n\n"
    "The String-to-Sign should have been\n'AWS4-HMAC-SHA256\n20231114T221320Z\n20231114/…/aws4_request\nabc'\n"
)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_no_error_shows_signed_headers(
    line_end: str, start_service: StartService, make_client: MakeClient
) -> None:
    message = WRONG_SIGNATURE.replace("\n", line_end)
    service = await start_service(api_gateway_error(403, "InvalidSignatureException", message))
    error = refused("POST @connections", await make_client(service).call(POST))
    assert "Check your AWS Secret Access Key" in str(error)
    for shown in (str(error), repr(error), str(vars(error))):
        assert "session-t0ken" not in shown
        assert "\n" not in shown


# TLS


@pytest.fixture
async def tls_service(start_service: StartService, tmp_path: Path) -> tuple[Service, str]:
    """A service with a certificate that this machine does not trust, and a bundle for who wants to."""
    context, bundle = make_authority(tmp_path)
    return await start_service(tls=context), str(bundle)


async def test_the_certificates_of_a_bundle_are_trusted(
    tls_service: tuple[Service, str], make_client: MakeClient
) -> None:
    service, bundle = tls_service
    client = make_client(service, ca_bundle=bundle, now=lambda: NOW)
    assert (await client.call(POST)).status == 200
    [request] = service.requests
    check(request)


async def test_other_certificates_are_not_trusted(tls_service: tuple[Service, str], make_client: MakeClient) -> None:
    service, _ = tls_service
    with pytest.raises(AwsUnreachable, match="certificate"):
        await make_client(service).call(POST)
    assert not service.requests


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"hello",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    ],
)
def test_an_invalid_bundle_is_refused(content: bytes | None, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(ConfigError, match="CA bundle: got"):
        AwsClient(
            "dynamodb", "https://localhost:1", "eu-central-1", FixedCredentials(CREDENTIALS), ca_bundle=str(bundle)
        )
