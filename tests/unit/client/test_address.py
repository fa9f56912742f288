"""The address of a gateway."""

import pytest

from tellwire.client import websocket_url


@pytest.mark.parametrize(
    ("url", "websocket"),
    [
        ("http://h:1", "ws://h:1/"),
        ("ws://h:1", "ws://h:1/"),
        ("https://h/live", "wss://h/live"),
        ("wss://h/live/", "wss://h/live"),
    ],
)
def test_either_address_of_a_gateway_will_do(url: str, websocket: str) -> None:
    assert websocket_url(url) == websocket
