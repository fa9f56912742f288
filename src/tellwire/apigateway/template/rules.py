"""The rules of a template: what must hold among its parameters before AWS makes a stack of it.

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
    """Check a template's `Rules`. What only AWS can work out is left to AWS: every CDK app has a rule of that sort.

    Raises:
        ConfigError: an assertion does not hold, as `sam deploy` would say; or the rules have not the form they must
            have.
    """
    if not isinstance(rules, dict):
        raise ConfigError(f"template: Rules: got {shown(rules)}; allowed: names and what they are")
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
