"""Signatures of webhooks: those of Standard Webhooks, forged ones and old ones."""

import pytest

from tellwire.errors import ConfigError
from tellwire.webhooks.signature import is_signed, key_of, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = key_of(SECRET)
BODY = b'{"test": 2432232314}'
NOW = 1614265330
HEADERS = signed_headers([KEY], "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW, BODY)


def test_the_signature_is_that_of_the_example_in_the_standard() -> None:
    # Of the documentation of Svix, who wrote the standard.
    assert HEADERS["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert is_signed([KEY], HEADERS, BODY, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_another"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"},
        {"webhook-timestamp": f"-{NOW}"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": HEADERS["webhook-signature"].removeprefix("v1,")},
        {"webhook-signature": HEADERS["webhook-signature"].replace("v1,", "v1a,")},
        {"webhook-signature": "v1,é"},
    ],
)
def test_a_request_that_was_changed_is_not_signed(change: dict[str, str]) -> None:
    assert not is_signed([KEY], HEADERS | change, BODY, NOW)
    assert not is_signed([KEY], {}, BODY, NOW)


def test_another_body_or_another_key_is_not_signed() -> None:
    assert not is_signed([KEY], HEADERS, BODY + b" ", NOW)
    assert not is_signed([key_of("another secret of enough bytes")], HEADERS, BODY, NOW)
    assert not is_signed([], HEADERS, BODY, NOW)


@pytest.mark.parametrize(("seconds", "expected"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_a_request_that_is_sent_again_later_is_too_old(seconds: int, expected: bool) -> None:
    assert is_signed([KEY], HEADERS, BODY, NOW + seconds) is expected


def test_while_a_secret_is_changed_both_sign_and_each_is_enough() -> None:
    new = key_of("a new secret, with enough bytes in it")
    headers = signed_headers([new, KEY], "msg_1", NOW, BODY)
    assert len(headers["webhook-signature"].split()) == 2
    assert all(is_signed([key], headers, BODY, NOW) for key in (new, KEY))


@pytest.mark.parametrize(
    ("secret", "words"),
    [("short", "got 5 bytes; allowed: at least 24"), ("whsec_!!!", "allowed: text, or whsec_ and base64")],
)
def test_a_secret_that_cannot_be_used_is_named_and_not_quoted(secret: str, words: str) -> None:
    with pytest.raises(ConfigError, match="TELLWIRE_WEBHOOK_SECRET") as raised:
        key_of(secret)
    assert words in str(raised.value)
    assert secret.removeprefix("whsec_") not in str(raised.value)
