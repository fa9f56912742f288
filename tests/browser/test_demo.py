"""`make demo`: the page at the address that it prints, on two tabs, beside the two devices in the terminal."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page

from tests.browser.conftest import is_complete, is_live
from tests.integration.test_parts_upload import demo, line_with

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def opened(window: BrowserContext, address: str) -> Page:
    page = await window.new_page()
    await page.goto(address)
    if await page.get_by_role("button", name="Sign in").is_visible():
        await page.get_by_role("button", name="Sign in").click()
    await is_live(page)
    return page


async def test_both_tabs_and_both_devices_see_what_is_uploaded(
    page_folder: Path, window: BrowserContext, tmp_path: Path
) -> None:
    async with demo("--pace", "0.05", home=tmp_path) as process:
        address = (await line_with(process, "Page: ")).split()[1]
        await line_with(process, "listen --user")
        tabs = [await opened(window, address), await opened(window, address)]
        await tabs[0].get_by_role("button", name="Use the sample files").click()
        for tab in tabs:
            await is_complete(tab, 2)
        for _ in ("phone", "laptop"):
            await line_with(process, "Upload complete: parts-list.csv")
