"""The engine on AWS: the tables that the environment names, and the management API of one stage.

It opens nothing: the first call connects, which keeps a cold start short.
"""

from collections.abc import Mapping

from tellwire.aws_api.management import Management
from tellwire.broker import ComposedBroker, LiveBroker
from tellwire.engine import Engine
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.engines.aws.connections import ConnectionsTable
from tellwire.engines.aws.environment import has_history, open_management, open_table
from tellwire.ports import Clock, History, SystemClock


def aws_engine(environ: Mapping[str, str], clock: Clock | None = None) -> Engine:
    """Return the engine that the environment names; see `environment`.

    Raises:
        ConfigError: a setting is missing or not valid.
    """
    clock = clock or SystemClock()
    history = open_history(environ, clock) if has_history(environ) else None
    return compose(open_table(environ, clock), open_management(environ), history, clock)


def open_history(environ: Mapping[str, str], clock: Clock) -> History:
    """Return the history in the table that the environment names.

    Raises:
        ConfigError: a setting is missing or not valid.
    """
    from tellwire.engines.aws.history import DynamoHistory  # functions without a history need none of it

    return DynamoHistory.from_environment(environ, clock)


def compose(table: ConnectionsTable, management: Management, history: History | None, clock: Clock) -> Engine:
    """Return an engine of these parts. Without a history it only delivers."""
    carrier = AwsCarrier(table, management, clock)
    if history is None:
        return Engine(LiveBroker(carrier), carrier, close=carrier.close)

    async def close() -> None:
        await carrier.close()
        await history.close()

    return Engine(ComposedBroker(history, carrier), carrier, history, close=close)
