"""An app of AWS Chalice: its management client builds the host itself, from the API's id."""

import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.integration.apigateway.test_local_command import Local, local

__all__ = ["local"]

APP = """
from chalice import Chalice
import boto3

app = Chalice(app_name="echo")
app.experimental_feature_flags.update(["WEBSOCKETS"])
app.websocket_api.session = boto3.session.Session()

@app.on_ws_connect(name="connect")
def connect(event):
    pass

@app.on_ws_message(name="message")
def message(event):
    app.websocket_api.send(event.connection_id, "echo " + event.body)
"""

TEMPLATE = f"""
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {{CodeUri: chalice_app, Runtime: python{sys.version_info.major}.{sys.version_info.minor}, Timeout: 60}}
Resources:
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      StageName: api
      RouteSelectionExpression: $request.body.action
      Routes:
        $connect: {{FunctionArn: !GetAtt Connect.Arn}}
        $default: {{FunctionArn: !GetAtt Message.Arn}}
  Connect: {{Type: AWS::Serverless::Function, Properties: {{Handler: app.connect}}}}
  Message: {{Type: AWS::Serverless::Function, Properties: {{Handler: app.message}}}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    (directory / "chalice_app").mkdir(parents=True)
    (directory / "chalice_app" / "app.py").write_text(APP)
    (directory / "app.py").write_text(APP)
    (directory / "template.yaml").write_text(TEMPLATE)
    return directory


@pytest.mark.parametrize(
    "arguments",
    [
        ("--stage", "api", "--route", "$connect=app:connect", "--route", "$default=app:message"),
        ("--template", "template.yaml"),
    ],
)
def test_a_chalice_app_posts_back(local: Local, arguments: tuple[str, ...]) -> None:
    running = local(*arguments)
    with connect(f"ws://{running.address}/api", proxy=None) as client:
        client.send("hello")
        assert client.recv(60) == "echo hello"
