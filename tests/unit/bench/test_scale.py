"""The model of cost for many nodes."""

from dataclasses import replace

import pytest

from bench.scale.ceilings import ceilings
from bench.scale.costs import Cost
from bench.scale.model import load, nodes_of_a_user, pings, rates, total
from bench.scale.money import bill, egress
from bench.scale.sizing import Plan, imbalance, size
from bench.scale.wave import SILENT_SECONDS, waves
from bench.scale.workload import Workload, preset
from tests.unit.bench.scale_costs import COSTS

MILLION = preset(1_000_000)


def test_a_cost_is_added_and_multiplied_in_every_part() -> None:
    assert (Cost(1, 2, 3, 4, 5) + Cost(10, 20, 30, 40, 50)) * 2 == Cost(22, 44, 66, 88, 110)


@pytest.mark.parametrize(
    ("devices", "nodes", "spread"), [(1, 1, 1.0), (3, 1, 1.0), (1, 100, 1.0), (2, 2, 1.5), (2, 1000, 1.999)]
)
def test_devices_of_a_user_are_on_nodes_of_their_own_where_there_are_many(
    devices: int, nodes: int, spread: float
) -> None:
    assert nodes_of_a_user(devices, nodes) == pytest.approx(spread)


def test_a_client_without_messages_pings_every_25_seconds() -> None:
    assert pings(1000, 0.0) == pytest.approx(40)
    assert pings(1000, 1e-9) == pytest.approx(40)


def test_a_client_that_gets_messages_pings_less() -> None:
    assert pings(1000, 1 / 25) == pytest.approx(1000 / 25 / (2.718281828 - 1))
    assert pings(1000, 1.0) < 1e-6


def test_every_publication_to_a_connected_user_reaches_every_device() -> None:
    of = rates(replace(MILLION, devices=2.0, absent_share=0.25), nodes=20)
    assert of["publish"] + of["state"] + of["line"] == pytest.approx(MILLION.publishes)
    assert of["receive"] + of["deliver"] == pytest.approx(MILLION.publishes * 0.75 * 2)


def test_clients_come_back_as_often_as_the_workload_says_and_rotate() -> None:
    assert Workload(connections=6600, publishes=0, returns_per_hour=0).connects == pytest.approx(1)
    assert Workload(connections=3600, publishes=0, returns_per_hour=2).connects == pytest.approx(2 + 3600 / 6600)


def test_comparisons_with_redis_are_bounded_on_each_node() -> None:
    assert rates(MILLION, nodes=1)["compare"] == 1000
    assert rates(preset(1000), nodes=1)["compare"] == pytest.approx(1000 / 1.5 / 5)


def test_a_larger_message_is_more_bytes_to_redis_and_to_each_node() -> None:
    of = {"publish": 10.0, "receive": 30.0}
    before, after = total(of, COSTS), total(of, COSTS, COSTS.message_bytes + 100)  # type: ignore[arg-type]
    assert after.redis_in - before.redis_in == 10 * 100
    assert after.redis_out - before.redis_out == 30 * 100
    assert after.node_us == before.node_us


def test_ten_times_the_connections_need_about_ten_times_as_much() -> None:
    small, large = load(MILLION, COSTS, 100), load(MILLION.scaled(10_000_000), COSTS, 1000)
    for part in ("node_cores", "redis_cores", "redis_in", "redis_out", "devices_out", "node_memory", "redis_memory"):
        assert getattr(large, part) == pytest.approx(10 * getattr(small, part), rel=0.02), part


def test_an_installation_keeps_to_its_plan() -> None:
    sized = size(MILLION, COSTS)
    assert sized.node_share <= sized.plan.node_busy
    assert sized.redis_share <= sized.plan.redis_busy
    assert sized.nodes >= MILLION.connections / sized.plan.connections_a_node


@pytest.mark.parametrize(
    ("plan", "nodes_by", "shards_by"),
    [
        (Plan(connections_a_node=1000, redis_gib=4), "connections", "memory"),
        (Plan(node_gib=0.25, redis_gib=1000), "memory", "CPU"),
        (Plan(node_busy=0.05, redis_mbit=1, redis_gib=1000), "CPU", "network"),
    ],
)
def test_what_is_scarcest_decides(plan: Plan, nodes_by: str, shards_by: str) -> None:
    sized = size(MILLION, COSTS, plan)
    assert (sized.nodes_by, sized.shards_by) == (nodes_by, shards_by)


def test_buckets_are_not_quite_even_over_shards() -> None:
    assert imbalance(1) == 1
    assert all(1 <= imbalance(shards) < 1.2 for shards in range(2, 17))
    assert imbalance(96) > 1.5
    assert imbalance(2048) >= 2


def test_a_small_installation_is_one_node_and_one_shard() -> None:
    sized = size(preset(1000), COSTS)
    assert (sized.nodes, sized.shards) == (1, 1)


def test_clients_of_a_machine_that_vanished_notice_by_their_ping() -> None:
    process, machine, everybody = waves(size(MILLION, COSTS), COSTS)
    assert machine.noticed_seconds == SILENT_SECONDS == 30
    assert machine.seconds >= 30
    assert process.connections < machine.connections < everybody.connections == 1_000_000
    assert process.seconds < machine.seconds


def test_a_wave_takes_as_long_as_the_slowest_part() -> None:
    slow = replace(COSTS, of=COSTS.of | {"connect": replace(COSTS.of["connect"], redis_us=10_000)})
    everybody = waves(size(MILLION, COSTS), slow)[-1]
    assert everybody.by == "Redis"
    assert everybody.seconds == everybody.redis_seconds > everybody.node_seconds


@pytest.mark.parametrize(("gigabytes", "dollars"), [(0, 0), (10e3, 900), (60e3, 900 + 3400 + 700), (200e3, 13_800)])
def test_traffic_to_the_internet_is_priced_by_steps(gigabytes: float, dollars: float) -> None:
    assert egress(gigabytes) == pytest.approx(dollars)


def test_a_bill_is_the_sum_of_its_parts() -> None:
    found = bill(size(MILLION, COSTS))
    assert found.total == pytest.approx(found.nodes + found.redis + found.balancer + found.zones + found.egress)
    assert min(found.nodes, found.redis, found.balancer, found.zones, found.egress) > 0


def test_ceilings_come_in_the_order_in_which_they_break() -> None:
    found = [each.connections for each in ceilings(MILLION, COSTS)]
    assert found == sorted(found)
    assert len(found) >= 7


def test_a_dearer_script_lowers_the_ceiling_of_one_redis() -> None:
    dearer = replace(COSTS, of=COSTS.of | {"publish": replace(COSTS.of["publish"], redis_us=3000)})

    def of_main_thread(costs: object) -> float:
        return next(each.connections for each in ceilings(MILLION, costs) if "main thread" in each.part)  # type: ignore[arg-type]

    assert of_main_thread(dearer) < of_main_thread(COSTS) / 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"state_share": 1.1},
        {"absent_share": -0.1},
        {"state_share": 0.7, "batch_share": 0.4},
        {"devices": 0.5},
        {"connections": 10**20},
        {"publishes": -1},
        {"publishes": float("nan")},
        {"publishes": float("inf")},
        {"message_bytes": -1},
    ],
)
def test_a_workload_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Workload(**{"connections": 1000, "publishes": 1} | wrong)  # type: ignore[arg-type]
