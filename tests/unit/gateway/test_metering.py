"""The metering of a node: settings that it refuses, and two observers as one."""

import sys

import pytest

from tellwire.config import Settings
from tellwire.counts import Counts
from tellwire.errors import ConfigError
from tellwire.gateway import Node
from tellwire.gateway.metering import Metering, both
from tellwire.ports import NullObserver
from tellwire.topics import TopicRules

SECRET = "x" * 32


def test_a_node_counts_nothing_unless_its_settings_say_so() -> None:
    assert Node(Settings(jwt_secret=SECRET))._observer.__class__ is NullObserver
    assert isinstance(Node(Settings(jwt_secret=SECRET, metrics=True))._observer, Counts)


def test_the_extra_is_named_if_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "tellwire.gateway.metrics", raising=False)
    with pytest.raises(ConfigError, match=r"TELLWIRE_METRICS: .*pip install 'tellwire\[metrics\]'"):
        Node(Settings(jwt_secret=SECRET, metrics=True))


def test_several_workers_need_a_port_each_for_their_counts() -> None:
    settings = Settings(engine="redis", redis_url="redis://h", workers=2, metrics=True)
    with pytest.raises(ConfigError, match="2 workers without TELLWIRE_METRICS_PORT"):
        Metering(settings, TopicRules())


def test_an_observer_of_the_program_hears_everything_too() -> None:
    class Refusals(NullObserver):
        def __init__(self) -> None:
            self.codes: list[str] = []

        def connection_refused(self, code: str) -> None:
            self.codes.append(code)

    counts, own = Counts(TopicRules()), Refusals()
    pair = both(counts, own)
    pair.connection_refused("TOKEN_MISSING")
    pair.connection_opened()
    assert counts.refused == {"TOKEN_MISSING": 1}
    assert own.codes == ["TOKEN_MISSING"]
    assert counts.opened == 1
    assert type(pair) is not NullObserver, "a broker would not tell it anything"
