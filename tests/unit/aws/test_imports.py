"""The modules that a Lambda function loads: each of them makes a cold start slower."""

import json
import subprocess
import sys

import pytest

# boto3 alone takes longer to import than all the rest does.
HEAVY = (
    "boto3",
    "botocore",
    "click",
    "cryptography",
    "hiredis",
    "jwt",
    "redis",
    "rich",
    "starlette",
    "uvicorn",
    "uvloop",
    "websockets",
)
PROGRAM = """
import json, sys
import {module}
heavy = set({heavy!r}) & {{name.partition(".")[0] for name in sys.modules}}
print(json.dumps(sorted(heavy | {{name for name in sys.modules if name.startswith("tellwire.gateway")}})))
"""


@pytest.mark.parametrize(
    "module",
    [
        "tellwire.aws.handlers",
        "tellwire.aws.publishes",
        "tellwire.engines.aws.carrier",
        "tellwire.engines.aws.history",
        "tellwire.sync",
        "tellwire.aws",
        "tellwire",
    ],
)
def test_a_function_loads_only_the_modules_it_needs(module: str) -> None:
    program = PROGRAM.format(module=module, heavy=HEAVY)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == []


def test_connect_and_disconnect_load_no_module_of_the_history() -> None:
    program = """
import sys
import tellwire.aws.handlers
for room in (
    "engines.aws.history", "engines.aws.presence_table", "engines.aws.topic_presence", "carriers.hub", "carriers.http",
    "conversation", "config", "plain_http", "broker", "topics", "topic_settings",
):
    assert f"tellwire.{room}" not in sys.modules, room
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_worker_with_a_history_loads_no_settings_of_a_gateway() -> None:
    program = "import sys, tellwire.engines.aws.history\nassert 'tellwire.config' not in sys.modules"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_function_begins_without_any_setting() -> None:
    # What is missing is said when it is needed, in the function's own log; SAM and CDK load modules to look at them.
    names = "broadcast, connect, default, disconnect, sweep"
    program = f"from tellwire.aws.handlers import {names}\nassert callable(connect)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
