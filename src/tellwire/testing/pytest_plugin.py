"""The pytest plugin. pytest loads it wherever tellwire is installed, so it imports nothing until a fixture is used."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tellwire.testing.api_gateway import ApiGateway


@pytest.fixture
def api_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., "ApiGateway"]]:
    """Start local API Gateways for the test: `api_gateway({"$connect": on_connect}, authorizer=…)`.

    A worker that the test calls itself, and publishes with `tellwire.sync`, finds the environment of this test, too.

    The arguments are those of `tellwire.testing.api_gateway.run_api_gateway`. The environment is set so that boto3
    clients created afterwards, by handlers or by the test, find the last one started, trust its certificate, and do not
    use your credentials.
    """
    try:
        from tellwire.testing.api_gateway import run_api_gateway
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tellwire"):
            raise
        pytest.fail(f"api_gateway needs {error.name}: pip install 'tellwire[local]'", pytrace=False)

    with ExitStack() as stack:

        def start(*arguments: Any, **options: Any) -> "ApiGateway":
            gateway = stack.enter_context(run_api_gateway(*arguments, **options))
            for name, value in gateway.environment.items():
                monkeypatch.setenv(name, value)
            monkeypatch.delenv("AWS_PROFILE", raising=False)
            _forget_carrier()
            return gateway

        yield start
    _forget_carrier()


def _forget_carrier() -> None:
    # A process keeps the carrier that its environment named at the first publish: it may be another test's.
    if (producer := sys.modules.get("tellwire.producer")) is not None:
        producer.forget_carrier()
