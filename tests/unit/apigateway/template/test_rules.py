"""Rules: a local run refuses the same parameters as a deployment."""

from typing import Any

import pytest

from tellwire.errors import ConfigError
from tests.unit.apigateway.template.conftest import Read, Template

ONE_IS_GIVEN = {"Fn::Not": [{"Fn::Equals": [{"Ref": "One"}, ""]}]}
IN_PROD = {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}


def with_rule(template: Template, **rule: Any) -> Template:
    parameters = {name: {"Type": "String", "Default": ""} for name in ("One", "Stage")}
    return template | {"Parameters": parameters, "Rules": {"OneIsNeeded": rule}}


def needs_one(template: Template, **more: Any) -> Template:
    assertion = {"Assert": ONE_IS_GIVEN, "AssertDescription": "Give One."}
    return with_rule(template, Assertions=[assertion], **more)


def test_an_assertion_that_does_not_hold_is_an_error_in_the_template_s_own_words(
    template: Template, read: Read
) -> None:
    with pytest.raises(ConfigError, match=r"^rule OneIsNeeded: Give One\.$"):
        read(needs_one(template))


def test_an_assertion_that_holds_is_nothing_to_speak_of(template: Template, read: Read) -> None:
    assert read(needs_one(template), parameters={"One": "1"}).notes == ()


def test_a_rule_counts_only_under_its_condition(template: Template, read: Read) -> None:
    rules = needs_one(template, RuleCondition=IN_PROD)
    read(rules)
    with pytest.raises(ConfigError, match="rule OneIsNeeded"):
        read(rules, parameters={"Stage": "prod"})


def test_what_only_aws_can_work_out_is_left_to_it(template: Template, read: Read) -> None:
    only_on_aws = {"Assert": {"Fn::EachMemberIn": [{"Fn::RefAll": "AWS::EC2::VPC::Id"}, ["vpc-1"]]}}
    assert read(with_rule(template, Assertions=[only_on_aws])).notes == ()


@pytest.mark.parametrize("rules", [["One"], {"One": "must be given"}, {"One": {"Assertions": ["One"]}}])
def test_rules_of_another_form_are_refused(template: Template, read: Read, rules: Any) -> None:
    with pytest.raises(ConfigError, match=r"(template: Rules|rule One): got"):
        read(template | {"Rules": rules})
