"""Answers of gateways, proxies and other servers, and their consequences for a publish."""

import pytest

from tellwire.carriers.answers import failure_of
from tellwire.errors import GatewayRefused, GatewayUnreachable

URL = "https://live.example.com/ws"
HTML = b"<html><body>502 Bad Gateway</body></html>"
OURS = b'{"code":"SOME_CODE","message":"words"}'
OTHERS = (HTML, b"", b"{}", b"null", b'{"message":"Service Unavailable"}', b'{"code":500,"message":"x"}', b"[" * 5000)


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_success_is_no_failure(status: int) -> None:
    assert failure_of(URL, status, {}, HTML) is None


@pytest.mark.parametrize("body", [*OTHERS, OURS])
@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_what_was_not_accepted_may_be_sent_again_by_everybody(status: int, body: bytes) -> None:
    failure = failure_of(URL, status, {}, body)
    assert failure is not None
    assert (failure.may_repeat, failure.not_sent) == (True, True)


@pytest.mark.parametrize("body", OTHERS)
@pytest.mark.parametrize("status", [500, 501, 502, 504, 507, *range(520, 531), 561, 599])
def test_a_proxy_that_fails_may_have_passed_it_on(status: int, body: bytes) -> None:
    failure = failure_of(URL, status, {}, body)
    assert failure is not None
    assert (failure.may_repeat, failure.not_sent) == (True, False)
    assert isinstance(failure.error, GatewayUnreachable)
    assert f"it answered {status}" in str(failure.error)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_gateway_that_fails_may_have_published_it(status: int) -> None:
    failure = failure_of(URL, status, {}, OURS)
    assert failure is not None
    assert (failure.may_repeat, failure.not_sent, failure.is_of_gateway) == (True, False, False)
    assert f"it answered {status} SOME_CODE" in str(failure.error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 501])
def test_a_refusal_of_the_gateway_is_final(status: int) -> None:
    failure = failure_of(URL, status, {}, OURS)
    assert failure is not None
    assert isinstance(failure.error, GatewayRefused)
    assert (failure.may_repeat, failure.is_of_gateway, failure.error.refusal) == (False, True, "SOME_CODE")


@pytest.mark.parametrize("body", OTHERS)
@pytest.mark.parametrize("status", [400, 401, 403, 405, 410, 421])
def test_another_server_is_named(status: int, body: bytes) -> None:
    failure = failure_of(URL, status, {}, body)
    assert failure is not None
    assert (failure.may_repeat, failure.is_of_gateway) == (False, False)
    assert "is this its address?" in str(failure.error)


def test_a_proxy_may_forget_the_address_of_a_gateway_that_restarts() -> None:
    failure = failure_of(URL, 404, {}, b"404 page not found")
    assert failure is not None
    assert (failure.may_repeat, failure.not_sent) == (True, False)


def test_a_proxy_that_takes_no_big_body_is_named() -> None:
    failure = failure_of(URL, 413, {}, HTML)
    assert failure is not None
    assert "a proxy before the gateway takes no body of this size" in str(failure.error)


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://live.example.com/ws/v1/publish", "https://live.example.com/ws/v1/publish"),
        ("//other.example.com/x", "https://other.example.com/x"),
        ("/login?next=secret#secret", "https://live.example.com/login"),
        ("https://user:secret@sso.example.com/?token=secret", "https://sso.example.com/"),
        ("http://[secret", "an address that is not valid"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_names_its_address_without_secrets(status: int, location: str, named: str) -> None:
    failure = failure_of(URL, status, {"location": location}, HTML)
    assert failure is not None
    assert failure.may_repeat is False
    assert f"it redirects to {named}: use that address" in str(failure.error)
    assert "secret" not in str(failure.error)


def test_the_words_of_a_refusal_are_one_short_line() -> None:
    body = b'{"code":"SOME_CODE","message":"one\\nERROR two\\u001b[31m%s"}' % (b"x" * 10_000)
    failure = failure_of(URL, 400, {}, body)
    assert failure is not None
    assert str(failure.error).startswith("The gateway refused the message (400 SOME_CODE): one ERROR two [31mxxx")
    assert len(str(failure.error)) < 600


def test_an_address_with_a_path_of_the_gateways_own_is_named() -> None:
    failure = failure_of(URL, 404, {}, b'{"code":"NOT_FOUND","message":"Not Found"}')
    assert failure is not None
    assert "is https://live.example.com/ws its address, without /ws or /v1 at the end?" in str(failure.error)
