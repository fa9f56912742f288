"""Refusals of calls that are not answered here: at once, in the form of the service, with one line. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

import msgspec

from tellwire.apigateway.services.calls import AwsCall

_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "s3": ("S3", "S3"),
    "s3express": ("S3", "S3"),
    "bedrock": ("Bedrock", "BEDROCK_RUNTIME"),
    "bedrock-runtime": ("Bedrock", "BEDROCK_RUNTIME"),
    "states": ("Step Functions", "SFN"),
    "monitoring": ("CloudWatch", "CLOUDWATCH"),
    "logs": ("CloudWatch Logs", "CLOUDWATCH_LOGS"),
    "ses": ("SES", "SES"),
    "email": ("SES", "SES"),
    "kinesis": ("Kinesis", "KINESIS"),
    "firehose": ("Firehose", "FIREHOSE"),
    "kms": ("KMS", "KMS"),
    "lambda": ("Lambda", "LAMBDA"),
    "dynamodb": ("DynamoDB", "DYNAMODB"),
    "sqs": ("SQS", "SQS"),
    "sns": ("SNS", "SNS"),
    "ssm": ("SSM", "SSM"),
    "secretsmanager": ("Secrets Manager", "SECRETS_MANAGER"),
    "events": ("EventBridge", "EVENTBRIDGE"),
    "cognito-idp": ("Cognito user pools", "COGNITO_IDENTITY_PROVIDER"),
    "sts": ("STS", "STS"),
    "execute-api": ("API Gateway", "APIGATEWAYMANAGEMENTAPI"),
    "apigateway": ("API Gateway", "API_GATEWAY"),
    "iot": ("IoT", "IOT"),
    "es": ("OpenSearch", "OPENSEARCH"),
    "aoss": ("OpenSearch", "OPENSEARCHSERVERLESS"),
    "sagemaker": ("SageMaker", "SAGEMAKER_RUNTIME"),
    "textract": ("Textract", "TEXTRACT"),
    "lex": ("Lex", "LEX_RUNTIME_V2"),
    "translate": ("Translate", "TRANSLATE"),
    "comprehend": ("Comprehend", "COMPREHEND"),
    "transcribe": ("Transcribe", "TRANSCRIBE"),
    "polly": ("Polly", "POLLY"),
    "rekognition": ("Rekognition", "REKOGNITION"),
    "cognito-identity": ("Cognito identity pools", "COGNITO_IDENTITY"),
    "iotdata": ("IoT", "IOT_DATA_PLANE"),
    "iotdevicegateway": ("IoT", "IOT_DATA_PLANE"),
    "scheduler": ("EventBridge Scheduler", "SCHEDULER"),
    "rds-data": ("RDS Data", "RDS_DATA"),
    "appsync": ("AppSync", "APPSYNC"),
    "cloudformation": ("CloudFormation", "CLOUDFORMATION"),
    "ec2": ("EC2", "EC2"),
    "ecs": ("ECS", "ECS"),
}
"""By name in signatures: the name for people, and the id in `AWS_ENDPOINT_URL_<id>`."""

_XML_SERVICES: Final = ("s3", "s3express", "cloudfront", "route53")
NOT_HERE: Final = "NotAnsweredLocally"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in the form of a service: SDKs read the error's code and its message."""

    status: int
    body: bytes
    media_type: str
    headers: tuple[tuple[str, str], ...] = ()


def service_name(service: str) -> str:
    """Return the name of a service for people."""
    return _NAMES.get(service, (service or "an unknown service", ""))[0]


def stand_in(service: str) -> str:
    """Return the words on how to stand in for a service."""
    identifier = _NAMES.get(service, ("", service.upper().replace("-", "_")))[1]
    variable = f"AWS_ENDPOINT_URL_{identifier}" if identifier else "AWS_ENDPOINT_URL"
    advice = f"give it an address with {variable}=http://… in --env-file"
    return f"{advice}; a function of a template can be replaced with --replace"


def refusal_note(call: AwsCall, function: str) -> str:
    """Return the line on a call that is not answered."""
    action = f" ({call.action})" if call.action else ""
    return (
        f"{function} calls {service_name(call.service)}{action}, which is not answered here; the call is refused, and "
        f"nothing has left this machine. To stand in for it, {stand_in(call.service)}"
    )


def refusal(call: AwsCall) -> Answer:
    """Return the answer to a call that is not answered. SDKs do not repeat it."""
    text = f"tellwire local does not answer {service_name(call.service)}: {stand_in(call.service)}"
    return error_answer(call, 400, NOT_HERE, text)


def error_answer(call: AwsCall, status: int, code: str, message: str) -> Answer:
    """Return an error in the form that the SDKs of a service read."""
    headers = (("x-amzn-ErrorType", code),)
    if call.service in _XML_SERVICES:
        error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        return Answer(status, f'<?xml version="1.0"?>{error}'.encode(), "application/xml", headers)
    if call.is_form:
        error = f"<Error><Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        whole = f"<ErrorResponse>{error}<RequestId>local</RequestId></ErrorResponse>"
        return Answer(status, whole.encode(), "text/xml", headers)
    body = msgspec.json.encode({"__type": code, "message": message})
    return Answer(status, body, "application/x-amz-json-1.1", headers)
