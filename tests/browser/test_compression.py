"""Compression in a real browser, which offers it by itself."""

import json
from typing import Any

import pytest
from playwright.async_api import BrowserContext

from tellwire import create_message
from tellwire.auth import mint_token
from tellwire.config import Settings
from tellwire.gateway import Node
from tests.conftest import SECRET
from tests.tools import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = "Prüfung ohne Befund. " * 2000
OPEN = """
(url) => new Promise((resolve, reject) => {
  globalThis.heard = [];
  globalThis.socket = new WebSocket(url);
  socket.onmessage = (event) => heard.push(JSON.parse(event.data));
  socket.onopen = () => resolve(socket.extensions);
  socket.onerror = reject;
})
"""


@pytest.mark.parametrize("compression", [True, False])
async def test_a_browser_is_answered_and_understands_both_directions(window: BrowserContext, compression: bool) -> None:
    settings = Settings(port=0, engine="memory", jwt_secret=SECRET, drain_seconds=1, compression=compression)
    node = Node(settings)
    heard: list[Any] = []

    @node.on_message("measure")
    async def measure(data: Any, sender: Any) -> None:
        heard.append(data)

    async with node.running():
        page = await window.new_page()
        url = f"ws://{node.authority}/?token={mint_token(SECRET, 'ada')}"
        extensions = await page.evaluate(OPEN, url)
        assert ("permessage-deflate" in extensions) is compression
        for number in range(3):
            await node.broadcaster.broadcast_to_user("ada", create_message("note", {"number": number, "text": TEXT}))
        await page.wait_for_function("heard.length === 3")
        assert await page.evaluate("heard.map((each) => each.data.number)") == [0, 1, 2]
        assert await page.evaluate("heard[2].data.text") == TEXT
        request = json.dumps({"type": "measure", "id": "1", "data": {"text": TEXT[:20_000]}})
        await page.evaluate("(text) => socket.send(text)", request)
        await until(lambda: heard)
        assert heard == [{"text": TEXT[:20_000]}]
        await page.evaluate("socket.close()")
        await page.close()
