"""The stacks of a project: that of its template, those nested in it whose templates are on this machine, and those of
the same CDK app that it is linked with.

Source: CloudFormation user guide, "Working with nested stacks"; SAM specification, "AWS::Serverless::Application".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tellwire.apigateway.definition import Api
from tellwire.apigateway.template.code import ASSET_PATH
from tellwire.apigateway.template.intrinsics import Unresolved, text
from tellwire.apigateway.template.references import APPLICATION
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.rules import check_rules
from tellwire.apigateway.template.source import Source, is_sam, linked_stacks, read_source
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError

MAX_DEPTH = 10
"""Most stacks in one another. AWS names no limit; a template that nests itself would have no end."""


class Stacks:
    """The stacks of a project. `sources` are their templates, by the names of the stacks."""

    def __init__(self, identity: Api) -> None:
        self._identity = identity
        self.sources: dict[str, Source] = {}

    def open(self, source: Source, parameters: Mapping[str, str], name: str = "", outer: Stack | None = None) -> Stack:
        """Return the stack of a template.

        Raises:
            ConfigError: the template is not valid, or one of its rules does not hold.
        """
        name = name or source.stack_name
        self.sources[name] = source
        stack = self._stack(source.body, name, parameters, outer)
        check_rules(source.body.get("Rules") or {}, stack)
        if not is_sam(source.body):
            return stack
        # Imported here: it takes a second, belongs to an extra, and a CDK app needs none of it.
        try:
            from tellwire.apigateway.template.sam import translate
        except ModuleNotFoundError as error:
            raise ConfigError("a SAM template needs: pip install 'tellwire[template]'") from error
        body = translate(source.body, stack.resolve, parameters, self._identity.region)
        return self._stack(body, name, parameters, outer)

    def open_app(self, source: Source, parameters: Mapping[str, str]) -> Stack:
        """Return the stack of a template, with those of the same CDK app that it is linked with.

        Raises:
            ConfigError: as `open`.
        """
        stack = self.open(source, parameters)
        for other in linked_stacks(source):
            stack.add(self.open(other, {}, outer=stack))
        return stack

    def _stack(self, body: Mapping[str, Any], name: str, parameters: Mapping[str, str], outer: Stack | None) -> Stack:
        return Stack(
            body, name=name, identity=self._identity, parameters=parameters, outer=outer, open_nested=self._nested
        )

    def _nested(self, outer: Stack, resource: Resource) -> Stack | None:
        if outer.name.count("/") >= MAX_DEPTH:
            raise ConfigError(f"{resource}: got over {MAX_DEPTH} nested stacks; allowed: {MAX_DEPTH}")
        path = self._template(outer, resource)
        if path is None:
            return None
        return self.open(read_source(path), _parameters(outer, resource), f"{outer.name}/{resource.logical_id}", outer)

    def _template(self, outer: Stack, resource: Resource) -> Path | None:
        """Return the path of a nested template, if it is on this machine."""
        if (asset := resource.metadata.get(ASSET_PATH)) is not None:
            location: Any = asset
        else:
            location = resource.value("Location" if resource.type == APPLICATION else "TemplateURL")
        if not isinstance(location, str) or "://" in location:
            return None
        path = self.sources[outer.name].beside(location)
        return path if path.exists() else None


def _parameters(outer: Stack, resource: Resource) -> dict[str, str]:
    given = {}
    written = resource.properties.get("Parameters")
    for name, value in (written if isinstance(written, dict) else {}).items():
        try:
            resolved = resource.resolve(value)
            given[name] = ",".join(map(text, resolved)) if isinstance(resolved, list) else text(resolved)
        except Unresolved as unresolved:
            outer.note(f"{resource}: parameter {name}: {unresolved}")
    return given
