"""Django's sessions as identities: who is logged in, and who is not any more."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.core.management import call_command
from django.db import connection
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tellwire.auth.request import HandshakeRequest
from tellwire.config import Settings
from tellwire.django import identify_by_session
from tellwire.gateway import Node


@pytest.fixture
def user() -> Iterator[Any]:
    call_command("migrate", run_syncdb=True, verbosity=0)
    users: Any = get_user_model().objects
    user = users.create_user("ada", password="secret")
    yield user
    user.delete()
    connection.close()


def cookie_of(user: Any) -> str:
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


@pytest.fixture
def cookie(user: Any) -> str:
    return cookie_of(user)


def who(cookie: str) -> object:
    return identify_by_session(HandshakeRequest("/", "", {"cookie": cookie}))


def test_the_user_of_the_session_is_known_until_it_ends(user: Any, cookie: str) -> None:
    assert who(cookie) == str(user.pk)
    assert who(f"{cookie}x") is None
    assert who("") is None
    user.set_password("another")
    user.save()
    assert who(cookie) is None


def test_a_user_who_is_not_active_is_nobody(user: Any, cookie: str) -> None:
    user.is_active = False
    user.save()
    assert who(cookie) is None


async def test_a_device_connects_with_its_session_alone(user: Any, cookie: str) -> None:
    node = Node(Settings(port=0, engine="memory", api_key="key-for-tests-0123456789"), identify=identify_by_session)
    async with node.running() as url:
        address = url.replace("http", "ws", 1)
        async with connect(address, additional_headers={"cookie": cookie, "origin": url}, proxy=None):
            assert await node.presence.count(str(user.pk)) == 1
        with pytest.raises(InvalidStatus):
            await connect(address, additional_headers={"cookie": "sessionid=x", "origin": url}, proxy=None)
