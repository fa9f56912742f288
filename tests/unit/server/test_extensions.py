"""The negotiation of permessage-deflate, beside the server of `websockets` as an oracle."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import parse_extension

from tellwire.limits import MAX_EXTENSIONS_CHARACTERS
from tellwire.server.extensions import WINDOWS, Agreement, agree
from tellwire.server.refusal import Refusal

ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def agreed(header: str) -> Agreement:
    agreement = agree(header)
    assert agreement is not None, header
    return agreement


@pytest.mark.parametrize(
    "header",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover ;client_max_window_bits = 15 ; server_no_context_takeover",
        'permessage-deflate; client_max_window_bits="10"',
        r'permessage-deflate; client_max_window_bits="1\0"',
        ", ,\t permessage-deflate ,,",
        "x-webkit-deflate-frame, permessage-deflate",
        'other; a=b; c="d"; e, permessage-deflate',
    ],
)
def test_the_answer_is_without_state_between_messages(header: str) -> None:
    assert agreed(header) == Agreement(15, ANSWER)


@pytest.mark.parametrize(("asked", "given"), [(15, 15), (14, 12), (13, 12), (12, 12), (11, 9), (10, 9), (9, 9)])
def test_a_window_that_is_asked_for_is_answered_by_one_that_is_no_larger(asked: int, given: int) -> None:
    agreement = agreed(f"permessage-deflate; server_max_window_bits={asked}")
    assert agreement == Agreement(given, f"{ANSWER}; server_max_window_bits={given}")


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate; server_no_context_takeover=true",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; server_max_window_bits=+9",
        'permessage-deflate; server_max_window_bits="09"',
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=0x9",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; SERVER_NO_CONTEXT_TAKEOVER",
        "permessage-deflate-2",
        "PerMessage-Deflate",
        # Valid; but zlib has no such window.
        "permessage-deflate; server_max_window_bits=8",
    ],
)
def test_an_offer_that_cannot_be_accepted_is_declined_and_the_next_one_counts(offer: str) -> None:
    assert agree(offer) is None
    assert agreed(f"{offer}, permessage-deflate; server_max_window_bits=12").window_bits == 12


def test_the_first_offer_that_can_be_accepted_counts() -> None:
    header = "permessage-deflate; server_max_window_bits=9, permessage-deflate"
    assert agreed(header).window_bits == 9
    assert agreed(", ".join(reversed(header.split(", ")))).window_bits == 15


@pytest.mark.parametrize("header", [None, "", ",", " , "])
def test_nothing_is_agreed_with_who_offers_nothing(header: str | None) -> None:
    assert agree(header) is None


@pytest.mark.parametrize(
    "header",
    [
        "permessage-deflate;",
        "; client_max_window_bits",
        "permessage-deflate; ;",
        "permessage-deflate=1",
        "permessage-deflate; client_max_window_bits=",
        'permessage-deflate; client_max_window_bits="10',
        'permessage-deflate; client_max_window_bits=""',
        'permessage-deflate; client_max_window_bits="1 0"',
        "permessage-deflate client_max_window_bits",
        "permessage-deflate, (",
        "permessage-deflate; a=b=c",
        "permessage-deflate\n",
    ],
)
def test_a_malformed_header_fails_the_handshake(header: str) -> None:
    with pytest.raises(Refusal) as caught:
        agree(header)
    assert caught.value.status == 400


def test_a_very_long_header_is_not_read() -> None:
    offer = "permessage-deflate"
    assert agree(offer + " " * (MAX_EXTENSIONS_CHARACTERS - len(offer))) is not None
    assert agree(offer + " " * (MAX_EXTENSIONS_CHARACTERS - len(offer) + 1)) is None


# --- the oracle -------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
        "x",
    ]
)
BITS = st.integers(7, 16).map(str)
VALUES = st.one_of(st.just(""), BITS.map("={}".format), BITS.map('="{}"'.format), st.just("=true"), st.just("="))
PARAMETERS = st.builds("{}{}".format, NAMES, VALUES)
OFFERS = st.builds(
    lambda name, parameters: "; ".join([name, *parameters]),
    st.sampled_from(["permessage-deflate", "permessage-deflate", "permessage-deflate", "other"]),
    st.lists(PARAMETERS, max_size=3),
)
ODD = st.text(alphabet='permessage-deflate;,= "\\x9', max_size=12)
HEADERS = st.one_of(
    st.lists(OFFERS, max_size=3).map(", ".join),
    st.builds(lambda offer, at, odd: offer[: at % (len(offer) + 1)] + odd, OFFERS, st.integers(0, 99), ODD),
)


def by_websockets(header: str) -> Any:
    """Return the window by the oracle, True for any that was not asked for, None if it declines, False if malformed."""
    try:
        offers = parse_extension(header) if header.strip(" \t,") else []
    except InvalidHeader:
        return False
    factory = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
    for name, parameters in offers:
        if name == "permessage-deflate":
            try:
                answer, _ = factory.process_request_params(parameters, [])
            except NegotiationError:
                continue
            return int(dict(answer).get("server_max_window_bits") or 0) or True
    return None


@given(HEADERS)
def test_any_header_is_understood_as_websockets_does(header: str) -> None:
    expected = by_websockets(header)
    try:
        agreement = agree(header)
    except Refusal:
        assert expected is False
        return
    if agreement is None:
        assert expected is None
    elif expected is True:
        assert agreement == Agreement(15, ANSWER)
    else:
        assert agreement.window_bits == next(bits for bits in WINDOWS if bits <= expected)


@given(HEADERS)
def test_the_client_of_websockets_takes_every_answer(header: str) -> None:
    try:
        agreement = agree(header)
    except Refusal:
        return
    if agreement is not None:
        assert len(parse_extension(agreement.header)) == 1
