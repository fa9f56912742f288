"""Take the screenshots in docs/screenshots: `python -m scripts.take_screenshots`, after `make demo` has built the page.

It needs Chromium. The font is the machine's; those in the repository were taken with Inter (Debian: fonts-inter).
"""

import asyncio
import os
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
from werkzeug.serving import make_server

from examples.parts_upload.make_samples import make_samples
from examples.parts_upload.web_app import WebApp
from examples.plain_page import app as plain_page_app
from tellwire import Node
from tellwire.auth import development_secret
from tellwire.config import Settings

STORIES: Final = Path(__file__).parents[1] / "clients" / "elements" / "stories" / "index.html"
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
    await page.locator(".thumbnails img").nth(4).wait_for()
    await page.locator("[part=message]", has_text=re.compile("Row [67],")).wait_for()


async def row_errors(page: Page) -> None:
    """The page with both uploads complete, and the skipped rows shown."""
    await page.get_by_role("button", name="Use the sample files").click()
    await page.locator("[part=upload][data-status=complete]").nth(1).wait_for()
    await page.locator("tellwire-toasts [part=toast]").nth(1).wait_for()
    await page.get_by_role("button", name="Close all").click()
    await page.locator("[part=left-out] summary").click()
    await page.get_by_text("Show the parts").click()
    await page.get_by_role("cell").nth(30).wait_for()
    line = page.locator("[part=upload]", has_text="parts-list.csv")
    await line.evaluate("line => line.scrollIntoView({ block: 'end' })")
    await page.mouse.move(0, 0)


async def no_network(page: Page) -> None:
    """The page without a network, while the upload continues."""
    await running(page)
    await page.get_by_role("switch", name="Kill the network").click()
    await page.locator("#events", has_text="Try 2 failed").wait_for()
    await page.locator("[part=pill]", has_text="Retry in").wait_for()


async def thirty(page: Page) -> None:
    """The page with thirty lists that were dropped at once, some of them imported."""
    script = """() => {
        const all = new DataTransfer();
        const rows = "3001;4;Brick 2 x 4\\n".repeat(2000);
        for (let n = 1; n <= 30; n += 1) all.items.add(new File([`Part;Qty;Name\\n${rows}`], `moc-${n}.csv`));
        return all;
    }"""
    await page.dispatch_event("main", "drop", {"dataTransfer": await page.evaluate_handle(script)})
    await page.locator("[part=summary]", has_text="4 of 30").wait_for()
    await page.get_by_role("button", name="Close all").click()


async def plain_page(page: Page) -> None:
    """The Flask app of 40 lines, with an import that runs beside one that is complete."""
    await page.get_by_role("button", name="Import a parts list").click()
    await page.get_by_role("button", name="Notifications, 1 unread").wait_for()
    await page.get_by_role("button", name="Import a parts list").click()
    await page.get_by_text(re.compile("Row 1[0-9][0-9] of")).wait_for()


async def elements(page: Page) -> None:
    """All elements, in all their states."""
    await page.locator("tellwire-toasts [part=toast]").nth(1).wait_for()


async def panel(page: Page) -> None:
    """The same, with the bell's panel."""
    await elements(page)
    await page.locator("tellwire-bell [part=button]").click()


OF_PLAIN_PAGE: Final = "plain-page"
OF_STORIES: Final[dict[str, tuple[dict[str, Any], str, Scene]]] = {
    "elements-light": (DESKTOP | LIGHT, "", elements),
    "elements-dark": (DESKTOP | DARK, "", panel),
    "elements-phone": (PHONE | LIGHT, "?lang=de", elements),
    "elements-right-to-left": (DESKTOP | LIGHT, "?dir=rtl&lang=fr", panel),
}

PICTURES: Final[dict[str, tuple[dict[str, Any], Scene]]] = {
    "door": (DESKTOP | LIGHT, door),
    "running-light": (DESKTOP | LIGHT, running),
    "running-dark": (DESKTOP | DARK, running),
    "row-errors": (DESKTOP | LIGHT, row_errors),
    "no-network": (DESKTOP | DARK, no_network),
    "thirty-files": (DESKTOP | LIGHT, thirty),
    "phone-light": (PHONE | LIGHT, running),
    "phone-dark": (PHONE | DARK, row_errors),
}


async def take(browser: Browser, url: str, name: str) -> None:
    """Take one screenshot of the demo's page."""
    options, scene = PICTURES[name]
    context = await browser.new_context(**options)
    page = await context.new_page()
    await page.goto(url)
    await page.get_by_label("Your name").fill("ada" if name != "door" else "demo-user")
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("[part=pill]", has_text="Live").wait_for()
    await scene(page)
    await keep(page, name)


async def take_of(browser: Browser, url: str, name: str, options: dict[str, Any], scene: Scene) -> None:
    """Take one screenshot of another page."""
    context = await browser.new_context(**options)
    page = await context.new_page()
    await page.goto(url)
    await scene(page)
    await keep(page, name)


async def keep(page: Page, name: str) -> None:
    """Write a picture of a page with 256 colours, and close it."""
    await asyncio.sleep(0.3)
    picture = Image.open(BytesIO(await page.screenshot()))
    await page.context.close()
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(OUT / f"{name}.png", optimize=True)


async def take_plain_page(browser: Browser) -> None:
    """Take the screenshot of `examples/plain_page`."""
    server = make_server("127.0.0.1", 0, plain_page_app.app, threaded=True)
    serving = asyncio.create_task(asyncio.to_thread(server.serve_forever))
    try:
        async with Node(Settings(port=8787, dev=True, jwt_secret=development_secret(), drain_seconds=1)).running():
            options = PHONE | LIGHT | {"viewport": {"width": 560, "height": 400}}
            await take_of(browser, f"http://127.0.0.1:{server.server_port}", OF_PLAIN_PAGE, options, plain_page)
    finally:
        server.shutdown()
        await serving


async def main(names: list[str]) -> None:
    """Take the screenshots with these names, or all."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    OUT.mkdir(parents=True, exist_ok=True)
    # Of the gateway beside the plain page.
    os.environ.setdefault("TELLWIRE_URL", "http://127.0.0.1:8787")
    settings = Settings(port=0, dev=True, jwt_secret="a-secret-for-pictures-of-forty-characters", drain_seconds=1)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--allow-file-access-from-files"]
        )
        for name, (options, query, scene) in OF_STORIES.items():
            if name in names or not names:
                await take_of(browser, f"{STORIES.as_uri()}{query}", name, options, scene)
        for name in [each for each in PICTURES if each in names] if names else PICTURES:
            # A new gateway for each: its history would appear in the next screenshot.
            with TemporaryDirectory(prefix="screenshots-") as root:
                app = WebApp(settings, Path(root), make_samples(), pause=partial(asyncio.sleep, 0.15))
                async with app.running() as url:
                    await take(browser, url, name)
        # The last one: its imports go on, and tell whatever gateway is there.
        if OF_PLAIN_PAGE in names or not names:
            await take_plain_page(browser)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
