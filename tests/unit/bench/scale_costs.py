"""Costs for tests of the model: round numbers, about a third of measured ones."""

from bench.scale.costs import Cost, Costs, Memory

COSTS = Costs(
    engine="redis",
    message_bytes=200,
    memory=Memory(
        node_process=50e6,
        node_connection=3000,
        node_user=2000,
        kernel_socket=3000,
        redis_connection=300,
        redis_user=500,
        redis_stream=1000,
        redis_message=300,
        redis_state=500,
    ),
    of={
        "base": Cost(2000, 500, 20, 1000, 1000),
        "watch": Cost(10_000, 5000, 500, 20_000, 10_000),
        "connect": Cost(600, 60, 6, 900, 400),
        "ping": Cost(15),
        "compare": Cost(5, 4, 3, 100, 60),
        "publish": Cost(300, 30, 12, 600, 100),
        "state": Cost(300, 35, 12, 700, 100),
        "line": Cost(60, 25, 12, 500, 100),
        "receive": Cost(40, 2, 0, 0, 350),
        "deliver": Cost(10),
        "deliver_all": Cost(8),
    },
)
