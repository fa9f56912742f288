"""`examples/comments`: two people at one page see each other, and each other's comments, also after a reload."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from examples.comments.serve import CLIENT, RULES, make_node
from tellwire.config import Settings
from tests.browser.conftest import SECONDS
from tests.conftest import SECRET
from tests.tools import missing

pytestmark = pytest.mark.asyncio(loop_scope="session")


def settings(tmp_path: Path) -> Settings:
    return Settings(port=0, dev=True, jwt_secret=SECRET, database=str(tmp_path / "comments.sqlite3"), topics=RULES)


@pytest_asyncio.fixture(loop_scope="session")
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """The page's address, beside its gateway."""
    if not (CLIENT / "index.js").is_file():
        missing("the client is not built (make test does, with npm)")
    async with make_node(settings(tmp_path)).running() as url:
        yield url


async def person(chromium: Browser, address: str, name: str) -> Page:
    """Return the page of somebody who has signed in."""
    context = await chromium.new_context()
    context.set_default_timeout(SECONDS * 1000)
    page = await context.new_page()
    await page.goto(address)
    await page.get_by_label("Your name").fill(name)
    await page.get_by_role("button", name="Sign in").click()
    return page


async def shows(page: Page, selector: str, texts: list[str]) -> None:
    await expect(page.locator(selector)).to_have_text(texts, timeout=SECONDS * 1000)


async def test_two_people_see_each_other_and_their_comments_also_after_a_reload(
    chromium: Browser, address: str
) -> None:
    ada = await person(chromium, address, "Ada")
    await shows(ada, "#members li", ["Ada"])
    bob = await person(chromium, address, "Bob")
    for page in (ada, bob):
        await shows(page, "#members li", ["Ada", "Bob"])
    await ada.get_by_label("Your comment").fill("Nice <b>MOC</b>!")
    await ada.get_by_role("button", name="Send").click()
    for page in (ada, bob):
        await shows(page, "#comments li", ["AdaNice <b>MOC</b>!"])
    await bob.reload()
    await shows(bob, "#comments li", ["AdaNice <b>MOC</b>!"])
    await shows(bob, "#members li", ["Ada", "Bob"])
    await shows(ada, "#members li", ["Ada", "Bob"])
    await bob.close()
    await shows(ada, "#members li", ["Ada"])
    await ada.context.close()
