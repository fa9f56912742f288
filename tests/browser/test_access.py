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
    focused,
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
    "right to left": {"color_scheme": "dark"},
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
    await page.locator("[part=stale]").wait_for()
    yield "not connected", page
    gate.open()
    await page.get_by_role("switch", name="Kill the network").click()
    await is_complete(page, 2)
    await is_shown(page, "6 images")
    yield "complete, with toasts", page
    for summary in await page.locator("summary").all():
        await summary.click()
    await page.locator(".thumbnails img").nth(4).wait_for()
    yield "row errors", page
    await page.get_by_role("button", name="Notifications").click()
    yield "notifications", page
    await page.get_by_role("button", name="Clear all").click()
    yield "no notifications", page
    await page.keyboard.press("Escape")
    (tmp_path / "letter.csv").write_text("Dear Ada\n")
    (tmp_path / "song.mp3").write_bytes(b"la")
    await page.get_by_label("Choose files").set_input_files([tmp_path / "letter.csv", tmp_path / "song.mp3"])
    await page.locator("[part=upload][data-status=failed]").wait_for()
    yield "failed, and trouble", page
    running = create_upload_progress_message("moc-1", "parts.csv", 40, "No word from its worker for 30 seconds")
    stalled = msgspec.structs.replace(running.data, status="stalled", lease_seconds=30)
    await site.tell("demo-user", UploadProgressMessage(stalled))
    await page.locator("[part=upload][data-status=stalled]").wait_for()
    yield "stalled", page
    await page.get_by_role("button", name="Close Something went wrong").click()
    await page.get_by_role("button", name="Cancel parts.csv").click()
    await page.locator("[part=upload][data-status=cancelled]").wait_for()
    yield "cancelled", page
    await site.stop()
    await site.start()
    await page.locator("[part=missing]").wait_for()
    yield "something may be missing", page


@pytest.mark.parametrize("look", LOOKS)
async def test_axe_finds_nothing_and_nothing_is_cut_off(
    start_site: StartSite, open_browser: OpenBrowser, axe: str, tmp_path: Path, look: str
) -> None:
    gate = Gate()
    site = await start_site(pause=gate)
    found = {}
    window = await open_browser(**LOOKS[look])
    if look == "right to left":
        await window.add_init_script("document.addEventListener('readystatechange', () => document.body.dir = 'rtl')")
    async for state, page in states(window, site, gate, tmp_path):
        overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        found[state] = [*await violations(page, axe), *(["wider than the screen"] if overflow else [])]
    assert len(found) == 12
    assert {state: problems for state, problems in found.items() if problems} == {}


FOCUSED = """() => {
    let element = document.activeElement;
    while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    const zone = element.closest(".zone") ?? element;
    const name = element.ariaLabel ?? (element.labels?.[0] ?? element).innerText.trim().split("\\n")[0];
    return [name, getComputedStyle(zone).outlineStyle];
}"""


async def test_everything_is_reached_by_keyboard_and_the_focus_is_seen(site: Site, window: BrowserContext) -> None:
    page = await window.new_page()
    await page.goto(site.url)
    # The name has the focus, and is selected.
    await page.get_by_label("Your name").wait_for()
    await page.keyboard.type("ada")
    await page.keyboard.press("Enter")
    await is_live(page)
    assert await focused(page) == "Uploads"
    # An error, for it stays until somebody closes it.
    await site.tell("ada", create_notification_message("Hello", "from here", "error"))
    await is_shown(page, "Hello")
    reached = []
    for key in ["Tab"] * 7 + ["Shift+Tab"] * 8:
        await page.keyboard.press(key)
        name, outline = await page.evaluate(FOCUSED)
        reached.append(name)
        assert name == "Uploads" or outline == "solid", name
    assert reached[:7] == [
        "Choose files or drop them anywhere",
        "Try it with sample files",
        "Use the sample files",
        "Slow motion",
        "Kill the network",
        "Open a second tab",
        "Close Hello",
    ]
    assert reached[-3:] == ["Choose files or drop them anywhere", "Sign out", "Notifications, 1 unread"]


async def test_the_focus_is_never_below_the_bar(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    for number in range(40):
        await site.tell("ada", create_upload_progress_message(f"u{number}", f"list-{number}.csv", 40, "Row 400"))
    await page.locator("[part=cancel]").nth(39).wait_for()
    await page.locator("[part=cancel]").nth(39).focus()
    hidden = []
    for _ in range(39):
        await page.keyboard.press("Shift+Tab")
        hidden += await page.evaluate("""() => {
            const element = document.querySelector("tellwire-uploads").shadowRoot.activeElement;
            const below = document.querySelector(".bar").getBoundingClientRect().bottom;
            return element.getBoundingClientRect().top < below ? [element.ariaLabel] : [];
        }""")
    assert hidden == []


async def test_connect_now_keeps_the_focus_through_attempts(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    await page.get_by_role("switch", name="Kill the network").click()
    button = page.get_by_role("button", name="Connect now")
    await button.focus()
    await page.locator("#events", has_text="Try 1 failed").wait_for()
    await page.keyboard.press("Enter")
    await page.locator("#events", has_text="Try 2 failed").wait_for()
    assert await focused(page) == "Connect now"


async def test_forced_colours_hide_no_bar_no_dot_and_no_switch(
    start_site: StartSite, open_browser: OpenBrowser, axe: str
) -> None:
    site = await start_site(pause=Gate())
    page = await signed_in(await open_browser(forced_colors="active"), site)
    await page.get_by_role("button", name="Use the sample files").click()
    await site.tell("ada", create_upload_progress_message("moc-1", "parts.csv", 40, "Row 400"))
    line = page.locator("[part=upload]", has_text="parts.csv")
    paper, fill, dot = await line.locator("[part=fill]").evaluate("""fill => [
        getComputedStyle(fill.parentElement).backgroundColor,
        getComputedStyle(fill).backgroundColor,
        getComputedStyle(document.querySelector("tellwire-status").shadowRoot.querySelector(".dot")).backgroundColor,
    ]""")
    assert paper != fill
    assert paper != dot
    assert await page.locator("#cut").evaluate("each => getComputedStyle(each, '::before').content") == '"○ "'
    await page.get_by_role("switch", name="Kill the network").click()
    assert await page.locator("#cut").evaluate("each => getComputedStyle(each, '::before').content") == '"● "'
    assert await violations(page, axe) == []


MOVING = """() => {
    const inside = each => each.shadowRoot ? [each, ...all(each.shadowRoot)] : [each];
    const all = root => [...root.querySelectorAll("*")].flatMap(inside);
    return all(document).filter(element => {
        const { animationName, transitionDuration } = getComputedStyle(element);
        // What is in no slot has no style.
        return !["none", ""].includes(animationName) || !["0s", ""].includes(transitionDuration);
    }).map(element => element.part.value);
}"""


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


LISTEN = """
    window.heard = [];
    for (const { shadowRoot } of document.querySelectorAll("tellwire-status, tellwire-uploads")) {
      const before = [];
      new MutationObserver(() => {
        for (const [at, { textContent }] of shadowRoot.querySelectorAll("[role=status]").entries()) {
          if (textContent && textContent !== before[at]) heard.push(textContent);
          before[at] = textContent;
        }
      }).observe(shadowRoot, { characterData: true, childList: true, subtree: true });
    }
"""


async def test_a_screen_reader_hears_of_the_connection_and_now_and_then_of_progress(
    start_site: StartSite, window: BrowserContext
) -> None:
    # Enough for the parts list, and half of the images.
    gate = Gate(batches=2)
    site = await start_site(pause=gate)
    page = await signed_in(window, site)
    await page.evaluate(LISTEN)
    await page.get_by_role("button", name="Use the sample files").click()
    await is_complete(page, 1)
    await page.get_by_role("switch", name="Kill the network").click()
    await page.locator("#events", has_text="Try 1 failed").wait_for()
    await page.get_by_role("switch", name="Kill the network").click()
    await is_live(page)
    gate.open()
    await is_complete(page, 2)
    await site.tell("ada", failed("parts.csv"))
    await page.locator("[part=upload][data-status=failed]").wait_for()
    heard = await page.evaluate("heard")
    of_connection = [each for each in heard if each.startswith(("Live", "Reconnecting"))]
    assert of_connection[0] == "Reconnecting …"
    assert of_connection[-1] == "Live"
    of_progress = [each for each in heard if "%" in each]
    assert 1 <= len(of_progress) <= 4
    assert "uploads, " in of_progress[0]
    assert heard[-1] == "parts.csv: Failed"


def failed(name: str) -> UploadProgressMessage:
    begun = create_upload_progress_message(name, name, 0, "Failed after 0 rows")
    return UploadProgressMessage(msgspec.structs.replace(begun.data, status="failed"))


async def test_toasts_are_a_live_region_and_go_unless_they_are_pointed_at_or_errors(
    site: Site, window: BrowserContext
) -> None:
    page = await window.new_page()
    await page.clock.install()
    page = await signed_in(window, site, page=page)
    await site.tell("ada", hello("First"))
    await site.tell("ada", create_notification_message("Bad", "from here", "error"))
    await is_shown(page, "Bad")
    assert await page.locator("[aria-live=polite] [part=toast]").count() == 2
    await page.locator("[part=toast]", has_text="First").hover()
    await page.clock.run_for(30_000)
    assert await page.locator("[part=toast]").count() == 2
    await page.mouse.move(0, 0)
    await page.clock.run_for(30_000)
    await page.locator("[part=toast]", has_text="First").wait_for(state="detached")
    assert await page.locator("[part=toast]", has_text="Bad").count() == 1
    await page.get_by_role("button", name="Close Bad").click()
    await page.locator("[part=toast]").wait_for(state="detached")
