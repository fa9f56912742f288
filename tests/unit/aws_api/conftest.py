"""Scripted services, and clients with short backoff."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tellwire.aws_api.client import AwsClient, Retries
from tellwire.aws_api.credentials import FixedCredentials
from tellwire.aws_api.sigv4 import Credentials
from tests.unit.aws_api.scripted import Service, Step

StartService = Callable[..., Awaitable[Service]]
MakeClient = Callable[..., AwsClient]
Configure = Callable[[str], None]

CREDENTIALS = Credentials("AKID", "s3cret", "session-t0ken")
QUICK = Retries(attempts=4, first_wait_seconds=0.001, longest_wait_seconds=0.002)


@pytest.fixture
async def start_service() -> AsyncIterator[StartService]:
    """Start services with steps of the test's choice; they stop with the test."""
    async with AsyncExitStack() as stack:

        async def start(*steps: Step, tls: ssl.SSLContext | None = None) -> Service:
            return await stack.enter_async_context(Service(*steps).running(tls))

        yield start


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    """Make clients of services; their connections end with the test."""
    async with AsyncExitStack() as stack:

        def make(service: Service | str, name: str = "execute-api", **options: Any) -> AwsClient:
            url = service if isinstance(service, str) else service.url
            defaults: dict[str, Any] = {"credentials": FixedCredentials(CREDENTIALS), "retries": QUICK}
            client = AwsClient(name, url, "eu-central-1", **defaults | options)
            stack.push_async_callback(client.close)
            return client

        yield make


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Write AWS's configuration file, which is the only configuration in the test."""
    config = tmp_path / "config"
    config.touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def write(text: str) -> None:
        config.write_text(text)

    return write
