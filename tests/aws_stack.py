"""A WebSocket API on this machine with tellwire's own Lambda functions on it, its tables, and devices that connect."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
from websockets.asyncio.client import ClientConnection, connect

from tellwire.aws.deployment import Deployment
from tellwire.aws.handlers import Connect, Default, Disconnect, Sweep
from tellwire.aws_api.client import Retries
from tellwire.broker import BrokerCarrier, ComposedBroker
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.engines.aws.environment import open_history_table, open_management, open_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.testing import FakeClock
from tellwire.testing.api_gateway import ApiGateway, run_api_gateway
from tests.conftest import SECRET
from tests.dynamodb import create_connections_table, create_history_table, new_table_name

REGION = "us-east-1"
QUICK = Retries(first_wait_seconds=0.001, longest_wait_seconds=0.01)


@dataclass
class Stack:
    """A running API. `environ` is the environment of its functions and its workers."""

    api: ApiGateway
    environ: dict[str, str]
    deployment: Deployment
    clock: FakeClock
    default: Default
    carriers: list[AwsCarrier] = field(default_factory=list)

    def token(self, user_id: str = "user-1", ttl_seconds: float = 3600) -> str:
        """Return a token that is issued now, by the clock of the functions."""
        now = int(self.clock.now())
        return jwt.encode({"sub": user_id, "iat": now, "exp": now + int(ttl_seconds)}, SECRET, algorithm="HS256")

    @asynccontextmanager
    async def device(
        self, user_id: str = "user-1", ttl_seconds: float = 3600, **options: Any
    ) -> AsyncIterator[ClientConnection]:
        """Connect as a device of a user, the way the guide does."""
        self.api.advance(0.001)  # so that one is older than the next
        uri = f"{self.api.url}?{urlencode({'token': self.token(user_id, ttl_seconds)})}"
        async with connect(uri, proxy=None, compression=None, **options) as socket:
            yield socket

    @asynccontextmanager
    async def devices(self, count: int, user_id: str = "user-1") -> AsyncIterator[list[ClientConnection]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.device(user_id)) for _ in range(count)]

    def carrier(self, **environ: str) -> AwsCarrier:
        """Return a carrier as a worker has it, with some of its environment changed, that does not wait long."""
        changed = self.environ | environ
        carrier = AwsCarrier(
            open_table(changed, self.clock, QUICK), open_management(changed, retries=QUICK), self.clock
        )
        self.carriers.append(carrier)
        return carrier

    def keeping_carrier(self) -> BrokerCarrier:
        """Return a carrier as a worker has it where a history is kept. It does not wait long either."""
        history = DynamoHistory(open_history_table(self.environ, QUICK), self.clock)
        carrier = self.carrier()
        return BrokerCarrier(ComposedBroker(history, carrier, topics=self.deployment.topics), carrier)

    def sweep(self) -> int:
        """Run the scheduled function; return the number of leases that had expired. Not on the event loop."""
        return int(Sweep(self.deployment)({}, None)["expired"])

    async def user_ids(self) -> list[str]:
        """Return the users of the rows in the table of connections."""
        return sorted([row.user_id async for page, _ in self.deployment.table.everyone() for row in page])


@contextmanager
def running_stack(
    dynamodb: str, environ: Mapping[str, str] | None = None, *, has_history: bool = False
) -> Iterator[Stack]:
    """Run the API with new tables. Its clock follows the real time until a test moves it."""
    table_name = new_table_name("connections")
    create_connections_table(dynamodb, table_name)
    more = dict(environ or {})
    if has_history:
        more["HISTORY_TABLE_NAME"] = new_table_name("history")
        create_history_table(dynamodb, more["HISTORY_TABLE_NAME"])
    clock = FakeClock(time.time())
    settings = {
        "CONNECTIONS_TABLE_NAME": table_name,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
        "AWS_REGION": REGION,
        "TELLWIRE_JWT_SECRET": SECRET,
        **more,
    }
    deployment = Deployment(settings, clock)
    default = Default(deployment)
    routes: dict[str, Callable[[Any, Any], Any]] = {
        "$connect": Connect(deployment),
        "$disconnect": Disconnect(deployment),
        "$default": default,
    }
    with run_api_gateway(routes, clock=clock, route_selection_expression="$request.body.type") as api:
        here = api.environment | {"WEBSOCKET_API_ENDPOINT": api.management_url}
        del here["AWS_CA_BUNDLE"]
        for name, value in here.items():
            settings.setdefault(name, value)
        yield Stack(api, settings, deployment, clock, default)


async def read(socket: ClientConnection) -> dict[str, Any]:
    """Receive one message."""
    return dict(json.loads(await socket.recv()))
