"""The functions: three behind the routes, one on a schedule, each with its own role and log group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final, cast

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from tellwire.errors import ConfigError
from tellwire.infra.permissions import of_logging
from tellwire.limits import AWS_FUNCTION_TIMEOUT_SECONDS, FUNCTION_MEMORY_MB

_NO_CODE: Final = Path(__file__).with_name("no_code")
"""A directory without code. Inline code is no alternative: CloudFormation requires its handler to be in `index`."""


@dataclass(frozen=True, slots=True)
class Package:
    """The layer or code with `tellwire[aws]` in it, and the runtime and architecture it was built for."""

    layer: lambda_.ILayerVersion | None
    code: lambda_.Code | None
    runtime: lambda_.Runtime
    architecture: lambda_.Architecture


def make_package(
    scope: Construct,
    *,
    layer: lambda_.ILayerVersion | PathLike[str] | str | None,
    code: lambda_.Code | None,
    runtime: lambda_.Runtime,
    architecture: lambda_.Architecture,
) -> Package:
    """Return the package of the functions; a path becomes a layer.

    Raises:
        ConfigError: neither a layer nor code is given, or both; or the layer's path does not exist.
    """
    if (layer is None) is (code is None):
        given = "both" if layer is not None else "neither"
        raise ConfigError(f"layer, code: got {given}; allowed: one of them, with tellwire[aws] in it")
    if isinstance(layer, str | PathLike):
        layer = _make_layer(scope, Path(layer), runtime, architecture)
    return Package(layer, code, runtime, architecture)


def _make_layer(
    scope: Construct, path: Path, runtime: lambda_.Runtime, architecture: lambda_.Architecture
) -> lambda_.LayerVersion:
    if not path.exists():
        raise ConfigError(f"layer: got {str(path)!r}, which does not exist; allowed: a zip with tellwire[aws] in it")
    return lambda_.LayerVersion(
        scope,
        "Layer",
        code=lambda_.Code.from_asset(str(path.resolve())),
        compatible_runtimes=[runtime],
        compatible_architectures=[architecture],
        description="tellwire[aws]",
    )


def make_function(
    scope: Construct,
    name: str,
    *,
    package: Package,
    handler: str,
    code: lambda_.Code | None = None,
    environment: Mapping[str, str],
    statements: Sequence[iam.PolicyStatement],
    log_retention: logs.RetentionDays,
    timeout_seconds: float = AWS_FUNCTION_TIMEOUT_SECONDS,
    memory_mb: int = FUNCTION_MEMORY_MB,
    reserved_concurrency: int | None = None,
) -> lambda_.Function:
    """Return a function with the rights in `statements` and the right to write its own log.

    `code` is the user's own; None takes the package's. `reserved_concurrency` is the number of invocations that may run
    at once; None: as many as the account has.
    """
    group = logs.LogGroup(scope, f"{name}Log", retention=log_retention, removal_policy=RemovalPolicy.DESTROY)
    role = iam.Role(
        scope,
        f"{name}Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        inline_policies={name: iam.PolicyDocument(statements=[*statements, of_logging(group)])},
    )
    function = lambda_.Function(
        scope,
        name,
        handler=handler,
        code=code or package.code or lambda_.Code.from_asset(str(_NO_CODE)),
        layers=[] if package.layer is None else [package.layer],
        runtime=package.runtime,
        architecture=package.architecture,
        timeout=Duration.seconds(timeout_seconds),
        memory_size=memory_mb,
        reserved_concurrent_executions=reserved_concurrency,
        environment=dict(environment),
        role=role,
        log_group=group,
    )
    # The CDK adds a DependsOn for the role, which the reference to the role's ARN already implies (cfn-lint W3005).
    cast("lambda_.CfnFunction", function.node.default_child).add_deletion_override("DependsOn")
    return function
