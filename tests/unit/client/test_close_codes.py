"""Why a connection ended: the code's table is the one of the protocol's page."""

import re
from pathlib import Path

import pytest

from tellwire.client.reasons import (
    CLOSE_CODES,
    ClosedForGood,
    CloseReason,
    ComeBack,
    Refusal,
    last_words,
    of_close,
    of_refusal,
    of_silence,
    retry_after,
    unreachable,
    without_token,
)

PROTOCOL = (Path(__file__).parents[3] / "spec" / "protocol.md").read_text()
NOW = 1_700_000_000.0


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading of the page."""
    section = PROTOCOL.split(f"\n## {heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table[0].splitlines()[2:]]


def test_every_close_code_of_the_page_is_treated_as_it_says() -> None:
    said = {
        "yes": ComeBack.WITH_BACKOFF,
        "yes, at once": ComeBack.AT_ONCE,
        "yes, with backoff": ComeBack.WITH_BACKOFF,
        "yes, with jitter": ComeBack.WITH_BACKOFF,
        "with a new token": ComeBack.AT_ONCE,
        "no": ComeBack.NEVER,
    }
    table = rows("Closing")
    assert len(table) >= 10
    for code, _, come_back in table:
        assert CLOSE_CODES[int(code)].come_back is said[come_back], code
        assert (CLOSE_CODES[int(code)].kind == "token") == (come_back == "with a new token"), code


def test_every_refusal_of_the_page_is_treated_as_it_says() -> None:
    table = rows("Connecting")
    assert len(table) >= 8
    for status, codes, what in table:
        for code in re.findall(r"`(\w+)`", codes):
            verdict = of_refusal(Refusal(int(status), code, "words", 5.0))
            assert verdict.reason == CloseReason(verdict.reason.kind, "words", int(status), code)
            if "token" in what and "keep" not in what:
                assert verdict.reason.kind == "token", code
            elif "come back later" in what:
                assert (verdict.come_back, verdict.retry_after_seconds) == (ComeBack.WITH_BACKOFF, 5.0), code
            else:
                assert verdict.come_back is ComeBack.NEVER, code


def test_a_lambda_authorizer_that_says_no_is_about_the_token() -> None:
    for status in (401, 403):
        assert of_refusal(Refusal(status)).reason == CloseReason("token", f"the server answered {status}", status)


def test_a_close_has_the_servers_words_and_its_name_for_it() -> None:
    assert of_close(4403, "TOKEN_OF_ANOTHER_USER", None, NOW).reason == CloseReason(
        "final", "TOKEN_OF_ANOTHER_USER", 4403, "TOKEN_OF_ANOTHER_USER"
    )
    assert of_close(1012, "Service restart", None, NOW).reason == CloseReason("server", "Service restart", 1012)


def test_last_words_are_those_of_the_protocol_only() -> None:
    assert last_words({"code": "TOKEN_EXPIRED", "message": "words"}, NOW) is not None
    others: list[object] = [
        {"code": "BAD_ROWS", "message": "words"},
        {"code": "TOKEN_EXPIRED"},
        {"code": 1},
        None,
        [],
        "x",
    ]
    for data in others:
        assert last_words(data, NOW) is None


def test_last_words_count_with_1000_only() -> None:
    words = last_words({"code": "TOKEN_OF_ANOTHER_USER", "message": "words"}, NOW)
    assert of_close(1000, "", words, NOW).come_back is ComeBack.NEVER
    assert of_close(1006, "", words, NOW).come_back is ComeBack.WITH_BACKOFF


def test_a_server_that_is_not_there_is_the_network() -> None:
    assert unreachable("connection refused").reason == CloseReason("lost", "connection refused")
    assert of_silence().reason == CloseReason("lost", "no sign of life", 1006)
    assert without_token("why").reason == CloseReason("token", "why")


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
