"""A carrier that records the workers' messages, and a folder for their files."""

from collections.abc import Iterator

import pytest

from tellwire.broadcast import Broadcaster, use_broadcaster
from tellwire.testing import MemoryCarrier


@pytest.fixture
def carrier() -> Iterator[MemoryCarrier]:
    """The carrier of all messages in the test."""
    carrier = MemoryCarrier()
    with use_broadcaster(Broadcaster(carrier)):
        yield carrier
