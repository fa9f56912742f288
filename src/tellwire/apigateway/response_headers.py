"""Headers of API Gateway's HTTP responses: ids of the request, and the type of an error."""

import base64
import os
import uuid
from typing import Final

ERROR_TYPES: Final = {
    400: "BadRequestException",
    401: "UnauthorizedException",
    403: "ForbiddenException",
    410: "GoneException",
    413: "PayloadTooLargeException",
    429: "LimitExceededException",
    500: "InternalServerErrorException",
    502: "InternalServerErrorException",
    504: "IntegrationTimeoutException",
}
"""Error types by status. SDKs choose an exception's class by the type: the status alone is not enough for them."""


def response_headers(error_type: str | None = None) -> dict[str, str]:
    """Return the headers of a response: the ids of its request, and the type of its error."""
    headers = {
        "x-amzn-RequestId": str(uuid.uuid4()),
        "x-amz-apigw-id": base64.urlsafe_b64encode(os.urandom(11)).decode("ascii"),
    }
    return headers if error_type is None else headers | {"x-amzn-ErrorType": error_type}
