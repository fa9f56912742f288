"""RQ and Dramatiq by the lines of docs/how-to/job-queues.md: their real workers, with a real Redis."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Gateway, read
from tests.integration.concurrency.test_workers import environment, running
from tests.redis_server import RedisServer
from tests.tools import SECONDS

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "job-queues.md").read_text()
SNIPPETS = dict(zip(("rq", "dramatiq"), re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL), strict=True))
WORKERS = {
    "rq": ["-c", "from rq.cli import main; main()", "worker", "--quiet"],
    "dramatiq": ["-m", "dramatiq", "jobs_of_dramatiq", "-p", "1", "-t", "1"],
}
SENDS = {
    "rq": "import jobs_of_rq as jobs; jobs.start_import('user-1', {path!r})",
    "dramatiq": "import jobs_of_dramatiq as jobs; "
    "jobs.import_parts.send_with_options(args=('user-1', {path!r}), min_backoff=10, max_backoff=20)",
}


@pytest.mark.parametrize("library", ["rq", "dramatiq"])
async def test_the_attempts_at_a_job_are_one_upload(
    gateway: Gateway, redis_server: RedisServer, tmp_path: Path, library: str
) -> None:
    (tmp_path / f"jobs_of_{library}.py").write_text(SNIPPETS[library])
    (tmp_path / "parts.csv").write_text("part\n" * 3)
    env = environment(gateway, REDIS_URL=redis_server.url, RQ_REDIS_URL=redis_server.url)
    env["PYTHONPATH"] += f":{tmp_path}"

    async def states_of(path: Path) -> list[dict[str, Any]]:
        command = [sys.executable, "-c", SENDS[library].format(path=str(path))]
        await asyncio.to_thread(subprocess.run, command, env=env, check=True, timeout=SECONDS)
        states: list[dict[str, Any]] = []
        while not states or states[-1]["status"] not in ("complete", "failed"):
            message = await read(device)
            if message["type"] == "upload_progress":
                states.append(message["data"])
        return states

    async with gateway.device() as device, running(*WORKERS[library], env=env), asyncio.timeout(SECONDS):
        done = await states_of(tmp_path / "parts.csv")
        assert (done[0]["status"], done[-1]["status"], done[-1]["currentRow"]) == ("running", "complete", 3)
        failed = await states_of(tmp_path / "missing.csv")
        changes = [each["status"] for at, each in enumerate(failed) if at == 0 or failed[at - 1] != each]
        assert changes == ["running", "retrying", "running", "retrying", "running", "failed"]
        assert len({each["run"] for each in failed}) == 1
        error = await read(device)
        assert (error["type"], error["data"]["code"]) == ("error", "UPLOAD_FAILED"), json.dumps(error)
