"""A page as the usage guide has it: with the guide's own hook, and with that of @tellwire/react in its place."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page

from tellwire import create_notification_message, create_upload_progress_message
from tellwire.auth import mint_token
from tests.browser.conftest import Site, StartSite
from tests.conftest import SECRET

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def opened(window: BrowserContext, site: Site, hook: str) -> Page:
    page = await window.new_page()
    await page.goto(f"{site.url}/?hook={hook}&token={mint_token(SECRET, 'ada')}")
    await site.until_connected("ada")
    return page


async def sees(page: Page, selector: str, text: str) -> None:
    await page.locator(selector, has_text=text).wait_for()


@pytest.mark.parametrize("hook", ["guide", "tellwire"])
async def test_the_guides_page_gets_its_messages(
    start_site: StartSite, guide_folder: Path, window: BrowserContext, hook: str
) -> None:
    site = await start_site(guide_folder)
    page = await opened(window, site, hook)
    for row in (0, 5000, 10000):
        words = f"Parsing row {row}..."
        await site.tell("ada", create_upload_progress_message("moc-1", "parts-list.csv", row / 100, words, row, 10000))
        await sees(page, "#words", words)
    assert await page.locator("progress").get_attribute("value") == "100"
    await site.tell("ada", create_notification_message("Upload Complete", "Your file has been uploaded", "success"))
    await sees(page, "#toast", "success: Upload Complete")


async def test_what_the_page_sends_by_ws_is_answered(
    start_site: StartSite, guide_folder: Path, window: BrowserContext
) -> None:
    site = await start_site(guide_folder)
    page = await opened(window, site, "guide")
    await page.get_by_role("button", name="Ping").click()
    await sees(page, "#last", "pong")


async def test_with_tellwires_hook_the_same_page_survives_a_restart(
    start_site: StartSite, guide_folder: Path, window: BrowserContext
) -> None:
    site = await start_site(guide_folder)
    page = await opened(window, site, "tellwire")
    await site.tell("ada", create_upload_progress_message("moc-1", "parts-list.csv", 40, "Before"))
    await sees(page, "#words", "Before")
    await site.stop()
    await site.start()
    await site.until_connected("ada")
    await site.tell("ada", create_upload_progress_message("moc-1", "parts-list.csv", 60, "After"))
    await sees(page, "#words", "After")
