"""The console in a browser: an operator finds a user, sends a test, closes a connection, and reads no page's markup."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tellwire import Node, Settings, create_message
from tests.browser.conftest import PHONE, OpenBrowser
from tests.browser.test_access import axe, violations
from tests.conftest import API_KEY, SECRET, Gateway, read

__all__ = ["axe"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = "<img src=x onerror=alert(1)>"


@pytest_asyncio.fixture(loop_scope="session")
async def gateway() -> AsyncIterator[Gateway]:
    settings = Settings(port=0, engine="memory", jwt_secret=SECRET, api_key=API_KEY, drain_seconds=1, console=True)
    node = Node(settings)
    async with node.running() as url:
        yield Gateway(node, url)


async def signed_in(open_browser: OpenBrowser, gateway: Gateway, **options: Any) -> Page:
    page: Page = await (await open_browser(**options)).new_page()
    await page.goto(f"{gateway.url}/console")
    await page.get_by_label("An API key with the scope admin").fill(API_KEY)
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Overview").wait_for()
    return page


async def test_an_operator_finds_a_user_sends_a_test_and_closes_a_connection(
    open_browser: OpenBrowser, gateway: Gateway
) -> None:
    async with gateway.device("ada") as device:
        page = await signed_in(open_browser, gateway)
        await page.get_by_role("link", name="Users").click()
        await page.get_by_role("link", name="ada").click()
        await page.get_by_role("heading", name="User ada").wait_for()
        await page.get_by_role("button", name="Send").click()
        await page.get_by_text("Sent to 1 devices").wait_for()
        assert (await read(device))["data"]["title"] == "A test from the console"
        await page.get_by_role("button", name="Close").click()
        await asyncio.wait_for(device.wait_closed(), 60)
        await page.get_by_text("Not connected.").wait_for()


async def test_an_operator_follows_the_messages_of_a_user_which_is_in_the_log_and_stops(
    open_browser: OpenBrowser, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tellwire.gateway")
    page = await signed_in(open_browser, gateway)
    await page.evaluate("location.hash = 'user/ada'")
    await page.get_by_role("button", name="Show live messages").click()
    shown = page.get_by_label("Messages").get_by_text("a word for ada").first
    async with asyncio.timeout(60):
        # The page is not told when the gateway begins to follow.
        while not await shown.is_visible():
            await gateway.node.broadcaster.broadcast_to_user("ada", create_message("note", "a word for ada"))
            await asyncio.sleep(0.1)
    assert "default from 127.0.0.1 follows the messages of user 'ada'" in caplog.text
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_role("button", name="Show live messages").wait_for()


async def test_a_users_markup_is_text(open_browser: OpenBrowser, gateway: Gateway) -> None:
    async with gateway.device(MARKUP):
        page = await signed_in(open_browser, gateway)
        await page.get_by_role("link", name="Users").click()
        await page.get_by_role("link", name=MARKUP).click()
        await page.get_by_role("heading", name=f"User {MARKUP}").wait_for()
        assert await page.locator("img").count() == 0


async def test_a_session_survives_a_reload_and_ends_for_all_tabs(open_browser: OpenBrowser, gateway: Gateway) -> None:
    page = await signed_in(open_browser, gateway)
    await page.reload()
    await page.get_by_role("heading", name="Overview").wait_for()
    second = await page.context.new_page()
    await second.goto(f"{gateway.url}/console#uploads")
    await second.get_by_role("heading", name="Uploads in progress").wait_for()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_text("You have signed out.").wait_for()
    await second.get_by_text("The session has ended. Sign in again.").wait_for()


async def test_in_development_the_page_needs_no_key(open_browser: OpenBrowser) -> None:
    node = Node(Settings(port=0, jwt_secret=SECRET, dev=True, drain_seconds=1, console=True))
    async with node.running() as url:
        page: Page = await (await open_browser()).new_page()
        await page.goto(f"{url}/console")
        await page.get_by_role("heading", name="Overview").wait_for()


async def test_a_wrong_key_is_told(open_browser: OpenBrowser, gateway: Gateway) -> None:
    page: Page = await (await open_browser()).new_page()
    await page.goto(f"{gateway.url}/console")
    await page.get_by_label("An API key with the scope admin").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("This is not one of the gateway's API keys").wait_for()


@pytest.mark.parametrize("look", [{"color_scheme": "light"}, {"color_scheme": "dark", "viewport": PHONE}])
async def test_axe_finds_nothing_in_any_view(
    open_browser: OpenBrowser, gateway: Gateway, axe: str, look: dict[str, Any], page_folder: Path
) -> None:
    context = await open_browser(bypass_csp=True, **look)  # the checks are no script of the page's own
    door: Page = await context.new_page()
    await door.goto(f"{gateway.url}/console")
    await door.get_by_label("An API key with the scope admin").wait_for()
    assert await violations(door, axe) == []
    async with gateway.device("ada"):
        page = await signed_in(open_browser, gateway, bypass_csp=True, **look)
        for view, heading in (
            ("overview", "Overview"),
            ("users", "Users"),
            ("topics", "Topics"),
            ("uploads", "Uploads in progress"),
            ("user/ada", "User ada"),
        ):
            await page.evaluate(f"location.hash = {json.dumps(view)}")
            await page.get_by_role("heading", name=heading).wait_for()
            assert await violations(page, axe) == [], view
