"""A local DynamoDB: it answers boto3 as AWS does, and has the tables of a template."""

import contextlib
import logging
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tellwire.apigateway.dynamodb import create_tables, local_dynamodb
from tellwire.apigateway.template import read_project
from tellwire.errors import ConfigError

TEMPLATES = Path(__file__).parents[2] / "data" / "templates"
REGION = "eu-west-1"
TABLE: dict[str, Any] = {
    "TableName": "rows",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
}


@pytest.fixture
def url() -> Iterator[str]:
    with local_dynamodb() as url:
        yield url


def client(url: str, region: str = REGION) -> Any:
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.client("dynamodb", endpoint_url=url, region_name=region, **keys)


def test_items_are_kept(url: str) -> None:
    assert create_tables(url, [TABLE], {}, REGION) == ["rows"]
    client(url).put_item(TableName="rows", Item={"id": {"S": "a"}, "n": {"N": "1"}})
    assert client(url).get_item(TableName="rows", Key={"id": {"S": "a"}})["Item"]["n"] == {"N": "1"}


def test_tables_are_those_of_the_template(url: str) -> None:
    project = read_project(TEMPLATES / "classic", stage="Prod", region=REGION)
    assert create_tables(url, project.tables, project.ttl_attributes, REGION) == ["chat_connections"]
    table = client(url).describe_table(TableName="chat_connections")["Table"]
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["byRoom"]
    assert table["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    ttl = client(url).describe_time_to_live(TableName="chat_connections")["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"}


def test_an_existing_table_is_left_as_it_is(url: str) -> None:
    create_tables(url, [TABLE], {}, REGION)
    client(url).put_item(TableName="rows", Item={"id": {"S": "a"}})
    assert create_tables(url, [TABLE, {**TABLE, "TableName": "more"}], {"rows": "ttl"}, REGION) == ["more"]
    assert client(url).scan(TableName="rows")["Count"] == 1
    ttl = client(url).describe_time_to_live(TableName="rows")["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == "DISABLED"


def test_a_database_starts_empty() -> None:
    for _ in range(2):
        with local_dynamodb() as url:
            assert create_tables(url, [TABLE], {}, REGION) == ["rows"]


def test_a_database_is_gone_when_its_block_ends() -> None:
    with local_dynamodb() as url:
        create_tables(url, [TABLE], {}, REGION)
    host, _, port = url.removeprefix("http://").partition(":")
    with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), timeout=1):
        pass


@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "a{b.evil.test"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("OPTIONS", "/"), ("POST", "/moto-api/reset")])
def test_no_web_page_reaches_the_tables(url: str, method: str, path: str, header: dict[str, str]) -> None:
    create_tables(url, [TABLE], {}, REGION)
    request = urllib.request.Request(f"{url}{path}", b"{}", header, method=method)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=100)
    assert refused.value.code == 403
    assert "Access-Control-Allow-Origin" not in refused.value.headers
    assert client(url).list_tables()["TableNames"] == ["rows"]


def test_requests_are_not_logged(url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        create_tables(url, [TABLE], {}, REGION)
    assert [record for record in caplog.records if record.name == "werkzeug"] == []
    assert capfd.readouterr() == ("", "")


def test_tables_of_another_region_are_not_there(url: str) -> None:
    create_tables(url, [TABLE], {}, REGION)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client(url, "us-east-1").describe_table(TableName="rows")


def test_a_table_that_is_refused_is_named(url: str) -> None:
    keys = [{"AttributeName": "other", "KeyType": "HASH"}]
    with pytest.raises(
        ConfigError, match=rf"DynamoDB at {url}: table bad cannot be created: .*ValidationException"
    ) as caught:
        create_tables(url, [{**TABLE, "TableName": "bad", "KeySchema": keys}], {}, REGION)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", 'Could not connect to the endpoint URL: "http://127.0.0.1:1/"'),
        ("localhost:8000", "Invalid endpoint: localhost:8000"),
    ],
)
def test_a_database_that_does_not_answer_is_named_at_once(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_tables(url, [TABLE], {}, REGION)
    assert str(caught.value).startswith(f"DynamoDB at {url}: ")
    assert words in str(caught.value)


def test_a_database_that_hangs_up_is_not_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls = []

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caller, _ = server.accept()
                    calls.append(caller)
                    caller.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(ConfigError, match="tables cannot be created: Connection was closed"):
            create_tables(f"http://127.0.0.1:{server.getsockname()[1]}", [TABLE], {}, REGION)
        server.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=100)
    assert len(calls) == 1


def test_the_profile_of_this_machine_does_not_matter_to_a_database_elsewhere(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "a-profile-that-does-not-exist")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert create_tables(url, [TABLE], {}, REGION) == ["rows"]


def test_an_aws_configuration_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "a-profile-that-does-not-exist")
    with pytest.raises(ConfigError, match=r"profile \(a-profile-that-does-not-exist\) could not"), local_dynamodb():
        pass


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moto.server", None)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    with pytest.raises(ConfigError, match=r"pip install 'tellwire\[template\]'"), local_dynamodb():
        pass
    with pytest.raises(ConfigError, match=r"pip install 'tellwire\[template\]'"):
        create_tables("http://127.0.0.1:1", [], {}, REGION)
