"""Several workers on one upload, and the whole that their parts make, on every history."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from tellwire.errors import InvalidMessage
from tellwire.lease_expiry import LeaseExpiry
from tellwire.limits import QUEUED_LEASE_SECONDS
from tellwire.messages import UploadProgress, UploadProgressMessage, UploadStatus
from tellwire.model import timestamp
from tellwire.ports import History
from tellwire.publication import Publication, user_stream
from tellwire.row_errors import RowErrors
from tellwire.testing import FakeClock
from tellwire.uploads import cancelled
from tests.publications import Silent, for_user

ANNA = "anna"
OF = 4


def part(
    number: int, progress: float, status: UploadStatus = "running", second: float = 0, run: str = "run", **more: Any
) -> Publication:
    data = UploadProgress(
        upload_id="u1",
        file_name="f.csv",
        progress=progress,
        message="",
        status=status,
        run=run,
        part=f"{number}/{OF}",
        started_at="2026-11-28T10:00:00.000Z",
        **({"lease_seconds": 30, "current_row": int(progress), "total_rows": 100} | more),
    )
    return for_user(ANNA, UploadProgressMessage(data, timestamp(1_800_000_000 + second)))


async def shown(history: History) -> dict[str, Any]:
    entry = await history.state(user_stream(ANNA), "upload:u1")
    assert entry is not None
    return dict(json.loads(entry.payload)["data"])


async def add(history: History, publications: Iterable[Publication]) -> None:
    for each in publications:
        assert await history.append(each) is not None


async def test_parts_add_up_to_one_ordinary_upload(history: History) -> None:
    await add(history, [part(1, 50), part(2, 20)])
    assert await shown(history) == {
        "uploadId": "u1",
        "fileName": "f.csv",
        "progress": 17.5,
        "message": "Row 70; 0 of 4 parts are done",
        "currentRow": 70,
        "status": "running",
        "run": "run",
        "startedAt": "2026-11-28T10:00:00.000Z",
        "leaseSeconds": 30,
    }
    await add(history, [part(3, 0), part(4, 10), part(1, 100, "complete", second=1)])
    data = await shown(history)
    assert (data["progress"], data["totalRows"]) == (32.5, 400)
    assert data["message"] == "Row 130 of 400; 1 of 4 parts are done"


async def test_the_upload_is_complete_once_when_all_parts_are_however_many_end_at_once(
    history: History,
) -> None:
    await asyncio.gather(*(history.append(part(number, 0)) for number in range(1, OF + 1)))
    ends = [history.append(part(number, 100, "complete", second=1)) for number in range(1, OF + 1)]
    entries = await asyncio.gather(*ends)
    assert sorted(str(entry and entry.status) for entry in entries) == ["complete", "running", "running", "running"]
    data = await shown(history)
    assert (data["status"], data["progress"], data["message"]) == ("complete", 100, "Complete: 400 rows")
    assert await history.append(part(2, 100, "complete", second=1)) is None
    assert await history.append(part(2, 60, second=2)) is None


async def test_a_part_that_has_failed_fails_the_upload_and_may_be_tried_again(history: History) -> None:
    await add(history, [part(number, 10) for number in range(1, OF + 1)])
    await add(history, [part(3, 10, "failed", second=1)])
    assert (await shown(history))["status"] == "failed"
    await add(history, [part(number, 100, "complete", second=2) for number in (1, 2, 4)])
    assert (await shown(history))["status"] == "failed"
    await add(history, [part(3, 0, second=3)])
    assert (await shown(history))["status"] == "running"
    await add(history, [part(3, 100, "complete", second=4)])
    assert (await shown(history))["status"] == "complete"


async def test_a_late_word_of_a_part_counts_as_little_as_one_of_a_superseded_run(history: History) -> None:
    await add(history, [part(1, 50, second=5), part(2, 50, second=1)])
    assert await history.append(part(1, 40, second=4)) is None
    await add(history, [part(1, 5, run="again")])
    assert await history.append(part(2, 100, "complete", second=9)) is None
    assert (await shown(history))["progress"] == 1.2


async def test_the_whole_is_made_of_its_parts_alone_until_somebody_ends_it(history: History) -> None:
    await add(history, [part(1, 50), part(2, 50)])
    data = UploadProgress(upload_id="u1", file_name="f.csv", progress=90, message="", status="running", run="run")
    later = timestamp(1_800_000_000 + 50)
    assert await history.append(for_user(ANNA, UploadProgressMessage(data, later))) is None
    end = msgspec.structs.replace(data, status="failed")
    await add(history, [for_user(ANNA, UploadProgressMessage(end, later))])
    assert (await shown(history))["progress"] == 90


async def test_a_part_retries_while_the_others_run(history: History) -> None:
    await add(history, [part(1, 50), part(2, 50, "retrying")])
    assert (await shown(history))["status"] == "running"
    await add(history, [part(1, 50, "retrying", second=1)])
    assert (await shown(history))["status"] == "retrying"


async def test_each_part_has_its_own_lease(history: History, clock: FakeClock) -> None:
    leases = LeaseExpiry(Silent(history), clock)

    async def expire() -> str:
        entry = await history.state(user_stream(ANNA), "upload:u1")
        assert entry is not None
        await leases.expire(entry)
        return str((await shown(history))["status"])

    await add(history, [part(number, 10) for number in range(1, OF + 1)])
    for second in range(1, 4):
        await clock.advance(10)
        await add(history, [part(number, 10 + second, second=second) for number in (1, 2, 4)])
    assert await expire() == "stalled"
    assert (await shown(history))["message"] == "No word from the worker of part 3 for 30 seconds"
    await add(history, [part(3, 20, second=4)])
    assert (await shown(history))["status"] == "running"
    for second in range(5, 12):
        await clock.advance(10)
        await add(history, [part(number, 10 + second, second=second) for number in (1, 2, 4)])
    assert await expire() == "failed"
    assert (await shown(history))["message"] == "The worker of part 3 fell silent"
    messages = (await history.read(user_stream(ANNA), "0")).messages
    assert [json.loads(message)["data"]["code"] for message in messages] == ["UPLOAD_LOST"]
    # It was only slow.
    await add(history, [part(number, 100, "complete", second=20) for number in range(1, OF + 1)])
    assert (await shown(history))["status"] == "complete"


async def test_a_part_that_never_begins_is_lost_too(history: History, clock: FakeClock) -> None:
    await add(history, [part(number, 100, "complete") for number in (1, 2, 4)])
    entry = await history.state(user_stream(ANNA), "upload:u1")
    assert entry is not None
    await clock.advance(QUEUED_LEASE_SECONDS + 1)
    await LeaseExpiry(Silent(history), clock).expire(entry)
    data = await shown(history)
    assert (data["status"], data["message"]) == ("failed", "The worker of part 3 fell silent")


async def test_a_device_cancels_all_parts(history: History, clock: FakeClock) -> None:
    await add(history, [part(number, 10) for number in range(1, OF + 1)])
    entry = await history.state(user_stream(ANNA), "upload:u1")
    assert entry is not None
    await add(history, [cancelled(entry, clock.now())])
    assert (await shown(history))["status"] == "cancelled"
    assert await history.append(part(2, 20, second=1)) is None
    await add(history, [part(2, 20, "cancelled", second=2)])
    assert (await shown(history))["status"] == "cancelled"


async def test_the_row_errors_of_the_parts_add_up(history: History) -> None:
    cause = {"code": "NO_QUANTITY", "message": "The quantity is missing", "count": 2, "rows": [7, 9]}
    other = {"code": "BAD", "message": "Bad", "count": 1, "rows": [3]}

    def errors(*causes: dict[str, Any]) -> RowErrors:
        return msgspec.convert({"total": sum(each["count"] for each in causes), "causes": list(causes)}, RowErrors)

    await add(history, [part(1, 10, row_errors=errors(cause)), part(2, 10, row_errors=errors(cause, other))])
    assert (await shown(history))["rowErrors"] == {
        "total": 5,
        "causes": [cause | {"count": 4, "rows": [7, 7, 9, 9]}, other],
    }


@pytest.mark.parametrize("name", ["", "3", "0/8", "9/8", "1/0", "1/257", "1/2/3", " 1/2", "1/2\n", "a/b", "1/99999"])
def test_a_part_has_a_number_and_that_of_all(name: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^data\.part: got .*such as 3/8"):
        UploadProgress(upload_id="u", file_name="f", progress=0, message="", run="r", part=name)


def test_a_part_needs_the_name_of_its_run() -> None:
    with pytest.raises(InvalidMessage, match=r"^data\.run: got None; allowed: the name of the run"):
        UploadProgress(upload_id="u", file_name="f", progress=0, message="", part="1/2")
