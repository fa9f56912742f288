"""Loading of a template: a path goes in, its data comes out, with the directory that its paths start from."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tellwire.errors import ConfigError, shown

TEMPLATE_NAMES: Final = (
    "template.yaml",
    "template.yml",
    "template.json",
    "sam.json",
    "serverless.yml",
    "serverless.yaml",
)
"""Names of templates in a directory, the first one found; `sam.json` is that of `chalice package`."""

SAM_TRANSFORM: Final = "AWS::Serverless-2016-10-31"
"""The transform by which a template is SAM's."""

_BUILT: Final = Path(".aws-sam", "build")
_SERVERLESS: Final = "AWS::Serverless::"
_LOOP: Final = "Fn::ForEach::"
_CDK_TEMPLATE: Final = ".template.json"
_NESTED_TEMPLATE: Final = ".nested.template.json"


@dataclass(frozen=True, slots=True)
class Source:
    """A template as written, with nothing resolved."""

    path: Path
    body: dict[str, Any]

    @property
    def stack_name(self) -> str:
        """Return the stack's name if it is part of the file's name, as in CDK's; else a fixed name."""
        name = self.path.name
        return name.removesuffix(_CDK_TEMPLATE) if name.endswith(_CDK_TEMPLATE) else "tellwire-local"

    def beside(self, path: str) -> Path:
        """Return the absolute path for a path in the template."""
        return (self.path.parent / path).resolve()


def read_source(path: Path) -> Source:
    """Return the template at a path, or the one in a directory.

    Raises:
        ConfigError: there is no template, there are several candidates, or it cannot be read.
    """
    if not path.exists():
        raise ConfigError(f"template: got {str(path)!r}; there is no such file or directory")
    if path.is_file():
        return _load(path)
    if templates := _cdk_templates(path):
        return _the_one_with_a_websocket_api(path, templates)
    # What `sam build` has written comes first, as for `sam local`: it has the dependencies.
    for name in TEMPLATE_NAMES:
        for candidate in (path / _BUILT / name, path / name):
            if candidate.is_file():
                return _load(candidate)
    if (path / "cdk.out").is_dir():
        return read_source(path / "cdk.out")
    raise ConfigError(
        f"template: got the directory {str(path)!r}; allowed: one with {', '.join(TEMPLATE_NAMES)} or cdk.out in it"
    )


def _cdk_templates(directory: Path) -> list[Path]:
    # A CDK `Stage` has an assembly of its own, one directory down. A nested stack is read with its outer one.
    found = [*directory.glob(f"*{_CDK_TEMPLATE}"), *directory.glob(f"assembly-*/*{_CDK_TEMPLATE}")]
    return sorted(path for path in found if not path.name.endswith(_NESTED_TEMPLATE))


def _the_one_with_a_websocket_api(directory: Path, templates: list[Path]) -> Source:
    sources = [_load(path) for path in templates]
    with_api = [source for source in sources if _has_websocket_api(source)] or sources
    if len(with_api) > 1:
        names = ", ".join(source.path.relative_to(directory).as_posix() for source in with_api)
        which = "several stacks have" if _has_websocket_api(with_api[0]) else "no stack has"
        raise ConfigError(f"template: in {str(directory)!r} {which} a WebSocket API; give the path of one of: {names}")
    return with_api[0]


def linked_stacks(source: Source) -> list[Source]:
    """Return the other stacks of a CDK app that this one imports values from, or that import its, and so on."""
    if not source.path.name.endswith(_CDK_TEMPLATE):
        return []
    others = [_load(path) for path in _cdk_templates(source.path.parent) if path != source.path]
    linked, found = [source], list[Source]()
    while linked:
        each = linked.pop()
        near = [other for other in others if _are_linked(each.body, other.body)]
        others = [other for other in others if other not in near]
        linked += near
        found += near
    return found


def _are_linked(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(_imports(one) & _exports(other) or _imports(other) & _exports(one))


def _imports(part: Any) -> set[str]:
    match part:
        case {"Fn::ImportValue": str(name)}:
            return {name}
        case dict():
            return set[str]().union(*map(_imports, part.values()))
        case list():
            return set[str]().union(*map(_imports, part))
        case _:
            return set()


def _exports(body: dict[str, Any]) -> set[str]:
    outputs = body.get("Outputs")
    named = [output.get("Export") for output in (outputs or {}).values() if isinstance(output, dict)]
    return {str(export["Name"]) for export in named if isinstance(export, dict) and "Name" in export}


def _has_websocket_api(source: Source) -> bool:
    for resource in source.body["Resources"].values():
        match resource:
            case {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"ProtocolType": "WEBSOCKET"}}:
                return True
            case {"Type": "AWS::CloudFormation::Stack", "Metadata": {"aws:asset:path": str(nested)}}:
                if (path := source.beside(nested)).is_file() and _has_websocket_api(_load(path)):
                    return True
    return False


def _load(path: Path) -> Source:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"template {path.name}: cannot be read: {error}") from error
    body = _from_json(text, path.name) if path.suffix == ".json" else _from_yaml(text, path.name)
    # A CDK stack with nothing in it has no Resources at all.
    resources = body.setdefault("Resources", {}) if isinstance(body, dict) else None
    if not isinstance(resources, dict):
        raise ConfigError(f"template {path.name}: got {shown(body)}; allowed: a SAM or CloudFormation template")
    for logical_id, resource in resources.items():
        if logical_id.startswith(_LOOP):
            raise ConfigError(
                f"template {path.name}: {logical_id}: the transform AWS::LanguageExtensions is not supported; "
                "allowed: the resources, each by itself"
            )
        if not isinstance(resource, dict):
            raise ConfigError(
                f"template {path.name}: resource {logical_id}: got {shown(resource)}; allowed: Type and Properties"
            )
    _require_transform(path, body)
    return Source(path, body)


def _require_transform(path: Path, body: dict[str, Any]) -> None:
    if is_sam(body):
        return
    for logical_id, resource in body["Resources"].items():
        if str(resource.get("Type")).startswith(_SERVERLESS):
            raise ConfigError(
                f"template {path.name}: {resource['Type']} {logical_id} needs the line Transform: {SAM_TRANSFORM}"
            )


def is_sam(body: dict[str, Any]) -> bool:
    """Return whether a template has SAM's transform."""
    transform = body.get("Transform")
    return SAM_TRANSFORM in (transform if isinstance(transform, list) else [transform])


def _from_json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"template {name}, line {error.lineno}: not JSON: {error.msg}") from error


def _from_yaml(text: str, name: str) -> Any:
    try:
        from tellwire.apigateway.template.yaml_text import parse
    except ModuleNotFoundError as error:
        raise ConfigError("a template in YAML needs: pip install 'tellwire[template]'") from error
    return parse(text, name)
