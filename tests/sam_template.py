"""The template of examples/aws_parts_upload after SAM's translation, with queries."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from tellwire.apigateway.definition import Api
from tellwire.apigateway.template.sam import translate
from tellwire.apigateway.template.source import read_source
from tellwire.apigateway.template.stack import Stack

EXAMPLE = Path(__file__).parents[1] / "examples" / "aws_parts_upload"
SECRET = {"JwtSecret": "a-secret-for-tests-of-40-characters-long"}


class Deployed:
    """The template after SAM's translation, with queries."""

    @cached_property
    def resources(self) -> dict[str, Any]:
        source = read_source(EXAMPLE)
        stack = Stack(source.body, name=source.stack_name, identity=Api(routes=()), parameters=SECRET)
        found: dict[str, Any] = translate(source.body, stack.resolve, SECRET, "us-east-1")["Resources"]
        return found

    def properties(self, logical_id: str) -> dict[str, Any]:
        return dict(self.resources[logical_id]["Properties"])

    def of_type(self, resource_type: str) -> dict[str, Any]:
        return {
            logical_id: resource["Properties"]
            for logical_id, resource in self.resources.items()
            if resource["Type"] == resource_type
        }

    def rights(self, function: str) -> set[tuple[str, str]]:
        """Return all rights of a function: each action with each resource."""
        role_id = f"{function}Role"
        role = self.properties(role_id)
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        documents += [
            policy["PolicyDocument"]
            for policy in self.of_type("AWS::IAM::RolePolicy").values()
            if policy["RoleName"] == {"Ref": role_id}
        ]
        # The other managed policy is SAM's own: it writes logs.
        documents += [
            self.properties(arn["Ref"])["PolicyDocument"]
            for arn in role["ManagedPolicyArns"]
            if isinstance(arn, dict) and "Ref" in arn
        ]
        return {right for document in documents for right in rights_of(document)}


def rights_of(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the rights of a policy document: each action with each resource."""
    return {right for statement in document["Statement"] for right in _rights(statement)}


def _rights(statement: dict[str, Any]) -> Iterable[tuple[str, str]]:
    assert statement["Effect"] == "Allow"
    return [(action, text(on)) for action in _list(statement["Action"]) for on in _list(statement["Resource"])]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    """Return a value of a template in one line."""
    match value:
        case {"Fn::Sub": str(line)}:
            return line
        case {"Ref": str(name)}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"${{{name}.{attribute}}}"
        case _:
            return str(value)
