"""The errors of `RealtimeApi`."""

from pathlib import Path
from typing import Any

import pytest

from tellwire.errors import ConfigError
from tests.unit.infra.conftest import SECRET, MakeApi

pytestmark = [pytest.mark.timeout(180), pytest.mark.long]  # the first test waits for Node


@pytest.fixture
def layer(directory: Path) -> str:
    return str(directory / "layer.zip")


def refusal(make_api: MakeApi, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make_api(**options)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_package_must_be_given(make_api: MakeApi) -> None:
    words = refusal(make_api, jwks_url="https://id.example.com/keys")
    assert words == "layer, code: got neither; allowed: one of them, with tellwire[aws] in it"


def test_a_layer_and_code_are_one_too_many(make_api: MakeApi, layer: str) -> None:
    from aws_cdk import aws_lambda as lambda_

    words = refusal(make_api, layer=layer, code=lambda_.Code.from_inline("#"), jwks_url="https://id.example.com/keys")
    assert words == "layer, code: got both; allowed: one of them, with tellwire[aws] in it"


def test_a_layer_that_was_not_made_yet_is_named(make_api: MakeApi) -> None:
    words = refusal(make_api, layer="dist/none.zip", jwks_url="https://id.example.com/keys")
    assert words.startswith("layer: got 'dist/none.zip', which does not exist; allowed: ")


def test_tokens_must_be_verified_somehow(make_api: MakeApi, layer: str) -> None:
    words = refusal(make_api, layer=layer)
    assert words.startswith("tokens: got no source of keys; allowed: one of user_pool with user_pool_client, ")


@pytest.mark.parametrize("alone", ["user_pool", "user_pool_client"])
def test_half_of_cognito_is_not_enough(make_api: MakeApi, layer: str, alone: str) -> None:
    words = refusal(make_api, layer=layer, **{alone: cognito()[alone]})
    assert words == f"tokens: got {alone} alone; allowed: user_pool and user_pool_client together"


def test_two_ways_to_verify_tokens_are_one_too_many(make_api: MakeApi, layer: str) -> None:
    words = refusal(make_api, layer=layer, **cognito(), environment={"TELLWIRE_JWT_SECRET": SECRET})
    assert words.startswith("tokens: got TELLWIRE_JWT_SECRET and user_pool; allowed: one of ")
    words = refusal(make_api, layer=layer, **cognito(), jwks_url="https://id.example.com/keys")
    assert words.startswith("tokens: got user_pool and jwks_url; allowed: one of ")


@pytest.mark.parametrize("name", ["CONNECTIONS_TABLE_NAME", "HISTORY_TABLE_NAME", "WEBSOCKET_API_ENDPOINT"])
def test_tables_and_endpoint_are_not_for_the_environment_to_name(make_api: MakeApi, layer: str, name: str) -> None:
    words = refusal(make_api, layer=layer, **cognito(), environment={name: "mine"})
    assert words.startswith(f"environment: got {name}; allowed: ")


def test_workers_share_the_layer_if_there_is_one(make_api: MakeApi, layer: str) -> None:
    from aws_cdk import aws_lambda as lambda_

    assert make_api(layer=layer, **cognito()).layer.layer_version_arn is not None
    with pytest.raises(ConfigError, match="got code in place of one"):
        _ = make_api(code=lambda_.Code.from_inline("#"), **cognito()).layer


def cognito() -> dict[str, Any]:
    from aws_cdk import App, Stack, aws_cognito

    stack = Stack(App(), "Users")
    return {
        "user_pool": aws_cognito.UserPool.from_user_pool_id(stack, "Pool", "eu-central-1_abcdefghi"),
        "user_pool_client": aws_cognito.UserPoolClient.from_user_pool_client_id(stack, "Client", "client"),
    }
