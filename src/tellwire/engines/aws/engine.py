"""The engine on AWS: the tables that the environment names, and the management API of one stage.

It opens nothing: the first call connects, which keeps a cold start short.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tellwire.aws_api.management import Management
from tellwire.broker import ComposedBroker, LiveBroker
from tellwire.engine import Engine
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.engines.aws.connections import ConnectionsTable
from tellwire.engines.aws.environment import has_history, open_management, open_table, open_topic_rules
from tellwire.engines.aws.shut_outs import AwsShutOuts
from tellwire.ports import Clock, Observer, SystemClock
from tellwire.topics import TopicRules

if TYPE_CHECKING:
    from tellwire.engines.aws.history import DynamoHistory


def aws_engine(environ: Mapping[str, str], clock: Clock | None = None) -> Engine:
    """Return the engine that the environment names; see `environment`.

    Raises:
        ConfigError: a setting is missing or not valid.
    """
    clock = clock or SystemClock()
    topics = open_topic_rules(environ)
    history = open_history(environ, clock, topics) if has_history(environ) else None
    return compose(open_table(environ, clock), open_management(environ), history, clock, topics)


def open_history(environ: Mapping[str, str], clock: Clock, topics: TopicRules) -> "DynamoHistory":
    """Return the history in the table that the environment names.

    Raises:
        ConfigError: a setting is missing or not valid.
    """
    from tellwire.engines.aws.history import DynamoHistory  # functions without a history need none of it

    return DynamoHistory.from_environment(environ, clock, topics)


def compose(
    table: ConnectionsTable,
    management: Management,
    history: "DynamoHistory | None",
    clock: Clock,
    topics: TopicRules,
    observer: Observer | None = None,
) -> Engine:
    """Return an engine of these parts. Without a history it only delivers, and remembers no requests."""
    carrier = AwsCarrier(table, management, clock)
    shut_outs = AwsShutOuts(table, lambda: management, clock)
    if history is None:
        return Engine(LiveBroker(carrier, observer), carrier, shut_outs=shut_outs, topics=topics, close=carrier.close)

    async def close() -> None:
        await carrier.close()
        await history.close()

    broker = ComposedBroker(history, carrier, observer=observer, topics=topics)
    requests = history.requests
    return Engine(broker, carrier, history, shut_outs=shut_outs, requests=requests, topics=topics, close=close)
