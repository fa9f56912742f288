"""Cold starts: CPU time of imports and clients in a fresh process, and memory after the first event.

All code is compiled and in the page cache, and there is one file of certificates (botocore's). Nobody has
`typing_extensions`: it is in no function's package on this Python, and msgspec imports it wherever it is. A real cold
start reads the code from a slow file system, so that more modules cost more than here.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench import machine
from bench.aws_contenders import Spent
from bench.aws_server import REGION, environment

_ROOT = Path(__file__).parent.parent
_TIMEOUT_SECONDS = 60.0
_API = f"a1b2c3d4e5.execute-api.{REGION}.amazonaws.com"

BOTO3 = """
import os, boto3
dynamodb = boto3.client("dynamodb")
management = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["WEBSOCKET_API_ENDPOINT"])
"""
_DEPLOYMENT = "from tellwire.aws import handlers; deployment = handlers.Deployment(); deployment.table\n"
_EVENT = {"requestContext": {"domainName": _API, "stage": "prod"}}
FUNCTIONS = {
    "tellwire.aws.handlers": "import tellwire.aws.handlers",
    "$connect": _DEPLOYMENT + "deployment._authenticator",
    "$disconnect": _DEPLOYMENT,
    "$default": _DEPLOYMENT + f"deployment.management({_EVENT})",
    "a worker": "import os; from tellwire import producer; producer.carrier_from_environment(os.environ)",
}

# Used once, as in a warm function, so that everything it keeps in memory is there.
HANDLED = """
import os
from tellwire.aws.handlers import connect, default
context = {{"connectionId": "{connection_id}", "connectedAt": {connected_at}, "domainName": "unused", "stage": "prod"}}
query = {{"token": "{token}"}}
answer = connect({{"requestContext": context, "headers": {{}}, "queryStringParameters": query}}, None)
assert answer["statusCode"] == 200, answer
default({{"requestContext": context, "body": '{{"type": "ping"}}'}}, None)
"""
BOTO3_USED = (
    BOTO3
    + """
key = {{"userId": {{"S": "{user}"}}, "connectionId": {{"S": "{connection_id}"}}}}
dynamodb.put_item(TableName="{table}", Item=key)
dynamodb.query(
    TableName="{table}",
    IndexName="byConnection",
    KeyConditionExpression="connectionId = :connection",
    ExpressionAttributeValues={{":connection": key["connectionId"]}},
)
management.post_to_connection(ConnectionId="{connection_id}", Data=b"{{}}")
"""
)

_TIMED = """
import sys, time
sys.modules["typing_extensions"] = None
began, cpu_before = time.perf_counter(), time.process_time()
{code}
print(time.perf_counter() - began, time.process_time() - cpu_before)
"""
_RESIDENT = """
{code}
print(open("/proc/self/statm").read().split()[1])
"""


@dataclass(frozen=True, slots=True)
class FreshProcesses:
    """Runs code in a new process each time. Made by `fresh_processes`."""

    cores: machine.Cores
    bytecode: str

    def time_to(self, code: str) -> Spent:
        """Run code in the environment of a deployed function, without requests, and return its time.

        The interpreter's own start is not included.
        """
        deployed = environment(
            WEBSOCKET_API_ENDPOINT=f"https://{_API}/prod",
            COGNITO_USER_POOL_ID=f"{REGION}_AbCdEfGhI",
            COGNITO_CLIENT_ID="1example23456789",
        )
        wall, cpu = self._run(_TIMED.format(code=code), deployed)
        return Spent(wall, cpu)

    def resident_bytes(self, code: str, environment: Mapping[str, str]) -> int:
        """Run code, and return the resident memory of the process afterwards."""
        (pages,) = self._run(_RESIDENT.format(code=code), environment)
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _run(self, code: str, environment: Mapping[str, str]) -> list[float]:
        machine.require_core(0, self.cores.load)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=_ROOT,
            env={**environment, "PYTHONPYCACHEPREFIX": self.bytecode, "SSL_CERT_FILE": _certificates()},
            check=True,
            stdout=subprocess.PIPE,
            timeout=_TIMEOUT_SECONDS,
        )
        return [float(number) for number in done.stdout.split()]


@contextmanager
def fresh_processes(cores: machine.Cores) -> Iterator[FreshProcesses]:
    """Yield processes that share their compiled bytecode, independent of other bytecode on this machine."""
    with tempfile.TemporaryDirectory() as bytecode:
        yield FreshProcesses(cores, bytecode)


def _certificates() -> str:
    botocore = find_spec("botocore")
    assert botocore is not None
    assert botocore.origin is not None
    return str(Path(botocore.origin).parent / "cacert.pem")
