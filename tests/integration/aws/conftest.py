"""The API with tellwire's functions, and proxies before its DynamoDB and its management API that can misbehave."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tellwire.engines.aws.carrier import AwsCarrier
from tests.aws_stack import Stack, running_stack
from tests.faults import Proxy, faulty_proxy


@pytest.fixture
def dynamodb_proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """A proxy before DynamoDB Local. Its faults do not depend on the implementation."""
    serves_faults = request.path.name.endswith("faults.py")
    with faulty_proxy(request.getfixturevalue("moto_dynamodb" if serves_faults else "dynamodb_local")) as proxy:
        yield proxy


@pytest.fixture
def stack(dynamodb_proxy: Proxy) -> Iterator[Stack]:
    """The API. Its functions and workers reach their table through `dynamodb_proxy`."""
    with running_stack(dynamodb_proxy.url) as running:
        yield running


@pytest.fixture
def keeping_stack(dynamodb_proxy: Proxy) -> Iterator[Stack]:
    """The API with a history."""
    with running_stack(dynamodb_proxy.url, has_history=True) as running:
        yield running


@pytest.fixture
def posts_proxy(stack: Stack) -> Iterator[Proxy]:
    with faulty_proxy(stack.api.management_url) as proxy:
        yield proxy


@pytest.fixture
async def carrier(stack: Stack, posts_proxy: Proxy) -> AsyncIterator[AwsCarrier]:
    """A worker's carrier, which posts through `posts_proxy`."""
    carrier = stack.carrier(AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI=posts_proxy.url)
    yield carrier
    await carrier.close()
