"""Services, schedules and policies of a template."""

from typing import Any

import pytest

from tellwire.apigateway.services.definition import EventRule, QueueSource, Schedule
from tests.unit.apigateway.template.conftest import Read, Template

REGION = "eu-west-1"


def add(template: Template, logical_id: str, kind: str, **properties: Any) -> Template:
    template["Resources"][logical_id] = {"Type": f"AWS::{kind}", "Properties": properties}
    return template


def created(read: Read, template: Template) -> list[tuple[str, dict[str, Any]]]:
    creations = read(template, region=REGION).services.creations
    return [(each.operation, dict(each.parameters)) for each in creations]


def test_a_queue_has_the_name_of_its_url(template: Template, read: Read) -> None:
    add(template, "Jobs", "SQS::Queue", FifoQueue=True, VisibilityTimeout=30)
    attributes = {"FifoQueue": "true", "VisibilityTimeout": "30"}
    assert created(read, template) == [("create_queue", {"QueueName": "Jobs.fifo", "Attributes": attributes})]


def test_a_dead_letter_queue_is_there_before_it_is_named(template: Template, read: Read) -> None:
    policy = {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 3}
    add(template, "Jobs", "SQS::Queue", RedrivePolicy=policy)
    add(template, "Dead", "SQS::Queue")
    assert [operation for operation, _ in created(read, template)] == [
        "create_queue",
        "create_queue",
        "set_queue_attributes",
    ]


def test_a_pool_and_its_client_have_the_ids_that_variables_get(template: Template, read: Read) -> None:
    add(template, "Users", "Cognito::UserPool")
    add(template, "Web", "Cognito::UserPoolClient", UserPoolId={"Ref": "Users"}, GenerateSecret="false")
    variables = {"POOL": {"Ref": "Users"}, "CLIENT": {"Ref": "Web"}, "ISSUER": {"Fn::GetAtt": ["Users", "ProviderURL"]}}
    template["Resources"]["Fn"]["Properties"]["Environment"] = {"Variables": variables}
    project = read(template, region=REGION)
    pool, client = project.services.creations
    environment = project.functions["Fn"].environment
    assert (pool.wanted_id, client.wanted_id) == (environment["POOL"], environment["CLIENT"])
    assert client.parameters["UserPoolId"] == environment["POOL"]
    assert environment["POOL"].startswith("eu-west-1_")
    assert environment["ISSUER"] == f"https://cognito-idp.eu-west-1.amazonaws.com/{environment['POOL']}"


def test_a_client_does_without_the_urls_that_only_aws_knows(template: Template, read: Read) -> None:
    urls = [{"Fn::GetAtt": ["Pages", "DomainName"]}]
    add(template, "Pages", "CloudFront::Distribution")
    add(template, "Users", "Cognito::UserPool")
    add(template, "Web", "Cognito::UserPoolClient", UserPoolId={"Ref": "Users"}, CallbackURLs=urls)
    _, client = read(template).services.creations
    assert client.operation == "create_user_pool_client"
    assert "CallbackURLs" not in client.parameters


def test_a_subscription_of_another_kind_is_noted(template: Template, read: Read) -> None:
    add(template, "News", "SNS::Topic", Subscription=[{"Protocol": "email", "Endpoint": "a@example.com"}])
    notes = read(template).notes
    assert notes == ("AWS::SNS::Topic News: is left out: Protocol: got email; allowed here: sqs, lambda",)


RULE_ARN = f"arn:aws:events:{REGION}:123456789012:rule/Tick"
TARGET = {"Id": "x", "Arn": {"Fn::GetAtt": ["Fn", "Arn"]}}


def test_a_rule_is_a_schedule_of_its_function(template: Template, read: Read) -> None:
    add(template, "Tick", "Events::Rule", ScheduleExpression="rate(1 minute)", Targets=[TARGET])
    schedules = read(template, region=REGION).services.schedules
    assert schedules == (Schedule("rule Tick", "Fn", "rate(1 minute)", RULE_ARN),)


def test_a_schedule_of_the_scheduler_has_a_time_zone_and_an_input(template: Template, read: Read) -> None:
    add(
        template,
        "Daily",
        "Scheduler::Schedule",
        ScheduleExpression="cron(0 8 * * ? *)",
        ScheduleExpressionTimezone="Europe/Berlin",
        Target={"Arn": {"Fn::GetAtt": ["Fn", "Arn"]}, "RoleArn": "x", "Input": '{"a": 1}'},
    )
    [schedule] = read(template).services.schedules
    assert (schedule.source, schedule.timezone, schedule.payload) == ("aws.scheduler", "Europe/Berlin", '{"a": 1}')


def test_a_rule_with_a_pattern_waits_for_the_events_of_its_bus(template: Template, read: Read) -> None:
    add(template, "Bus", "Events::EventBus", Name="chat")
    pattern, switched_off = {"source": ["x"]}, {"State": "DISABLED", "Targets": [TARGET]}
    add(template, "Said", "Events::Rule", EventPattern=pattern, EventBusName={"Ref": "Bus"}, Targets=[TARGET])
    add(template, "Any", "Events::Rule", EventPattern=pattern, Targets=[{**TARGET, "Input": "1"}])
    add(template, "Off", "Events::Rule", EventPattern=pattern, **switched_off)
    services = read(template).services
    assert services.event_rules == (
        EventRule("Said", "chat", pattern, "Fn"),
        EventRule("Any", "default", pattern, "Fn", "1"),
    )
    assert services.schedules == ()


def test_a_schedule_that_is_switched_off_does_not_run(template: Template, read: Read) -> None:
    add(template, "Tick", "Events::Rule", ScheduleExpression="rate(1 minute)", State="DISABLED", Targets=[TARGET])
    project = read(template)
    assert (project.services.schedules, project.notes) == ((), ())


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"EventPattern": {"source": ["x"]}, "Targets": [{"Arn": "arn:aws:sqs:x:1:q"}]}, "a function of this template"),
        ({"EventPattern": {"source": ["x"]}, "Targets": [{**TARGET, "InputPath": "$"}]}, "with Input or without"),
        ({"EventPattern": "x", "Targets": [TARGET]}, "EventPattern: got 'x'; allowed: an object"),
        ({"ScheduleExpression": "cron(0 8 L * ? *)", "Targets": [TARGET]}, "without L, W and #"),
        (
            {"ScheduleExpression": "rate(1 day)", "Targets": [{"Arn": "arn:aws:sqs:x:1:q"}]},
            "a function of this template",
        ),
        ({"ScheduleExpression": "rate(1 day)", "Targets": [{**TARGET, "InputPath": "$.x"}]}, "with Input or without"),
        ({"ScheduleExpression": "rate(1 day)", "Targets": [{**TARGET, "Input": "{"}]}, "allowed: JSON"),
        ({"ScheduleExpression": "rate(1 day)", "Targets": True}, "another form than AWS's"),
    ],
)
def test_a_rule_that_does_not_run_is_one_note(
    template: Template, read: Read, properties: dict[str, Any], words: str
) -> None:
    project = read(add(template, "Tick", "Events::Rule", **properties))
    assert project.services.schedules == ()
    [note] = project.notes
    assert note.startswith("AWS::Events::Rule Tick: does not run here: ")
    assert words in note


def test_queues_and_streams_of_the_template_are_event_sources_and_others_a_note(template: Template, read: Read) -> None:
    add(template, "Jobs", "SQS::Queue")
    keys = {
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
    }
    add(template, "Rooms", "DynamoDB::Table", TableName="rooms", **keys)
    of_function = {"FunctionName": {"Ref": "Fn"}}
    mapping = "Lambda::EventSourceMapping"
    queue, stream = ({"Fn::GetAtt": each} for each in (["Jobs", "Arn"], ["Rooms", "StreamArn"]))
    failures = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
    inserts = {"FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}}
    add(template, "FromQueue", mapping, EventSourceArn=queue, **failures, **of_function)
    add(template, "FromTable", mapping, EventSourceArn=stream, BatchSize=5, **inserts, **of_function)
    elsewhere = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/x"
    add(template, "Elsewhere", mapping, EventSourceArn=elsewhere, **of_function)
    project = read(template, region=REGION)
    arn = f"arn:aws:sqs:{REGION}:123456789012:Jobs"
    assert project.services.queue_sources == (QueueSource("Jobs", arn, "Fn", 10, reports_failures=True),)
    [source] = project.services.stream_sources
    assert (source.table, source.function, source.batch_size) == ("rooms", "Fn", 5)
    assert source.filters == ({"eventName": ["INSERT"]},)
    [note] = project.notes
    assert "Elsewhere: does not run here: EventSourceArn: got 'arn:aws:dynamodb:" in note


def with_role(template: Template, **properties: Any) -> Template:
    template["Resources"]["Fn"]["Properties"]["Role"] = {"Fn::GetAtt": ["Role", "Arn"]}
    return add(template, "Role", "IAM::Role", **properties)


def statement(action: Any, resource: Any = "*") -> dict[str, Any]:
    return {"PolicyDocument": {"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}}


def test_policies_of_a_role_and_those_attached_to_it_are_one(template: Template, read: Read) -> None:
    basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    with_role(template, Policies=[statement("sqs:*")], ManagedPolicyArns=[basic])
    add(template, "More", "IAM::Policy", Roles=[{"Ref": "Role"}], **statement(["sns:Publish"], {"Ref": "Unknown"}))
    policy = read(template).services.policies["Fn"]
    assert policy.is_complete
    assert [(each["Action"], each["Resource"]) for each in policy.statements] == [
        (["sqs:*"], ["*"]),
        (["sns:Publish"], [None]),
    ]


@pytest.mark.parametrize(
    "properties",
    [
        {"ManagedPolicyArns": ["arn:aws:iam::123456789012:policy/ours"]},
        {"ManagedPolicyArns": ["arn:aws:iam::aws:policy/SomethingNew"]},
        {"ManagedPolicyArns": [{"Fn::ImportValue": "x"}]},
        {"Policies": [{"Fn::If": ["A", statement("sqs:*"), {"Ref": "AWS::NoValue"}]}]},
        {"Policies": [statement({"Fn::ImportValue": "action"})]},
        {"PermissionsBoundary": "arn"},
    ],
)
def test_a_role_with_parts_that_are_not_known_is_not_judged(
    template: Template, read: Read, properties: dict[str, Any]
) -> None:
    assert not read(with_role(template, **properties)).services.policies["Fn"].is_complete


def test_a_role_from_elsewhere_is_not_judged(template: Template, read: Read) -> None:
    template["Resources"]["Fn"]["Properties"]["Role"] = "arn:aws:iam::123456789012:role/x"
    assert not read(template).services.policies["Fn"].is_complete
