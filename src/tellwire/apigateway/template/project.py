"""Reading a template into a project: the composition of this package."""

from collections.abc import Collection, Mapping
from pathlib import Path

from tellwire.apigateway.definition import Api, Project
from tellwire.apigateway.template.api import read_api
from tellwire.apigateway.template.code import CodeFinder
from tellwire.apigateway.template.functions import read_functions
from tellwire.apigateway.template.rules import check_rules
from tellwire.apigateway.template.source import Source, read_source
from tellwire.apigateway.template.stack import Stack
from tellwire.apigateway.template.tables import read_tables
from tellwire.apigateway.template.unsupported import note_unsupported
from tellwire.errors import ConfigError

_SAM = "AWS::Serverless-2016-10-31"


def read_project(
    path: Path,
    *,
    stage: str | None = None,
    region: str = "us-east-1",
    parameters: Mapping[str, str] | None = None,
    workspace: Path | None = None,
    functions: Collection[str] = (),
) -> Project:
    """Read a template.

        with TemporaryDirectory() as workspace:
            project = read_project(Path("cdk.out"), stage="prod", workspace=Path(workspace))

    Args:
        path: a SAM or CloudFormation template in YAML or JSON, a synthesized CDK `*.template.json`, or a directory that
            contains one of them, such as `cdk.out`.
        stage: the name of the stage; None if the template has only one.
        region: the value of `AWS::Region`.
        parameters: values of the template's parameters; the others have their defaults.
        workspace: a directory for code that is written in the template itself (`InlineCode`, `ZipFile`). It must exist
            as long as the functions are invoked.
        functions: logical ids of functions to read in addition to those that the API needs.

    Raises:
        ConfigError: the template cannot be read, has no WebSocket API or several, one of its rules does not hold, or a
            function cannot run here.
    """
    source = read_source(path)
    identity = Api(routes=(), region=region)
    stack = Stack(source.body, name=source.stack_name, identity=identity, parameters=parameters or {})
    check_rules(source.body.get("Rules") or {}, stack)
    if _is_sam(source):
        # Imported here: it takes a second, belongs to an extra, and a CDK app needs none of it.
        try:
            from tellwire.apigateway.template.sam import translate
        except ModuleNotFoundError as error:
            raise ConfigError("a SAM template needs: pip install 'tellwire[template]'") from error
        body = translate(source.body, stack.resolve, parameters or {}, region)
        stack = Stack(body, name=source.stack_name, identity=identity, parameters=parameters or {})
    api = read_api(stack, stage)
    found = read_functions(stack, CodeFinder(source, workspace), api, functions)
    tables, ttl_attributes = read_tables(stack)
    note_unsupported(stack)
    return Project(
        api=api,
        functions=found,
        tables=tables,
        ttl_attributes=ttl_attributes,
        notes=tuple(dict.fromkeys(stack.notes)),
    )


def _is_sam(source: Source) -> bool:
    transform = source.body.get("Transform")
    return _SAM in (transform if isinstance(transform, list) else [transform])
