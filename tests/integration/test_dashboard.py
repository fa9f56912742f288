"""The dashboard and alerts of deploy/: their queries name metrics that exist, and a real Prometheus answers them."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from math import isnan
from pathlib import Path
from typing import Any

import pyreqwest.client
import yaml
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bench.processes import free_port
from tellwire import Settings
from tellwire.counts import Counts
from tellwire.gateway import Node
from tellwire.gateway.metrics import LiveValues, NodeMetrics
from tellwire.messages import create_message
from tellwire.server.socket import Connection
from tellwire.topics import TopicRules
from tests.conftest import SECRET, Gateway, read
from tests.tools import SECONDS, require

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "tellwire.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())

WINDOW = "8s"
VARIABLES = {"$__rate_interval": WINDOW, "$job": "tellwire", "$instance": ".*"}


def queries() -> dict[str, str]:
    """Return the queries of the dashboard, as Grafana sends them, by panel and letter."""
    found = {}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            found[f"{panel['title']} {target['refId']}"] = query
    return found


def rules() -> list[dict[str, Any]]:
    """Return the alerts."""
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def known_labels() -> dict[str, set[str]]:
    """Return the labels of each name that a node exposes, besides those that Prometheus adds."""
    counts = Counts(TopicRules())
    for tally in vars(counts).values():
        if isinstance(tally, dict):
            tally["word"] = 1
    live = LiveValues(*[0] * len(fields(LiveValues)))  # type: ignore[arg-type]
    return {
        sample.name: set(sample.labels)
        for family in NodeMetrics(counts, lambda: live, "memory").collect()
        for sample in family.samples
    }


def test_each_query_names_metrics_and_labels_that_exist() -> None:
    labels, used = known_labels(), set()
    for query in [*queries().values(), *(rule["expr"] for rule in rules())]:
        names = set(re.findall(r"\btellwire_\w+", query))
        assert names <= labels.keys(), query
        used |= names
        own = {"job", "instance", "offset"}.union(*(labels[name] for name in names))
        matched = re.findall(r"[{,]\s*(\w+)\s*(?==~?\")", query)
        grouped = [each for words in re.findall(r"by \(([^)]*)\)", query) for each in words.split(", ")]
        assert {*matched, *grouped} <= own | {"generation"}, query
    # What is counted is shown; the rest are parts of histograms, and the labels of the variables.
    hidden = {name for name in labels if name.endswith(("_sum", "_count", "_created"))}
    assert labels.keys() - used - hidden == {"tellwire_node_info"}


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_prometheus_takes_the_alerts_and_they_fire_as_their_test_says() -> None:
    promtool = require("promtool")
    for command in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
        done = subprocess.run(
            [promtool, *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    tested = {
        each["alertname"]
        for test in yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text())["tests"]
        for each in test["alert_rule_test"]
        if each.get("exp_alerts")
    }
    assert tested == {rule["alert"] for rule in rules()}


@asynccontextmanager
async def prometheus(directory: Path, target: int) -> AsyncIterator[str]:
    """Run a Prometheus that scrapes a port twice a second; yields its address."""
    config = directory / "prometheus.yml"
    scrapes = {"job_name": "tellwire", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "500ms"}, "scrape_configs": [scrapes]}))
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        require("prometheus"),
        *(f"--config.file={config}", f"--storage.tsdb.path={directory}/data", f"--web.listen-address={address}"),
        "--log.level=error",
        cwd=directory,
    )
    try:
        yield f"http://{address}"
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def traffic(gateway: Gateway) -> None:
    """Run clients that come, are told, are refused and are slow, once."""
    node = gateway.node
    with suppress(InvalidStatus):
        async with connect(gateway.ws_url, proxy=None):
            pass
    async with gateway.device() as device, gateway.device("slow", max_queue=1) as slow:
        await device.send('{"type": "hello", "cursor": "0"}')
        while (await read(device))["type"] != "welcome":
            pass
        for _ in range(8):
            await device.send("{}")
        await node.broadcaster.broadcast_to_user("user-1", create_message("note", 1))
        await node.broadcaster.broadcast_to_topic("moc:1", create_message("note", 1))
        slow.transport.pause_reading()
        (connection,) = (
            each for each in node.hub._by_id.values() if isinstance(each, Connection) and each.user_id == "slow"
        )
        while not connection._is_behind:
            await node.broadcaster.broadcast_to_user("slow", create_message("note", "x" * 60_000))
            await asyncio.sleep(0)
        while node.sockets.behind:
            await node.broadcaster.broadcast_to_user("slow", create_message("note", "waits"))
            await asyncio.sleep(0)
        slow.transport.abort()
        with suppress(ConnectionClosed):
            await device.close()


async def answer(client: pyreqwest.client.Client, url: str, query: str) -> list[float]:
    """Return the values of a query that are numbers."""
    response = await client.get(f"{url}/api/v1/query").query([("query", query)]).build().send()
    if response.status == 503:  # it begins
        return []
    found = await response.json()
    assert found["status"] == "success", found
    values = [float(each["value"][1]) for each in found["data"]["result"]]
    return [each for each in values if not isnan(each)]


async def test_all_queries_have_data_after_real_traffic(tmp_path: Path) -> None:
    require("prometheus")
    port = free_port()
    node = Node(
        Settings(
            port=0,
            jwt_secret=SECRET,
            engine="memory",
            drain_seconds=1,
            outbox_max_messages=4,
            message_burst=5,
            metrics=True,
            metrics_port=port,
        )
    )
    assert node._metering is not None
    counts = node._metering.counts
    # These need a broken disk, a dead worker, a server of the project's own, and a busy producer.
    counts.publish_failed("HISTORY_UNAVAILABLE")
    counts.lease_expired("failed")
    counts.escalation_ended("called")
    counts.publish_refused("worker")
    async with node.running() as url, prometheus(tmp_path, port) as answers:
        going = asyncio.create_task(_repeat(Gateway(node, url)))
        async with asyncio.timeout(SECONDS), pyreqwest.client.ClientBuilder().no_proxy().build() as client:
            missing = queries()
            while missing:
                await asyncio.sleep(0.1)
                with suppress(pyreqwest.exceptions.ConnectError):
                    missing = {name: each for name, each in missing.items() if not await answer(client, answers, each)}
        going.cancel()
        await asyncio.wait([going])


async def _repeat(gateway: Gateway) -> None:
    while True:
        await traffic(gateway)
