"""A small valid template, in which a test changes one place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.definition import Project
from tellwire.apigateway.template import read_project

Template = dict[str, Any]
Read = Callable[..., Project]

INVOCATION = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Fn.Arn}/invocations"


@pytest.fixture
def template() -> Template:
    """Return a minimal CloudFormation template with one route and one function."""
    return {
        "Resources": {
            "Chat": _resource(
                "ApiGatewayV2::Api", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
            ),
            "Connect": _resource(
                "ApiGatewayV2::Route",
                ApiId={"Ref": "Chat"},
                RouteKey="$connect",
                Target={"Fn::Sub": "integrations/${ConnectIntegration}"},
            ),
            "ConnectIntegration": _resource(
                "ApiGatewayV2::Integration",
                ApiId={"Ref": "Chat"},
                IntegrationType="AWS_PROXY",
                IntegrationUri={"Fn::Sub": INVOCATION},
            ),
            "Fn": _resource("Lambda::Function", Handler="app.handler", Runtime="python3.12", Code="code"),
        }
    }


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that writes a template beside a directory `code`, and reads it."""
    (tmp_path / "code").mkdir()

    def write_and_read(template: Template, **options: Any) -> Project:
        path = tmp_path / "template.json"
        path.write_text(json.dumps(template))
        return read_project(path, **options)

    return write_and_read


def _resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}", "Properties": properties}
