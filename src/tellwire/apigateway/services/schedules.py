"""Schedules of a template: they invoke functions by the clock of the API, which a test may move."""

import asyncio
import json
import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tellwire.apigateway.definition import ACCOUNT_ID
from tellwire.apigateway.services.definition import Schedule
from tellwire.apigateway.services.invoke import LambdaApi
from tellwire.apigateway.services.schedule_times import Next, next_times
from tellwire.ports import Clock

logger = logging.getLogger("tellwire.lambda")


class Schedules:
    """The schedules, from `start` to `close`."""

    def __init__(self, schedules: Sequence[Schedule], lambda_api: LambdaApi, clock: Clock, region: str) -> None:
        begins_at = clock.now()
        self._schedules = [(each, next_times(each.expression, each.timezone, begins_at)) for each in schedules]
        self._lambda_api = lambda_api
        self._clock = clock
        self._region = region
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to wait for their times."""
        self._tasks = [asyncio.create_task(self._run(schedule, next_at)) for schedule, next_at in self._schedules]

    async def _run(self, schedule: Schedule, next_at: Next) -> None:
        due = next_at(self._clock.now())
        while due is not None:
            while (wait := due - self._clock.now()) > 0:
                await self._clock.sleep(wait)
            self._lambda_api.start(schedule.function, self._event(schedule, due), schedule.name)
            # After a pause of this machine, the times that were missed are not made up for.
            due = next_at(max(due, self._clock.now()))

    def _event(self, schedule: Schedule, due: float) -> Any:
        if schedule.payload is not None:
            return json.loads(schedule.payload)
        is_rule = schedule.source == "aws.events"
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": schedule.source,
            "account": ACCOUNT_ID,
            "time": f"{datetime.fromtimestamp(due, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": self._region,
            "resources": [schedule.arn],
            # Text for a schedule, as on AWS.
            "detail": {} if is_rule else "{}",
        }

    async def close(self) -> None:
        """Stop waiting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
