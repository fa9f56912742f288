"""The hub of a server, as the setting wants it."""

from tellwire.carriers.hub import Hub
from tellwire.server.deflating_socket import DeflatingHub
from tellwire.server.fan_out import make_hub
from tellwire.testing import FakeClock


def test_only_a_hub_with_compression_knows_of_it() -> None:
    assert type(make_hub(FakeClock())) is Hub
    assert type(make_hub(FakeClock(), compression=True)) is DeflatingHub
