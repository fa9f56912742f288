"""A real browser and a real gateway: Chromium, driven by Playwright, and the example's page beside its gateway.

All tests here run on one event loop, which serves, too: their modules say so. `make test` builds the page.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from examples.parts_upload.csv_worker import Pause
from examples.parts_upload.make_samples import Samples, make_samples
from examples.parts_upload.web_app import PAGE, WebApp
from tellwire import Message, create_notification_message
from tellwire.config import Settings
from tellwire.position import START
from tellwire.publication import user_stream
from tests.conftest import SECRET
from tests.tools import missing, require

SECONDS = 45.0
"""The timeout of one step of a browser: far above its usual time, far below the timeout of a test."""

ROOMS = {"pattern": "room:*", "subscribe": "anyone", "presence": True}
"""The topics of all sites."""

PACKAGES = PAGE.parent / "node_modules"
SHORT_PAUSE: Pause = partial(asyncio.sleep, 0.05)
GUIDE = Path(__file__).parent / "guide"
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def page_folder() -> Path:
    """The folder with the page that `make` built."""
    return PAGE if (PAGE / "index.html").is_file() else missing("the page is not built (make test does, with npm)")


@pytest.fixture(scope="session")
def guide_folder(tmp_path_factory: pytest.TempPathFactory, page_folder: Path) -> Path:
    """A folder with a page as the usage guide has it."""
    folder = tmp_path_factory.mktemp("guide")
    subprocess.run([require("node"), str(GUIDE / "build.mjs"), str(folder)], check=True, timeout=SECONDS)
    return folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(page_folder: Path) -> AsyncIterator[Browser]:
    """Start Chromium once."""
    program = require("chromium", "chromium-browser", "google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program,
            # It refuses to run as root with a sandbox, and sees nothing but our own pages.
            args=["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"],
            # Going back to a page is how a browser without a screen freezes one and wakes it up.
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        await browser.close()


# --- the page and its gateway -----------------------------------------------------------------------------------------


class Site:
    """A gateway with a page beside it. It can end and start again at the same address."""

    def __init__(self, root: Path, samples: Samples, page: Path, token_seconds: float, pause: Pause) -> None:
        self._root, self._samples, self._page = root, samples, page
        self._token_seconds, self._pause = token_seconds, pause
        self._port = 0
        self._running = AsyncExitStack()
        self.app: WebApp

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        settings = Settings(port=self._port, dev=True, jwt_secret=SECRET, drain_seconds=1, topics=(ROOMS,))
        self.app = WebApp(
            settings,
            self._root,
            self._samples,
            page=self._page,
            pause=self._pause,
            token_seconds=self._token_seconds,
        )
        await self._running.enter_async_context(self.app.running())
        self._port = self.app.node.address[1]

    async def stop(self) -> None:
        await self._running.aclose()

    async def connections(self, user: str) -> list[str]:
        """Return the ids of a user's connections."""
        return [each.connection_id for each in await self.app.node.hub.connections(user)]

    async def until_connected(self, user: str, count: int = 1) -> list[str]:
        """Wait until a user has so many connections, and return their ids."""
        async with asyncio.timeout(SECONDS):
            while len(ids := await self.connections(user)) != count:
                await asyncio.sleep(0.02)
        return ids

    async def tell(self, user: str, message: Message) -> int:
        """Send a message; return to how many connections."""
        return (await self.app.node.broadcaster.broadcast_to_user(user, message)).delivered

    async def kept(self, user: str) -> list[dict[str, Any]]:
        """Return the welcome's messages for a device of a user that begins with the whole log."""
        history = self.app.node.engine.history
        assert history is not None
        replay = await history.read(user_stream(user), START)
        return [json.loads(message) for message in replay.messages]


StartSite = Callable[..., Any]


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The sample files, with a tenth of the rows."""
    return make_samples(tmp_path_factory.mktemp("samples"), rows=1000)


@pytest_asyncio.fixture(loop_scope="session")
async def start_site(tmp_path: Path, samples: Samples, page_folder: Path) -> AsyncIterator[StartSite]:
    """Start sites; they stop with the test."""
    async with AsyncExitStack() as stack:

        async def start(page: Path = page_folder, token_seconds: float = 3600, pause: Pause = SHORT_PAUSE) -> Site:
            site = Site(tmp_path, samples, page, token_seconds, pause)
            stack.push_async_callback(site.stop)
            await site.start()
            return site

        yield start


@pytest_asyncio.fixture(loop_scope="session")
async def site(start_site: StartSite) -> Site:
    """The page with its usual settings."""
    started = await start_site()
    assert isinstance(started, Site)
    return started


# --- people -----------------------------------------------------------------------------------------------------------

OpenBrowser = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="session")
async def open_browser(chromium: Browser) -> AsyncIterator[OpenBrowser]:
    """Open browsers that share nothing; they close with the test, which fails if a page of theirs had an error."""
    errors: list[str] = []
    async with AsyncExitStack() as stack:

        async def open_context(**options: Any) -> BrowserContext:
            context = await chromium.new_context(**options)
            stack.push_async_callback(context.close)
            context.set_default_timeout(1000 * SECONDS)
            context.on("weberror", lambda error: errors.append(str(error.error)))
            return context

        yield open_context
    assert errors == []


@pytest_asyncio.fixture(loop_scope="session")
async def window(open_browser: OpenBrowser) -> BrowserContext:
    """One browser."""
    context = await open_browser()
    assert isinstance(context, BrowserContext)
    return context


async def processes_of(chromium: Browser) -> list[int]:
    """Return the ids of the browser's processes."""
    devtools = await chromium.new_browser_cdp_session()
    answer = await devtools.send("SystemInfo.getProcessInfo")
    await devtools.detach()
    return [process["id"] for process in answer["processInfo"]]


async def signed_in(context: BrowserContext, site: Site, user: str = "ada", page: Page | None = None) -> Page:
    """Open the page in a tab, and sign in unless the browser is. It is live then."""
    page = page or await context.new_page()
    await page.goto(site.url)
    name = page.get_by_label("Your name")
    if await name.is_visible():
        await name.fill(user)
        await page.get_by_role("button", name="Sign in").click()
    await is_live(page)
    return page


def hello(title: str = "Hello") -> Message:
    """Return a notification, as of now."""
    return create_notification_message(title, "from here", "info")


async def focused(page: Page) -> str:
    """Return the text of the element that has the focus, in whatever tree it is."""
    text = await page.evaluate("""() => {
        let element = document.activeElement;
        while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
        return element.textContent;
    }""")
    return str(text).strip()


async def is_shown(page: Page, title: str) -> None:
    """Wait for a toast."""
    await page.locator("[part=toast]", has_text=title).wait_for()


async def is_live(page: Page) -> None:
    """Wait until the page says that it is connected."""
    await page.locator("[part=pill]", has_text="Live").wait_for()


async def is_complete(page: Page, count: int = 1) -> None:
    """Wait until as many uploads are shown to be complete."""
    await page.locator("[part=upload][data-status=complete]").nth(count - 1).wait_for()
