"""The page for everybody: axe on every state, narrow screens, the keyboard alone, little motion, screen readers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import BrowserContext, Page

from tellwire import create_notification_message, create_upload_progress_message
from tellwire.messages import UploadProgressMessage
from tests.browser.conftest import (
    PACKAGES,
    PHONE,
    OpenBrowser,
    Site,
    StartSite,
    hello,
    is_complete,
    is_live,
    is_shown,
    signed_in,
)
from tests.gate import Gate

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark, on a phone": {"color_scheme": "dark", "viewport": PHONE, "has_touch": True},
}


@pytest.fixture(scope="session")
def axe(page_folder: Path) -> str:
    return (PACKAGES / "axe-core" / "axe.min.js").read_text()


async def violations(page: Page, axe: str) -> list[str]:
    """Return the violations that axe finds."""
    await page.evaluate(axe)
    # A colour on its way from one to another is none that anybody chose.
    await page.evaluate("Promise.all(document.getAnimations().map(each => each.finished.catch(() => {})))")
    outcome = await page.evaluate("axe.run()")
    return [f"{each['impact']} {each['id']}: {each['nodes'][0]['html']}" for each in outcome["violations"]]


async def states(window: BrowserContext, site: Site, gate: Gate, tmp_path: Path) -> AsyncIterator[tuple[str, Page]]:
    """Lead the page through its states."""
    page = await window.new_page()
    await page.goto(site.url)
    yield "the door", page
    await page.get_by_role("button", name="Sign in").click()
    await is_live(page)
    yield "nothing here yet", page
    await page.get_by_role("button", name="Use the sample files").click()
    await page.get_by_role("progressbar").nth(1).wait_for()
    yield "running", page
    await page.get_by_role("switch", name="Kill the network").click()
    await page.locator(".stale").wait_for()
    yield "not connected", page
    gate.open()
    await page.get_by_role("switch", name="Kill the network").click()
    await is_complete(page, 2)
    await is_shown(page, "6 images")
    yield "complete, with toasts", page
    for summary in await page.locator("summary").all():
        await summary.click()
    await page.get_by_role("img", name="Thumbnail 5").wait_for()
    yield "row errors", page
    await page.get_by_role("button", name="Notifications").click()
    yield "notifications", page
    for _ in await page.get_by_role("button", name="Dismiss").all():
        await page.get_by_role("button", name="Dismiss").first.click()
    yield "no notifications", page
    await page.keyboard.press("Escape")
    (tmp_path / "letter.csv").write_text("Dear Ada\n")
    (tmp_path / "song.mp3").write_bytes(b"la")
    await page.get_by_label("Choose files").set_input_files([tmp_path / "letter.csv", tmp_path / "song.mp3"])
    await page.locator(".upload[data-status=failed]").wait_for()
    yield "failed, and trouble", page
    running = create_upload_progress_message("moc-1", "parts.csv", 40, "No word from its worker for 30 seconds")
    stalled = msgspec.structs.replace(running.data, status="stalled", lease_seconds=30)
    await site.tell("demo-user", UploadProgressMessage(stalled))
    await page.locator(".upload[data-status=stalled]").wait_for()
    yield "stalled", page
    await page.get_by_role("button", name="Cancel parts.csv").click()
    await page.locator(".upload[data-status=cancelled]").wait_for()
    yield "cancelled", page
    await site.stop()
    await site.start()
    await page.locator(".missed").wait_for()
    yield "something may be missing", page


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_nothing_and_nothing_is_cut_off(
    start_site: StartSite, open_browser: OpenBrowser, axe: str, tmp_path: Path, look: str
) -> None:
    gate = Gate()
    site = await start_site(pause=gate)
    found = {}
    async for state, page in states(await open_browser(**LOOKS[look]), site, gate, tmp_path):
        overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        found[state] = [*await violations(page, axe), *(["wider than the screen"] if overflow else [])]
    assert len(found) == 12
    assert {state: problems for state, problems in found.items() if problems} == {}


FOCUSED = """() => {
    const element = document.activeElement;
    const zone = element.closest(".zone") ?? element;
    const name = element.ariaLabel ?? (element.labels?.[0] ?? element).innerText.split("\\n")[0];
    return [name, getComputedStyle(zone).outlineStyle];
}"""


async def test_everything_is_reached_by_keyboard_and_the_focus_is_seen(site: Site, window: BrowserContext) -> None:
    page = await window.new_page()
    await page.goto(site.url)
    await page.get_by_label("Your name").wait_for()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await is_live(page)
    # An error, for it stays until somebody closes it.
    await site.tell("demo-user", create_notification_message("Hello", "from here", "error"))
    await is_shown(page, "Hello")
    reached = []
    for _ in range(8):
        await page.keyboard.press("Tab")
        name, outline = await page.evaluate(FOCUSED)
        reached.append(name)
        assert outline == "solid", name
    assert reached == [
        "Notifications, 1 unread",
        "Sign out",
        "Choose files or drop them here",
        "Use the sample files",
        "Slow motion",
        "Kill the network",
        "Open a second tab",
        "Close: Hello",
    ]


MOVING = """[...document.querySelectorAll("*")].filter(element => {
    const { animationName, transitionDuration } = getComputedStyle(element);
    return animationName !== "none" || transitionDuration !== "0s";
}).map(element => element.className)"""


@pytest.mark.parametrize(("motion", "moving"), [("no-preference", {"fill", "toast"}), ("reduce", set())])
async def test_somebody_who_wants_little_motion_sees_none(
    site: Site, open_browser: OpenBrowser, motion: str, moving: set[str]
) -> None:
    page = await signed_in(await open_browser(reduced_motion=motion), site)
    await page.get_by_role("button", name="Use the sample files").click()
    await page.get_by_role("progressbar").nth(1).wait_for()
    await is_complete(page, 2)
    await is_shown(page, "6 images")
    assert set(await page.evaluate(MOVING)) == moving


async def test_a_screen_reader_hears_of_the_connection_and_now_and_then_of_progress(
    start_site: StartSite, window: BrowserContext
) -> None:
    # Enough for the parts list, and half of the images.
    gate = Gate(batches=2)
    site = await start_site(pause=gate)
    page = await signed_in(window, site)
    await page.evaluate("""
        window.heard = [];
        for (const region of document.querySelectorAll("[role=status]"))
          new MutationObserver(() => heard.push(region.innerText))
            .observe(region, { characterData: true, childList: true, subtree: true });
    """)
    await page.get_by_role("button", name="Use the sample files").click()
    await is_complete(page, 1)
    await page.get_by_role("switch", name="Kill the network").click()
    await page.locator(".events", has_text="Try 1 failed").wait_for()
    await page.get_by_role("switch", name="Kill the network").click()
    await is_live(page)
    gate.open()
    await is_complete(page, 2)
    heard = await page.evaluate("heard")
    of_connection = [each for each in heard if each and "percent" not in each]
    assert of_connection[0] == "Connection lost. Reconnecting."
    assert of_connection[-1] == "Connected."
    of_progress = [each for each in heard if "percent" in each]
    assert 1 <= len(of_progress) <= 2
    assert "parts-list-1000.csv: " in of_progress[0]


async def test_toasts_are_a_live_region_and_go_unless_they_are_pointed_at_or_errors(
    site: Site, window: BrowserContext
) -> None:
    page = await window.new_page()
    await page.clock.install()
    page = await signed_in(window, site, page=page)
    await site.tell("ada", hello("First"))
    await site.tell("ada", create_notification_message("Bad", "from here", "error"))
    await is_shown(page, "Bad")
    assert await page.locator("[aria-live=polite] .toast").count() == 2
    await page.locator(".toast", has_text="First").hover()
    await page.clock.fast_forward("00:30")
    assert await page.locator(".toast").count() == 2
    await page.mouse.move(0, 0)
    await page.clock.fast_forward("00:30")
    await page.locator(".toast", has_text="First").wait_for(state="detached")
    assert await page.locator(".toast", has_text="Bad").count() == 1
    await page.get_by_role("button", name="Close: Bad").click()
    await page.locator(".toast").wait_for(state="detached")
