"""The recipe of docs/how-to/aws.md for tests with moto: its server, as `mock_aws` replaces botocore alone."""

import json
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tellwire.testing.api_gateway import run_api_gateway
from tests.dynamodb import REGION, create_connections_table, dynamodb_client

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "aws.md"


def test_a_worker_publishes_to_the_tables_of_moto_s_server(monkeypatch: pytest.MonkeyPatch) -> None:
    from tellwire.sync import broadcast_to_user, create_notification_message

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        create_connections_table(url, "connections")
        with run_api_gateway({}) as api:
            for name, value in {
                "AWS_ENDPOINT_URL_DYNAMODB": url,
                "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": api.management_url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": REGION,
                "CONNECTIONS_TABLE_NAME": "connections",
                "WEBSOCKET_API_ENDPOINT": api.management_url,
            }.items():
                monkeypatch.setenv(name, value)
            row = {"userId": {"S": "anna"}, "connectionId": {"S": "gone="}}
            dynamodb_client(url).put_item(TableName="connections", Item=row)
            delivery = broadcast_to_user("anna", create_notification_message("Done", "", "success"))
            assert json.loads(json.dumps(delivery.gone)) == 1
    finally:
        server.stop()


def test_the_page_names_what_replaces_mock_aws() -> None:
    assert "ThreadedMotoServer" in PAGE.read_text()
