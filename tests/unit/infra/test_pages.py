"""The pages on the CDK and on SST: their Python runs, and their tables agree with the construct."""

import inspect
import json
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tests.unit.infra.conftest import Synthesized

pytestmark = [pytest.mark.timeout(180), pytest.mark.long]  # the first test waits for Node

DOCS = Path(__file__).parents[3] / "docs" / "how-to"
CDK = (DOCS / "cdk.md").read_text()
SST = (DOCS / "sst.md").read_text()
BROADCASTER = (DOCS / "aws-broadcast-function.md").read_text()
SNIPPETS = re.findall(r"```py\n(.*?)```", CDK + BROADCASTER, re.DOTALL)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory that the snippets assume."""
    for name in ("dist", "worker", "messages"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nothing.py").touch()
    with ZipFile(tmp_path / "dist" / "layer.zip", "w") as layer:
        layer.writestr("python/nothing.py", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippets_run(node: str, project: Path, code: str) -> None:
    from aws_cdk import App, Stack
    from aws_cdk import aws_cognito as cognito
    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_lambda as lambda_

    from tellwire.infra import RealtimeApi

    stack = Stack(App(), "Stack")
    pool = cognito.UserPool(stack, "Pool")
    key = dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING)
    names: dict[str, Any] = {
        "self": stack,
        "lambda_": lambda_,
        "pool": pool,
        "client": pool.add_client("Client"),
        "mocs": dynamodb.Table(stack, "Mocs", partition_key=key),
        "csv_worker": lambda_.Function(
            stack,
            "Worker",
            runtime=lambda_.Runtime.PYTHON_3_13,
            handler="worker.handler",
            code=lambda_.Code.from_inline("#"),
        ),
        "RealtimeApi": RealtimeApi,
    }
    names["notify"] = names["csv_worker"]
    if "realtime = " not in code:
        exec(SNIPPETS[0], names)
    # Node, if it is already running, has another working directory.
    exec(code.replace('from_asset("', f'from_asset("{project}/'), names)


def test_the_page_on_the_cdk_names_every_option_and_attribute(node: str) -> None:
    from tellwire.infra import RealtimeApi

    options = list(inspect.signature(RealtimeApi.__init__).parameters)[3:]  # without self, scope and id
    attributes = [name for name in vars(RealtimeApi) if not name.startswith(("_", "jsii"))]
    made = re.findall(r"self\.([a-z]\w*) = ", inspect.getsource(RealtimeApi))
    assert len(options) > 15
    assert {"url", "grant_broadcast", "connections_table"} <= {*attributes, *made}
    for name in (*options, *attributes, *made):
        assert f"`{name}" in CDK, name


def test_the_page_on_the_cdk_names_every_field_of_the_access_log(plain: Synthesized) -> None:
    _, stage = plain.only("AWS::ApiGatewayV2::Stage")
    for field in json.loads(stage["AccessLogSettings"]["Format"]):
        assert f"`{field}`" in CDK, field


SST_RESOURCES = {
    "table": ("Connections", ""),
    "index": ("Connections", "/index/byConnection"),
    "historyTable.arn": ("History", ""),
    "$interpolate`${historyTable.arn}/index/leasedUploads`": ("History", "/index/leasedUploads"),
}


def _in_sst(pattern: str) -> str:
    found = re.search(rf"\n( +){pattern}(.*?)\n\1}}", SST, re.DOTALL)
    assert found is not None, pattern
    return found[2]


def _rights_in(code: str, template: Synthesized) -> set[tuple[str, str]]:
    """Return the rights on tables that a part of the page grants, in the form of the template."""
    code += _in_sst("const keepHistory = {") if "keepHistory" in code else ""
    rights = set()
    for actions, resources in re.findall(r"actions: \[(.*?)\],\s+resources: \[(.*?)\]", code):
        for resource in resources.split(", "):
            table, index = SST_RESOURCES[resource]
            arn = f"${{{template.named('AWS::DynamoDB::Table', table)[0]}.Arn}}{index}"
            rights |= {(action, arn) for action in re.findall(r'"(.*?)"', actions)}
    return rights


@pytest.mark.parametrize("name", ["connect", "disconnect", "default", "sweep"])
def test_the_page_on_sst_gives_a_handler_what_the_construct_gives_it(plain: Synthesized, name: str) -> None:
    rights = plain.rights(f"tellwire.aws.handlers.{name}")
    code = _in_sst(r'new sst\.aws\.Cron\("Sweep", {' if name == "sweep" else rf'websocketApi\.route\("\${name}", {{')
    assert _rights_in(code, plain) == {right for right in rights if right[0].startswith("dynamodb:")}
    assert ("manageConnections" in code) is ("execute-api:ManageConnections" in {action for action, _ in rights})
    [environment] = re.findall(r"environment: (.*),\n", code)
    known = {"connect": "verified", "disconnect": "stored", "default": "{ ...verified, ...kept }", "sweep": "kept"}
    assert environment == known[name]


def test_the_page_on_sst_gives_a_worker_what_the_construct_gives_it(granted: Synthesized) -> None:
    rights = granted.rights("index.handler")
    [code] = re.findall(r"\n  permissions: \[(.*?)\n  \]", SST, re.DOTALL)
    assert _rights_in(code, granted) == {right for right in rights if right[0].startswith("dynamodb:")}
    assert "manageConnections" in code


@pytest.mark.parametrize("name", ["connect", "disconnect", "default", "sweep"])
def test_the_page_on_sst_gives_a_handler_the_time_and_the_memory_of_the_construct(
    plain: Synthesized, name: str
) -> None:
    function = plain.function(f"tellwire.aws.handlers.{name}")
    code = _in_sst(r'new sst\.aws\.Cron\("Sweep", {') if name == "sweep" else _in_sst("route: {")
    assert f'timeout: "{function["Timeout"]} seconds"' in code
    assert f'memory: "{function["MemorySize"]} MB"' in code


@pytest.mark.parametrize("name", ["Connections", "History"])
def test_the_page_on_sst_has_the_tables_that_the_construct_makes(plain: Synthesized, name: str) -> None:
    _, table = plain.named("AWS::DynamoDB::Table", name)
    code = _in_sst(rf'const \w+ = new sst\.aws\.Dynamo\("{name}", {{')
    partition, sort = (key["AttributeName"] for key in table["KeySchema"])
    [index] = table["GlobalSecondaryIndexes"]
    names = zip(("hashKey", "rangeKey"), (key["AttributeName"] for key in index["KeySchema"]), strict=False)
    keys = ", ".join(f'{kind}: "{attribute}"' for kind, attribute in names)
    projection = {"ALL": "", "KEYS_ONLY": ', projection: "keys-only"'}[index["Projection"]["ProjectionType"]]
    fields = ", ".join(f'{each["AttributeName"]}: "string"' for each in table["AttributeDefinitions"])
    assert f"fields: {{ {fields} }}" in code
    assert f'primaryIndex: {{ hashKey: "{partition}", rangeKey: "{sort}" }}' in code
    assert f"globalIndexes: {{ {index['IndexName']}: {{ {keys}{projection} }} }}" in code.replace(",\n", "\n")
    assert f'ttl: "{table["TimeToLiveSpecification"]["AttributeName"]}"' in code


def test_the_page_on_the_broadcaster_gives_it_in_sst_what_the_construct_gives_it(over_http: Synthesized) -> None:
    rights = over_http.rights("tellwire.aws.handlers.broadcast")
    [code] = re.findall(r'sst\.aws\.Function\("Broadcast", \{(.*?)\n\}\);', BROADCASTER, re.DOTALL)
    assert _rights_in(code, over_http) == {right for right in rights if right[0].startswith("dynamodb:")}
    assert "manageConnections" in code
    assert 'authorization: "iam"' in code


def test_the_functions_of_the_page_on_sst_are_there() -> None:
    [code] = re.findall(r"```py\n(.*?)```", SST, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert all(callable(names[name]) for name in names["__all__"])
