"""The tables of docs/explanation/scale.md, written from the measured costs, each between two comments. Pure."""

from collections.abc import Mapping

from bench.page import with_parts
from bench.scale import tables
from bench.scale.sizing import size
from bench.scale.stored import Measured
from bench.scale.workload import preset

PRESETS = (1_000_000, 10_000_000)


def tables_of(measured: Measured) -> Mapping[str, str]:
    """Return the tables by the names in the page. Engines of one node only have no installations."""
    costs = measured.costs
    known = {
        "costs": tables.costs_table(costs),
        "memory": tables.memory_table(costs),
        "check": tables.check_table(measured.checks),
    }
    if costs.engine != "redis":
        return known
    sizings = [size(preset(connections), costs) for connections in PRESETS]
    return known | {
        "installation": tables.installation_table(sizings),
        "waves": tables.waves_table(sizings, costs),
        "bill": tables.bill_table(sizings),
        "ceilings": tables.ceilings_table(preset(PRESETS[0]), costs),
    }


def with_tables(page: str, measured: Measured) -> str:
    """Return the page with its tables written anew.

    Raises:
        LookupError: the page has no place for one of them.
    """
    return with_parts(page, tables_of(measured))
