"""Files on their way from the page to the server: many at once, slow ones, lost connections, reloads and restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Dialog, JSHandle, Page, Request, Route

from tests.browser.conftest import SECONDS, Site, StartSite, is_complete, signed_in
from tests.gate import Gate

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
FAST = SLOW | {"uploadThroughput": -1}
ROWS = 300


def big_list(folder: Path, name: str = "big.csv") -> Path:
    """A list of 3 MB: it takes 8 seconds to send when the network is slow."""
    path = folder / name
    path.write_text("Part;Qty;Name\n" + "".join(f"{3000 + row};1;{'x' * 10_000}\n" for row in range(ROWS)))
    return path


@asynccontextmanager
async def slow_network(window: BrowserContext, page: Page) -> AsyncIterator[None]:
    devtools = await window.new_cdp_session(page)
    await devtools.send("Network.enable")
    await devtools.send("Network.emulateNetworkConditions", SLOW)
    yield
    if not page.is_closed():
        await devtools.send("Network.emulateNetworkConditions", FAST)


def offsets_of(page: Page) -> list[int]:
    """A list that gets the offsets from which the page sends."""
    offsets: list[int] = []

    def note(request: Request) -> None:
        if request.method == "PATCH":
            offsets.append(int(request.headers["upload-offset"]))

    page.on("request", note)
    return offsets


async def is_half_sent(page: Page) -> None:
    """Wait until a quarter or more of a file has been sent, by the line's own words."""
    await page.wait_for_function(
        """() => {
            const line = document.querySelector("tellwire-uploads").shadowRoot.querySelector("[data-status=sending]");
            return line && line.querySelector("[role=progressbar]").ariaValueNow >= 25;
        }"""
    )


async def names(page: Page, lines: str) -> list[str]:
    return await page.locator(lines).locator("[part=name]").all_text_contents()


async def dropped(page: Page, count: int) -> JSHandle:
    return await page.evaluate_handle(
        """count => {
            const all = new DataTransfer();
            for (let n = 0; n < count; n += 1) all.items.add(new File(["Part;Qty\\n3001;4\\n"], `list-${n}.csv`));
            return all;
        }""",
        count,
    )


async def test_a_file_says_how_far_it_is_how_fast_and_how_long(
    site: Site, window: BrowserContext, tmp_path: Path
) -> None:
    page = await signed_in(window, site)
    async with slow_network(window, page):
        await page.get_by_label("Choose files").set_input_files(big_list(tmp_path))
        await page.locator("[part=message]", has_text="MB/s, ").wait_for()
        line = page.locator("[part=upload][data-status=sending]")
        assert "Sending" in await line.inner_text()
        assert " of 2.9 MB, " in await line.inner_text()
        await page.get_by_role("button", name="Cancel big.csv").click()
        await page.get_by_text("Nothing here yet").wait_for()
    async with asyncio.timeout(SECONDS):
        while any(site.app.uploads.folder("ada", "x").path.parent.rglob("*.part")):
            await asyncio.sleep(0.02)


async def test_a_page_that_is_loaded_anew_goes_on_where_it_was_after_a_question(
    site: Site, window: BrowserContext, tmp_path: Path
) -> None:
    page = await signed_in(window, site)
    asked: list[str] = []

    async def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.accept()

    page.on("dialog", answer)
    offsets = offsets_of(page)
    async with slow_network(window, page):
        await page.get_by_label("Choose files").set_input_files(big_list(tmp_path))
        await is_half_sent(page)
        await page.reload()
        await page.locator("[part=upload][data-status=sending]").wait_for()
    await is_complete(page)
    assert await page.locator("[part=message]").all_text_contents() == [
        f"{ROWS} parts imported. Read as UTF-8, separated by ;"
    ]
    assert asked == ["beforeunload"]
    assert len(offsets) == 2
    assert offsets[0] == 0 < offsets[1]
    await page.reload()
    assert asked == ["beforeunload"]


async def test_a_lost_network_and_a_restart_cost_nothing_that_has_arrived(
    site: Site, window: BrowserContext, tmp_path: Path
) -> None:
    page = await signed_in(window, site)
    offsets = offsets_of(page)
    async with slow_network(window, page):
        await page.get_by_label("Choose files").set_input_files(big_list(tmp_path))
        await is_half_sent(page)
        await page.get_by_role("switch", name="Kill the network").click()
        await page.locator("[part=message]", has_text="Waiting for the server").wait_for()
        await page.get_by_role("switch", name="Kill the network").click()
        await page.locator("[part=message]", has_text=" of 2.9 MB").wait_for()
        await site.stop()
        await page.locator("[part=message]", has_text="Waiting for the server").wait_for()
        await site.start()
    await is_complete(page)
    assert offsets == sorted(offsets)
    assert offsets[0] == 0 < offsets[1]


async def test_another_tab_goes_on_when_the_one_that_sends_is_closed(
    site: Site, window: BrowserContext, tmp_path: Path
) -> None:
    page = await signed_in(window, site)
    other = await signed_in(window, site)
    async with slow_network(window, page):
        await page.get_by_label("Choose files").set_input_files(big_list(tmp_path))
        await is_half_sent(page)
        await other.reload()
        await page.close()
        await is_complete(other)


async def test_thirty_files_are_thirty_lines_at_once_and_none_of_them_goes(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    await page.get_by_label("Slow motion").uncheck()
    await page.evaluate("""
        window.counts = [];
        const { shadowRoot } = document.querySelector("tellwire-uploads");
        new MutationObserver(() => counts.push(shadowRoot.querySelectorAll("[part=upload]").length))
          .observe(shadowRoot, { childList: true, subtree: true });
    """)
    files = await dropped(page, 30)
    await page.dispatch_event("h1", "dragover", {"dataTransfer": files})
    await page.get_by_text("Drop 30 files to upload").wait_for()
    # Anywhere: the browser would open it otherwise.
    await page.dispatch_event("h1", "drop", {"dataTransfer": files})
    await page.locator("[part=summary]", has_text="30 of 30 uploads").wait_for()
    assert set(await page.evaluate("counts")) == {30}
    assert await page.get_by_text("Drop 30 files to upload").is_hidden()
    await page.get_by_role("button", name="Clear finished").click()
    await page.get_by_text("Nothing here yet").wait_for()


async def test_two_of_a_users_files_run_at_once_and_the_others_are_shown_as_waiting(
    start_site: StartSite, window: BrowserContext
) -> None:
    site = await start_site(pause=Gate())
    page = await signed_in(window, site)
    await page.dispatch_event("main", "drop", {"dataTransfer": await dropped(page, 7)})
    running, waiting = (f"[part=upload][data-status={status}]" for status in ("running", "queued"))
    await page.locator(running).nth(1).wait_for()
    await page.locator(waiting).nth(4).wait_for()
    shown = [await names(page, lines) for lines in (running, waiting)]
    assert [len(each) for each in shown] == [2, 5]
    assert {*shown[0], *shown[1]} == {f"list-{number}.csv" for number in range(7)}
    await page.locator("[part=summary]", has_text="0 of 7 uploads").wait_for()


async def test_one_that_was_refused_can_be_tried_again(site: Site, window: BrowserContext, tmp_path: Path) -> None:
    page = await signed_in(window, site)

    async def refuse(route: Route) -> None:
        await route.fulfill(status=413, json={"code": "FILE_TOO_BIG", "message": "The file is too big"})

    await page.route("**/tus", refuse, times=1)
    (tmp_path / "mine.csv").write_text("Part;Qty\n3001;4\n")
    await page.get_by_label("Choose files").set_input_files(tmp_path / "mine.csv")
    await page.locator("[part=upload][data-status=unsent]", has_text="The file is too big").wait_for()
    await page.get_by_role("button", name="Try again").click()
    await is_complete(page)


async def test_without_a_connection_a_file_is_not_taken_and_that_can_be_closed(
    site: Site, window: BrowserContext, tmp_path: Path
) -> None:
    page = await signed_in(window, site)
    (tmp_path / "mine.csv").write_text("Part;Qty\n3001;4\n")
    await page.get_by_role("switch", name="Kill the network").click()
    await page.get_by_label("Choose files").set_input_files(tmp_path / "mine.csv")
    await page.get_by_text("mine.csv cannot be sent: there is no connection.").wait_for()
    assert await page.locator("[part=upload]").count() == 0
    await page.get_by_role("button", name="Close: mine.csv").click()
    assert await page.locator("#trouble").inner_text() == ""


async def test_the_parts_are_a_table_of_which_those_that_are_seen_are_on_the_page(
    site: Site, window: BrowserContext, tmp_path: Path
) -> None:
    page = await signed_in(window, site)
    await page.get_by_label("Slow motion").uncheck()
    rows = "".join(f"{number};1;Brick {number}\n" for number in range(1, 5001))
    (tmp_path / "mine.csv").write_text(f"Part;Qty;Name\n{rows}")
    await page.get_by_label("Choose files").set_input_files(tmp_path / "mine.csv")
    await is_complete(page)
    await page.get_by_text("Show the parts").click()
    await page.get_by_text("5,000 parts", exact=True).wait_for()
    await page.get_by_role("cell", name="Brick 1", exact=True).wait_for()
    await page.get_by_role("region", name="Parts of mine.csv").focus()
    await page.keyboard.press("End")
    await page.get_by_role("cell", name="Brick 5000").wait_for()
    assert await page.get_by_role("row").count() < 60
    assert await page.get_by_role("table").get_attribute("aria-rowcount") == "5001"
