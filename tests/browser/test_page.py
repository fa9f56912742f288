"""The page, as people use it."""

import asyncio
import csv
import os
import signal
import sys
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from examples.parts_upload.make_samples import Samples
from tellwire import create_upload_progress_message, track_upload
from tellwire.publication import user_stream
from tests.browser.conftest import (
    PHONE,
    SECONDS,
    OpenBrowser,
    Site,
    StartSite,
    focused,
    hello,
    is_complete,
    is_live,
    is_shown,
    processes_of,
    signed_in,
)
from tests.gate import Gate

pytestmark = pytest.mark.asyncio(loop_scope="session")

PARTS = "Part;Qty\n3001;4\n;5\n3002;x\n3003;y\n"


async def texts(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in await page.locator(selector).all_text_contents()]


# --- uploads ----------------------------------------------------------------------------------------------------------


async def test_the_samples_go_to_100_with_toasts_row_errors_by_cause_and_thumbnails(
    site: Site, window: BrowserContext, samples: Samples
) -> None:
    page = await signed_in(window, site)
    await page.get_by_role("button", name="Use the sample files").click()
    bar = page.get_by_role("progressbar", name="parts-list-1000.csv")
    await bar.wait_for()
    await is_complete(page, 2)
    assert await bar.get_attribute("aria-valuenow") == "100"
    assert sorted(await texts(page, ".percent")) == ["100%", "100%"]
    await is_shown(page, "parts-list-1000.csv: 990 parts imported, 10 rows left out")
    await is_shown(page, "6 images: 5 thumbnails made, 1 image left out")
    await page.get_by_text("10 of 1,000 rows were left out").click()
    causes = await texts(page, "[part=left-out][open] li")
    # Five of them, and four cells with other quantities.
    assert len(causes) == 8
    assert any(cause.startswith("2") and "it has no part number" in cause and "rows" in cause for cause in causes)
    await page.get_by_role("img", name=samples.images[0].name).wait_for()
    await page.locator(".thumbnails img").nth(4).wait_for()


async def test_all_rows_that_were_left_out_can_be_downloaded(
    site: Site, window: BrowserContext, tmp_path: Path
) -> None:
    page = await signed_in(window, site)
    (tmp_path / "mine.csv").write_text(PARTS)
    await page.get_by_label("Choose files").set_input_files(tmp_path / "mine.csv")
    await page.get_by_text("3 of 4 rows were left out").click()
    button = page.get_by_role("button", name="Download the rows left out")
    async with page.expect_download() as started:
        await button.click()
    download = await started.value
    assert download.suggested_filename == "mine-left-out.csv"
    await download.save_as(tmp_path / "left-out.csv")
    with (tmp_path / "left-out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["3", "4", "5"]
    await page.get_by_role("switch", name="Kill the network").click()
    await button.click()
    await page.get_by_text("The list cannot be downloaded: there is no network.").wait_for()


async def test_rows_that_are_left_out_are_counted_while_a_job_runs(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    async with track_upload("ada", "u1", "f.csv", 100, broadcaster=site.app.node.broadcaster) as upload:
        upload.update(rows=50)
        upload.row_error(7, "BAD", "it is bad")
        await page.get_by_text("1 of 50 rows was left out").click()
        assert (await texts(page, "[part=left-out] li"))[0] == "1 it is bad (row 7)"
        assert await page.get_by_role("button", name="Download").count() == 0
        upload.row_error(9, "BAD", "it is bad")
        await page.get_by_text("2 of 50 rows were left out").wait_for()
    await page.get_by_role("button", name="Download the rows left out").wait_for()


async def test_files_that_are_chosen_are_uploaded_and_what_is_neither_is_said(
    site: Site, window: BrowserContext, tmp_path: Path
) -> None:
    page = await signed_in(window, site)
    (tmp_path / "mine.csv").write_text(PARTS)
    (tmp_path / "letter.csv").write_text("Dear Ada\n")
    (tmp_path / "song.mp3").write_bytes(b"la")
    files = [tmp_path / name for name in ("mine.csv", "letter.csv", "song.mp3")]
    await page.get_by_label("Choose files").set_input_files(files)
    await page.get_by_role("alert").get_by_text("song.mp3 is neither a parts list nor an image.").wait_for()
    mine = page.locator("[part=upload]", has_text="mine.csv")
    await mine.get_by_text("Complete", exact=True).wait_for()
    await mine.get_by_text("3 of 4 rows were left out").wait_for()
    letter = page.locator("[part=upload]", has_text="letter.csv")
    await letter.get_by_text("Failed", exact=True).wait_for()
    await letter.get_by_text("No row names the columns").wait_for()


async def test_files_can_be_dropped(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    files = await page.evaluate_handle(
        "text => { const all = new DataTransfer(); all.items.add(new File([text], 'dropped.csv')); return all }", PARTS
    )
    await page.dispatch_event(".zone", "drop", {"dataTransfer": files})
    await is_complete(page)
    assert await texts(page, "[part=name]") == ["dropped.csv"]


async def test_files_beyond_the_limits_are_said_before_they_are_sent(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/tus" in request.url else None)
    files = await page.evaluate_handle(
        """() => {
            const all = new DataTransfer();
            all.items.add(new File([new Uint8Array(65 * 1024 * 1024)], "big.csv"));
            for (let n = 0; n < 201; n += 1) all.items.add(new File(["x"], `IMG_${n}.HEIC`));
            return all;
        }"""
    )
    await page.dispatch_event(".zone", "drop", {"dataTransfer": files})
    alert = page.get_by_role("alert")
    await alert.get_by_text("big.csv is too big: it has 65 MB, and 64 MB are allowed.").wait_for()
    await alert.get_by_text("201 images are too many: 200 at once are allowed.").wait_for()
    assert sent == []


async def test_notifications_are_counted_listed_read_and_dismissed(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    for title in ("One", "Two"):
        await site.tell("ada", hello(title))
    bell = page.get_by_role("button", name="Notifications, 2 unread")
    await bell.click()
    assert await texts(page, "[part=notification] b") == ["Two", "One"]
    # What is in the list is not also in the corner.
    await page.locator("[part=toast]").first.wait_for(state="detached")
    await page.get_by_role("button", name="Remove Two").click()
    assert await texts(page, "[part=notification] b") == ["One"]
    assert "One" in await focused(page)
    await page.get_by_role("button", name="Mark all as read").click()
    await page.keyboard.press("Escape")
    bell = page.get_by_role("button", name="Notifications", exact=True)
    assert await bell.get_attribute("aria-expanded") == "false"
    assert await bell.evaluate("button => button === button.getRootNode().activeElement")


# --- other tabs and devices -------------------------------------------------------------------------------------------


async def test_a_phone_sees_the_same(site: Site, window: BrowserContext, open_browser: OpenBrowser) -> None:
    page = await signed_in(window, site)
    phone = await signed_in(await open_browser(viewport=PHONE), site)
    assert len(await site.until_connected("ada", 2)) == 2
    await page.get_by_role("button", name="Use the sample files").click()
    for each in (page, phone):
        await is_complete(each, 2)
        await is_shown(each, "6 images")
    assert await texts(page, "[part=message]") == await texts(phone, "[part=message]")


async def test_what_is_read_on_one_device_is_read_on_the_other(
    site: Site, window: BrowserContext, open_browser: OpenBrowser
) -> None:
    page = await signed_in(window, site)
    phone = await signed_in(await open_browser(viewport=PHONE), site)
    for title in ("One", "Two"):
        await site.tell("ada", hello(title))
    await page.get_by_role("button", name="Notifications, 2 unread").wait_for()
    await phone.get_by_role("button", name="Notifications, 2 unread").click()
    await page.locator("[part=toast]").first.wait_for(state="detached")
    await phone.get_by_role("button", name="Mark all as read").click()
    await page.get_by_role("button", name="Notifications", exact=True).wait_for()
    await phone.keyboard.press("Escape")
    await site.tell("ada", hello("Three"))
    for each in (page, phone):
        await each.get_by_role("button", name="Notifications, 1 unread").wait_for()
    await page.reload()
    await page.get_by_role("button", name="Notifications, 1 unread").click()
    assert await texts(page, "[part=notification] b") == ["Three", "Two", "One"]


async def test_an_upload_is_cancelled_on_one_device_and_that_is_seen_on_the_other(
    start_site: StartSite, window: BrowserContext, open_browser: OpenBrowser
) -> None:
    gate = Gate()
    site = await start_site(pause=gate)
    page = await signed_in(window, site)
    phone = await signed_in(await open_browser(viewport=PHONE), site)
    await page.get_by_role("button", name="Use the sample files").click()
    await phone.get_by_role("progressbar", name="6 images").wait_for()
    for each, name in ((page, "parts-list-1000.csv"), (phone, "6 images")):
        button = each.get_by_role("button", name=f"Cancel {name}")
        await button.focus()
        await each.keyboard.press("Enter")
        await button.wait_for(state="detached")
        assert await focused(each) == name
    gate.open()
    for each in (page, phone):
        await each.locator("[part=upload][data-status=cancelled]").nth(1).wait_for()
        assert await texts(each, "[part=status]") == ["Cancelled", "Cancelled"]
        # How far they came the workers say, who have stopped.
        await each.get_by_text("Nothing of it was kept.").nth(1).wait_for()
        assert await each.locator("[part=toast]").count() == 0
    assert [m for m in await site.kept("ada") if m["type"] == "error"] == []


async def test_an_upload_cannot_be_cancelled_while_there_is_no_connection(
    start_site: StartSite, window: BrowserContext
) -> None:
    site = await start_site(pause=Gate())
    page = await signed_in(window, site)
    await page.get_by_role("button", name="Use the sample files").click()
    button = page.get_by_role("button", name="Cancel 6 images")
    assert await button.is_enabled()
    await page.get_by_role("switch", name="Kill the network").click()
    await page.locator("[part=cancel]:disabled").nth(1).wait_for()
    await page.get_by_role("switch", name="Kill the network").click()
    await button.click()
    await page.locator("[part=upload][data-status=cancelled]").wait_for()


WORKER = """
import asyncio
from tellwire import track_upload

async def main():
    async with track_upload("ada", "moc-1", "parts.csv", 100, lease_seconds=6) as upload:
        upload.update(rows=40)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_an_upload_whose_worker_was_killed_has_stalled_and_then_failed(
    site: Site, window: BrowserContext
) -> None:
    page = await signed_in(window, site)
    environ = {**os.environ, "TELLWIRE_URL": site.url}
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, env=environ)
    try:
        await page.locator("[part=message]", has_text="Row 40 of 100").wait_for()
    finally:
        worker.kill()
        await worker.wait()
    await page.locator("[part=upload][data-status=stalled]").wait_for()
    assert await texts(page, "[part=status]") == ["Stalled"]
    assert await texts(page, "[part=message]") == [
        "No word from its worker for 6 seconds. If it stays silent for another 6 sec, it has failed."
    ]
    assert await page.get_by_role("button", name="Cancel parts.csv").is_enabled()
    await page.locator("[part=upload][data-status=failed]").wait_for()
    await page.locator("[part=message]", has_text="parts.csv was lost: its worker fell silent").wait_for()
    await is_shown(page, "parts.csv was lost")
    assert await page.get_by_role("button", name="Cancel parts.csv").count() == 0


async def test_tabs_share_one_socket_and_hand_it_over(site: Site, window: BrowserContext) -> None:
    first = await signed_in(window, site)
    [leader] = await site.until_connected("ada")
    second = await signed_in(window, site)
    assert await site.connections("ada") == [leader]
    assert await site.tell("ada", hello()) == 1
    for page in (first, second):
        await is_shown(page, "Hello")
    await first.close()
    async with asyncio.timeout(45):
        while await site.connections("ada") in ([leader], []):
            await asyncio.sleep(0.02)
    assert await site.tell("ada", hello("Again")) == 1
    await is_shown(second, "Again")


async def test_a_tab_that_is_opened_late_shows_what_there_was(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    await page.get_by_role("button", name="Use the sample files").click()
    await is_complete(page, 2)
    await is_shown(page, "6 images")
    late = await signed_in(window, site)
    await is_complete(late, 2)
    assert sorted(await texts(late, "[part=name]")) == ["6 images", "parts-list-1000.csv"]
    await late.get_by_role("button", name="Notifications, 2 unread").wait_for()
    assert await late.locator("[part=toast]").count() == 0


async def test_signing_out_is_for_all_tabs_of_the_browser(site: Site, window: BrowserContext) -> None:
    first, second = await signed_in(window, site), await signed_in(window, site)
    await first.get_by_role("button", name="Sign out").click()
    await second.get_by_role("button", name="Sign in").wait_for()
    assert {await each.title() for each in (first, second)} == {"Partsbook"}
    assert await site.until_connected("ada", 0) == []


# --- the connection ---------------------------------------------------------------------------------------------------


async def test_the_network_is_killed_for_all_tabs_and_what_was_missed_is_caught_up(
    start_site: StartSite, window: BrowserContext
) -> None:
    gate = Gate()
    site = await start_site(pause=gate)
    page, other = await signed_in(window, site), await signed_in(window, site)
    await page.get_by_role("button", name="Use the sample files").click()
    await page.get_by_role("progressbar", name="6 images").wait_for()
    await other.get_by_role("switch", name="Kill the network").click()
    await page.get_by_text("Not connected. The bars show how far the uploads were").wait_for()
    await site.until_connected("ada", 0)
    await page.locator("#events", has_text="Try 1 failed").wait_for()
    # The workers go on meanwhile, and nobody hears of their end.
    gate.open()
    async with asyncio.timeout(SECONDS):
        while len(await site.kept("ada")) < 4:
            await asyncio.sleep(0.02)
    assert await page.locator("[part=upload][data-status=complete]").count() < 2
    await page.get_by_role("switch", name="Kill the network").click()
    for each in (page, other):
        await is_complete(each, 2)
        await each.get_by_text("1 of 6 images was left out").wait_for()
    await page.locator("#events", has_text="Back after").wait_for()
    assert len(await site.connections("ada")) == 1
    for each in (page, other):
        assert await each.locator("[part=missing]").is_hidden()
        await each.get_by_role("button", name="Notifications").click()
        assert await texts(each, "[part=notification] b") == ["Upload complete", "Upload complete"]


async def test_a_page_that_is_loaded_anew_has_its_bars_notifications_and_errors_again(
    start_site: StartSite, window: BrowserContext
) -> None:
    # Enough for the parts list, and half of the images.
    gate = Gate(batches=2)
    site = await start_site(pause=gate)
    page = await signed_in(window, site)
    await page.get_by_role("button", name="Use the sample files").click()
    await is_shown(page, "parts-list-1000.csv")
    names = await texts(page, "[part=name]")
    await page.reload()
    await page.locator("[part=upload][data-status=running]", has_text="6 images").wait_for()
    assert await texts(page, "[part=name]") == names
    await page.get_by_text("10 of 1,000 rows were left out").wait_for()
    await page.get_by_role("button", name="Notifications, 1 unread").wait_for()
    # What was there before the page is no news.
    assert await page.locator("[part=toast]").count() == 0
    assert await page.locator("[part=missing]").is_hidden()
    gate.open()
    await is_complete(page, 2)
    await is_shown(page, "6 images")
    assert await page.locator("[part=toast]").count() == 1


async def test_that_something_may_be_missing_is_said_until_nothing_is(
    site: Site, window: BrowserContext, open_browser: OpenBrowser
) -> None:
    page = await signed_in(window, site)
    await site.stop()
    await page.locator("#events", has_text="Try 1 failed").wait_for()
    # It keeps what it says in memory, so all of that is gone.
    await site.start()
    await page.locator("[part=missing]", has_text="Some messages may be missing").wait_for()
    fresh = await signed_in(await open_browser(), site)
    await fresh.get_by_text("Nothing here yet").wait_for()
    assert await fresh.locator("[part=missing]").is_hidden()
    await page.get_by_role("switch", name="Kill the network").click()
    await page.locator("[part=pill]", has_text="Live").wait_for(state="detached")
    await page.get_by_role("switch", name="Kill the network").click()
    await is_live(page)
    await page.locator("[part=missing]").wait_for(state="hidden")


async def test_an_upload_that_a_new_gateway_does_not_know_is_not_shown_as_running(
    site: Site, window: BrowserContext
) -> None:
    page = await signed_in(window, site)
    await site.tell("ada", create_upload_progress_message("moc-1", "parts.csv", 40, "Row 400"))
    await page.locator("[part=upload][data-status=running]").wait_for()
    await site.stop()
    await page.locator("[part=pill]", has_text="Live").wait_for(state="detached")
    await site.start()
    await is_live(page)
    await page.get_by_text("Nothing here yet").wait_for()


async def test_an_upload_that_cannot_be_cancelled_says_why(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    await site.tell("ada", create_upload_progress_message("moc-1", "parts.csv", 40, "Row 400"))
    button = page.get_by_role("button", name="Cancel parts.csv")
    await button.wait_for()
    history = site.app.node.engine.history
    assert history is not None
    await history.forget(user_stream("ada"))
    await button.click()
    await page.get_by_role("alert").get_by_text("the server does not know it any more").wait_for()


async def test_the_page_comes_back_when_the_gateway_restarts(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    await site.stop()
    await page.locator("[part=pill]", has_text="Live").wait_for(state="detached")
    await page.locator("#events", has_text="Try 1 failed").wait_for()
    await site.start()
    await is_live(page)
    await site.tell("ada", hello())
    await is_shown(page, "Hello")


async def test_a_token_is_renewed_before_it_expires_on_the_same_connection(
    start_site: StartSite, window: BrowserContext
) -> None:
    # It is renewed at half of its time.
    site = await start_site(token_seconds=8)
    page = await signed_in(window, site)
    [before] = await site.app.node.hub.connections("ada")
    async with asyncio.timeout(SECONDS):
        while (after := (await site.app.node.hub.connections("ada"))[0]).expires_at == before.expires_at:
            await asyncio.sleep(0.02)
    assert after.connection_id == before.connection_id
    await site.tell("ada", hello())
    await is_shown(page, "Hello")


async def test_a_page_that_was_frozen_past_its_token_comes_back_with_a_new_one(
    start_site: StartSite, window: BrowserContext
) -> None:
    site = await start_site(token_seconds=2)
    page = await signed_in(window, site)
    [before] = await site.until_connected("ada")
    await page.evaluate("window.isTheSame = true")
    await page.goto(f"{site.url}/openapi.json")
    await site.until_connected("ada", 0)
    await asyncio.sleep(2.5)
    await page.evaluate("history.back()")
    [after] = await site.until_connected("ada")
    assert after != before
    await is_live(page)
    assert await page.evaluate("window.isTheSame")
    await site.tell("ada", hello())
    await is_shown(page, "Hello")


async def test_a_device_that_slept_past_its_token_comes_back_with_a_new_one(
    start_site: StartSite, chromium: Browser, window: BrowserContext
) -> None:
    site = await start_site(token_seconds=2)
    page = await signed_in(window, site)
    [before] = await site.until_connected("ada")
    processes = await processes_of(chromium)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        async with asyncio.timeout(SECONDS):
            while site.app.node.hub.get(before) is not None:
                await asyncio.sleep(0.02)
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
    async with asyncio.timeout(SECONDS):
        while await site.connections("ada") in ([before], []):
            await asyncio.sleep(0.02)
    await is_live(page)
    await site.tell("ada", hello())
    await is_shown(page, "Hello")


async def test_progress_of_anybody_who_publishes_is_shown(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    for progress in (0, 40, 100):
        words = f"At {progress}"
        await site.tell("ada", create_upload_progress_message("moc-1", "guide.csv", progress, words))
        await page.locator("[part=message]", has_text=words).wait_for()
    assert await texts(page, "[part=status]") == ["Complete"]
    assert await page.title() == "Partsbook"


async def test_a_page_that_reloads_is_still_signed_in(site: Site, window: BrowserContext) -> None:
    page = await signed_in(window, site)
    await page.reload()
    await is_live(page)
    assert len(await site.until_connected("ada")) == 1
