"""The check of signatures that docs/how-to/webhooks.md shows, against real, forged and old requests."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tellwire.webhooks.signature import key_of, signed_headers

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "webhooks.md"
BODY = b'{"type":"message"}'
Check = Callable[[dict[str, str], bytes], bool]


@pytest.fixture
def names() -> dict[str, Any]:
    """The names of the snippet."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    return found


@pytest.fixture
def check(names: dict[str, Any]) -> Check:
    found: Check = names["is_from_tellwire"]
    return found


@pytest.fixture
def key(names: dict[str, Any]) -> bytes:
    return key_of(names["SECRET"].decode())


def test_it_takes_a_request_of_the_gateway_by_one_of_several_secrets(check: Check, key: bytes) -> None:
    now = int(time.time())
    assert check(signed_headers([key], "msg_1", now, BODY), BODY)
    assert check(signed_headers([b"another one of enough bytes", key], "msg_1", now, BODY), BODY)


def test_it_takes_no_forged_and_no_old_request(check: Check, key: bytes) -> None:
    now = int(time.time())
    headers = signed_headers([key], "msg_1", now, BODY)
    assert not check(headers, BODY.replace(b"message", b"massage"))
    assert not check(headers | {"webhook-id": "msg_2"}, BODY)
    assert not check(headers | {"webhook-timestamp": str(now + 1)}, BODY)
    assert not check(headers | {"webhook-signature": "v1,"}, BODY)
    assert not check(signed_headers([b"another one of enough bytes"], "msg_1", now, BODY), BODY)
    assert not check(signed_headers([key], "msg_1", now - 301, BODY), BODY)
    assert not check(signed_headers([key], "msg_1", now + 302, BODY), BODY)
    assert not check({}, BODY)
