"""The settings of AWS in the environment: services, region and tables.

CONNECTIONS_TABLE_NAME                      the table of connections
HISTORY_TABLE_NAME                          the history table; without it nothing is kept
HISTORY_MAX_AGE_SECONDS, and others         what the history keeps, see `retention`
TELLWIRE_TOPICS                             the rules of topics, see `topic_settings`
TELLWIRE_JWT_TOPICS_CLAIM                   the claim with the patterns of topics; `topics`, if it is not set
TELLWIRE_JWT_INFO_CLAIM                     the claim with the info about a user; `info`, if it is not set
TELLWIRE_SUBSCRIPTIONS_PER_CONNECTION       topics that one connection may be subscribed to
WEBSOCKET_API_ENDPOINT                      the management API, https://{api}.execute-api.{region}.amazonaws.com/{stage}
AWS_REGION, AWS_DEFAULT_REGION              else from the endpoint, else from botocore's configuration
AWS_ENDPOINT_URL_DYNAMODB, AWS_ENDPOINT_URL another URL than AWS's own, as for SDKs
AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI    the same for the management API; a URL for all services has no stage in it
AWS_CA_BUNDLE                               certificates to trust
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tellwire.aws_api.client import DEFAULT_RETRIES, AwsClient, Retries
from tellwire.aws_api.credentials import find_credentials
from tellwire.aws_api.dynamodb import DynamoDb
from tellwire.aws_api.management import Management
from tellwire.engines.aws.connections import ConnectionsTable
from tellwire.errors import ConfigError, shown
from tellwire.http_client import http_base_url
from tellwire.limits import MAX_SUBSCRIPTIONS
from tellwire.ports import Clock

if TYPE_CHECKING:
    from tellwire.engines.aws.history_table import HistoryTable
    from tellwire.topics import TopicRules

TABLE_NAME: Final = "CONNECTIONS_TABLE_NAME"
HISTORY_TABLE_NAME: Final = "HISTORY_TABLE_NAME"
MANAGEMENT_ENDPOINT: Final = "WEBSOCKET_API_ENDPOINT"
TOPICS: Final = "TELLWIRE_TOPICS"
SUBSCRIPTIONS: Final = "TELLWIRE_SUBSCRIPTIONS_PER_CONNECTION"

_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d{1,2}")
_KEY_OF_MOTO: Final = "FOOBARKEY"
"""The key that moto's `mock_aws` puts into the environment."""

_EXECUTE_API: Final = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.(com|com\.cn|eu)$")


def open_table(
    environ: Mapping[str, str], clock: Clock | None = None, retries: Retries = DEFAULT_RETRIES
) -> ConnectionsTable:
    """Return the table of connections.

    Raises:
        ConfigError: a setting is missing or not valid.
    """
    table_name = _table_name(environ, TABLE_NAME, "of the connections")
    return ConnectionsTable(_dynamodb(environ, retries), table_name, clock)


def open_topic_rules(environ: Mapping[str, str]) -> "TopicRules":
    """Return the rules of topics, with the bounds of a user's stream.

    Raises:
        ConfigError: a setting is not valid.
    """
    from tellwire.retention import Retention  # $connect and $disconnect need none of it
    from tellwire.topics import TopicRules

    retention, given = Retention.from_environment(environ), environ.get(TOPICS, "").strip()
    if not given:
        return TopicRules(retention)
    from tellwire.topic_settings import parse_topics

    return TopicRules(retention, parse_topics(given, retention))


def topics_claim(environ: Mapping[str, str]) -> str:
    """Return the name of the claim with the patterns of topics."""
    return environ.get("TELLWIRE_JWT_TOPICS_CLAIM", "").strip() or "topics"


def info_claim(environ: Mapping[str, str]) -> str:
    """Return the name of the claim with the info about a user, which others in a topic see."""
    return environ.get("TELLWIRE_JWT_INFO_CLAIM", "").strip() or "info"


def has_presence(environ: Mapping[str, str]) -> bool:
    """Return True if a rule of topics names presence. It reads no rules, which takes a part of a cold start."""
    return '"presence"' in environ.get(TOPICS, "")


def subscriptions_per_connection(environ: Mapping[str, str]) -> int:
    """Return the topics that one connection may be subscribed to at a time.

    Raises:
        ConfigError: it is no number above 0.
    """
    given = environ.get(SUBSCRIPTIONS, "").strip()
    try:
        at_most = int(given) if given else MAX_SUBSCRIPTIONS
    except ValueError:
        at_most = 0
    if at_most < 1:
        raise ConfigError(f"{SUBSCRIPTIONS}: got {shown(given)}; allowed: a whole number above 0")
    return at_most


def open_history_table(
    environ: Mapping[str, str], retries: Retries = DEFAULT_RETRIES, topics: "TopicRules | None" = None
) -> "HistoryTable":
    """Return the history table. `topics` None: the rules that the environment has.

    Raises:
        ConfigError: a setting is missing or not valid.
    """
    table_name = _table_name(environ, HISTORY_TABLE_NAME, "of the history")
    from tellwire.engines.aws.history_table import HistoryTable  # most functions need none of it

    return HistoryTable(_dynamodb(environ, retries), table_name, topics or open_topic_rules(environ))


def has_history(environ: Mapping[str, str]) -> bool:
    """Return True if the environment names a history table, so that messages for users are kept."""
    return bool(environ.get(HISTORY_TABLE_NAME, "").strip())


def open_management(
    environ: Mapping[str, str], endpoint: str | None = None, retries: Retries = DEFAULT_RETRIES
) -> Management:
    """Return the management API at the environment's URL, otherwise at `endpoint`.

    Raises:
        ConfigError: a setting is missing or not valid.
    """
    url = (
        _endpoint(environ, "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI")
        or environ.get(MANAGEMENT_ENDPOINT, "").strip()
        or endpoint
    )
    if not url:
        raise ConfigError(
            f"{MANAGEMENT_ENDPOINT}: not set; allowed: https://<api>.execute-api.<region>.amazonaws.com/<stage>"
        )
    # The console shows it with `/@connections`.
    base = http_base_url(url.rstrip("/").removesuffix("/@connections"), MANAGEMENT_ENDPOINT)
    return Management(_client("execute-api", base, find_region(environ, base), environ, retries))


def find_region(environ: Mapping[str, str], endpoint: str = "") -> str:
    """Return the region of the services.

    Raises:
        ConfigError: no setting names a region, or its value is not a region's name.
    """
    named = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    elsewhere = environ.get(MANAGEMENT_ENDPOINT, "")
    region = _region_in(endpoint) or named or _region_in(elsewhere) or _configured_region()
    if not region:
        raise ConfigError("AWS_REGION: not set; allowed: a region such as eu-central-1")
    if _REGION.fullmatch(region) is None:
        raise ConfigError(f"AWS_REGION: got {shown(region)}; allowed: a region such as eu-central-1")
    return region


def _table_name(environ: Mapping[str, str], setting: str, of_what: str) -> str:
    name = environ.get(setting, "").strip()
    if not name:
        raise ConfigError(f"{setting}: not set; allowed: the name of the table {of_what}")
    return name


def _dynamodb(environ: Mapping[str, str], retries: Retries) -> DynamoDb:
    region = find_region(environ)
    url = _endpoint(environ, "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL")
    if url is None:
        _refuse_mock_aws(environ)
        url = f"https://dynamodb.{region}.{_suffix(region)}"
    return DynamoDb(_client("dynamodb", url, region, environ, retries))


def _refuse_mock_aws(environ: Mapping[str, str]) -> None:
    """Refuse to call AWS from a test that believes it does not: moto replaces botocore, which is not used here."""
    if environ.get("AWS_ACCESS_KEY_ID") == _KEY_OF_MOTO:
        raise ConfigError(
            "AWS_ENDPOINT_URL_DYNAMODB: not set inside moto's mock_aws, which does not replace tellwire's HTTP client; "
            "allowed: the address of a ThreadedMotoServer"
        )


def _region_in(endpoint: str) -> str | None:
    try:
        found = _EXECUTE_API.search(urlsplit(endpoint.strip()).hostname or "")
    except ValueError:
        return None  # `open_management` refuses it
    return found[1] if found else None


def _configured_region() -> str | None:
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ModuleNotFoundError:
        return None
    try:
        found = Session().get_config_variable("region")
    except BotoCoreError as error:
        raise ConfigError(f"AWS_REGION: not set, and cannot be had from AWS's configuration: {error}") from error
    return None if found is None else str(found)


def _endpoint(environ: Mapping[str, str], *names: str) -> str | None:
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    for name in names:
        if url := environ.get(name, "").strip():
            return http_base_url(url, name)
    return None


def _suffix(region: str) -> str:
    return {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}.get(region.partition("-")[0], "amazonaws.com")


def _client(service: str, url: str, region: str, environ: Mapping[str, str], retries: Retries) -> AwsClient:
    ca_bundle = environ.get("AWS_CA_BUNDLE") or None
    return AwsClient(service, url, region, find_credentials(environ), ca_bundle=ca_bundle, retries=retries)
