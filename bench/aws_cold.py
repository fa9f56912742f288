"""Fresh processes: what a function has to import and make before its first event, and the memory it then lives in.

What is imported is in the page cache and compiled. A real cold start reads it from a file system that has never seen
it, so that more modules cost more than here.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bench import machine
from bench.aws_contenders import Spent
from bench.aws_server import ENVIRONMENT, REGION

_ROOT = Path(__file__).parent.parent
_TIMEOUT_SECONDS = 60.0

# A deployment on AWS, over TLS; nobody is asked anything.
DEPLOYED = {
    **ENVIRONMENT,
    "WEBSOCKET_API_ENDPOINT": f"https://a1b2c3d4e5.execute-api.{REGION}.amazonaws.com/prod",
    "COGNITO_USER_POOL_ID": f"{REGION}_AbCdEfGhI",
    "COGNITO_CLIENT_ID": "1example23456789",
}

BOTO3 = """
import os, boto3
dynamodb = boto3.client("dynamodb")
management = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["WEBSOCKET_API_ENDPOINT"])
"""
_DEPLOYMENT = "from tellwire.aws import handlers; deployment = handlers.Deployment(); deployment.table\n"
_EVENT = {"requestContext": {"domainName": f"a1b2c3d4e5.execute-api.{REGION}.amazonaws.com", "stage": "prod"}}
FUNCTIONS = {
    "$connect": _DEPLOYMENT + "deployment.authenticator",
    "$disconnect": _DEPLOYMENT,
    "$default": _DEPLOYMENT + f"deployment.management({_EVENT})",
    "a worker": "import os; from tellwire import engine; engine.carrier_from_environment(os.environ)",
}

# Used once, as a warm function has been: what is in memory then stays there.
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
import time
began, cpu_before = time.perf_counter(), time.process_time()
{code}
print(time.perf_counter() - began, time.process_time() - cpu_before)
"""
_RESIDENT = """
{code}
print(open("/proc/self/statm").read().split()[1])
"""


def time_to(code: str, cores: machine.Cores, environment: Mapping[str, str]) -> Spent:
    """Run code in a fresh process; the interpreter's own start is not in the figure."""
    wall, cpu = _run(_TIMED.format(code=code), cores, environment)
    return Spent(wall, cpu)


def resident_bytes(code: str, cores: machine.Cores, environment: Mapping[str, str]) -> int:
    """Run code in a fresh process, and return how much of it is in RAM then."""
    (pages,) = _run(_RESIDENT.format(code=code), cores, environment)
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _run(code: str, cores: machine.Cores, environment: Mapping[str, str]) -> list[float]:
    machine.require_core(0, cores.load)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TELLWIRE_", "COGNITO_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_ROOT,
        env={**kept, **environment},
        check=True,
        stdout=subprocess.PIPE,
        timeout=_TIMEOUT_SECONDS,
    )
    return [float(number) for number in done.stdout.split()]
