"""10,000 messages, and the page stays smooth. The times are printed (`pytest -s`) and are in the example's README.

Nothing is asserted of times but that nobody would call the page stuck: where a machine does other things, too, any
frame may be late.
"""

import asyncio
from typing import Any

import pytest
from playwright.async_api import BrowserContext, CDPSession

from tellwire import create_upload_progress_message
from tests.browser.conftest import Site, is_complete, signed_in

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long]

MESSAGES = 10_000
UPLOADS = 10
PER_TURN = 10
TURN_SECONDS = 0.01
FRAME_MS = 1000 / 60
STUCK_MS = 10_000

WATCH = """
    window.frames = [];
    window.longTasks = [];
    new PerformanceObserver(list => longTasks.push(...list.getEntries().map(each => each.duration)))
      .observe({ type: "longtask" });
    let before;
    requestAnimationFrame(function frame(now) {
      if (before !== undefined) frames.push(now - before);
      before = now;
      window.watching = requestAnimationFrame(frame);
    });
"""


async def busy_seconds(devtools: CDPSession) -> float:
    """Return the time that the page's main thread has worked since the metrics were enabled."""
    answer = await devtools.send("Performance.getMetrics")
    return float(next(each["value"] for each in answer["metrics"] if each["name"] == "TaskDuration"))


async def send_everything(site: Site) -> float:
    """Send the messages, as fast as a page with a main thread may be told; return how many seconds it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(MESSAGES):
        row = number // UPLOADS + 1
        progress = 100 * row * UPLOADS / MESSAGES
        name = f"list-{number % UPLOADS}.csv"
        message = create_upload_progress_message(name, name, progress, f"Row {row:,}", row, MESSAGES // UPLOADS)
        assert await site.tell("ada", message) == 1
        if not number % PER_TURN:
            await asyncio.sleep(TURN_SECONDS)
    return loop.time() - began


def figures(frames: list[float], long_tasks: list[float], busy: float, seconds: float) -> dict[str, Any]:
    return {
        "messages": MESSAGES,
        "per second": round(MESSAGES / seconds),
        "frames": len(frames),
        "dropped frames": sum(round(each / FRAME_MS) - 1 for each in frames if each > 1.5 * FRAME_MS),
        "longest frame ms": round(max(frames), 1),
        "tasks over 50 ms": len(long_tasks),
        "main thread busy %": round(100 * busy / seconds, 1),
        "main thread µs a message": round(1e6 * busy / MESSAGES),
    }


async def test_10_000_messages_leave_the_page_smooth(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    await page.evaluate(WATCH)
    devtools = await window.new_cdp_session(page)
    await devtools.send("Performance.enable")
    before = await busy_seconds(devtools)
    seconds = await send_everything(site)
    await is_complete(page, UPLOADS)
    busy = await busy_seconds(devtools) - before
    frames, long_tasks = await page.evaluate("cancelAnimationFrame(watching), [frames, longTasks]")
    found = figures(frames, long_tasks, busy, seconds)
    print("", *(f"{name}: {value:,}" for name, value in found.items()), sep="\n")  # noqa: T201
    # Nothing was lost on the way, and nothing took longer than what people call stuck.
    assert await page.locator("[part=message]", has_text=f"Row {MESSAGES // UPLOADS:,}").count() == UPLOADS
    assert len(await site.connections("ada")) == 1
    assert max(frames) < STUCK_MS
