"""The file of the measured costs, and of the checks: `bench/results/scale.json`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.scale.checked import Checked
from bench.scale.costs import OPERATIONS, Cost, Costs, Memory, Operation

FILE = Path(__file__).parents[1] / "results" / "scale.json"


@dataclass(frozen=True, slots=True)
class Measured:
    """Costs and checks of one engine, with the machine, the date and the commit."""

    machine: dict[str, Any]
    costs: Costs
    checks: Sequence[Checked]


def load(engine: str, path: Path = FILE) -> Measured:
    """Return the measured costs of an engine, and its checks.

    Raises:
        LookupError: it was not measured.
    """
    stored = json.loads(path.read_text()) if path.exists() else {}
    if engine not in stored:
        raise LookupError(f"{path.name} has no costs of the engine {engine}: --calibrate measures them")
    found = stored[engine]
    of: dict[Operation, Cost] = {name: Cost(**found["of"][name]) for name in OPERATIONS}
    costs = Costs(engine, found["message_bytes"], Memory(**found["memory"]), of)
    checks = [Checked(**each) for each in found["checks"]]
    return Measured(found["machine"], costs, checks)


def save(measured: Measured, path: Path = FILE) -> None:
    """Store it in place of the earlier one of this engine."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    content = asdict(measured.costs)
    stored[content.pop("engine")] = {
        "machine": measured.machine,
        **content,
        "checks": [asdict(each) for each in measured.checks],
    }
    path.write_text(json.dumps(_short(stored), indent=2) + "\n")


def _short(value: Any) -> Any:
    """Round numbers to four digits: the fifth is noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, list | tuple) else value
