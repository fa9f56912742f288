"""Tables of the model for people: Markdown whose columns are in line, so that it reads well on a screen, too. Pure."""

from collections.abc import Callable, Sequence

from bench.figures import number
from bench.scale.ceilings import ceilings
from bench.scale.checked import Checked
from bench.scale.costs import Costs
from bench.scale.money import Bill, bill
from bench.scale.sizing import GIB, Sizing
from bench.scale.wave import waves
from bench.scale.workload import Workload

Rows = Sequence[Sequence[str]]
Show = Callable[[Sizing], str]


def table(heading: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table. The first column is text, the others are numbers."""
    widths = [max(map(len, cells)) for cells in zip(heading, *rows, strict=True)]
    marks = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_line(heading, widths), _line(marks, widths), *(_line(row, widths) for row in rows)]
    return "\n".join(lines)


def costs_table(costs: Costs) -> str:
    """Return the measured costs."""
    rows = [
        [
            f"`{name}`",
            number(cost.node_us),
            number(cost.redis_us),
            number(cost.redis_commands),
            number(cost.redis_in),
            number(cost.redis_out),
        ]
        for name, cost in costs.of.items()
    ]
    return table(["operation", "node, µs", "Redis, µs", "commands", "bytes to Redis", "bytes from Redis"], rows)


def memory_table(costs: Costs) -> str:
    """Return the measured memory."""
    memory = costs.memory
    rows = [
        ["a node's process", f"{memory.node_process / 1e6:.0f} MB"],
        ["each connection in it", number(memory.node_connection)],
        ["each connected user in it", number(memory.node_user)],
        ["each socket in the kernel, without its buffers", number(memory.kernel_socket)],
        ["in Redis: each connection", number(memory.redis_connection)],
        ["in Redis: each connected user", number(memory.redis_user)],
        ["in Redis: each stream that has something", number(memory.redis_stream)],
        ["in Redis: each message, beside its own bytes", number(memory.redis_message)],
        ["in Redis: each upload, beside its own bytes", number(memory.redis_state)],
    ]
    return table(["memory", "bytes"], rows)


def check_table(checks: Sequence[Checked]) -> str:
    """Return the comparison of the model with real nodes, and of several nodes with one alone."""
    alone = {each.devices: each for each in checks if each.nodes == 1}
    rows = [
        [
            f"{each.nodes}, users with {each.devices} device{'s' if each.devices > 1 else ''}",
            number(each.node_ms),
            f"{each.node_ms / alone[each.devices].node_ms:.2f}",
            number(each.node_by_model),
            f"{each.node_ratio:.2f}",
            number(each.redis_ms),
            number(each.redis_by_model),
            f"{each.redis_ratio:.2f}",
        ]
        for each in checks
    ]
    heading = ["nodes", "a node, ms/s", "÷ one alone", "model", "÷ model", "Redis, ms/s", "model", "÷ model"]
    return table(heading, rows)


def installation_table(sizings: Sequence[Sizing]) -> str:
    """Return workloads and their needs, one a column."""
    names = [f"{sizing.workload.connections:,} connections" for sizing in sizings]
    return table(["", *names], [_row(name, sizings, show) for name, show in _INSTALLATION])


def waves_table(sizings: Sequence[Sizing], costs: Costs) -> str:
    """Return the reconnect waves: clients, seconds, and the part that takes longest."""
    columns = [waves(sizing, costs) for sizing in sizings]
    rows = [
        [same[0].name, *(f"{each.connections:,.0f}: {number(each.seconds)} s ({each.by})" for each in same)]
        for same in zip(*columns, strict=True)
    ]
    names = [f"of {sizing.workload.connections:,} connections" for sizing in sizings]
    return table(["clients, and the time until all are back", *names], rows)


def bill_table(sizings: Sequence[Sizing]) -> str:
    """Return the bill of a month."""
    bills = [bill(sizing) for sizing in sizings]
    parts: tuple[tuple[str, Callable[[Bill], float]], ...] = (
        ("machines for nodes", lambda each: each.nodes),
        ("machines for Redis", lambda each: each.redis),
        ("load balancer", lambda each: each.balancer),
        ("traffic between zones", lambda each: each.zones),
        ("traffic to the internet", lambda each: each.egress),
        ("together", lambda each: each.total),
    )
    rows = [[name, *(f"${part(each):,.0f}" for each in bills)] for name, part in parts]
    rows.append(["for 1,000 connections", *(_each(one, sizing) for one, sizing in zip(bills, sizings, strict=True))])
    return table(["a month", *(f"{sizing.workload.connections:,} connections" for sizing in sizings)], rows)


def ceilings_table(workload: Workload, costs: Costs) -> str:
    """Return at how many connections each part is full, and the next step."""
    rows = [[each.part, _rounded(each.connections), each.step] for each in ceilings(workload, costs)]
    return table(["full is", "at connections", "next step"], rows)


def _each(one: Bill, sizing: Sizing) -> str:
    return f"${one.total / sizing.workload.connections * 1000:.2f}"


def _row(name: str, sizings: Sequence[Sizing], show: Show) -> list[str]:
    return [name, *(show(sizing) for sizing in sizings)]


def _bytes(amount: float) -> str:
    return f"{amount / GIB:,.0f} GiB" if amount >= 10 * GIB else f"{amount / GIB:.1f} GiB"


def _rate(bytes_a_second: float) -> str:
    return f"{bytes_a_second * 8 / 1e6:,.0f} Mbit/s"


def _rounded(connections: float) -> str:
    """Two digits are all that a model of this kind knows."""
    return f"{float(f'{connections:.1e}'):,.0f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"


_INSTALLATION: tuple[tuple[str, Show], ...] = (
    ("users who are connected", lambda sizing: f"{sizing.workload.users:,.0f}"),
    ("publications to users, per second", lambda sizing: f"{sizing.workload.publishes:,.0f}"),
    ("handshakes per second", lambda sizing: f"{sizing.workload.connects:,.0f}"),
    ("cores that nodes keep busy", lambda sizing: number(sizing.load.node_cores)),
    ("**nodes** (a core each)", lambda sizing: f"{sizing.nodes:,}, by {sizing.nodes_by}"),
    ("machines of 8 nodes, one to spare", lambda sizing: f"{sizing.machines:,}"),
    ("memory of all nodes, with the kernel's", lambda sizing: _bytes(sizing.load.node_memory)),
    ("cores that Redis keeps busy", lambda sizing: number(sizing.load.redis_cores)),
    ("**Redis shards**, each with a replica", lambda sizing: f"{sizing.shards:,}, by {sizing.shards_by}"),
    ("the fullest shard ÷ the average", lambda sizing: number(sizing.imbalance)),
    ("commands in Redis, per second", lambda sizing: f"{sizing.load.redis_commands:,.0f}"),
    ("memory in Redis", lambda sizing: _bytes(sizing.load.redis_memory)),
    ("network to Redis", lambda sizing: _rate(sizing.load.redis_in)),
    ("network from Redis", lambda sizing: _rate(sizing.load.redis_out)),
    ("network from devices", lambda sizing: _rate(sizing.load.devices_in)),
    ("network to devices", lambda sizing: _rate(sizing.load.devices_out)),
)
