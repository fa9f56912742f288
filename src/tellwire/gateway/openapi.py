"""The OpenAPI 3.1 document of the HTTP API, made from the structs that the endpoints decode and encode."""

from collections.abc import Iterable
from typing import Any

import msgspec

from tellwire._version import __version__
from tellwire.messages import CustomMessage, ErrorMessage, NotificationMessage, UploadProgressMessage

_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_REF = "#/components/schemas/{name}"
_MESSAGES = (UploadProgressMessage, NotificationMessage, ErrorMessage, CustomMessage)


def openapi_document(types: Iterable[type]) -> dict[str, Any]:
    """Describe the API. `types` are the structs of its bodies."""
    _, schemas = msgspec.json.schema_components([*types, *_MESSAGES], ref_template=_REF)
    # The struct has the known messages only; a custom message is decoded by another one.
    schemas["PublishRequest"]["properties"]["message"] = {"anyOf": [_ref(each.__name__) for each in _MESSAGES]}
    # The four ways of a target exclude each other, which a struct cannot say.
    schemas["Target"]["minProperties"] = schemas["Target"]["maxProperties"] = 1
    return {
        "openapi": "3.1.0",
        "info": {"title": "tellwire gateway", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer"},
                "userToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def _paths() -> dict[str, Any]:
    ndjson = {"application/x-ndjson": _TEXT}
    return {
        "/v1/publish": {
            "post": _guarded("publish", "Publish a message")
            | _takes(_json("PublishRequest"))
            | _answers("The outcome", _json("Delivery"), 400, 413)
        },
        "/v1/publish/batch": {
            "post": _guarded("publishBatch", "Publish many: one PublishRequest a line, one Delivery or Problem a line")
            | _takes(ndjson)
            | _answers("One answer a line, in the order of the lines", ndjson, 413)
        },
        "/v1/uploads/row-errors": {
            "post": _guarded("addRowErrors", "Add a chunk to the list of row errors of an upload")
            | _takes(_json("RowErrorChunk"))
            | {"responses": {"204": {"description": "Kept, once"}} | _problems(400, 401, 403, 413)}
        },
        "/v1/uploads/{uploadId}/row-errors": {
            "get": {
                "operationId": "rowErrors",
                "summary": "Download the list: CSV, or NDJSON if that is accepted. ?user= with the API key",
                "security": [{"userToken": []}, {"apiKey": []}],
            }
            | _with_path_parameter("uploadId")
            | _answers(
                "X-Total-Count is the number of row errors", {"text/csv": _TEXT, "application/x-ndjson": _TEXT}, 404
            ),
            "options": {
                "operationId": "rowErrorsPreflight",
                "summary": "CORS: the answer to a page's preflight request",
                "responses": {"204": {"description": "The headers of an origin that may connect"}},
            }
            | _with_path_parameter("uploadId"),
        },
        "/v1/users/{userId}/connections": {
            "get": _guarded("listConnections", "List a user's live connections")
            | _with_path_parameter("userId")
            | _answers("Oldest first", _json("Connections"))
        },
        "/v1/connections/{connectionId}": {
            "delete": _guarded("disconnect", "Close a connection with 1000")
            | _with_path_parameter("connectionId")
            | {"responses": {"204": {"description": "Closing"}} | _problems(401, 403, 410)}
        },
        "/v1/stats": {"get": _guarded("stats", "Counters of this node") | _answers("Since it started", _json("Stats"))},
        "/healthz": {"get": {"operationId": "healthz", "responses": {"200": {"description": "The process lives"}}}},
        "/readyz": {
            "get": {
                "operationId": "readyz",
                "responses": {
                    "200": {"description": "It takes connections"},
                    "503": {"description": "It is about to stop"},
                },
            }
        },
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(name=name)}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(name)}}


def _guarded(operation_id: str, summary: str) -> dict[str, Any]:
    return {"operationId": operation_id, "summary": summary, "security": [{"apiKey": []}]}


def _takes(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


def _with_path_parameter(name: str) -> dict[str, Any]:
    return {"parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}}]}


def _answers(description: str, content: dict[str, Any], *refusals: int) -> dict[str, Any]:
    return {"responses": {"200": {"description": description, "content": content}} | _problems(401, 403, *refusals)}


def _problems(*statuses: int) -> dict[str, Any]:
    return {str(status): {"description": "Refused", "content": _json("Problem")} for status in statuses}
