"""Stacks with a `RealtimeApi` in them, synthesized once: the CDK runs in Node, which takes seconds to start.

Nothing imports the CDK before a fixture has looked for Node. Without Node these tests are skipped; CI must have it.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest

if TYPE_CHECKING:
    from tellwire.infra import RealtimeApi

Properties = dict[str, Any]
MakeApi = Callable[..., "RealtimeApi"]

STACKS = ("Plain", "Custom", "Worker", "LiveOnly", "Granted", "OverHttp")

SECRET = "a-secret-for-tests-of-forty-characters.."


@dataclass
class Synthesized:
    """The template of one stack, with queries."""

    path: Path

    @cached_property
    def template(self) -> dict[str, Any]:
        return dict(json.loads(self.path.read_text()))

    def of_type(self, resource_type: str) -> dict[str, Properties]:
        """Return the properties of all resources of a type, by logical id."""
        return {
            logical_id: resource.get("Properties", {})
            for logical_id, resource in self.template["Resources"].items()
            if resource["Type"] == resource_type
        }

    def named(self, resource_type: str, name: str) -> tuple[str, Properties]:
        """Return the logical id and the properties of the resource that has this name in the construct."""
        found = [each for each in self.of_type(resource_type).items() if each[0].startswith(f"Realtime{name}")]
        [only] = found
        return only

    def only(self, resource_type: str) -> tuple[str, Properties]:
        """Return the logical id and the properties of the one resource of a type."""
        [found] = self.of_type(resource_type).items()
        return found

    def function(self, handler: str) -> Properties:
        """Return the one function with this handler."""
        [found] = [each for each in self.of_type("AWS::Lambda::Function").values() if each["Handler"] == handler]
        return found

    def rights(self, handler: str) -> set[tuple[str, str]]:
        """Return all rights of a function: each action with each resource it is allowed on."""
        role_id = self.function(handler)["Role"]["Fn::GetAtt"][0]
        role = self.template["Resources"][role_id]["Properties"]
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        documents += [
            policy["PolicyDocument"]
            for policy in self.of_type("AWS::IAM::Policy").values()
            if {"Ref": role_id} in policy["Roles"]
        ]
        rights = {(text(arn), "managed") for arn in role.get("ManagedPolicyArns", [])}
        for statement in (statement for document in documents for statement in document["Statement"]):
            assert statement.keys() == {"Action", "Effect", "Resource"}
            assert statement["Effect"] == "Allow"
            rights |= {(act, text(on)) for act in _list(statement["Action"]) for on in _list(statement["Resource"])}
        return rights


def text(value: Any) -> str:
    """Return a value of a template as text: references as `${Id}` and `${Id.Attribute}`."""
    match value:
        case {"Ref": str(name)}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{name}.{attribute}}}"
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(text, parts))
        case _:
            return str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node's executable."""
    if (found := shutil.which("node")) is None:
        what = "there is no node on this machine"
        if os.environ.get("CI"):
            pytest.fail(f"{what}, and CI must run every test", pytrace=False)
        pytest.skip(what)
    return found


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a layer's zip and two directories of code in it."""
    directory = tmp_path_factory.mktemp("infra")
    with ZipFile(directory / "layer.zip", "w") as layer:
        layer.writestr("python/nothing.py", "")
    for name in ("all", "code"):
        (directory / name).mkdir()
        (directory / name / "app.py").write_text(f"# {name}\n")
    return directory


@pytest.fixture(scope="session")
def stacks(node: str, directory: Path) -> dict[str, Synthesized]:
    """All stacks, in one synthesis: `Plain` has only required options, `Custom` all options, `Worker` has a
    worker that may broadcast to connections and to all; `LiveOnly` has one, too, and no history; `Granted` has one with
    default rights; `OverHttp` has the broadcaster, and a role that may call it.
    """
    from aws_cdk import App

    app = App(outdir=str(directory / "cdk.out"), analytics_reporting=False)
    _plain(app, directory)
    _custom(app, directory)
    everywhere = {"to_connections": True, "to_all": True}
    _worker(app, directory, "Worker", everywhere)
    _worker(app, directory, "LiveOnly", everywhere, history=False)
    _worker(app, directory, "Granted", {})
    _over_http(app, directory)
    app.synth()
    return {name: Synthesized(directory / "cdk.out" / f"{name}.template.json") for name in STACKS}


@pytest.fixture
def plain(stacks: dict[str, Synthesized]) -> Synthesized:
    return stacks["Plain"]


@pytest.fixture
def custom(stacks: dict[str, Synthesized]) -> Synthesized:
    return stacks["Custom"]


@pytest.fixture
def worker(stacks: dict[str, Synthesized]) -> Synthesized:
    return stacks["Worker"]


@pytest.fixture
def over_http(stacks: dict[str, Synthesized]) -> Synthesized:
    return stacks["OverHttp"]


@pytest.fixture
def live_only(stacks: dict[str, Synthesized]) -> Synthesized:
    return stacks["LiveOnly"]


def _plain(app: Any, directory: Path) -> None:
    from aws_cdk import Stack
    from aws_cdk import aws_cognito as cognito

    from tellwire.infra import RealtimeApi

    stack = Stack(app, "Plain")
    pool = cognito.UserPool(stack, "Users")
    client = pool.add_client("Web")
    RealtimeApi(stack, "Realtime", layer=directory / "layer.zip", user_pool=pool, user_pool_client=client)


def _custom(app: Any, directory: Path) -> None:
    from aws_cdk import RemovalPolicy, Stack
    from aws_cdk import aws_apigatewayv2 as apigatewayv2
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_logs as logs
    from aws_cdk import aws_sns as sns

    from tellwire.infra import RealtimeApi

    stack = Stack(app, "Custom")
    topic = sns.Topic(stack, "Pager")
    RealtimeApi(
        stack,
        "Realtime",
        code=lambda_.Code.from_asset(str(directory / "all")),
        jwks_url="https://id.example.com/keys",
        environment={"TELLWIRE_JWT_ISSUER": "https://id.example.com", "MOCS_TABLE": "mocs"},
        message_code=lambda_.Code.from_asset(str(directory / "code")),
        message_handler="app.default",
        stage_name="dev",
        runtime=lambda_.Runtime.PYTHON_3_12,
        architecture=lambda_.Architecture.X86_64,
        throttle=apigatewayv2.ThrottleSettings(rate_limit=7, burst_limit=9),
        log_retention=logs.RetentionDays.ONE_WEEK,
        removal_policy=RemovalPolicy.RETAIN,
        point_in_time_recovery=True,
        alarm_topic=topic,
        set_account_log_role=True,
    )


def _over_http(app: Any, directory: Path) -> None:
    from aws_cdk import Stack
    from aws_cdk import aws_iam as iam

    from tellwire.infra import RealtimeApi

    stack = Stack(app, "OverHttp")
    realtime = RealtimeApi(
        stack,
        "Realtime",
        layer=directory / "layer.zip",
        environment={"TELLWIRE_JWT_SECRET": SECRET},
        http_publishing=True,
    )
    realtime.grant_http_publishing(iam.Role(stack, "Caller", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")))


def _worker(app: Any, directory: Path, name: str, rights: dict[str, bool], **options: Any) -> None:
    from aws_cdk import Stack
    from aws_cdk import aws_lambda as lambda_

    from tellwire.infra import RealtimeApi

    stack = Stack(app, name)
    layer = lambda_.LayerVersion(stack, "Shared", code=lambda_.Code.from_asset(str(directory / "layer.zip")))
    realtime = RealtimeApi(stack, "Realtime", layer=layer, environment={"TELLWIRE_JWT_SECRET": SECRET}, **options)
    csv_worker = lambda_.Function(
        stack,
        "CsvWorker",
        runtime=lambda_.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambda_.Code.from_inline("# parses"),
        layers=[layer],
        environment={"BUCKET": "parts"},
    )
    realtime.grant_broadcast(csv_worker, **rights)


@pytest.fixture
def granted(stacks: dict[str, Synthesized]) -> Synthesized:
    return stacks["Granted"]


@pytest.fixture
def make_api(node: str, directory: Path) -> MakeApi:
    """Put a `RealtimeApi` into a stack of its own, which is never synthesized."""
    from aws_cdk import App, Stack

    from tellwire.infra import RealtimeApi

    def make(**options: Any) -> "RealtimeApi":
        return RealtimeApi(Stack(App(outdir=str(directory / "unused")), "Stack"), "Realtime", **options)

    return make
