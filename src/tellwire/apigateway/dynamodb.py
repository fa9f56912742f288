"""A local DynamoDB, and the tables of a template in it.

The database is moto's, in this process and in memory: it starts empty and keeps nothing. moto lets the pages of any
site read and reset it, so a guard refuses what comes from a browser. The tables can also be created in any other
database that speaks DynamoDB's protocol, such as DynamoDB Local.
"""

import http.client
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from tellwire.apigateway.services.wsgi import refuse_browsers, serve
from tellwire.errors import ConfigError

_NEEDS: Final = "a local DynamoDB needs: pip install 'tellwire[template]'"
_CREDENTIALS: Final = "local"
_CONNECT_TIMEOUT_SECONDS: Final = 2.0
_READ_TIMEOUT_SECONDS: Final = 10.0


@contextmanager
def local_dynamodb() -> Iterator[str]:
    """Run a DynamoDB until the block ends, and yield its URL.

    A process has one database: two of these at a time would share their tables.

    Raises:
        ConfigError: the optional packages are missing, or the AWS configuration of this machine cannot be read.
    """
    try:
        from boto3.session import Session
        from botocore.exceptions import BotoCoreError
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    except ModuleNotFoundError as error:
        raise ConfigError(_NEEDS) from error
    try:
        # moto makes one at its first request, and reports an error in the configuration only as a stack trace.
        Session()
    except BotoCoreError as error:
        raise ConfigError(f"AWS configuration: {error}") from error
    with serve(refuse_browsers(DomainDispatcherApplication(create_backend_app)), "tellwire-dynamodb") as port:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            # The data belongs to the process, not to the server: the next server would still have it.
            delete_everything("127.0.0.1", port)


def create_tables(
    url: str, tables: Sequence[Mapping[str, Any]], ttl_attributes: Mapping[str, str], region: str
) -> list[str]:
    """Create the tables that do not exist yet, and return their names.

    Args:
        url: the address of the database.
        tables: parameters of CreateTable.
        ttl_attributes: by table, the attribute by which its items expire.
        region: the region of the tables; the handlers must use the same.

    Raises:
        ConfigError: the database cannot be reached, refuses a table, or the optional packages are missing.
    """
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError as error:
        raise ConfigError(_NEEDS) from error
    created = []
    table_name: object = None
    try:
        client = _client(url, region)
        existing = _table_names(client)
        for table in tables:
            table_name = table.get("TableName")
            if table_name in existing:
                continue
            client.create_table(**table)
            created.append(str(table_name))
            if table_name in ttl_attributes:
                specification = {"AttributeName": ttl_attributes[str(table_name)], "Enabled": True}
                client.update_time_to_live(TableName=table_name, TimeToLiveSpecification=specification)
    except (BotoCoreError, ClientError, ValueError) as error:
        subject = f"table {table_name}" if table_name is not None else "tables"
        raise ConfigError(f"DynamoDB at {url}: {subject} cannot be created: {' '.join(str(error).split())}") from error
    return created


def _client(url: str, region: str) -> Any:
    from botocore.config import Config
    from botocore.session import Session

    # Without this machine's AWS settings: no profile, credentials or proxy of them is meant for a local database.
    session = Session(session_vars={"profile": (None, None, None, None)})
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_SECONDS,
        read_timeout=_READ_TIMEOUT_SECONDS,
        retries={"total_max_attempts": 1},
        proxies={},
    )
    return session.create_client(
        "dynamodb",
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=_CREDENTIALS,
        aws_secret_access_key=_CREDENTIALS,
        config=config,
    )


def _table_names(client: Any) -> set[str]:
    pages = client.get_paginator("list_tables").paginate()
    return {name for page in pages for name in page["TableNames"]}


def delete_everything(host: str, port: int) -> None:
    """Remove all that moto keeps in this process."""
    connection = http.client.HTTPConnection(host, port, timeout=_READ_TIMEOUT_SECONDS)
    try:
        connection.request("POST", "/moto-api/reset")
        connection.getresponse().read()
    finally:
        connection.close()
