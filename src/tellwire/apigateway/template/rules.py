"""The rules of a template: conditions on its parameters that AWS checks before it creates a stack.

Source: CloudFormation user guide, "Rules".
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tellwire.apigateway.template.intrinsics import Unresolved, truth
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError, shown

_ALWAYS: Final = {"Fn::Equals": ["", ""]}


def check_rules(rules: Any, stack: Stack) -> None:
    """Check a template's `Rules`. Rules that only AWS can evaluate are skipped: every CDK app has such a rule.

    Raises:
        ConfigError: an assertion does not hold, as `sam deploy` would report; or the rules do not have the required
            form.
    """
    if not isinstance(rules, dict):
        raise ConfigError(f"template: Rules: got {shown(rules)}; allowed: an object")
    for name, rule in rules.items():
        with contextlib.suppress(Unresolved):
            for assertion, description in _assertions(name, rule, stack):
                if not truth(assertion, stack):
                    raise ConfigError(f"rule {name}: {description}")


def _assertions(name: str, rule: Any, stack: Stack) -> Iterator[tuple[Any, str]]:
    match rule:
        case {"Assertions": list(assertions)} if all(_is_assertion(each) for each in assertions):
            if truth(rule.get("RuleCondition", _ALWAYS), stack):
                for assertion in assertions:
                    yield assertion["Assert"], assertion.get("AssertDescription", "its assertion does not hold")
        case _:
            raise ConfigError(f"rule {name}: got {shown(rule)}; allowed: a list of Assertions, each with an Assert")


def _is_assertion(written: Any) -> bool:
    return isinstance(written, Mapping) and "Assert" in written
