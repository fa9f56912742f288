"""The HTTP client: responses, failures, and proxies."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tellwire.errors import CannotRunHere, ConfigError
from tellwire.http_client import HttpClient, HttpFailed, full_jitter, http_base_url
from tellwire.http_messages import HttpResponse
from tests.unit.aws_api.authority import make_authority
from tests.unit.aws_api.scripted import DROPS, HANGS, OK, Response, Service, Step

ATTEMPT_SECONDS = 60.0


@pytest.fixture(params=["usual", "after a fork"], autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with both transports, as one suite."""
    if request.param == "after a fork":
        monkeypatch.setattr(HttpClient, "_open", HttpClient._open_plainly)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service().running() as service:
        yield service


@pytest.fixture
async def client(service: Service) -> AsyncIterator[HttpClient]:
    client = HttpClient(service.url, ATTEMPT_SECONDS, {"x-always": "1"})
    yield client
    await client.close()


async def failure(client: HttpClient, **options: Any) -> HttpFailed:
    with pytest.raises(HttpFailed) as caught:
        await client.send("POST", "/", b"x", **options)
    assert str(caught.value) == caught.value.reason != ""
    assert caught.value.__cause__ is not None
    return caught.value


# Addresses


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h", "http://h"),
        ("https://h:8443/", "https://h:8443"),
        ("ws://h/a/b//", "http://h/a/b"),
        ("wss://h/prod", "https://h/prod"),
        ("HTTPS://H/Prod", "https://H/Prod"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_urls_of_all_schemes_become_http_urls(url: str, base: str) -> None:
    assert http_base_url(url) == base


@pytest.mark.parametrize(
    "url",
    ["", "h", "h:80", "//h", "http://", "ftp://h", "http:h", "http://h:99999", "http://h:x", "http://[", "http://a b"],
)
def test_an_invalid_url_is_refused_with_the_setting(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^SETTING: got '.*'; allowed: http://host"):
        http_base_url(url, "SETTING")


@pytest.mark.parametrize("url", ["http://u:s3cret@h", "http://s3cret@h", "http://h?a=s3cret", "http://h/#s3cret"])
def test_a_possible_secret_is_not_quoted(url: str) -> None:
    with pytest.raises(ConfigError, match="one that may hold a secret") as caught:
        http_base_url(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("character", "\n\r\t")
def test_an_address_is_one_line(character: str) -> None:
    with pytest.raises(ConfigError):
        http_base_url(f"http://h/{character}x")


# Waits


def test_waits_are_anything_up_to_a_bound_that_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float]] = []

    def draw(shortest: float, longest: float) -> float:
        drawn.append((shortest, longest))
        return 0.07

    monkeypatch.setattr("tellwire.http_client.random.uniform", draw)
    assert list(itertools.islice(full_jitter(0.1, 0.5), 5)) == [0.07] * 5
    assert drawn == [(0, 0.1), (0, 0.2), (0, 0.4), (0, 0.5), (0, 0.5)]


# Responses


async def test_an_answer_is_whole_and_its_headers_are_in_lower_case(client: HttpClient, service: Service) -> None:
    service.steps = [Response(418, b"\x00\xff" * 50_000, {"X-Amzn-ErrorType": "Teapot"})]
    answer = await client.send("GET", "/pot")
    assert answer == HttpResponse(418, answer.headers, b"\x00\xff" * 50_000)
    assert dict(answer.headers)["x-amzn-errortype"] == "Teapot"


async def test_a_request_goes_out_as_it_is_given(client: HttpClient, service: Service) -> None:
    await client.send("DELETE", "/@connections/a%3D%2Fb?x=%20", None, {"x-own": "2"})
    await client.send("POST", "/", b"\x00body")
    first, second = service.requests
    assert (first.method, first.target, first.body) == ("DELETE", "/@connections/a%3D%2Fb?x=%20", b"")
    assert (first.headers["x-always"], first.headers["x-own"]) == ("1", "2")
    assert (second.body, second.headers["x-always"]) == (b"\x00body", "1")
    assert "x-own" not in second.headers


async def test_one_after_another_they_share_a_connection(client: HttpClient, service: Service) -> None:
    for _ in range(5):
        await client.send("GET", "/")
    assert service.connections == 1


async def test_several_event_loops_share_it_too(client: HttpClient, service: Service) -> None:
    await client.send("GET", "/")
    await asyncio.to_thread(lambda: asyncio.run(client.send("GET", "/")))
    assert (len(service.requests), service.connections) == (2, 1)


async def test_redirects_are_not_followed(client: HttpClient, service: Service) -> None:
    service.steps = [Response(307, b"", {"Location": f"{service.url}/elsewhere"})]
    assert (await client.send("POST", "/", b"x")).status == 307
    assert len(service.requests) == 1


# Failures


async def test_a_refused_connection_is_not_sent() -> None:
    async with Service().running() as stopped:
        pass
    failed = await failure(HttpClient(stopped.url, ATTEMPT_SECONDS))
    assert failed.not_sent
    assert "Connection refused" in failed.reason


async def test_a_certificate_that_is_not_trusted_is_named_and_nothing_was_sent(tmp_path: Path) -> None:
    context, _ = make_authority(tmp_path)
    async with Service().running(context) as service:
        failed = await failure(HttpClient(service.url, ATTEMPT_SECONDS))
    assert failed.not_sent
    assert failed.reason == (
        "certificate verify failed: its issuer is not trusted; SSL_CERT_FILE names a file of further ones"
    )
    assert not service.requests


@pytest.mark.parametrize("lost", [DROPS, Response(200, b"half", promised_bytes=99)], ids=["dropped", "cut"])
async def test_a_lost_response_may_have_been_sent(lost: Step, client: HttpClient, service: Service) -> None:
    service.steps = [lost]
    assert not (await failure(client)).not_sent


async def test_without_a_pause_a_dropped_connection_may_have_been_sent(client: HttpClient, service: Service) -> None:
    service.steps = [OK, DROPS]
    await client.send("GET", "/")
    assert not (await failure(client)).not_sent


async def test_after_a_pause_a_dropped_connection_is_not_sent(
    client: HttpClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.http_client._PAUSE_SECONDS", 0.0)
    service.steps = [OK, DROPS]
    await client.send("GET", "/")
    assert (await failure(client)).not_sent


async def test_half_a_response_may_have_been_sent_even_after_a_pause(
    client: HttpClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.http_client._PAUSE_SECONDS", 0.0)
    service.steps = [OK, Response(200, b"half", promised_bytes=99)]
    await client.send("GET", "/")
    assert not (await failure(client)).not_sent


async def test_an_attempt_has_its_time(service: Service) -> None:
    service.steps = [HANGS]
    client = HttpClient(service.url, 0.05)
    failed = await failure(client)
    assert (failed.not_sent, failed.reason) == (False, "operation timed out")
    await client.close()


async def test_an_attempt_ends_even_if_the_client_below_never_does(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: self

        async def send(self, *_: object) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("tellwire.http_client._GRACE_SECONDS", 0.05)
    monkeypatch.setattr(HttpClient, "_client", lambda self: Endless())
    failed = await failure(HttpClient(service.url, 0.05))
    assert (failed.not_sent, failed.reason) == (False, "operation timed out")


@pytest.mark.parametrize("timeout_seconds", [0.05, 1e-9])
async def test_an_attempt_may_have_less_time_than_others(
    timeout_seconds: float, client: HttpClient, service: Service
) -> None:
    service.steps = [HANGS]
    async with asyncio.timeout(100):
        failed = await failure(client, timeout_seconds=timeout_seconds)
    assert (failed.not_sent, failed.reason) == (False, "operation timed out")


async def test_a_closed_client_says_so(service: Service) -> None:
    client = HttpClient(service.url, ATTEMPT_SECONDS)
    await client.close()
    with pytest.raises(HttpFailed, match="the client is closed"):
        await client.send("POST", "/", b"x")


def test_without_an_event_loop_of_asyncio_it_says_so() -> None:
    with pytest.raises(CannotRunHere, match=r"trio\.to_thread\.run_sync"):
        HttpClient("http://127.0.0.1:9", 1).send("GET", "/").send(None)


# Proxies


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_proxy_is_not_asked_for_this_machine(
    name: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Service(Response(502)).running() as proxy:
        monkeypatch.setenv(name, proxy.url)
        for url in (service.url, service.url.replace("127.0.0.1", "localhost")):
            client = HttpClient(url, ATTEMPT_SECONDS)
            assert (await client.send("GET", "/")).status == 200
            await client.close()
        assert not proxy.requests


async def test_a_proxy_is_asked_for_everything_else(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, service.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    client = HttpClient("http://gateway.example", ATTEMPT_SECONDS)
    assert (await client.send("GET", "/")).status == 200
    assert service.requests[0].target == "http://gateway.example/"
    await client.close()
