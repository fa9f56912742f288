"""Reading a template into a project: the composition of this package."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from tellwire.apigateway.definition import Api, Project
from tellwire.apigateway.template.api import read_apis
from tellwire.apigateway.template.attachments import read_services
from tellwire.apigateway.template.code import CodeFinder
from tellwire.apigateway.template.functions import read_functions, read_others
from tellwire.apigateway.template.nested import Stacks
from tellwire.apigateway.template.serverless import is_serverless, to_template
from tellwire.apigateway.template.source import Source, read_source
from tellwire.apigateway.template.tables import read_tables
from tellwire.apigateway.template.unsupported import note_unsupported


def read_project(
    path: Path,
    *,
    stage: str | None = None,
    region: str = "us-east-1",
    parameters: Mapping[str, str] | None = None,
    workspace: Path | None = None,
    functions: Collection[str] = (),
    api: str | None = None,
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
        workspace: a directory for code that is written in the template itself (`InlineCode`, `ZipFile`), and for that
            in zips. It must exist as long as the functions are invoked.
        functions: logical ids of functions to read in addition to those that the APIs need.
        api: the logical id of an API; None for all of the template's.

    Raises:
        ConfigError: the template cannot be read, has no WebSocket API, or one of its rules does not hold.
    """
    stacks = Stacks(Api(routes=(), region=region))
    source, given, notes = _source(path, Api(routes=(), region=region), stage, parameters or {})
    stack = stacks.open_app(source, given)
    for note in notes:
        stack.note(note)
    left_out: dict[str, str] = {}
    apis = read_apis(stack, stage, api, left_out)
    code = CodeFinder(stacks.sources, workspace)
    found = read_functions(stack, code, apis, left_out, functions)
    services = read_services(stack, apis)
    others = read_others(stack, code, found, services)
    tables, ttl_attributes = read_tables(stack)
    note_unsupported(stack)
    return Project(
        apis=apis,
        functions=found | others,
        tables=tables,
        ttl_attributes=ttl_attributes,
        notes=tuple(dict.fromkeys(stack.notes)),
        on_demand=frozenset(others),
        services=services,
    )


def _source(
    path: Path, identity: Api, stage: str | None, parameters: Mapping[str, str]
) -> tuple[Source, Mapping[str, str], list[str]]:
    """Return a template as CloudFormation, the values of its parameters, and notes on parts that are not read."""
    source = read_source(path)
    if not is_serverless(source.body):
        return source, parameters, []
    body, notes = to_template(source.body, identity, stage, parameters)
    return replace(source, body=body), {}, notes
