"""The table of metrics, as a node describes them."""

from collections.abc import Mapping

from scripts.reference.tables import table
from tellwire.counts import Counts
from tellwire.gateway.metrics import LiveValues, NodeMetrics
from tellwire.topics import TopicRules

_SUFFIXES = {"counter": "_total", "info": "_info"}


def parts(page: str) -> Mapping[str, str]:
    """Return the table of all metrics."""
    rows = [
        (f"`{each.name}{_SUFFIXES.get(each.type, '')}`", each.type, each.documentation)
        for each in NodeMetrics(Counts(TopicRules()), _nothing, "").collect()
    ]
    return {"metrics": table(("metric", "kind", ""), rows)}


def _nothing() -> LiveValues:
    return LiveValues(0, 0, 0, 0, 0, 0, 0, False, False)
