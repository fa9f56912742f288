"""The commands of operators at a real gateway: who is connected, their messages, and the end of a connection."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tellwire.auth import mint_token
from tests.conftest import SECRET
from tests.integration.test_cli import COMMAND, Running, own_state, serving, tellwire
from tests.tools import until

__all__ = ["own_state"]

ADMIN, PUBLISHER = "the-key-of-an-operator-01", "the-key-of-a-producer-012"
KEYS = f"ops:publish+admin:{ADMIN} worker:publish:{PUBLISHER}"


@contextlib.asynccontextmanager
async def gateway_with(*users: str) -> AsyncIterator[tuple[Running, list[ClientConnection]]]:
    async with (
        serving(port=0, TELLWIRE_ENGINE="memory", TELLWIRE_JWT_SECRET=SECRET, TELLWIRE_API_KEY=KEYS) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        url = f"ws://127.0.0.1:{gateway.port}?token="
        yield (
            gateway,
            [await stack.enter_async_context(connect(url + mint_token(SECRET, each), proxy=None)) for each in users],
        )


async def run(gateway: Running, *arguments: str, key: str = ADMIN) -> tuple[int, str, str]:
    result = await tellwire(*arguments, TELLWIRE_URL=gateway.url, TELLWIRE_API_KEY=key, COLUMNS="200")
    return result.code, result.out, result.err


async def test_users_connections_and_stats_are_shown_as_tables_and_as_json() -> None:
    async with gateway_with("ann", "ann", "bob", "żofia") as (gateway, _):
        code, out, _ = await run(gateway, "users")
        assert (code, [line.split() for line in out.splitlines()]) == (
            0,
            [["user", "connections"], ["ann", "2"], ["bob", "1"], ["żofia", "1"], ["3", "users"]],
        )
        code, out, _ = await run(gateway, "users", "--json", "--limit", "1", "--after", "ann")
        assert json.loads(out) == {"users": [{"user": "bob", "connections": 1}], "total": 3, "next": "bob"}
        code, out, _ = await run(gateway, "connections", "--user", "ann", "--json")
        assert len(json.loads(out)["connections"]) == 2
        code, out, _ = await run(gateway, "stats")
        assert (code, "connections" in out) == (0, True)
        code, _, err = await run(gateway, "users", key=PUBLISHER)
        assert (code, "needs the scope admin (403)" in err) == (2, True)


async def test_kick_closes_the_connections_of_one_user_and_shuts_out_for_a_time() -> None:
    async with gateway_with("ann", "ann", "bob") as (gateway, devices):
        assert (await run(gateway, "kick", "--user", "ann"))[:2] == (0, "closed 2 connections\n")
        for device in devices[:2]:
            with pytest.raises(ConnectionClosed):
                await device.recv()
            assert device.close_code == 1000
        code, out, _ = await run(gateway, "kick", "--user", "bob", "--for", "10m", "--reason", "Too loud", "--json")
        assert (code, json.loads(out)) == (0, {"closed": 1})
        assert json.loads(await devices[2].recv())["data"]["message"].endswith(": Too loud")
        code, _, err = await run(gateway, "kick", "--connection", "nobody")
        assert (code, "(410)" in err) == (1, True)
        assert (await run(gateway, "kick"))[0] == 2
        assert (await run(gateway, "kick", "--user", "bob", "--for", "soon"))[0] == 2


async def test_a_tail_shows_new_messages_of_a_user_is_no_device_and_ends_with_the_gateway() -> None:
    async with gateway_with() as (gateway, _):
        assert (await run(gateway, "send", "--user", "ann", "notification", "old", "Hello"))[0] == 0
        tail = await asyncio.create_subprocess_exec(
            *COMMAND,
            "tail",
            "--user",
            "ann",
            "--url",
            gateway.url,
            env=os.environ | {"TELLWIRE_API_KEY": ADMIN},
            stdout=-1,
        )
        assert tail.stdout is not None
        try:
            number = 0

            async def is_heard() -> bool:
                nonlocal number
                number += 1
                await run(gateway, "send", "--user", "ann", "notification", f"new {number}", "Hello")
                with contextlib.suppress(TimeoutError):
                    return bool(await asyncio.wait_for(asyncio.shield(first), 0.5))
                return False

            first = asyncio.ensure_future(tail.stdout.readline())
            await until(is_heard)
            assert json.loads(first.result())["data"]["title"].startswith("new ")
            _, out, _ = await run(gateway, "users", "--json")
            assert json.loads(out)["users"] == []
            gateway.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(gateway.process.wait(), 60) == 0
            assert await asyncio.wait_for(tail.wait(), 60) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                tail.kill()
