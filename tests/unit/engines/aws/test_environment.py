"""The settings of AWS in the environment: URLs of DynamoDB and the management API, and the region.

HTTPS to places that are not on this machine goes to a proxy here, which is told where to and goes nowhere.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tellwire.aws_api.client import Retries
from tellwire.engines.aws.environment import find_region, has_history, open_history_table, open_management, open_table
from tellwire.errors import AwsUnreachable, ConfigError, HistoryUnavailable
from tellwire.publication import user_stream
from tests.unit.aws_api.authority import make_authority
from tests.unit.aws_api.conftest import Configure, StartService
from tests.unit.aws_api.scripted import Response, Service

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s3cret"}
TABLE = {**KEYS, "CONNECTIONS_TABLE_NAME": "connections"}
API = "https://abc.execute-api.eu-central-1.amazonaws.com/prod"
ONCE = Retries(attempts=1)

FOUND = Response(body=b'{"Items":[],"connectedAt":"2026-01-02T03:04:05Z","lastActiveAt":"2026-01-02T03:05:05Z"}')


@pytest.fixture(autouse=True)
def no_configuration(configure: Configure) -> None:
    """Remove all configuration but a test's own."""


@pytest.fixture
async def proxy(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The service that HTTPS requests reach."""
    proxy = await start_service(Response(403))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return proxy


async def ask_table(environ: Mapping[str, str]) -> None:
    table = open_table(environ, retries=ONCE)
    try:
        await table.find("c")
    finally:
        await table.close()


async def ask_management(environ: Mapping[str, str], endpoint: str | None = None) -> None:
    management = open_management(environ, endpoint, ONCE)
    try:
        await management.get("c")
    finally:
        await management.close()


def region_in(service: Service) -> str:
    return service.requests[-1].headers["authorization"].split("/")[2]


# The table of what was said


async def test_the_history_is_in_the_same_region_as_the_connections(proxy: Service) -> None:
    environ = {**KEYS, "HISTORY_TABLE_NAME": " history ", "AWS_REGION": "eu-central-1"}
    table = open_history_table(environ, retries=ONCE)
    with pytest.raises(HistoryUnavailable, match="DynamoDB GetItem"):
        await table.head(user_stream("user-1"))
    await table.close()
    assert [request.target for request in proxy.requests] == ["dynamodb.eu-central-1.amazonaws.com:443"]


def test_without_its_table_there_is_no_history() -> None:
    assert has_history({"HISTORY_TABLE_NAME": "history"})
    assert not has_history({"HISTORY_TABLE_NAME": " "})
    with pytest.raises(ConfigError, match="HISTORY_TABLE_NAME: not set; allowed"):
        open_history_table({**KEYS, "AWS_REGION": "eu-central-1"})


# The table


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "dynamodb.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", "dynamodb.us-gov-west-1.amazonaws.com"),
        ("cn-northwest-1", "dynamodb.cn-northwest-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "dynamodb.eusc-de-east-1.amazonaws.eu"),
    ],
)
async def test_the_table_is_in_its_region(region: str, host: str, proxy: Service) -> None:
    with pytest.raises(AwsUnreachable):
        await ask_table({**TABLE, "AWS_REGION": region})
    assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", f"{host}:443")]


async def test_the_table_is_the_one_that_is_named(start_service: StartService) -> None:
    service = await start_service(FOUND)
    environ = {**TABLE, "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_DYNAMODB": service.url}
    await ask_table({**environ, "CONNECTIONS_TABLE_NAME": " connections\n"})
    assert service.requests[0].json["TableName"] == "connections"
    assert "/eu-west-1/dynamodb/" in service.requests[0].headers["authorization"]


@pytest.mark.parametrize("environ", [{}, {"CONNECTIONS_TABLE_NAME": " "}])
def test_a_table_without_a_name_is_no_table(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="CONNECTIONS_TABLE_NAME: not set; allowed"):
        open_table({**KEYS, "AWS_REGION": "eu-west-1", **environ})


# The management API


@pytest.mark.parametrize(
    "given", ["", "/", "//", "/@connections", "/@connections/"], ids=lambda given: given or "as it is"
)
async def test_the_management_api_is_where_its_stage_is(given: str, start_service: StartService) -> None:
    service = await start_service(FOUND)
    await ask_management({**KEYS, "AWS_REGION": "eu-west-1", "WEBSOCKET_API_ENDPOINT": f"{service.url}/prod{given}"})
    assert service.requests[0].target == "/prod/@connections/c"
    assert "/eu-west-1/execute-api/" in service.requests[0].headers["authorization"]


async def test_an_api_with_a_domain_of_its_own_may_have_no_stage(start_service: StartService) -> None:
    service = await start_service(FOUND)
    await ask_management({**KEYS, "AWS_REGION": "eu-west-1"}, service.url)
    assert service.requests[0].target == "/@connections/c"


@pytest.mark.parametrize("url", [API, API.replace("https", "wss"), f" {API}/ ", f"{API}/@connections"])
async def test_the_websockets_address_will_do(url: str, proxy: Service) -> None:
    with pytest.raises(AwsUnreachable):
        await ask_management({**KEYS, "WEBSOCKET_API_ENDPOINT": url})
    assert [request.target for request in proxy.requests] == ["abc.execute-api.eu-central-1.amazonaws.com:443"]


async def test_the_environment_goes_before_what_the_event_says(start_service: StartService) -> None:
    service = await start_service(FOUND)
    environ = {**KEYS, "WEBSOCKET_API_ENDPOINT": f"{service.url}/env", "AWS_REGION": "eu-west-1"}
    await ask_management(environ, f"{service.url}/event")
    del environ["WEBSOCKET_API_ENDPOINT"]
    await ask_management(environ, f"{service.url}/event")
    assert [request.target for request in service.requests] == ["/env/@connections/c", "/event/@connections/c"]


@pytest.mark.parametrize("environ", [{}, {"WEBSOCKET_API_ENDPOINT": ""}])
def test_an_api_without_an_address_is_none(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"WEBSOCKET_API_ENDPOINT: not set; allowed: https://<api>\.execute-api"):
        open_management({**KEYS, "AWS_REGION": "eu-west-1", **environ})


@pytest.mark.parametrize(
    "url", ["abc.execute-api.eu-west-1.amazonaws.com/prod", "ftp://h/prod", "https://", "https://["]
)
def test_an_invalid_url_is_refused_with_the_setting(url: str) -> None:
    with pytest.raises(ConfigError, match=r"WEBSOCKET_API_ENDPOINT: got .*; allowed: http://host"):
        open_management({**KEYS, "AWS_REGION": "eu-west-1", "WEBSOCKET_API_ENDPOINT": url})


@pytest.mark.parametrize("url", ["https://user:s3cret@h/prod", "https://h/prod?key=s3cret", "https://h/prod#s3cret"])
def test_an_address_with_a_secret_is_refused_without_quoting_it(url: str) -> None:
    for environ in ({"WEBSOCKET_API_ENDPOINT": url}, {"AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": url}):
        with pytest.raises(ConfigError, match="may hold a secret") as caught:
            open_management({**KEYS, "AWS_REGION": "eu-west-1", **environ})
        assert "s3cret" not in str(caught.value)


# Other places than AWS's own


async def test_a_services_own_setting_goes_before_everything(start_service: StartService) -> None:
    service = await start_service(FOUND)
    environ = {
        **TABLE,
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "WEBSOCKET_API_ENDPOINT": "http://127.0.0.1:9/prod",
        "AWS_ENDPOINT_URL_DYNAMODB": f"{service.url}/",
        "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": f"{service.url}/local/",
    }
    await ask_table(environ)
    await ask_management(environ)
    assert [request.target for request in service.requests] == ["/", "/local/@connections/c"]


async def test_the_setting_for_all_services_is_for_the_table(start_service: StartService) -> None:
    service = await start_service(FOUND)
    await ask_table({**TABLE, "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": service.url})
    assert [request.target for request in service.requests] == ["/"]


async def test_the_setting_for_all_services_has_no_stage_and_leads_to_no_api(start_service: StartService) -> None:
    service = await start_service(FOUND)
    environ = {**KEYS, "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    await ask_management({**environ, "WEBSOCKET_API_ENDPOINT": f"{service.url}/prod"})
    await ask_management(environ, f"{service.url}/event")
    assert [request.target for request in service.requests] == ["/prod/@connections/c", "/event/@connections/c"]
    with pytest.raises(ConfigError, match="WEBSOCKET_API_ENDPOINT: not set"):
        await ask_management(environ)


@pytest.mark.parametrize(("value", "is_ignored"), [("true", True), ("TRUE", True), ("false", False), ("", False)])
async def test_such_settings_can_be_ignored(
    value: str, is_ignored: bool, proxy: Service, start_service: StartService
) -> None:
    here = await start_service(FOUND)
    environ = {**TABLE, "AWS_REGION": "eu-west-1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": value}
    names = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI")
    environ |= dict.fromkeys(names, here.url)
    for asking in (ask_table(environ), ask_management(environ, API)):
        if is_ignored:
            with pytest.raises(AwsUnreachable):
                await asking
        else:
            await asking
    assert (len(proxy.requests), len(here.requests)) == ((2, 0) if is_ignored else (0, 2))


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"])
def test_a_place_that_is_none_is_refused_by_the_settings_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: got 'localhost:8000'"):
        open_table({**TABLE, "AWS_REGION": "eu-west-1", name: "localhost:8000"})


# Regions


@pytest.mark.parametrize(
    ("environ", "endpoint", "region"),
    [
        ({"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-west-2"}, "", "us-east-1"),
        ({"AWS_DEFAULT_REGION": "us-west-2"}, "", "us-west-2"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, "", "us-west-2"),
        ({"AWS_REGION": "us-east-1"}, API, "eu-central-1"),
        ({"AWS_REGION": "us-east-1", "WEBSOCKET_API_ENDPOINT": API}, "", "us-east-1"),
        ({"AWS_REGION": "us-east-1"}, "https://ws.example.com/prod", "us-east-1"),
        ({"WEBSOCKET_API_ENDPOINT": API}, "", "eu-central-1"),
        ({"WEBSOCKET_API_ENDPOINT": f" {API}"}, "", "eu-central-1"),
        ({"WEBSOCKET_API_ENDPOINT": API.replace("https", "wss")}, "", "eu-central-1"),
        ({}, "https://ABC.Execute-API.US-East-1.amazonaws.com/prod", "us-east-1"),
        ({}, "https://abc.execute-api.us-gov-east-1.amazonaws.com/prod", "us-gov-east-1"),
        ({}, "https://abc.execute-api.cn-north-1.amazonaws.com.cn/prod", "cn-north-1"),
        ({}, "https://abc.execute-api.eusc-de-east-1.amazonaws.eu/prod", "eusc-de-east-1"),
    ],
)
def test_the_region_is_found(environ: dict[str, str], endpoint: str, region: str) -> None:
    assert find_region(environ, endpoint) == region


def test_the_region_may_be_in_awss_configuration(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("[default]\nregion = ap-southeast-2\n[profile work]\nregion = sa-east-1\n")
    assert find_region({}) == "ap-southeast-2"
    assert find_region({"WEBSOCKET_API_ENDPOINT": API}) == "eu-central-1"
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert find_region({}) == "sa-east-1"


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "https://ws.example.com/prod",
        "https://abc.execute-api.eu-west-1.amazonaws.com.example.com/prod",
        "https://example.com/.execute-api.eu-west-1.amazonaws.com",
        "https://[",
    ],
)
def test_no_region_anywhere_is_said_with_what_to_do(endpoint: str) -> None:
    for environ in ({}, {"WEBSOCKET_API_ENDPOINT": endpoint}):
        with pytest.raises(ConfigError, match="AWS_REGION: not set; allowed: a region such as"):
            find_region(environ, endpoint)


def test_without_botocore_there_is_no_configuration(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("[default]\nregion = ap-southeast-2\n")
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ConfigError, match="AWS_REGION: not set; allowed"):
        find_region({})


@pytest.mark.parametrize(("text", "profile"), [("", "missing"), ("no section\n", "default")])
def test_a_configuration_that_cannot_be_read_is_said_to_be_so(
    text: str, profile: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(text)
    monkeypatch.setenv("AWS_PROFILE", profile)
    with pytest.raises(ConfigError, match="AWS_REGION: not set, and cannot be had"):
        find_region({})


@pytest.mark.parametrize(
    "region",
    ["eu", "eu-central", "EU-CENTRAL-1", "eu_central_1", "evil.example/", "eu-central-1.evil.example", "x" * 99],
)
def test_what_is_no_region_is_refused(region: str) -> None:
    with pytest.raises(ConfigError, match=r"AWS_REGION: got '.*; allowed: a region such as eu-central-1"):
        find_region({"AWS_REGION": region})


async def test_where_an_endpoint_names_no_region_the_environment_does(start_service: StartService) -> None:
    service = await start_service(FOUND)
    environ = {**KEYS, "AWS_REGION": "us-east-1", "WEBSOCKET_API_ENDPOINT": API}
    environ["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] = f"{service.url}/prod"
    await ask_management(environ)
    assert region_in(service) == "us-east-1"
    del environ["AWS_REGION"]
    await ask_management(environ)
    assert region_in(service) == "eu-central-1"


# Certificates


async def test_a_bundle_of_certificates_is_trusted_by_both(start_service: StartService, tmp_path: Path) -> None:
    context, bundle = make_authority(tmp_path)
    service = await start_service(FOUND, tls=context)
    names = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI")
    environ = {**TABLE, "AWS_REGION": "eu-west-1", **dict.fromkeys(names, service.url)}
    for ask in (ask_table, ask_management):
        await ask({**environ, "AWS_CA_BUNDLE": str(bundle)})
        with pytest.raises(AwsUnreachable, match="certificate"):
            await ask({**environ, "AWS_CA_BUNDLE": ""})
    assert len(service.requests) == 2


@pytest.mark.parametrize("opening", [open_table, lambda environ: open_management(environ, API)])
def test_a_bundle_that_is_not_there_is_a_mistake(opening: Any) -> None:
    with pytest.raises(ConfigError, match=r"CA bundle: got '/nowhere/bundle.pem'"):
        opening({**TABLE, "AWS_REGION": "eu-west-1", "AWS_CA_BUNDLE": "/nowhere/bundle.pem"})
