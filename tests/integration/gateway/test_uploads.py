"""Silent workers, cancelled uploads, and the `seen` state, on every device."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tellwire import UploadCancelled, create_notification_message, sync, track_upload
from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.testing import FakeClock
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, read


async def until(device: ClientConnection, status: str) -> dict[str, Any]:
    """Receive until an upload has this status, and return its data."""
    async with asyncio.timeout(45):
        while True:
            frame = await read(device)
            if frame["type"] == "upload_progress" and frame["data"]["status"] == status:
                return dict(frame["data"])


async def until_type(device: ClientConnection, message_type: str) -> dict[str, Any]:
    async with asyncio.timeout(45):
        while (frame := await read(device))["type"] != message_type:
            pass
    return frame


async def begin(broadcaster: Broadcaster, upload_id: str = "u1", rows: int = 40) -> None:
    """Be a worker that says how far it is and is then killed."""
    upload = track_upload("user-1", upload_id, "f.csv", 100, broadcaster=broadcaster)._upload
    await upload._begin()
    upload.update(rows=rows)
    upload._offer()
    await upload._sender.finish([])
    if upload._ticker is not None:
        upload._ticker.cancel()


async def test_an_upload_of_a_killed_worker_stalls_and_fails(start_gateway: StartGateway) -> None:
    clock = FakeClock()
    gateway = await start_gateway(clock)
    async with gateway.device() as device:
        await begin(gateway.node.broadcaster)
        await until(device, "running")
        await clock.advance(31)
        assert (await until(device, "stalled"))["leaseSeconds"] == 30
        await clock.advance(31)
        assert "leaseSeconds" not in await until(device, "failed")
        error = await until_type(device, "error")
        assert error["data"]["code"] == "UPLOAD_LOST"
        assert error["data"]["details"] == {"uploadId": "u1", "fileName": "f.csv"}
        assert "cursor" in error


async def test_a_lease_survives_a_restart_of_the_gateway_and_is_renewed_by_it(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = Settings(
        port=0, jwt_secret=SECRET, api_key=API_KEY, drain_seconds=1, database=str(tmp_path / "live.sqlite3")
    )
    node = Node(settings, clock)
    async with node.running():
        await begin(node.broadcaster)
    await clock.advance(1000)
    node = Node(settings, clock)
    async with node.running() as url, Gateway(node, url).device() as device:
        # Its worker may be alive, and could not say so.
        await clock.advance(29)
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"
        await clock.advance(3)
        await until(device, "stalled")


@pytest.mark.usefixtures("producer")
async def test_a_job_that_pauses_renews_its_lease(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    gateway = await start_gateway(clock)
    monkeypatch.setenv("TELLWIRE_URL", gateway.url)
    # How often, `tests/unit/test_progress.py` tells.
    async with gateway.device() as device:
        async with track_upload("user-1", "u1", "f.csv", 100, lease_seconds=1, every_rows=50):
            await until(device, "running")
            for _ in range(3):
                # Had it said nothing since, its lease would be over with the second of these.
                await clock.advance(0.7)
                await until(device, "running")
        assert (await read(device))["data"]["status"] == "complete"


@pytest.mark.usefixtures("producer")
async def test_a_device_cancels_and_the_worker_stops_and_all_devices_see_it(gateway: Gateway) -> None:
    async with gateway.device() as device, gateway.device() as other:
        with pytest.raises(UploadCancelled):
            async with track_upload("user-1", "u1", "f.csv", 10**9, interval_seconds=0.01) as upload:
                async for row in upload.count(range(10**9)):
                    if row == 1000:
                        await until(device, "running")
                        await device.send('{"type": "cancel", "uploadId": "u1"}')
        for each in (device, other):
            assert (await until(each, "cancelled"))["message"] == "Cancelled"
            assert (await until(each, "cancelled"))["message"].startswith("Cancelled after ")


@pytest.mark.usefixtures("producer")
async def test_a_worker_that_reads_cancelled_may_stop_by_itself(gateway: Gateway) -> None:
    async with gateway.device() as device:
        async with track_upload("user-1", "u1", "f.csv", 100, interval_seconds=0.01) as upload:
            await until(device, "running")
            await device.send('{"type": "cancel", "uploadId": "u1"}')
            async with asyncio.timeout(45):
                while not upload.cancelled:
                    upload.update(rows=upload.rows + 1)
                    await asyncio.sleep(0.01)
        assert (await until(device, "cancelled"))["message"] == "Cancelled"
        assert (await until(device, "cancelled"))["message"].startswith("Cancelled after ")


@pytest.mark.usefixtures("producer")
async def test_a_worker_that_did_not_read_cancelled_and_finishes_is_complete(gateway: Gateway) -> None:
    async with gateway.device() as device:
        async with track_upload("user-1", "u1", "f.csv", 100):
            await until(device, "running")
            await device.send('{"type": "cancel", "uploadId": "u1"}')
            await until(device, "cancelled")
        assert (await until(device, "complete"))["progress"] == 100


@pytest.mark.usefixtures("producer")
async def test_synchronous_workers_are_cancelled_too(gateway: Gateway) -> None:
    def work() -> int:
        with sync.track_upload("user-1", "u1", "f.csv", 10**9, interval_seconds=0.01) as upload:
            for _ in upload.count(range(10**9)):
                pass
        return 0

    async with gateway.device() as device:
        job = asyncio.create_task(asyncio.to_thread(work))
        await until(device, "running")
        await device.send('{"type": "cancel", "uploadId": "u1"}')
        with pytest.raises(UploadCancelled):
            await job


async def test_a_cancel_of_an_unknown_or_ended_upload_gets_an_error(gateway: Gateway) -> None:
    async with gateway.device() as device, gateway.device("user-2") as other:
        async with track_upload("user-1", "u1", "f.csv", broadcaster=gateway.node.broadcaster):
            await other.send('{"type": "cancel", "uploadId": "u1"}')
            assert (await until_type(other, "error"))["data"]["code"] == "UPLOAD_UNKNOWN"
        await device.send('{"type": "cancel", "uploadId": "u1"}')
        error = await until_type(device, "error")
        assert (error["data"]["code"], "it is complete" in error["data"]["message"]) == ("UPLOAD_OVER", True)


async def test_the_seen_state_reaches_all_devices(gateway: Gateway) -> None:
    async with gateway.device() as device, gateway.device() as other, gateway.device("user-2") as stranger:
        for title in ("one", "two"):
            await gateway.node.broadcaster.broadcast_to_user("user-1", create_notification_message(title, "", "info"))
        cursors = [(await read(other))["cursor"] for _ in range(2)]
        for cursor in (cursors[0], cursors[0], "elsewhere:1", cursors[1]):
            await device.send(json.dumps({"type": "ack", "cursor": cursor}))
        for each in (device, other):
            seen = [await until_type(each, "seen") for _ in range(2)]
            assert [message["data"]["cursor"] for message in seen] == cursors
        await stranger.send('{"type": "hello"}')
        assert (await read(stranger))["data"]["state"] == []
        await device.send('{"type": "hello"}')
        (state,) = (await until_type(device, "welcome"))["data"]["state"]
        assert (state["key"], state["data"]) == ("seen", {"cursor": cursors[1]})


async def test_a_cancelled_upload_may_be_begun_again(gateway: Gateway) -> None:
    carrier = HttpCarrier(gateway.url, API_KEY)
    async with gateway.device() as device:
        await begin(Broadcaster(carrier))
        await device.send('{"type": "cancel", "uploadId": "u1"}')
        await until(device, "cancelled")
        async with track_upload("user-1", "u1", "f.csv", 10, broadcaster=Broadcaster(carrier)) as upload:
            upload.update(rows=5)
            assert not upload.cancelled
        assert (await until(device, "complete"))["progress"] == 100
    await carrier.close()
