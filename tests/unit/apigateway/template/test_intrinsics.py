"""CloudFormation's intrinsic functions: their values, and their errors."""

from typing import Any

import pytest

from tellwire.apigateway.definition import Api
from tellwire.apigateway.template.intrinsics import NO_VALUE, Unresolved
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError

IDENTITY = Api(routes=(), region="eu-west-1")
TEMPLATE: dict[str, Any] = {
    "Parameters": {
        "Name": {"Type": "String", "Default": "chat"},
        "Count": {"Type": "Number", "Default": 3},
        "Zones": {"Type": "CommaDelimitedList", "Default": "a, b"},
        "Wanted": {"Type": "String"},
        "Stored": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/chat/url"},
    },
    "Mappings": {"Sizes": {"eu-west-1": {"memory": 512}}},
    "Conditions": {
        "Yes": {"Fn::Equals": [{"Ref": "Name"}, "chat"]},
        "No": {"Fn::Not": [{"Condition": "Yes"}]},
        "Both": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]},
        "Either": {"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]},
        "Asks": {"Fn::Equals": [{"Ref": "Wanted"}, "x"]},
        "Itself": {"Fn::Not": [{"Condition": "Itself"}]},
        "Three": {"Fn::Equals": [{"Ref": "Count"}, "3"]},
        "Text": "true",
        "OfAResource": {"Fn::Equals": [{"Ref": "Rows"}, "Rows"]},
    },
    "Resources": {
        "Fn": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": {"Fn::Sub": "${Name}-fn"}}},
        "Live": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "Fn"}, "Name": "live"}},
        "Two": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Fn::GetAtt": ["Fn", "Arn"]}}},
        "Rows": {"Type": "AWS::DynamoDB::Table"},
        "Chat": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"ProtocolType": "WEBSOCKET"}},
        "Web": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"ProtocolType": "HTTP"}},
        "Prod": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {"StageName": "live"}},
        "Jobs": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "jobs"}},
        "News": {"Type": "AWS::SNS::Topic"},
        "Files": {"Type": "AWS::S3::Bucket"},
        "Users": {"Type": "AWS::Cognito::UserPool"},
        "Odd": {"Type": "Custom::Odd"},
        "Knot": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": "${Knot}-x"}}},
        "Absent": {"Type": "AWS::SQS::Queue", "Condition": "No"},
    },
}


@pytest.fixture
def stack() -> Stack:
    return Stack(TEMPLATE, name="my-stack", identity=IDENTITY, parameters={})


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ({"Ref": "Name"}, "chat"),
        ({"Ref": "Zones"}, ["a", "b"]),
        ({"Ref": "AWS::Region"}, "eu-west-1"),
        ({"Ref": "AWS::AccountId"}, "123456789012"),
        ({"Ref": "AWS::StackName"}, "my-stack"),
        ({"Ref": "AWS::Partition"}, "aws"),
        ({"Ref": "AWS::URLSuffix"}, "amazonaws.com"),
        ({"Ref": "AWS::NoValue"}, NO_VALUE),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
        ({"Fn::Sub": "${Name}/${AWS::Region}/${Fn.Arn}/${!Name}/${Count}"}, None),
        ({"Fn::Sub": ["${Name}-${x}", {"x": {"Ref": "Name"}}]}, "chat-chat"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Name"}, 1, True]]}, "a-chat-1-true"),
        ({"Fn::Join": ["", {"Ref": "Zones"}]}, "ab"),
        ({"Fn::Select": ["1", {"Ref": "Zones"}]}, "b"),
        ({"Fn::Select": [0, {"Fn::Split": ["/", "x/y"]}]}, "x"),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "AWS::Region"}, "memory"]}, 512),
        ({"Fn::If": ["Yes", "a", {"Fn::ImportValue": "never asked for"}]}, "a"),
        ({"Fn::If": ["No", "a", {"Ref": "AWS::NoValue"}]}, NO_VALUE),
        ({"Fn::If": ["Both", 1, {"Fn::If": ["Either", 2, 3]}]}, 2),
        ({"Fn::If": ["Three", 1, 2]}, 1),
        ({"Fn::Base64": {"Ref": "Name"}}, "Y2hhdA=="),
        ({"Condition": "Yes"}, {"Condition": "Yes"}),
        (7, 7),
    ],
)
def test_a_function_gives_what_it_gives_on_aws(stack: Stack, written: Any, value: Any) -> None:
    expected = value or "chat/eu-west-1/arn:aws:lambda:eu-west-1:123456789012:function:chat-fn/${Name}/3"
    assert stack.resolve(written) == expected


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ({"Ref": "Fn"}, "chat-fn"),
        ({"Fn::GetAtt": "Fn.Arn"}, "arn:aws:lambda:eu-west-1:123456789012:function:chat-fn"),
        ({"Ref": "Live"}, "arn:aws:lambda:eu-west-1:123456789012:function:chat-fn:live"),
        ({"Ref": "Two"}, "arn:aws:lambda:eu-west-1:123456789012:function:chat-fn:1"),
        ({"Fn::GetAtt": ["Two", "Version"]}, "1"),
        ({"Ref": "Rows"}, "Rows"),
        (
            {"Fn::GetAtt": ["Rows", "StreamArn"]},
            "arn:aws:dynamodb:eu-west-1:123456789012:table/Rows/stream/2024-01-01T00:00:00.000",
        ),
        ({"Ref": "Chat"}, "tellwire00"),
        ({"Fn::GetAtt": ["Chat", "ApiEndpoint"]}, "wss://tellwire00.execute-api.eu-west-1.amazonaws.com"),
        ({"Ref": "Prod"}, "live"),
        ({"Ref": "Jobs"}, "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"),
        ({"Fn::GetAtt": ["Jobs", "QueueName"]}, "jobs"),
        ({"Ref": "News"}, "arn:aws:sns:eu-west-1:123456789012:News"),
        ({"Ref": "Files"}, "files"),
        ({"Fn::GetAtt": ["Users", "Arn"]}, "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_138c2d213"),
    ],
)
def test_a_resource_has_a_name_of_the_form_it_has_on_aws(stack: Stack, written: Any, value: str) -> None:
    assert stack.resolve(written) == value


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"Ref": "Wanted"}, "parameter Wanted has no value"),
        ({"Fn::Sub": "https://${Wanted}"}, "parameter Wanted has no value"),
        ({"Ref": "Stored"}, "the Parameter Store has '/chat/url', and the template does not make it"),
        ({"Ref": "Nobody"}, "'Nobody' is neither a parameter nor a resource that exists"),
        ({"Ref": "Absent"}, "'Absent' is neither a parameter nor a resource that exists"),
        ({"Ref": "Odd"}, "Custom::Odd Odd has no name that is known locally"),
        ({"Ref": "Web"}, "AWS::ApiGatewayV2::Api Web is not a WebSocket API, so it has no id locally"),
        ({"Fn::GetAtt": ["Odd", "Url"]}, "Url of Custom::Odd Odd is not known locally"),
        ({"Fn::GetAtt": ["Files", "WebsiteURL"]}, "WebsiteURL of AWS::S3::Bucket Files is not known locally"),
        ({"Ref": "Knot"}, "Knot refers to itself"),
        ({"Fn::If": ["Itself", 1, 2]}, "condition Itself refers to itself"),
        ({"Fn::If": ["Asks", 1, 2]}, "parameter Wanted has no value"),
        ({"Fn::If": ["Nothing", 1, 2]}, "there is no condition 'Nothing'"),
        ({"Fn::If": ["Text", 1, 2]}, "'true' is not a condition"),
        ({"Fn::FindInMap": ["Sizes", "x", "memory"]}, "there is no Sizes.x.memory in Mappings"),
        ({"Fn::ImportValue": "x"}, "Fn::ImportValue 'x' cannot be resolved locally"),
        ({"Fn::GetAZs": ""}, "Fn::GetAZs '' cannot be resolved locally"),
        ("{{resolve:ssm:/a:1}}", "the Parameter Store has '/a', and the template does not make it"),
        ({"Fn::Sub": "{{resolve:ssm:/${Name}}}"}, "the Parameter Store has '/chat', and the template does not make it"),
        ("{{resolve:ssm-secure:/a}}", "the dynamic reference '{{resolve:ssm-secure:/a}}' cannot be resolved locally"),
        ({"Fn::Join": ["-", "text"]}, "Fn::Join ['-', 'text'] does not have the required form"),
        ({"Fn::Select": [9, ["a"]]}, "Fn::Select [9, ['a']] does not have the required form"),
        ({"Fn::Join": ["", [{}]]}, "got {}, where text must be"),
        ({"Fn::Sub": "${AWS::NoValue}"}, "got nothing, where text must be"),
    ],
)
def test_what_is_not_known_here_is_named(stack: Stack, written: Any, words: str) -> None:
    with pytest.raises(Unresolved) as caught:
        stack.resolve(written)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["Ref", "Fn::GetAtt", "Fn::Sub", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::FindInMap", "Fn::If", "Fn::Base64"],
)
@pytest.mark.parametrize("argument", [None, [], [[]], {}, [1, 2, 3], ["x", None, None, None]])
def test_a_function_of_the_wrong_form_is_unresolved(stack: Stack, name: str, argument: Any) -> None:
    with pytest.raises(Unresolved, match=r"."):
        stack.resolve({name: argument})


def test_a_given_parameter_wins_over_its_default() -> None:
    given = {"Name": "news", "Wanted": "w", "Stored": "s", "Zones": "x,y"}
    stack = Stack(TEMPLATE, name="s", identity=IDENTITY, parameters=given)
    refs = [stack.resolve({"Ref": name}) for name in given]
    assert refs == ["news", "w", "s", ["x", "y"]]


def test_a_parameter_that_the_template_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="parameter: got 'Nmae'; allowed: Name, Count, Zones, Wanted, Stored"):
        Stack(TEMPLATE, name="s", identity=IDENTITY, parameters={"Nmae": "x"})


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("Asks", "parameter Wanted has no value; give it one with --parameter Wanted=…"),
        ("OfAResource", "'Rows' is neither a parameter nor a resource that exists"),
        ("Nothing", "there is no condition 'Nothing'"),
    ],
)
def test_a_resource_whose_condition_is_not_known_is_there_and_noted(condition: str, why: str) -> None:
    resources = {"Jobs": {"Type": "AWS::SQS::Queue", "Condition": condition}}
    stack = Stack({**TEMPLATE, "Resources": resources}, name="s", identity=IDENTITY, parameters={})
    assert [resource.logical_id for resource in stack.resources()] == ["Jobs"]
    assert stack.notes == [
        "parameter Wanted has no value, so AWS would not deploy this; give it one with --parameter Wanted=…",
        f"AWS::SQS::Queue Jobs: condition {condition} is taken to hold: {why}",
    ]


def test_a_stored_parameter_of_the_template_itself_is_known() -> None:
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/chat/url", "Value": "https://x"}}
    stack = Stack({**TEMPLATE, "Resources": {"Url": parameter}}, name="s", identity=IDENTITY, parameters={})
    written = [{"Ref": "Stored"}, {"Fn::GetAtt": ["Url", "Value"]}, "{{resolve:ssm:/chat/url:1}}/y"]
    assert [stack.resolve(each) for each in written] == ["https://x", "https://x", "https://x/y"]
