"""The expiry of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.auth import mint_token
from tellwire.client.decode import ReceivedMessage
from tellwire.client.token import expiry_of, expiry_told
from tellwire.model import timestamp
from tests.conftest import SECRET
from tests.unit.client.driven import jwt


def test_the_expiry_is_the_jwts_exp() -> None:
    assert expiry_of(jwt(1_700_000_000)) == 1_700_000_000
    assert expiry_of(jwt(1_700_000_000.5)) == 1_700_000_000.5
    claims_of = expiry_of(mint_token(SECRET, "Stückliste🧱", 100))
    assert claims_of is not None
    assert claims_of > 1_700_000_000


@pytest.mark.parametrize(
    "token", ["", "opaque", "a.b", "a.b.c", "a.e30.c", "a.W10.c", "a.eyJleHAiOiJub3cifQ.c", "a.ü.c"]
)
def test_another_token_has_none(token: str) -> None:
    assert expiry_of(token) is None


@given(st.text())
def test_no_token_is_an_error(token: str) -> None:
    expiry_of(token)
    expiry_of(f"a.{token}.c")


def test_auth_ok_says_until_when_and_our_clock_may_be_wrong() -> None:
    answer = ReceivedMessage("auth_ok", {"expiresAt": timestamp(1_700_003_600.25)}, timestamp(1_700_000_000.25))
    assert expiry_told(answer, 1_700_000_000.25) == 1_700_003_600.25
    assert expiry_told(answer, 1_600_000_000) == 1_600_003_600


@pytest.mark.parametrize("said_at", [None, "", "now"])
def test_without_a_time_of_its_own_it_is_taken_at_its_word(said_at: str | None) -> None:
    answer = ReceivedMessage("auth_ok", {"expiresAt": timestamp(1_700_003_600.25)}, said_at)
    assert expiry_told(answer, 1_600_000_000) == 1_700_003_600.25


@pytest.mark.parametrize("data", [None, {}, [], {"expiresAt": 5}, {"expiresAt": "soon"}])
def test_another_answer_does_not(data: object) -> None:
    assert expiry_told(ReceivedMessage("auth_ok", data, timestamp(0)), 0) is None
