"""The elements in a template: the script as the gateway tells it, and elements of the user who is logged in."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.template import Context, Template
from django.test import override_settings

from tellwire.django import script
from tellwire.django.script import Script, ScriptAddresses
from tellwire.django.templatetags import tellwire as tags
from tellwire.gateway import client_script
from tests.conftest import Gateway
from tests.unit.django.conftest import TELLWIRE, URL, User


@pytest.fixture(autouse=True)
def no_script_of_another_test() -> Iterator[None]:
    yield
    tags._addresses.cache_clear()


def rendered(text: str, **context: Any) -> str:
    return Template("{% load tellwire %}" + text).render(Context(context))


class LazyNonce:
    """A nonce as Django 6 has it: false until it is written."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "n0nce"


async def test_the_script_is_the_one_of_the_gateway_with_its_hash(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client_script.ClientScript.of(b"export {};")
    monkeypatch.setattr(client_script, "client_script", lambda path: made)
    with override_settings(TELLWIRE={**TELLWIRE, "URL": gateway.url, "PUBLIC_URL": "https://live.example.com/"}):
        tag = await asyncio.to_thread(rendered, "{% tellwire_script %}", csp_nonce=LazyNonce())
    assert tag == (
        f'<script type="module" src="https://live.example.com{made.address_below("").src}" crossorigin="anonymous" '
        f'integrity="{made.integrity}" nonce="n0nce"></script>'
    )


def test_without_a_gateway_the_page_takes_the_newest_script_and_asks_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses, asked, now = ScriptAddresses(URL, "/live"), [], [0.0]

    def ask(request: Any, timeout: float) -> Any:
        asked.append(request.full_url)
        raise ConnectionRefusedError

    monkeypatch.setattr(script, "urlopen", ask)
    monkeypatch.setattr(script, "monotonic", lambda: now[0])
    assert [addresses.current() for _ in range(3)] == [Script("/live/client/tellwire.js")] * 3
    assert asked == [f"{URL}/client"]
    now[0] += script.KEEP_SECONDS
    addresses.current()
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["uploads", "bell", "toasts", "status"])
def test_an_element_has_the_token_of_the_user_who_is_logged_in(name: str, ada: User) -> None:
    tag = rendered(f"{{% tellwire_{name} %}}", user=ada)
    assert tag == f'<tellwire-{name} token-url="/live/token" user="7"></tellwire-{name}>'
    assert rendered(f"{{% tellwire_{name} %}}", user=User(None)) == rendered(f"{{% tellwire_{name} %}}") == ""
