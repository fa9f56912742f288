"""The distribution of tests over processes (pytest-xdist): one file runs in one process, the longest files first.

Most of the time of most tests is waiting, so there are more processes than cores. A plugin.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# A CDK is made in Node once for a process, which takes longer than all that is asked of it.
CDK = ("tests/unit/infra/", "tests/integration/aws/test_cdk.py")

LONGEST = (
    *CDK,
    "tests/integration/aws/test_sam_example.py",
    "tests/browser/test_page.py",
    "tests/integration/apigateway/test_local_command.py",
    "tests/integration/test_cli.py",
    "tests/browser/",
    "tests/examples/",
    "tests/integration/",
    "tests/contract/",
)


def rank(item: pytest.Item) -> int:
    """Return the place of a test in the order of all."""
    return next((n for n, start in enumerate(LONGEST) if item.nodeid.startswith(start)), len(LONGEST))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the short files last, so that no process waits long for another."""
    items.sort(key=rank)


class Scheduling(LoadScopeScheduling):
    """Files, handed out one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return "the CDK" if nodeid.startswith(CDK) else nodeid.partition("::")[0]

    def remove_node(self, node: WorkerController) -> str | None:
        """Forget a process that has ended. Its current test has failed, and is not run again."""
        units = self.assigned_work[node]
        left = ((unit, nodeid) for unit in units.values() for nodeid, is_done in unit.items() if not is_done)
        unit, crashed = next(left, (None, None))
        if unit is not None and crashed is not None:
            unit[crashed] = True
        # Whoever gets a unit of which nothing is left would wait, and the run would never end.
        for scope in [scope for scope, unit in units.items() if all(unit.values())]:
            del units[scope]
        super().remove_node(node)
        return crashed


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Hand out files."""
    return Scheduling(config, log)
