"""Silent workers, cancelled uploads, and the `seen` state, on every device."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tellwire import UploadCancelled, create_notification_message, sync, track_upload
from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.messages import UploadProgress, UploadProgressMessage
from tellwire.testing import FakeClock
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, read


async def until(device: ClientConnection, status: str) -> dict[str, Any]:
    """Receive until an upload has this status, and return its data."""
    async with asyncio.timeout(100):
        while True:
            frame = await read(device)
            if frame["type"] == "upload_progress" and frame["data"]["status"] == status:
                return dict(frame["data"])


async def until_type(device: ClientConnection, message_type: str) -> dict[str, Any]:
    async with asyncio.timeout(100):
        while (frame := await read(device))["type"] != message_type:
            pass
    return frame


async def begin(broadcaster: Broadcaster, upload_id: str = "u1", rows: int = 40, **options: Any) -> None:
    """Be a worker that says how far it is and is then killed."""
    upload = track_upload("user-1", upload_id, "f.csv", 100, broadcaster=broadcaster, **options)._upload
    await upload._begin()
    upload.update(rows=rows)
    upload._offer()
    await upload._sender.finish([])
    upload._stop_ticking()


async def test_an_upload_of_a_killed_worker_stalls_and_fails(start_gateway: StartGateway) -> None:
    clock = FakeClock(time.time())
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
    clock = FakeClock(time.time())
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
    clock = FakeClock(time.time())
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
            async with asyncio.timeout(100):
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


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_of_very_many_uploads_at_once_all_are_seen_each_can_be_cancelled_and_none_runs_forever(
    start_gateway: StartGateway, tmp_path: Path, engine: str
) -> None:
    clock = FakeClock()
    gateway = await start_gateway(clock, engine=engine, database=str(tmp_path / "live.sqlite3"))
    names = [f"u{number}" for number in range(500)]

    def state(upload_id: str, progress: float) -> UploadProgressMessage:
        return UploadProgressMessage(
            UploadProgress(
                upload_id=upload_id, file_name="f.csv", progress=progress, message="", run="r", lease_seconds=2
            )
        )

    for name in names:
        await gateway.node.broadcaster.broadcast_to_user("user-1", state(name, 1))
    for number in range(300):  # quick ones that end do not take the place of those that run
        await gateway.node.broadcaster.broadcast_to_user("user-1", state(f"quick-{number}", 100))
    async with gateway.device() as device:
        assert {name for name, data in (await snapshot(device)).items() if data["progress"] == 1} == set(names)
        await device.send('{"type": "cancel", "uploadId": "u0"}')
        assert (await until(device, "cancelled"))["uploadId"] == "u0"
        passing = asyncio.create_task(let_time_pass(clock))
        failed: set[str] = set()
        async with asyncio.timeout(100):
            while len(failed) < len(names) - 1:
                frame = await read(device)
                if frame["type"] == "upload_progress" and frame["data"]["status"] == "failed":
                    failed.add(frame["data"]["uploadId"])
        passing.cancel()
        assert failed == set(names[1:])
    async with gateway.device() as later:
        assert not [data for data in (await snapshot(later)).values() if data.get("status") in ("running", "stalled")]


async def let_time_pass(clock: FakeClock) -> None:
    while True:
        await clock.advance(0.5)
        await asyncio.sleep(0.01)


async def snapshot(device: ClientConnection) -> dict[str, Any]:
    """Return the uploads of a welcome, by id."""
    await device.send('{"type": "hello"}')
    found: dict[str, Any] = {}
    while True:
        page = (await read(device))["data"]
        found |= {state["data"]["uploadId"]: state["data"] for state in page["state"]}
        if page["last"]:
            return found


@pytest.mark.usefixtures("producer")
async def test_several_workers_on_one_upload_are_one_upload_for_the_device(gateway: Gateway) -> None:
    async def work(part: int, rows: int) -> None:
        async with track_upload("user-1", "u1", "f.csv", rows, run="import-17", part=f"{part}/4") as upload:
            async for _ in upload.count(range(rows)):
                await asyncio.sleep(0)

    async with gateway.device() as device:
        await asyncio.gather(*(work(part, 100 * part) for part in range(1, 5)))
        seen = [await read(device)]
        while seen[-1]["data"]["status"] != "complete":
            seen.append(await read(device))
        progress = [frame["data"]["progress"] for frame in seen]
        assert progress == sorted(progress)
        assert seen[-1]["data"]["message"] == "Complete: 1,000 rows"
        assert all("part" not in frame["data"] for frame in seen)
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"  # it was complete once


@pytest.mark.usefixtures("producer")
async def test_a_retry_on_a_host_whose_clock_is_behind_is_seen(gateway: Gateway) -> None:
    async with gateway.device() as device:
        with pytest.raises(ConnectionError), use_clock(ahead=3600):
            async with track_upload("user-1", "u1", "f.csv", 100):
                raise ConnectionError
        await until(device, "failed")
        async with track_upload("user-1", "u1", "f.csv", 100):
            await until(device, "running")
        assert (await until(device, "complete"))["progress"] == 100


@contextmanager
def use_clock(*, ahead: float) -> Iterator[None]:
    """Run as on a host whose clock is ahead by so many seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tellwire.progress_state.time", SimpleNamespace(time=lambda: time.time() + ahead, monotonic=time.monotonic)
        )
        yield
