"""The OpenAPI 3.1 document of the HTTP API, made from the structs that the endpoints decode and encode."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from tellwire._version import __version__
from tellwire.gateway.client_schemas import client_schemas
from tellwire.limits import MAX_CONNECTION_ID_BYTES, MAX_TARGET_CONNECTIONS, MAX_TOPIC_BYTES, MAX_USER_ID_BYTES
from tellwire.messages import CustomMessage, ErrorMessage, NotificationMessage, UploadProgressMessage
from tellwire.text import TOPIC_PATTERN

_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
# A body may be wrong, late, too big, or compressed in another way.
_OF_BODIES = (400, 408, 413, 415)
_REF = "#/components/schemas/{name}"
_MESSAGES = (UploadProgressMessage, NotificationMessage, ErrorMessage, CustomMessage)


def openapi_document(types: Iterable[type[Struct]]) -> dict[str, Any]:
    """Describe the API. `types` are the structs of its bodies."""
    schemas = client_schemas([*types, *_MESSAGES], _REF)
    # The struct has the known messages only; a custom message is decoded by another one.
    schemas["PublishRequest"]["properties"]["message"] = {"anyOf": [_ref(each.__name__) for each in _MESSAGES]}
    _describe_target(schemas["Target"])
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


def _describe_target(schema: dict[str, Any]) -> None:
    """Add rules that a struct has no place for: exactly one of the five is given, and their bounds."""
    names = ("user", "topic", "connection", "connections", "all")
    schema["oneOf"] = [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]
    user = {"type": "string", "minLength": 1, "description": f"At most {MAX_USER_ID_BYTES:,} bytes in UTF-8"}
    topic = {"type": "string", "pattern": TOPIC_PATTERN, "description": f"At most {MAX_TOPIC_BYTES} bytes in UTF-8"}
    connection = {"type": "string", "minLength": 1, "maxLength": MAX_CONNECTION_ID_BYTES}
    several = {"type": "array", "items": connection, "maxItems": MAX_TARGET_CONNECTIONS}
    everybody = {"type": "boolean", "enum": [True]}
    for name, given in zip(names, (user, topic, connection, several, everybody), strict=True):
        schema["properties"][name] = {"anyOf": [given, {"type": "null"}]}


def _paths() -> dict[str, Any]:
    ndjson = {"application/x-ndjson": _TEXT}
    by_query, by_path = _connections(_in_query("user")), _connections(_in_path("user"))
    rows_by_query, rows_by_path = _row_errors(_in_query("upload")), _row_errors(_in_path("upload"))
    return {
        "/v1/publish": {
            "post": _guarded("publish", "Publish a message")
            | _takes(_json("PublishRequest"))
            | _answers("The outcome", _json("Delivery"), *_OF_BODIES, 500, 503)
        },
        "/v1/publish/batch": {
            "post": _guarded("publishBatch", "Publish many: a PublishRequest a line, a Delivery or LineProblem a line")
            | _takes(ndjson, required=False)
            | _answers("One answer a line, in the order of the lines", ndjson, *_OF_BODIES)
        },
        "/v1/uploads/row-errors": {
            "post": _guarded("addRowErrors", "Add a chunk to the list of row errors of an upload")
            | _takes(_json("RowErrorChunk"))
            | {"responses": {"204": {"description": "Kept, once"}} | _problems(401, 403, 429, *_OF_BODIES, 501, 503)},
            **rows_by_query,
        },
        "/v1/uploads/{upload}/row-errors": _named(rows_by_path, "InPath"),
        "/v1/connections": {"get": by_query, "delete": _disconnect(_in_query("connection"))},
        "/v1/users/{user}/connections": _named({"get": by_path}, "InPath"),
        "/v1/users/connected": {
            "get": _guarded("connectedUsers", "List the users with connections to this node, by name")
            | {"parameters": [_optional("part"), _optional("after"), _optional("limit")]}
            | _answers("A page of them", _json("ConnectedUsers"), 400)
        },
        "/v1/users/tail": {
            "get": _guarded("tailUser", "Follow the new messages of a user, one a line, with empty lines between")
            | {"parameters": [_in_query("user")]}
            | _answers("It goes on until the client or the gateway ends it", ndjson, 400, 501, 503)
        },
        "/v1/client-address": {
            "get": _guarded("clientAddress", "Tell the client's address, as the gateway knows it")
            | _answers("With a trusted proxy, that of X-Forwarded-For", _json("ClientAddress"))
        },
        "/v1/users": _user(_in_query("user")),
        "/v1/users/{user}": _named(_user(_in_path("user")), "InPath"),
        "/v1/users/disconnect": _users(_in_query("user")),
        "/v1/users/{user}/disconnect": _named(_users(_in_path("user")), "InPath"),
        "/v1/topics/presence": _members(_in_query("topic")),
        "/v1/topics/{topic}/presence": _named(_members(_in_path("topic")), "InPath"),
        "/v1/topics": _topic(_in_query("topic")),
        "/v1/topics/{topic}": _named(_topic(_in_path("topic")), "InPath"),
        "/v1/connections/{connection}": _named({"delete": _disconnect(_in_path("connection"))}, "InPath"),
        "/v1/stats": {
            "get": _guarded("stats", "Counters of this node, and connections of all")
            | _answers("Stats", _json("Stats"))
        },
        "/v1/backup": {
            "get": _guarded("backup", "Copy what the engine keeps in files, while it works")
            | {
                "responses": {"200": _described("A tar, for `tellwire restore`", {"application/x-tar": _BYTES})}
                | _problems(401, 403, 409, 429, 501, 503)
            }
        },
        "/v1/drain": {
            "post": _guarded("drain", "Close all connections, answer the requests in progress, and end")
            | {"responses": {"202": _described("It has begun", _json("Draining"))} | _problems(401, 403, 429)}
        },
        "/client": {
            "get": {
                "operationId": "clientScript",
                "summary": "Tell where the script of the custom elements is",
                "responses": {"200": _described("The attributes of a script tag", _json("ScriptAddress"))}
                | _problems(404),
            }
        },
        "/client/tellwire.js": {"get": _script("newestScript", "Load the newest script")},
        "/client/tellwire-{version}.js": {
            "get": _script("versionedScript", "Load the script with this version, for caches to keep")
            | {"parameters": [_in_path("version")]}
        },
        "/metrics": {
            "get": _guarded("metrics", "Read the metrics, in the form of Prometheus")
            | {"responses": {"200": _described("All metrics", {"text/plain": _TEXT})} | _problems(401, 403, 404, 429)}
        },
        "/healthz": {
            "get": {"operationId": "healthz", "responses": {"200": {"description": "The process lives"}}},
        },
        "/readyz": {
            "get": {
                "operationId": "readyz",
                "responses": {
                    "200": {"description": "It takes connections"},
                    "503": {"description": "It is about to stop, or nothing can be published"},
                },
            }
        },
    }


def _script(name: str, summary: str) -> dict[str, Any]:
    script = {"description": "JavaScript", "content": {"text/javascript": {"schema": {"type": "string"}}}}
    return {"operationId": name, "summary": summary, "responses": {"200": script} | _problems(404)}


def _connections(user: dict[str, Any]) -> dict[str, Any]:
    return (
        _guarded("listConnections", "List a user's live connections")
        | {"parameters": [user]}
        | _answers("Oldest first", _json("Connections"), 400)
    )


def _disconnect(connection: dict[str, Any]) -> dict[str, Any]:
    return (
        _guarded("disconnect", "Close a connection with 1000")
        | {"parameters": [connection]}
        | {"responses": {"204": {"description": "Closing"}} | _problems(400, 401, 403, 410, 429)}
    )


def _users(user: dict[str, Any]) -> dict[str, Any]:
    named = {"parameters": [user]}
    return {
        "post": _guarded("shutOut", "Close a user's connections with 4403, and let none open until a time")
        | named
        | _takes(_json("DisconnectRequest"))
        | _answers("The number of connections that were closed", _json("Disconnected"), *_OF_BODIES, 501, 503),
        "delete": _guarded("letIn", "Let a user in again")
        | named
        | _answers("The number of shut-outs that were ended", _json("LetIn"), 400, 501, 503),
        "get": _guarded("shutOuts", "List the shut-outs of a user that last")
        | named
        | _answers("Those that last", _json("ShutOutList"), 400, 501, 503),
    }


def _user(user: dict[str, Any]) -> dict[str, Any]:
    return {
        "get": _guarded("userPresence", "Tell whether a user is online, and on how many connections")
        | {"parameters": [user]}
        | _answers("On all nodes", _json("UserPresence"), 400, 503),
        "delete": _guarded("deleteUser", "Delete everything that is kept of a user: messages, uploads, row errors")
        | {"parameters": [user]}
        | _deleted(),
    }


def _topic(topic: dict[str, Any]) -> dict[str, Any]:
    operation = _guarded("deleteTopic", "Delete everything that is kept of a topic: messages and states")
    return {"delete": operation | {"parameters": [topic]} | _deleted()}


def _members(topic: dict[str, Any]) -> dict[str, Any]:
    return {
        "get": _guarded("topicPresence", "Tell who is in a topic")
        | {"parameters": [topic]}
        | _answers("On all nodes", _json("TopicMembers"), 400, 409, 503)
    }


def _deleted() -> dict[str, Any]:
    return {"responses": {"204": {"description": "Deleted"}} | _problems(400, 401, 403, 429, 503)}


def _row_errors(upload: dict[str, Any]) -> dict[str, Any]:
    user = {"name": "user", "in": "query", "schema": {"type": "string", "minLength": 1}}
    rows = {"text/csv": _TEXT, "application/x-ndjson": _TEXT}
    return {
        "get": {
            "operationId": "rowErrors",
            "summary": "Download the list: CSV, or NDJSON if that is accepted. ?user= with the API key",
            "security": [{"userToken": []}, {"apiKey": []}],
            "parameters": [upload, user],
        }
        | _answers("X-Total-Count is the number of row errors", rows, 400, 404, 503),
        "options": {
            "operationId": "rowErrorsPreflight",
            "summary": "CORS: the answer to a page's preflight request",
            "parameters": [upload],
            "responses": {"204": {"description": "The headers of an origin that may connect"}},
        },
    }


def _named(operations: dict[str, Any], suffix: str) -> dict[str, Any]:
    """Return operations with other ids, which are unique in a document."""
    return {method: each | {"operationId": each["operationId"] + suffix} for method, each in operations.items()}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(name=name)}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(name)}}


def _guarded(operation_id: str, summary: str) -> dict[str, Any]:
    return {"operationId": operation_id, "summary": summary, "security": [{"apiKey": []}]}


def _takes(content: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": content}}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _in_query(name: str) -> dict[str, Any]:
    return _in_path(name) | {"in": "query"}


def _optional(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}


def _answers(description: str, content: dict[str, Any], *refusals: int) -> dict[str, Any]:
    refused = _problems(401, 403, 429, *refusals)
    return {"responses": {"200": _described(description, content)} | refused}


def _described(description: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": content}


def _problems(*statuses: int) -> dict[str, Any]:
    return {str(status): {"description": "Refused", "content": _json("Problem")} for status in statuses}
