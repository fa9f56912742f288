"""Refused calls: the line for the developer, and the form that an SDK reads."""

import json

import pytest

from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.refusal import refusal, refusal_note


def test_the_line_names_function_service_and_what_to_stand_in_with() -> None:
    note = refusal_note(AwsCall("states", "StartExecution", "us-east-1"), "function Greet")
    assert note.startswith("function Greet calls Step Functions (StartExecution), which is not answered here")
    assert "AWS_ENDPOINT_URL_SFN=http://…" in note
    assert "\n" not in note


def test_an_unknown_service_has_the_name_in_its_signature() -> None:
    note = refusal_note(AwsCall("cost-explorer", "", "us-east-1"), "a function")
    assert note.startswith("a function calls cost-explorer, which")
    assert "AWS_ENDPOINT_URL_COST_EXPLORER" in note


@pytest.mark.parametrize(
    ("call", "form"),
    [
        (AwsCall("s3", "PutObject", "us-east-1"), b"<Error><Code>NotAnsweredLocally</Code>"),
        (AwsCall("ses", "SendEmail", "us-east-1", is_form=True), b"<ErrorResponse><Error><Type>Sender</Type>"),
    ],
)
def test_services_with_xml_get_xml(call: AwsCall, form: bytes) -> None:
    assert form in refusal(call).body


def test_others_get_json_and_no_sdk_repeats_a_400() -> None:
    answer = refusal(AwsCall("states", "StartExecution", "us-east-1"))
    assert answer.status == 400
    assert json.loads(answer.body)["__type"] == "NotAnsweredLocally"
