"""The template of this example on this machine: API and functions in a local API Gateway, tables and bucket in moto.

Beyond `tellwire local --template`, there is an S3, and functions that S3 or a schedule invokes on AWS are invoked here,
with the events that S3 sends.
"""

import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote_plus

import boto3

from tellwire.apigateway.definition import Function
from tellwire.apigateway.dynamodb import create_tables, local_dynamodb
from tellwire.apigateway.local import LocalApi
from tellwire.apigateway.template import read_project
from tellwire.ports import Carrier
from tellwire.producer import carrier_from_environment

EXAMPLE: Final = Path(__file__).resolve().parent
CSV_WORKER: Final = "CsvWorkerFunction"
IMAGE_WORKER: Final = "ImageWorkerFunction"
SWEEPER: Final = "SweepFunction"
BUCKET: Final = "uploads"
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


class WorkerFailed(Exception):
    """An invocation of a worker ended without a result."""


@dataclass(frozen=True, slots=True)
class LocalStack:
    """The running stack. `aws_url` is the address of S3, and of DynamoDB unless another one is used."""

    api: LocalApi
    workers: Mapping[str, Function]
    aws_url: str
    s3: Any

    def carrier(self) -> Carrier:
        """Return a carrier as workers have it, with the history."""
        return carrier_from_environment(self.api.environment_of(next(iter(self.workers.values()))))

    def put(self, path: Path, key: str) -> dict[str, Any]:
        """Upload a file, and return the event that S3 would send."""
        self.s3.upload_file(str(path), BUCKET, key)
        # Keys are encoded as in a form. The other fields of an event are not needed.
        s3_object = {
            "key": quote_plus(key, safe="/"),
            "size": path.stat().st_size,
            "sequencer": f"{time.time_ns():018X}",
        }
        s3 = {"s3SchemaVersion": "1.0", "bucket": {"name": BUCKET}, "object": s3_object}
        return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]}

    async def invoke(self, worker: str, event: dict[str, Any]) -> Any:
        """Invoke a worker as Lambda does, and return its handler's result.

        Raises:
            WorkerFailed: the handler raised an error or timed out.
        """
        try:
            return await self.api.functions.invoke(worker, event, str(uuid.uuid4()))
        except Exception as error:
            raise WorkerFailed(str(error)) from error


@asynccontextmanager
async def running_stack(
    jwt_secret: str, *, workers: Sequence[str] = (CSV_WORKER,), dynamodb: str | None = None
) -> AsyncIterator[LocalStack]:
    """Run the template until the block ends.

    Tokens are signed with the secret. `workers` are the functions that can be invoked, the first one by S3; `dynamodb`
    is the URL of a DynamoDB to use instead of moto's.

    Raises:
        ConfigError: a part of the template cannot be run here.
    """
    with _composed(jwt_secret, workers, dynamodb) as stack:
        async with stack.api.running():
            yield stack


@contextmanager
def _composed(jwt_secret: str, names: Sequence[str], dynamodb: str | None) -> Iterator[LocalStack]:
    with TemporaryDirectory(prefix="aws_parts_upload-") as workspace, local_dynamodb() as aws_url:
        parameters = {"JwtSecret": jwt_secret}
        project = read_project(EXAMPLE, parameters=parameters, workspace=Path(workspace), functions=names)
        endpoints = {"AWS_ENDPOINT_URL_DYNAMODB": dynamodb or aws_url, "AWS_ENDPOINT_URL_S3": aws_url}
        create_tables(dynamodb or aws_url, project.tables, project.ttl_attributes, project.api.region)
        s3 = _s3(aws_url, project.api.region)
        s3.create_bucket(Bucket=BUCKET)
        # The layer with examples/parts_upload in it is built for AWS; here the modules are imported from the
        # repository.
        root = EXAMPLE.parents[1]
        workers = {name: replace(project.functions[name], layers=(root,)) for name in names}
        with LocalApi(project.api, {**project.functions, **workers}, environment=endpoints) as api:
            yield LocalStack(api, workers, aws_url, s3)


def _s3(url: str, region: str) -> Any:
    key_id, secret = CREDENTIALS.values()
    return boto3.client(
        "s3", endpoint_url=url, region_name=region, aws_access_key_id=key_id, aws_secret_access_key=secret
    )
