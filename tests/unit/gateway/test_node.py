"""A node's settings, and its parts while it does not run."""

import socket
from typing import Any

import pytest

from tellwire.config import Settings
from tellwire.errors import ConfigError, GatewayUnreachable
from tellwire.gateway import Node
from tellwire.messages import create_message
from tellwire.server.server import listen

SECRET = "x" * 32


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "no way to verify tokens: set TELLWIRE_JWT_SECRET"),
        ({"cognito_user_pool_id": "nonsense", "cognito_client_id": "c"}, "COGNITO_USER_POOL_ID"),
        ({"jwks": "{}"}, "JWKS: not a key set"),
        ({"jwks_url": "http://example.com"}, "JWKS URL"),
        ({"jwt_secret": SECRET, "allowed_origins": ("example.com",)}, "TELLWIRE_ALLOWED_ORIGINS"),
        ({"jwt_secret": SECRET, "trusted_proxies": ("nginx",)}, "TELLWIRE_TRUSTED_PROXIES"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Node(Settings(**settings))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"jwt_secret": SECRET},
        {"jwks_url": "https://issuer.example/jwks.json"},
        {"cognito_user_pool_id": "us-east-1_a", "cognito_client_id": "c"},
    ],
)
def test_each_way_to_verify_tokens_makes_a_node(settings: dict[str, Any]) -> None:
    assert Node(Settings(**settings)).settings.host == "127.0.0.1"


def test_a_node_that_does_not_run_says_so() -> None:
    with pytest.raises(RuntimeError, match="the node does not run"):
        _ = Node(Settings(jwt_secret=SECRET)).hub


async def test_a_node_that_does_not_run_publishes_nothing() -> None:
    broadcaster = Node(Settings(jwt_secret=SECRET)).broadcaster
    with pytest.raises(GatewayUnreachable, match="the node does not run"):
        await broadcaster.broadcast_to_user("user-1", create_message("note", 1))


def test_sockets_say_they_are_tcp_so_that_asyncio_turns_nagle_off() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
