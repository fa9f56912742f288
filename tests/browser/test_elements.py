"""The custom elements on a plain page, from the gateway's script: `examples/plain_page`, and all states of them."""

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from werkzeug.serving import make_server

from examples.plain_page import app as plain
from tellwire import Node, create_notification_message, create_upload_progress_message
from tellwire.auth import mint_token
from tellwire.config import Settings
from tellwire.gateway.client_script import SCRIPT
from tests.browser.conftest import PACKAGES, PHONE, SECONDS
from tests.conftest import SECRET
from tests.tools import missing

pytestmark = pytest.mark.asyncio(loop_scope="session")

# As strict as a page may be: no script and no style but from files.
POLICY = "default-src 'none'; script-src http://127.0.0.1:*; style-src 'self'; connect-src 'self' ws://127.0.0.1:*"


@pytest_asyncio.fixture(loop_scope="session")
async def gateway() -> AsyncIterator[Node]:
    """A gateway with the script, which takes pages of every origin."""
    if not SCRIPT.is_file():
        missing("the script is not built (make test does, with npm)")
    node = Node(Settings(port=0, dev=True, jwt_secret=SECRET, drain_seconds=1))
    async with node.running():
        yield node


@pytest.fixture
def site(gateway: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the Flask app, served as it is but for its gateway, its secret and a strict policy."""
    http_url = f"http://{gateway.authority}"
    monkeypatch.setattr(plain, "GATEWAY", http_url)
    monkeypatch.setattr(plain, "development_secret", lambda: SECRET)
    monkeypatch.setenv("TELLWIRE_URL", http_url)

    def restricted(environ: Any, start_response: Any) -> Any:
        policy = ("content-security-policy", POLICY)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, policy], exc_info)

        return plain.app(environ, start)

    server = make_server("127.0.0.1", 0, restricted, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


async def opened(chromium: Browser, site: str, **options: Any) -> Page:
    context = await chromium.new_context(**options)
    context.set_default_timeout(SECONDS * 1000)
    page = await context.new_page()
    await page.goto(site)
    return page


async def is_live(page: Page, gateway: Node, count: int = 1) -> None:
    while len(await gateway.hub.connections("ada")) < count:
        await page.wait_for_timeout(20)


async def test_an_import_runs_on_two_devices_and_the_bell_counts(chromium: Browser, site: str, gateway: Node) -> None:
    page, phone = await opened(chromium, site), await opened(chromium, site, viewport=PHONE)
    await page.get_by_role("button", name="Import a parts list").click()
    for each in (page, phone):
        await each.get_by_role("progressbar", name="parts-list.csv").wait_for()
        await each.get_by_role("button", name="Notifications, 1 unread").wait_for()
        await expect(each.locator("tellwire-uploads [part=status]")).to_have_text("Complete")
    await phone.get_by_role("button", name="Notifications, 1 unread").click()
    await phone.get_by_text("200 parts", exact=True).wait_for()
    await phone.get_by_role("button", name="Mark all as read").click()
    await page.get_by_role("button", name="Notifications", exact=True).wait_for()


ALL = """
<!doctype html><html lang="{lang}" dir="{dir}"><meta name="viewport" content="width=device-width"><title>All</title>
<main><h1>All</h1><tellwire-status token-url="/token"></tellwire-status><tellwire-bell></tellwire-bell>
<tellwire-uploads></tellwire-uploads></main><tellwire-toasts></tellwire-toasts>
<script type="module" src="{gateway}/client/tellwire.js"></script></html>"""

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark, on a phone": {"color_scheme": "dark", "viewport": PHONE},
    "forced colours": {"forced_colors": "active"},
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(("lang", "direction"), [("en", "ltr"), ("de", "rtl")])
async def test_axe_finds_nothing_in_any_state(
    chromium: Browser, site: str, gateway: Node, monkeypatch: pytest.MonkeyPatch, look: str, lang: str, direction: str
) -> None:
    text = ALL.replace("{lang}", lang).replace("{dir}", direction)
    monkeypatch.setattr(plain, "PAGE", text)
    page = await opened(chromium, site, bypass_csp=True, **LOOKS[look])
    await is_live(page, gateway)
    tell = gateway.broadcaster.broadcast_to_user
    for number in range(7):
        name = f"a-long-name-of-a-parts-list-from-somewhere-{number}.csv"
        await tell("ada", create_upload_progress_message(f"u{number}", name, number * 100 / 6, f"Row {number}"))
    for severity in ("info", "success", "warning", "error"):
        await tell("ada", create_notification_message("Imported", "200 parts", severity))
    await page.locator("tellwire-uploads [part=upload]").nth(6).wait_for()
    await page.locator("tellwire-toasts [part=toast]").nth(2).wait_for()
    await page.locator("tellwire-bell [part=button]").click()
    await page.locator("tellwire-bell [part=notification]").nth(3).wait_for()
    await page.evaluate((PACKAGES / "axe-core" / "axe.min.js").read_text())
    await page.evaluate("Promise.all(document.getAnimations().map(each => each.finished.catch(() => {})))")
    outcome = await page.evaluate("axe.run()")
    found = [f"{each['impact']} {each['id']}: {each['nodes'][0]['html']}" for each in outcome["violations"]]
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert (found, wide) == ([], 0)


async def test_whose_token_is_refused_sees_that_in_the_status(
    chromium: Browser, site: str, gateway: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "PAGE", ALL.replace("{lang}", "en").replace("{dir}", "ltr"))
    monkeypatch.setattr(plain, "mint_token", lambda secret, user: mint_token(secret, user, -60))
    page = await opened(chromium, site)
    await page.locator("tellwire-status [part=pill]", has_text="Retry in").wait_for()
    await page.get_by_role("button", name="Connect now").wait_for()
