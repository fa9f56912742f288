"""Tokens of broadcasts that were not finished."""

import base64

import pytest

from tellwire.engines.aws.unfinished import Remainder, UnfinishedDelivery
from tellwire.errors import InvalidMessage
from tellwire.model import Delivery, Target


def test_a_token_has_all_that_is_needed_to_go_on() -> None:
    remainder = Remainder(Target(all=True), ("user-ü", "abc="), '{"type":"é"}', may_repeat=True)
    assert remainder.token.isascii()
    assert Remainder.of(remainder.token) == remainder


def test_a_delivery_that_was_finished_has_no_token() -> None:
    assert Delivery(delivered=1).resume is None
    assert UnfinishedDelivery(1, 2, 3, 4, token="abc").resume == "abc"


@pytest.mark.parametrize(
    "token", ["", "=", "ü", "e30=", base64.b64encode(b'{"target": {"user": ""}}').decode(), 7, None]
)
def test_something_else_is_no_token(token: str) -> None:
    with pytest.raises(InvalidMessage, match=r"allowed: the `resume` of a delivery"):
        Remainder.of(token)
