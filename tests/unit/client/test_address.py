"""The address of a gateway."""

import pytest

from tellwire.client import websocket_url


@pytest.mark.parametrize(
    ("url", "websocket"),
    [
        ("http://h:1", "ws://h:1/"),
        ("ws://h:1", "ws://h:1/"),
        ("https://h/live", "wss://h/live"),
        ("wss://h", "wss://h/"),
    ],
)
def test_either_address_of_a_gateway_will_do(url: str, websocket: str) -> None:
    assert websocket_url(url) == websocket


@pytest.mark.parametrize("path", ["/live/", "/live", "/a//b//", "/live/v1/", "/p%20q/"])
def test_the_path_stays_as_it_is(path: str) -> None:
    assert websocket_url(f"https://h{path}") == f"wss://h{path}"
