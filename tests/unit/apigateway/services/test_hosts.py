"""AWS's host names that lead to this machine."""

import json
import socket
from collections.abc import Iterator

import pytest

from tellwire.apigateway.runner.hosts import address_of, lead_hosts_here
from tellwire.apigateway.services.hosts import HOSTS_VARIABLE, host_table

REGION = "eu-west-1"


def table(**environment: str) -> dict[str, str | None]:
    read: dict[str, str | None] = json.loads(host_table(REGION, "127.0.0.1:3001", "127.0.0.1:9443", environment))
    return read


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("tellwire00.execute-api.eu-west-1.amazonaws.com", ("127.0.0.1", 3001)),
        ("TELLWIRE00.execute-api.eu-west-1.amazonaws.com.", ("127.0.0.1", 3001)),
        ("cognito-idp.eu-west-1.amazonaws.com", ("127.0.0.1", 9443)),
        ("bucket.s3.amazonaws.com", ("127.0.0.1", 9443)),
        ("example.com", None),
        ("amazonaws.com.example.com", None),
        ("xamazonaws.com", None),
        (b"sts.amazonaws.com", ("127.0.0.1", 9443)),
        (None, None),
    ],
)
def test_hosts_of_aws_lead_here_and_no_others(host: object, address: tuple[str, int] | None) -> None:
    assert address_of(host, table()) == address


def test_a_host_that_the_developer_names_is_meant() -> None:
    named = table(AWS_ENDPOINT_URL_S3="https://s3.eu-west-1.amazonaws.com", OTHER="https://sts.amazonaws.com")
    assert address_of("s3.eu-west-1.amazonaws.com", named) is None
    assert address_of("bucket.s3.eu-west-1.amazonaws.com", named) is None
    assert address_of("sts.amazonaws.com", named) == ("127.0.0.1", 9443)


def test_without_services_only_apis_lead_here() -> None:
    only = json.loads(host_table(REGION, "[::1]:3001", None, {}))
    assert address_of("a.execute-api.eu-west-1.amazonaws.com", only) == ("::1", 3001)
    assert address_of("sqs.eu-west-1.amazonaws.com", only) is None


@pytest.fixture
def resolver() -> Iterator[None]:
    before = socket.getaddrinfo
    yield
    socket.getaddrinfo = before


@pytest.mark.usefixtures("resolver")
def test_a_process_resolves_them_to_this_machine() -> None:
    lead_hosts_here({HOSTS_VARIABLE: json.dumps(table())})
    found = socket.getaddrinfo("a.execute-api.eu-west-1.amazonaws.com", 443, type=socket.SOCK_STREAM)
    assert found[0][4] == ("127.0.0.1", 3001)
    assert socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)[0][4] == ("127.0.0.1", 80)


@pytest.mark.usefixtures("resolver")
def test_a_process_without_a_table_is_left_as_it_is() -> None:
    before = socket.getaddrinfo
    lead_hosts_here({})
    assert socket.getaddrinfo is before
