"""Creation of a template's resources in the services on this machine."""

import json
import secrets
import string
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote

from tellwire.apigateway.definition import ACCOUNT_ID
from tellwire.apigateway.services.definition import Creation, GeneratedSecret

_CREDENTIALS: Final = "local"
_SECONDS: Final = 20.0
SNS_PATH: Final = "/_tellwire/sns/"
"""Path to which topics post for functions; the function's ARN follows."""


def create(url: str, region: str, creations: Iterable[Creation]) -> tuple[list[str], list[str]]:
    """Create resources; return the names of those that exist now, and notes of those that do not."""
    clients: dict[str, Any] = {}
    created, notes = [], []
    from botocore.exceptions import BotoCoreError, ClientError

    for creation in creations:
        client = clients.get(creation.service)
        if client is None:
            client = clients[creation.service] = client_of(creation.service, url, region)
        try:
            _create(client, creation, url, region)
        except (BotoCoreError, ClientError, ValueError) as error:
            notes.append(f"{creation.about}: is left out: {' '.join(str(error).split())}")
        else:
            created.append(creation.about)
    for client in clients.values():
        client.close()
    return list(dict.fromkeys(created)), notes


def client_of(service: str, url: str, region: str) -> Any:
    """Return a client of a service on this machine, without the AWS settings of this machine."""
    from botocore.config import Config
    from botocore.session import Session

    session = Session(session_vars={"profile": (None, None, None, None)})
    config = Config(
        connect_timeout=_SECONDS,
        read_timeout=_SECONDS,
        retries={"total_max_attempts": 1},
        proxies={},
        signature_version="v4",
    )
    return session.create_client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=_CREDENTIALS,
        aws_secret_access_key=_CREDENTIALS,
        config=config,
    )


def _create(client: Any, creation: Creation, url: str, region: str) -> None:
    parameters = dict(creation.parameters)
    if creation.generated is not None:
        parameters["SecretString"] = _generated(creation.generated)
    if parameters.get("Protocol") == "lambda":
        # moto would look for the function in a Lambda of its own.
        parameters |= {"Protocol": "http", "Endpoint": f"{url}{SNS_PATH}{quote(parameters['Endpoint'], safe='')}"}
    answer = getattr(client, creation.operation)(**parameters)
    if creation.wanted_id is not None:
        _RENAMED[creation.operation](answer, creation.wanted_id, region)


def _generated(wanted: GeneratedSecret) -> str:
    characters = string.ascii_letters + string.digits
    value = "".join(secrets.choice(characters) for _ in range(max(1, min(wanted.length, 4096))))
    if wanted.template is None or wanted.key is None:
        return value
    return json.dumps({**json.loads(wanted.template), wanted.key: value})


def _rename_pool(answer: Any, wanted: str, region: str) -> None:
    """Give a user pool the id that the template's values have: the service has no parameter for it."""
    from moto.cognitoidp.models import cognitoidp_backends

    backend = cognitoidp_backends[ACCOUNT_ID][region]
    pool = backend.user_pools.pop(answer["UserPool"]["Id"])
    pool.id = wanted
    pool.arn = f"{pool.arn.rpartition('/')[0]}/{wanted}"
    backend.user_pools[wanted] = pool


def _rename_client(answer: Any, wanted: str, region: str) -> None:
    from moto.cognitoidp.models import cognitoidp_backends

    client = answer["UserPoolClient"]
    clients = cognitoidp_backends[ACCOUNT_ID][region].user_pools[client["UserPoolId"]].clients
    renamed = clients.pop(client["ClientId"])
    renamed.id = wanted
    clients[wanted] = renamed


_RENAMED: Final[dict[str, Callable[[Any, str, str], None]]] = {
    "create_user_pool": _rename_pool,
    "create_user_pool_client": _rename_client,
}
