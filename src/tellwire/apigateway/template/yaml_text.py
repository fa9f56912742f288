"""YAML with CloudFormation's short tags: `!Sub x` is read as `{"Fn::Sub": "x"}`.

Source: CloudFormation user guide, "Intrinsic function reference".
"""

from typing import Any

import yaml

from tellwire.errors import ConfigError

_WITHOUT_PREFIX = ("Ref", "Condition")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


def parse(text: str, name: str) -> Any:
    """Parse a template. `name` is the file's name in errors.

    Raises:
        ConfigError: it is not YAML; the text has the line.
    """
    try:
        # The loader is a safe one: it only adds dicts with a name in front.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"template {name}{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"template {name}: not YAML: {' '.join(str(error).split())}") from error


class _Loader(yaml.SafeLoader):
    # CloudFormation knows no dates: the `Version: 2012-10-17` of a policy is text.
    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        # YAML forbids duplicate keys, PyYAML keeps the last one: a copied resource with the same name would be lost.
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value != "<<" and seen.setdefault(key.value, line) != line:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is already defined in line {seen[key.value]}", key.start_mark
                )
        return super().construct_mapping(node, deep)


def _intrinsic(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if name == "GetAtt":
            value = str(value).split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {name if name in _WITHOUT_PREFIX else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _intrinsic)
