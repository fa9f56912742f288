"""Actions that routes call themselves: requests in the protocol of each service, and responses as JSON."""

import json

import pytest

from tellwire.apigateway.services.actions import response_text, service_request
from tellwire.apigateway.services.calls import AwsCall, read_call
from tellwire.apigateway.services.definition import ServiceAction

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("action", "text", "expected"),
    [
        (ServiceAction("dynamodb", "PutItem"), '{"TableName": "t"}', AwsCall("dynamodb", "PutItem", "eu-west-1", "t")),
        (ServiceAction("events", "PutEvents"), "{}", AwsCall("events", "PutEvents", "eu-west-1")),
        (ServiceAction("sns", "Publish"), "TopicArn=t", AwsCall("sns", "Publish", "eu-west-1", "t", is_form=True)),
        (
            ServiceAction("sqs", path="/1/q"),
            "\nAction=SendMessage\n",
            AwsCall("sqs", "SendMessage", "eu-west-1", "", True),
        ),
    ],
)
def test_a_request_says_its_service_and_its_action(action: ServiceAction, text: str, expected: AwsCall) -> None:
    request = service_request(action, text, "eu-west-1")
    assert request.path == action.path
    assert read_call("POST", request.path, "", request.headers, request.body) == expected


def test_headers_of_the_integration_replace_others() -> None:
    action = ServiceAction("sns", "Publish", headers={"Content-Type": "text/plain"})
    assert service_request(action, "x", "us-east-1").headers["content-type"] == "text/plain"
    assert service_request(ServiceAction("sns", "Publish"), "x", "us-east-1").headers["content-type"] == FORM


def test_xml_becomes_json() -> None:
    xml = b'<?xml version="1.0"?><R xmlns="http://x/"><Result><Id>7</Id><No/></Result></R>'
    assert json.loads(response_text(xml, "text/xml")) == {"R": {"Result": {"Id": "7", "No": None}}}


@pytest.mark.parametrize("text", ['{"a": 1}', "", "<broken"])
def test_other_text_stays(text: str) -> None:
    assert response_text(text.encode(), "application/x-amz-json-1.0") == text
