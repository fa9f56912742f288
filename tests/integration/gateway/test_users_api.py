"""The HTTP API of users at a real gateway: who is shut out, who is let in again, and who is deleted."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tellwire.client import Client, ClosedForGood
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.model import timestamp
from tellwire.row_errors import RowError, RowErrorChunk
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, read
from tests.integration.gateway.test_http_api import call

WAYS = pytest.mark.parametrize("path", ["/v1/users/user-1/disconnect", "/v1/users/disconnect?user=user-1"])


def in_seconds(seconds: float) -> str:
    return timestamp(time.time() + seconds)


async def is_refused(gateway: Gateway, user_id: str = "user-1") -> bool:
    try:
        async with gateway.device(user_id):
            return False
    except InvalidStatus as refused:
        return refused.response.status_code == 403


@WAYS
async def test_a_user_is_disconnected_shut_out_listed_and_let_in(gateway: Gateway, path: str) -> None:
    until = in_seconds(3600)
    async with gateway.device() as device:
        answer = await call(gateway, "POST", path, {"until": until, "reason": "Too many uploads"})
        assert answer[:2] == (200, {"closed": 1})
        message = await read(device)
        assert message["data"]["code"] == "USER_SHUT_OUT"
        with pytest.raises(ConnectionClosed):
            await device.recv()
        assert (device.close_code, device.close_reason) == (4403, "USER_SHUT_OUT")
    assert await is_refused(gateway)
    status, answered, _ = await call(gateway, "GET", path)
    assert (status, answered) == (200, {"shutOuts": [{"until": until, "reason": "Too many uploads"}]})
    assert (await call(gateway, "DELETE", path))[:2] == (200, {"ended": 1})
    assert not await is_refused(gateway)


async def test_our_client_does_not_come_back_and_says_why(gateway: Gateway) -> None:
    is_open = asyncio.Event()
    async with Client(gateway.ws_url, lambda why: gateway.token()) as client:
        client.on_state(lambda state: is_open.set() if state.status == "open" else None)
        if client.state.status != "open":
            await is_open.wait()
        body = {"until": in_seconds(3600), "reason": "Too many uploads"}
        assert (await call(gateway, "POST", "/v1/users/user-1/disconnect", body))[1] == {"closed": 1}
        with pytest.raises(ClosedForGood, match="Too many uploads"):
            async for _ in client:
                pass


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "until"),
        ({"until": "tomorrow"}, "until: got 'tomorrow'; allowed: a time such as"),
        ({"until": "2026-11-30T18:00:00"}, "until"),
        ({"until": -1}, "until"),
        ({"until": 1e20}, "until"),
        ({"until": True}, "until"),
        ({"until": in_seconds(9), "reason": "x" * 501}, "reason: got"),
        ({"until": in_seconds(9), "reason": 5}, "reason"),
        ({"until": in_seconds(9), "tokenId": ""}, "tokenId: got ''"),
        ({"until": in_seconds(9), "tokenId": "x" * 256}, "tokenId"),
        ({"until": in_seconds(9), "tokenId": "a", "issuedBefore": in_seconds(0)}, "not both"),
        ({"until": in_seconds(9), "issuedBefore": "now"}, "issuedBefore"),
        ({"until": in_seconds(9), "issuedBefore": 1e300}, "issuedBefore: got 1e+300; allowed: a time"),
        ({"until": in_seconds(9), "issuedBefore": -1e300}, "issuedBefore"),
        ({"until": in_seconds(9), "issuedBefore": time.time() * 1000}, "issuedBefore"),
        ({"until": in_seconds(9), "issuedBefore": "0001-01-01T00:00:00Z"}, "issuedBefore"),
        ({"until": "0001-01-01T00:00:00+23:59"}, "until"),
        ({"until": in_seconds(9), "untli": 1}, "untli"),
        (b"[" * 5000, ""),
        (b"\xff", ""),
    ],
)
async def test_a_wrong_request_is_refused_by_its_field(gateway: Gateway, body: Any, words: str) -> None:
    status, answer, _ = await call(gateway, "POST", "/v1/users/user-1/disconnect", body)
    assert (status, answer["code"]) in ((400, "INVALID_MESSAGE"), (400, "INVALID_JSON")), answer
    assert words in answer["message"]
    assert not await is_refused(gateway)


async def test_a_download_is_refused_as_well(gateway: Gateway) -> None:
    await call(gateway, "POST", "/v1/users/user-1/disconnect", {"until": in_seconds(60)})
    status, answer, _ = await call(gateway, "GET", "/v1/uploads/u/row-errors", None, gateway.token())
    assert (status, answer["code"]) == (403, "USER_SHUT_OUT")


async def test_a_key_for_publishing_shuts_out_nobody(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(api_key="worker:publish:0123456789abcdef")
    for method in ("POST", "DELETE", "GET"):
        status, answer, _ = await call(gateway, method, "/v1/users/user-1/disconnect", {}, "0123456789abcdef")
        assert (status, answer["code"]) == (403, "API_KEY_NOT_FOR_THIS")


async def test_a_shut_out_survives_a_restart(tmp_path: Path) -> None:
    settings = Settings(
        port=0, jwt_secret=SECRET, api_key=API_KEY, drain_seconds=1, database=str(tmp_path / "live.sqlite3")
    )
    for is_first in (True, False):
        node = Node(settings)
        async with node.running() as url:
            gateway = Gateway(node, url)
            if is_first:
                assert not await is_refused(gateway)
                await call(gateway, "POST", "/v1/users/user-1/disconnect", {"until": in_seconds(60)})
            assert await is_refused(gateway)
            assert not await is_refused(gateway, "user-2")


# --- deletion ---------------------------------------------------------------------------------------------------------

SECRET_WORDS = "a-sentence-that-nobody-else-writes"
DELETIONS = pytest.mark.parametrize("path", ["/v1/users/user-1", "/v1/users?user=user-1"])


async def fill(gateway: Gateway, user_id: str) -> None:
    target = {"user": user_id}
    title = {"title": SECRET_WORDS, "message": user_id, "severity": "info"}
    progress = {"uploadId": "u1", "fileName": "parts.csv", "progress": 50, "message": SECRET_WORDS, "leaseSeconds": 30}
    for message in ({"type": "notification", "data": title}, {"type": "upload_progress", "data": progress}):
        assert (await call(gateway, "POST", "/v1/publish", {"target": target, "message": message}))[0] == 200
    requests = gateway.node.engine.requests
    assert requests is not None
    await requests.begin(user_id, "r1")
    await requests.finish(user_id, "r1", SECRET_WORDS.encode())
    await gateway.node.engine.row_errors.add_row_errors(  # type: ignore[union-attr]
        RowErrorChunk(user_id, "u1", "parts.csv", "2026-11-28T10:00:00.000Z", 1, 0, [RowError(1, "BAD", SECRET_WORDS)])
    )


async def welcome(gateway: Gateway, cursor: str, user_id: str = "user-1") -> dict[str, Any]:
    async with gateway.device(user_id) as device:
        await device.send(json.dumps({"type": "hello", "cursor": cursor}))
        return dict((await read(device))["data"])


@DELETIONS
@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_everything_that_is_kept_of_a_user_is_deleted(
    start_gateway: StartGateway, tmp_path: Path, path: str, engine: str
) -> None:
    gateway = await start_gateway(engine=engine, database=str(tmp_path / "live.sqlite3"))
    for user_id in ("user-1", "user-2"):
        await fill(gateway, user_id)
    before = await welcome(gateway, "0")
    assert (len(before["messages"]), len(before["state"])) == (1, 1)
    assert (await call(gateway, "DELETE", path))[:2] == (204, b"")
    after = await welcome(gateway, before["cursor"])
    assert (after["recovered"], after["messages"], after["state"]) == (False, [], [])
    assert after["cursor"].partition(":")[0] != before["cursor"].partition(":")[0]
    status, _, _ = await call(gateway, "GET", "/v1/uploads/u1/row-errors", None, gateway.token())
    assert status == 404
    assert len((await welcome(gateway, "0", "user-2"))["messages"]) == 1
    assert (await call(gateway, "GET", "/v1/uploads/u1/row-errors", None, gateway.token("user-2")))[0] == 200
    assert (await call(gateway, "DELETE", path))[0] == 204


def files_with(words: str, folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if words.encode() in file.read_bytes()]


async def test_nothing_of_a_deleted_user_is_in_the_files(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = await start_gateway(engine="sqlite", database=str(tmp_path / "live.sqlite3"))
    await fill(gateway, "someone-who-leaves")
    assert files_with(SECRET_WORDS, tmp_path)
    assert (await call(gateway, "DELETE", "/v1/users/someone-who-leaves"))[0] == 204
    for words in (SECRET_WORDS, "someone-who-leaves"):
        assert files_with(words, tmp_path) == []


async def test_a_connected_device_goes_on_after_a_deletion(gateway: Gateway) -> None:
    await fill(gateway, "user-1")
    async with Client(gateway.ws_url, lambda why: gateway.token(), start_from="oldest") as client:
        assert [(await anext(client)).type for _ in range(2)] == ["notification", "upload_progress"]
        assert (await call(gateway, "DELETE", "/v1/users/user-1"))[0] == 204
        await fill(gateway, "user-1")
        assert {(await anext(client)).type for _ in range(2)} == {"notification", "upload_progress"}


@pytest.mark.parametrize("path", ["/v1/users/user-1/connections", "/v1/users/a/b", "/v1/users", "/v1/users?user="])
async def test_a_wrong_path_deletes_nobody(gateway: Gateway, path: str) -> None:
    assert (await call(gateway, "DELETE", path))[0] in (400, 404, 405)
