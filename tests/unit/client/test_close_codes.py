"""The end of a connection: the code's tables are those of the protocol's page."""

import pickle
import re

import pytest

from tellwire.client.close_codes import (
    CLOSE_CODES,
    ERROR_CODES,
    ClosedForGood,
    CloseReason,
    ComeBack,
    Refusal,
    close_hint,
    judge_close,
    judge_refusal,
    retry_after,
)
from tests.unit.client.protocol_page import tables

NOW = 1_700_000_000.0
CLOSING, ERRORS = tables("Closing")
(HANDSHAKES,) = tables("Connecting")
COME_BACK = {
    "with backoff": ComeBack.WITH_BACKOFF,
    "at once": ComeBack.AT_ONCE,
    "at once, with a new token": ComeBack.AT_ONCE,
    "never": ComeBack.NEVER,
}


def test_the_close_codes_are_those_of_the_page() -> None:
    of_page = {int(code): (kind, COME_BACK[come_back]) for code, _, kind, come_back in CLOSING if code != "other"}
    assert of_page == {code: (rule.kind, rule.come_back) for code, rule in CLOSE_CODES.items()}


def test_another_close_code_means_what_the_page_says() -> None:
    ((_, _, kind, come_back),) = [row for row in CLOSING if row[0] == "other"]
    verdict = judge_close(4999, "", None, NOW)
    assert (verdict.reason.kind, verdict.come_back) == (kind, COME_BACK[come_back])


def test_the_errors_that_explain_a_close_are_those_of_the_page() -> None:
    assert {error.strip("`"): int(code) for error, code in ERRORS if "…" not in error} == dict(ERROR_CODES)


@pytest.mark.parametrize("row", HANDSHAKES, ids=lambda row: row[1])
def test_a_refusal_of_the_page_is_treated_as_it_says(row: list[str]) -> None:
    status, codes, _, what = row
    for code in re.findall(r"`(\w+)`", codes):
        verdict = judge_refusal(Refusal(int(status), code, "words", 5.0))
        assert verdict.reason == CloseReason(verdict.reason.kind, "words", int(status), code)
        if "token" in what and "keep" not in what:
            assert verdict.reason.kind == "token", code
        elif "come back later" in what:
            assert (verdict.come_back, verdict.retry_after_seconds) == (ComeBack.WITH_BACKOFF, 5.0), code
        else:
            assert verdict.come_back is ComeBack.NEVER, code


@pytest.mark.parametrize("data", [{"code": "BAD_ROWS", "message": "words"}, {"code": 1}, {}, None, [], "x"])
def test_other_errors_explain_no_close(data: object) -> None:
    assert close_hint(data, NOW) is None


def test_the_message_of_a_reason_is_that_of_the_server() -> None:
    hint = close_hint({"code": "TOKEN_OF_ANOTHER_USER", "message": "words"}, NOW)
    assert judge_close(1000, "", hint, NOW).reason == CloseReason("final", "words", 4403, "TOKEN_OF_ANOTHER_USER")
    assert judge_close(1012, "Service restart", None, NOW).reason == CloseReason("server", "Service restart", 1012)
    assert judge_refusal(Refusal(404)).reason == CloseReason("server", "the server answered 404", 404)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5),
        ("0", 0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10),
        ("Tue, 14 Nov 2023 22:13:30 -0000", 10),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0),
        ("99999", 300),
        ("Fri, 14 Nov 2053 22:13:30 GMT", 300),
        (None, 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("1e3", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


def test_the_error_says_why_in_one_line() -> None:
    refused = ClosedForGood(CloseReason("final", "The token is another user's", 1000, "TOKEN_OF_ANOTHER_USER"))
    assert str(refused) == (
        "The connection is closed for good: The token is another user's (1000 TOKEN_OF_ANOTHER_USER)"
    )
    assert str(ClosedForGood(CloseReason("token", "none"))) == "The connection is closed for good: none (token)"


def test_the_error_survives_pickle() -> None:
    closed = ClosedForGood(CloseReason("final", "words", 4403, "TOKEN_OF_ANOTHER_USER"))
    again = pickle.loads(pickle.dumps(closed))
    assert (str(again), again.reason) == (str(closed), closed.reason)


def test_a_user_who_is_shut_out_learns_why_and_does_not_come_back() -> None:
    words = "Shut out until 2026-11-30T18:00:00Z: too many uploads"
    hint = close_hint({"code": "USER_SHUT_OUT", "message": words}, NOW)
    for code, text in ((4403, "USER_SHUT_OUT"), (4403, ""), (1000, "")):
        verdict = judge_close(code, text, hint, NOW)
        assert verdict.come_back is ComeBack.NEVER
        assert verdict.reason == CloseReason("final", words, 4403, "USER_SHUT_OUT")
    refusal = judge_refusal(Refusal(403, "USER_SHUT_OUT", words))
    assert refusal.come_back is ComeBack.NEVER
    assert refusal.reason.message == words


def test_an_error_says_nothing_of_a_close_with_the_code_of_another() -> None:
    hint = close_hint({"code": "USER_SHUT_OUT", "message": "words"}, NOW)
    verdict = judge_close(1013, "Too slow", hint, NOW)
    assert verdict.reason == CloseReason("server", "Too slow", 1013)
