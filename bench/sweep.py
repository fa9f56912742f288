"""Sweep test: `python -m bench.sweep --dynamodb http://127.0.0.1:8000` runs the sweeper over 10,000 uploads.

    one silent   10,000 uploads run, and the worker of the last user is silent: is it found, and in which time?
    all silent   10,000 uploads have no worker any more: how many runs, and is there one error for each?

Every call takes so many milliseconds more, as over a network. Each run has the time of the function in the templates.
The exit code is 1 if an upload was missed, or has no error or two. README.md has the figures. Most of the time is that
of DynamoDB Local, which writes one item after the other.
"""

import argparse
import asyncio
import json
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from msgspec import Struct

from bench.aws_tables import CONNECTIONS_TABLE, HISTORY_TABLE
from tellwire.apigateway.dynamodb import create_tables
from tellwire.aws_api.deadline import deadline
from tellwire.aws_api.dynamodb import DynamoDb
from tellwire.broker import ComposedBroker
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.engines.aws.environment import open_history_table, open_management, open_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.engines.aws.history_table import Condition
from tellwire.engines.aws.sweeper import Swept
from tellwire.entry import with_version
from tellwire.http_messages import HttpResponse
from tellwire.lease_expiry import LeaseExpiry
from tellwire.limits import AWS_SWEEP_TIMEOUT_SECONDS
from tellwire.messages import UploadProgress, UploadProgressMessage
from tellwire.model import Target
from tellwire.publication import Publication
from tellwire.testing import FakeClock

REGION = "us-east-1"
CALL_SECONDS = 0.004
UPLOAD_ID = "upload-1"
LEASE_SECONDS = 30
_AT_ONCE = 25
"""Writes of one BatchWriteItem, at most."""


class Distant(DynamoDb):
    """A client of DynamoDB whose calls take longer. It counts them."""

    def __init__(self, near: DynamoDb, call_seconds: float) -> None:
        super().__init__(near._client)
        self._call_seconds = call_seconds
        self.calls: Counter[str] = Counter()

    async def _request(self, operation: str, parameters: Any) -> HttpResponse:
        self.calls[operation] += 1
        await asyncio.sleep(self._call_seconds)
        return await super()._request(operation, parameters)


class Run(Struct, frozen=True):
    """One run of the sweeper, with its seconds and its calls."""

    swept: Swept
    seconds: float
    calls: Counter[str]


class Found(Struct, frozen=True):
    """The uploads by status, the number of `error` messages, and the users with two errors or with the wrong ones."""

    statuses: Counter[str]
    errors: int
    doubled: int
    without_error: int


@dataclass
class Fleet:
    """Running uploads of as many users in new tables, and the sweeper with a real broker. Nobody is connected."""

    url: str
    uploads: int
    call_seconds: float = CALL_SECONDS
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        name = uuid.uuid4().hex
        self._names = {"CONNECTIONS_TABLE_NAME": f"connections-{name}", "HISTORY_TABLE_NAME": f"history-{name}"}
        tables = [
            {**schema, "TableName": table}
            for schema, table in zip((CONNECTIONS_TABLE, HISTORY_TABLE), self._names.values(), strict=True)
        ]
        create_tables(self.url, tables, {}, REGION)
        self._environ = self._names | {
            "AWS_ENDPOINT_URL_DYNAMODB": self.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "WEBSOCKET_API_ENDPOINT": "http://127.0.0.1:9",
        }

    def user_id(self, number: int) -> str:
        """Return the user with this number, in the order of the index."""
        return f"user-{number:06}"

    async def begin(self, silent_seconds: float, first: int = 0, last: int | None = None) -> None:
        """Keep the state of the uploads of these users, as it was so many seconds ago."""
        table = open_history_table(self._environ)
        now = self.clock.now() - silent_seconds
        data = UploadProgress(
            upload_id=UPLOAD_ID, file_name="parts.csv", progress=7, message="", lease_seconds=LEASE_SECONDS
        )
        name = self._names["HISTORY_TABLE_NAME"]
        puts = []
        for number in range(first, self.uploads if last is None else last):
            publication = Publication.of(Target(user=self.user_id(number)), UploadProgressMessage(data))
            assert publication.stream is not None
            entry = with_version(publication, now, int(now * 1000))
            write = table.write_state(publication.stream, entry, Condition("#sk = :never"))
            puts.append({"PutRequest": {"Item": write.parameters["Item"]}})
        for start in range(0, len(puts), _AT_ONCE):
            response = await table._dynamodb.call("BatchWriteItem", RequestItems={name: puts[start : start + _AT_ONCE]})
            assert not response.get("UnprocessedItems")
        await table.close()

    async def sweep(self, seconds: float = AWS_SWEEP_TIMEOUT_SECONDS) -> Run:
        """Run the function once, with so many seconds until it would be stopped."""
        history_table, connections = open_history_table(self._environ), open_table(self._environ, self.clock)
        near = Distant(history_table._dynamodb, self.call_seconds)
        other = Distant(connections._dynamodb, self.call_seconds)
        history_table._dynamodb, connections._dynamodb = near, other
        history = DynamoHistory(history_table, self.clock)
        carrier = AwsCarrier(connections, open_management(self._environ), self.clock)
        began = monotonic()
        with deadline(seconds):
            swept = await history.sweep(LeaseExpiry(ComposedBroker(history, carrier), self.clock).expire)
        run = Run(swept, monotonic() - began, near.calls + other.calls)
        await carrier.close()
        await history.close()
        return run

    async def found(self) -> Found:
        """Read the whole table."""
        table = open_history_table(self._environ)
        statuses: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        async for page in table._dynamodb.pages(
            "Scan", TableName=self._names["HISTORY_TABLE_NAME"], ConsistentRead=True
        ):
            for item in page:
                stream = item["streamKey"]["S"]
                if "status" in item:
                    statuses[item["status"]["S"]] += 1
                    failed[stream] += item["status"]["S"] == "failed"
                elif item.get("type") == {"S": "error"}:
                    errors[stream] += json.loads(item["payload"]["S"])["data"]["code"] == "UPLOAD_LOST"
        await table.close()
        return Found(
            statuses,
            errors.total(),
            sum(count > 1 for count in errors.values()),
            sum(errors[stream] != count for stream, count in failed.items()),
        )


async def one_silent(fleet: Fleet) -> Run:
    """Begin all uploads, of which that of the last user has been silent for ten minutes, and sweep once."""
    await fleet.begin(0.0, last=fleet.uploads - 1)
    await fleet.begin(600.0, first=fleet.uploads - 1)
    return await fleet.sweep()


async def all_silent(fleet: Fleet, seconds: float = AWS_SWEEP_TIMEOUT_SECONDS, sweepers: int = 1) -> list[Run]:
    """Begin uploads that have all been silent for ten minutes, and sweep until a run has looked at all.

    Several sweepers run at the same time.
    """
    await fleet.begin(600.0)
    runs: list[Run] = []
    while not runs or not runs[-1].swept.is_finished:
        runs += await asyncio.gather(*(fleet.sweep(seconds) for _ in range(sweepers)))
        for run in runs[-sweepers:]:
            print(f"  {_line(run)}", flush=True)
    return runs


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both, print the outcomes, and exit with 1 after a fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.sweep", description="Sweep 10,000 uploads; see README.md.")
    parser.add_argument(
        "--dynamodb", required=True, metavar="URL", help="of DynamoDB Local, such as http://127.0.0.1:8000"
    )
    parser.add_argument("--uploads", type=int, default=10_000)
    parser.add_argument("--call-ms", type=float, default=CALL_SECONDS * 1000, help="added to each call (%(default)s)")
    parser.add_argument("--seconds", type=float, default=AWS_SWEEP_TIMEOUT_SECONDS, help="of a run (%(default)s)")
    options = parser.parse_args(arguments)
    faults = list(asyncio.run(_run(options)))
    for fault in faults:
        print(f"FAULT: {fault}")
    sys.exit(1 if faults else 0)


async def _run(options: argparse.Namespace) -> list[str]:
    fleet = Fleet(options.dynamodb, options.uploads, options.call_ms / 1000)
    print(f"one silent of {fleet.uploads:,}")
    run = await one_silent(fleet)
    found = await fleet.found()
    print(f"  {_line(run)}\n  {found}")
    faults = list(_faults(found, fleet.uploads, failed=1))

    fleet = Fleet(options.dynamodb, options.uploads, options.call_ms / 1000)
    print(f"all {fleet.uploads:,} silent")
    await all_silent(fleet, options.seconds)
    found = await fleet.found()
    print(f"  {found}")
    return [*faults, *_faults(found, fleet.uploads, failed=fleet.uploads)]


def _faults(found: Found, uploads: int, failed: int) -> Iterator[str]:
    if found.statuses["failed"] != failed or found.statuses.total() != uploads:
        yield f"{found.statuses} instead of {failed} failed"
    if found.errors != failed or found.doubled or found.without_error:
        yield f"{found.errors} errors for {failed}, {found.doubled} doubled, {found.without_error} missing"


def _line(run: Run) -> str:
    calls = ", ".join(f"{count:,} {name}" for name, count in run.calls.most_common())
    finished = "finished" if run.swept.is_finished else "to be continued"
    return f"{run.swept.expired:,} expired in {run.seconds:.1f} s, {finished}: {calls}"


if __name__ == "__main__":
    main()
