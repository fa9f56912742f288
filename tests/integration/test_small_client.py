"""The client of docs/how-to/write-a-client.md, as it stands there, with a real gateway."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tellwire import HttpCarrier, create_message, create_state_message
from tests.conftest import API_KEY, Gateway, StartGateway
from tests.tools import until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-client.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names of the page's program."""
    (program,) = re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    return names


def in_log(offset: int, epoch: str = "e") -> dict[str, Any]:
    return {"type": "note", "data": offset, "cursor": f"{epoch}:{offset}"}


def welcome(*messages: dict[str, Any], cursor: str, state: tuple[Any, ...] = (), **fields: Any) -> dict[str, Any]:
    data = {"messages": messages, "state": state, "cursor": cursor, "recovered": True, "last": True} | fields
    return {"type": "welcome", "data": data}


async def test_it_misses_nothing_while_its_connection_is_cut_again_and_again(
    page: dict[str, Any], start_gateway: StartGateway
) -> None:
    gateway: Gateway = await start_gateway()
    broadcaster, operator = gateway.node.broadcaster, HttpCarrier(gateway.url, API_KEY)
    shown: list[dict[str, Any]] = []
    device = page["Device"](shown.append)

    async def get_token() -> str:
        return gateway.token()

    task = asyncio.create_task(page["listen"](gateway.ws_url, get_token, device))
    await until(lambda: device.cursor and device.live is None)
    for number in range(60):
        await broadcaster.broadcast_to_user("user-1", create_message("note", number))
        await broadcaster.broadcast_to_user("user-1", create_state_message("count", "x", number))
        if number % 20 == 10:
            for connection in await gateway.node.presence.connections("user-1"):
                await operator.disconnect(connection.connection_id)
    await until(lambda: [each["data"] for each in shown if each["type"] == "note"][-1:] == [59])
    await until(lambda: [each["data"] for each in shown if each["type"] == "count"][-1:] == [59])
    task.cancel()
    await asyncio.wait([task])
    await operator.close()
    assert [each["data"] for each in shown if each["type"] == "note"] == list(range(60))
    counts = [each["data"] for each in shown if each["type"] == "count"]
    assert counts == sorted(counts)


def test_a_gap_and_a_pong_that_is_ahead_are_asked_for(page: dict[str, Any]) -> None:
    shown: list[dict[str, Any]] = []
    device = page["Device"](shown.append)
    assert device.hello() == {"type": "hello"}
    device.receive(in_log(5))
    device.receive(welcome(cursor="e:4"))
    assert device.receive(in_log(7)) == {"type": "hello", "cursor": "e:5"}
    device.receive(in_log(8))
    device.receive(welcome(in_log(6), in_log(7), cursor="e:7"))
    assert [each["data"] for each in shown] == [5, 6, 7, 8]
    assert device.receive({"type": "pong", "data": {"cursor": "e:8"}}) is None
    assert device.receive({"type": "pong", "data": {"cursor": "e:9"}}) == {"type": "hello", "cursor": "e:8"}


def test_another_history_begins_anew_and_is_told(page: dict[str, Any]) -> None:
    shown: list[dict[str, Any]] = []
    device = page["Device"](shown.append)
    device.hello()
    device.receive(welcome(cursor="e:4", state=({"type": "s", "key": "k", "version": 9},)))
    assert device.hello() == {"type": "hello", "cursor": "e:4", "version": 9}
    newer = {"type": "s", "key": "k", "version": 1}
    device.receive(welcome(in_log(1, "f"), cursor="f:1", state=(newer,), recovered=False))
    assert shown[1:3] == [in_log(1, "f"), newer]
    assert "missing" in shown[3]["type"]
    assert device.receive(in_log(2, "f")) is None
    assert shown[-1] == in_log(2, "f")
