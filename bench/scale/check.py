"""A check of the model: one, two and three real nodes do a mix at a pace, and are compared with the model's sum.

The mix is not one of the calibration's stages: clients connect, say hello and ping; then notifications, updates and
batches go to all nodes in turn. Each user has one device, so that a delivery is the same work on one node as on three,
or two, on two nodes where there are two.
"""

from collections.abc import Sequence
from statistics import median

from bench.machine import Cores
from bench.mix import BATCH, Mix
from bench.native import nobody
from bench.scale.calibrate import HELLO, PING
from bench.scale.checked import Checked
from bench.scale.costs import Costs, Operation
from bench.scale.installation import Installation, Used, installation
from bench.scale.model import total
from bench.traffic import batch_requests
from tellwire.limits import REDIS_COMPARE_SECONDS

USERS = 300
PER_SECOND = 40.0
"""Users of a node, and requests a second to it: 116 publications."""
SECONDS = 5.0
ROUNDS = 3


def check(cores: Cores, costs: Costs, nodes: int, devices: int, rounds: int = ROUNDS) -> Checked:
    """Run the mix on this many nodes, and compare. The medians of the rounds count."""
    with installation(cores, costs.engine, nodes) as on:
        runs = [_run(on, costs, number, devices) for number in range(rounds)]
    names = ("node_ms", "node_by_model", "redis_ms", "redis_by_model")
    return Checked(nodes, devices, *(median(getattr(run, name) for run in runs) for name in names))


def _run(on: Installation, costs: Costs, number: int, devices: int) -> Checked:
    nodes = len(on.nodes)
    users = [f"user-{number}-{each}" for each in range(USERS * nodes)]
    homes = _homes(users, nodes, devices)
    owners = [user for home in homes for user in home]
    mix = Mix.of(users, int(PER_SECOND * nodes * SECONDS))
    with on.clients() as clients, nobody() as absent:
        # Streams begin once: most publications find theirs.
        absent.publish(clients, batch_requests(users, BATCH), 0)
    with on.using() as used, on.connected(homes) as fleet:
        fleet.ask(HELLO)
        fleet.reset()
        fleet.ask(PING)
        fleet.reset()
        with on.clients() as clients:
            mix.run(fleet, owners, clients, PER_SECOND * nodes)
    expected = total(_operations(on, mix, used, len(users), devices), costs)
    a_second = 1 / used.seconds / 1000
    return Checked(
        nodes,
        devices,
        sum(used.nodes_us) * a_second / nodes,
        expected.node_us * a_second / nodes,
        used.redis.redis_us * a_second,
        expected.redis_us * a_second,
    )


def _homes(users: Sequence[str], nodes: int, devices: int) -> list[list[str]]:
    """Return the users of each node: the devices of one are on neighbours, and neighbouring users apart."""
    homes: list[list[str]] = [[] for _ in range(nodes)]
    for number, user in enumerate(users):
        for device in range(devices):
            # Requests go round the nodes and round the users: the shift makes them meet on another node each time.
            homes[(number + number // nodes + device) % nodes].append(user)
    return homes


def _operations(on: Installation, mix: Mix, used: Used, users: int, devices: int) -> dict[Operation, float]:
    """Return the number of each operation."""
    spread = min(devices, len(on.nodes))
    tens = len(mix.requests) // 10
    done: dict[Operation, float] = {
        "base": used.seconds * len(on.nodes),
        "watch": used.seconds,
        "connect": users * devices,
        "ping": users * devices,
        "publish": 6 * tens,
        "state": 3 * tens,
        "line": BATCH * tens,
        "receive": mix.kept * spread,
        "deliver": mix.kept * (devices - spread),
    }
    if on.redis is not None:
        done["compare"] = users * spread * used.seconds / REDIS_COMPARE_SECONDS
    return done
