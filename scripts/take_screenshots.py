"""Take the screenshots in docs/screenshots: `python -m scripts.take_screenshots`, after `make demo` has built the page.

It needs Chromium. The font is the machine's; those in the repository were taken with Inter (Debian: fonts-inter).
"""

import asyncio
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from examples.parts_upload.make_samples import make_samples
from examples.parts_upload.web_app import WebApp
from tellwire.config import Settings

OUT: Final = Path(__file__).parents[1] / "docs" / "screenshots"
DESKTOP: Final = {"viewport": {"width": 1200, "height": 800}, "device_scale_factor": 1.5}
PHONE: Final = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2}
LIGHT: Final = {"color_scheme": "light"}
DARK: Final = {"color_scheme": "dark"}

Scene = Callable[[Page], Awaitable[None]]


async def door(page: Page) -> None:
    """The page before signing in."""
    await page.get_by_role("button", name="Sign out").click()


async def running(page: Page) -> None:
    """The page with complete images and a running parts list."""
    await page.get_by_role("button", name="Use the sample files").click()
    await page.get_by_role("img", name="Thumbnail 5").wait_for()
    await page.locator(".upload-words", has_text=re.compile("Row [67],")).wait_for()


async def row_errors(page: Page) -> None:
    """The page with both uploads complete, and the skipped rows shown."""
    await page.get_by_role("button", name="Use the sample files").click()
    await page.locator(".upload[data-status=complete]").nth(1).wait_for()
    await page.get_by_text("rows were left out").first.click()
    close = page.get_by_role("button", name="Close: ")
    await close.nth(1).wait_for()
    await close.first.click()
    await close.click()
    await page.locator(".upload", has_text="parts-list.csv").evaluate("card => card.scrollIntoView({ block: 'end' })")
    await page.mouse.move(0, 0)


async def no_network(page: Page) -> None:
    """The page without a network, while the upload continues."""
    await running(page)
    await page.get_by_role("switch", name="Kill the network").click()
    await page.locator(".events", has_text="Try 2 failed").wait_for()
    await page.locator(".pill", has_text="Retry in").wait_for()


PICTURES: Final[dict[str, tuple[dict[str, Any], Scene]]] = {
    "door": (DESKTOP | LIGHT, door),
    "running-light": (DESKTOP | LIGHT, running),
    "running-dark": (DESKTOP | DARK, running),
    "row-errors": (DESKTOP | LIGHT, row_errors),
    "no-network": (DESKTOP | DARK, no_network),
    "phone-light": (PHONE | LIGHT, running),
    "phone-dark": (PHONE | DARK, row_errors),
}


async def take(browser: Browser, url: str, name: str) -> None:
    """Take one screenshot, and write it with 256 colours."""
    options, scene = PICTURES[name]
    context = await browser.new_context(**options)
    page = await context.new_page()
    await page.goto(url)
    await page.get_by_label("Your name").fill("ada" if name != "door" else "demo-user")
    await page.get_by_role("button", name="Sign in").click()
    await page.locator(".pill", has_text="Live").wait_for()
    await scene(page)
    await asyncio.sleep(0.3)
    picture = Image.open(BytesIO(await page.screenshot()))
    await context.close()
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(OUT / f"{name}.png", optimize=True)


async def main(names: list[str]) -> None:
    """Take the screenshots with these names, or all."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    OUT.mkdir(parents=True, exist_ok=True)
    settings = Settings(port=0, dev=True, jwt_secret="a-secret-for-pictures-of-forty-characters", drain_seconds=1)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name in names or PICTURES:
            # A new gateway for each: its history would appear in the next screenshot.
            with TemporaryDirectory(prefix="screenshots-") as root:
                app = WebApp(settings, Path(root), make_samples(), pause=partial(asyncio.sleep, 0.15))
                async with app.running() as url:
                    await take(browser, url, name)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
