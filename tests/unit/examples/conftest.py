"""A carrier that remembers what the workers sent, and where their files go."""

from collections.abc import Iterator

import pytest

from tellwire.broadcast import Broadcaster, use_broadcaster
from tellwire.testing import MemoryCarrier


@pytest.fixture
def carrier() -> Iterator[MemoryCarrier]:
    """Everything sent in the test ends here."""
    carrier = MemoryCarrier()
    with use_broadcaster(Broadcaster(carrier)):
        yield carrier
