"""REQUEST authorizers: the identity sources they need, and the meaning of their results. Pure.

    identity sources ─▶ missing: 401, the authorizer is not invoked
    result ─▶ no policy: 500 │ does not allow $connect: 403 │ allowed: the context that every later event carries

Sources: developer guide, "Create an API Gateway Lambda REQUEST authorizer function"; IAM user guide, "Policy evaluation
logic".
"""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tellwire.apigateway.assumptions import context_text
from tellwire.apigateway.definition import Api, Event, IdentitySource
from tellwire.limits import MAX_AUTHORIZER_RESULT_BYTES

ACTION = "execute-api:Invoke"

_Patterns = str | list[str]
_Text = Annotated[str, Meta(min_length=1)]


class Statement(Struct, rename="pascal", frozen=True):
    """A statement of a policy."""

    effect: Literal["Allow", "Deny"]
    action: _Patterns | None = None
    not_action: _Patterns | None = None
    resource: _Patterns | None = None
    not_resource: _Patterns | None = None
    condition: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if (self.action is None) is (self.not_action is None):
            raise ValueError("a statement has either Action or NotAction")
        if (self.resource is None) is (self.not_resource is None):
            raise ValueError("a statement has either Resource or NotResource")
        if self.condition:
            raise ValueError("Condition is not evaluated here")

    def covers(self, action: str, arn: str) -> bool:
        """Return whether the statement applies to this action on this resource."""
        return _is_about(action.lower(), _lower(self.action), _lower(self.not_action)) and _is_about(
            arn, self.resource, self.not_resource
        )


class Policy(Struct, rename="pascal", frozen=True):
    """An IAM policy."""

    statement: Statement | list[Statement]
    version: str = "2012-10-17"

    def allows(self, action: str, arn: str) -> bool:
        """Return whether the policy allows an action: a Deny wins, and the default is denial."""
        statements = self.statement if isinstance(self.statement, list) else [self.statement]
        effects = {statement.effect for statement in statements if statement.covers(action, arn)}
        return effects == {"Allow"}


class AuthorizerResult(Struct, rename="camel", frozen=True):
    """The result of an authorizer."""

    principal_id: _Text
    policy_document: Policy
    context: dict[str, bool | int | float | str] = {}

    def allows(self, api: Api) -> bool:
        """Return whether the client may connect."""
        return self.policy_document.allows(ACTION, api.connect_arn)

    def as_context(self, latency_ms: int) -> dict[str, Any]:
        """Return `requestContext.authorizer`."""
        texts = {key: context_text(value) for key, value in self.context.items()}
        return {"principalId": self.principal_id, **texts, "integrationLatency": latency_ms}


class InvalidAuthorizerResult(Exception):
    """The authorizer's result cannot be used. The text says why, for the log."""


def read_authorizer_result(result: Any) -> AuthorizerResult:
    """Decode the result of an authorizer.

    Raises:
        InvalidAuthorizerResult: it is not a policy, its context has other values than scalars, or it is over 8 KB.
    """
    try:
        size_bytes = len(msgspec.json.encode(result))
    except UnicodeEncodeError as error:
        raise InvalidAuthorizerResult("returned text with an unpaired surrogate, which is not valid Unicode") from error
    if size_bytes > MAX_AUTHORIZER_RESULT_BYTES:
        raise InvalidAuthorizerResult(
            f"returned {size_bytes:,} bytes; allowed: at most {MAX_AUTHORIZER_RESULT_BYTES:,}"
        )
    try:
        return msgspec.convert(result, AuthorizerResult)
    except msgspec.ValidationError as error:
        raise InvalidAuthorizerResult(
            f"returned no result: {error}; allowed: {{'principalId': '…', 'policyDocument': {{…}}, 'context': {{…}}}}"
        ) from error


def missing_source(sources: Sequence[IdentitySource], event: Event) -> IdentitySource | None:
    """Return the first identity source that is missing or empty in the authorizer's event."""
    return next((source for source in sources if not _value(source, event)), None)


def _value(source: IdentitySource, event: Event) -> Any:
    match source.kind:
        case "header":
            headers: Mapping[str, str] = event["headers"]
            return next((value for name, value in headers.items() if name.lower() == source.name.lower()), None)
        case "querystring":
            return event.get("queryStringParameters", {}).get(source.name)
        case "stageVariables":
            return event["stageVariables"].get(source.name)
        case _:
            found: Any = event["requestContext"]
            for name in source.name.split("."):
                found = found.get(name) if isinstance(found, dict) else None
            return found


def _is_about(value: str, these: _Patterns | None, all_but: _Patterns | None) -> bool:
    return _matches(these, value) if these is not None else not _matches(all_but, value)


def _matches(patterns: _Patterns | None, value: str) -> bool:
    several = patterns if isinstance(patterns, list) else [patterns or ""]
    # IAM has `*` and `?` and nothing else; fnmatch would also read [brackets].
    return any(fnmatch.fnmatchcase(value, pattern.replace("[", "[[]")) for pattern in several)


def _lower(patterns: _Patterns | None) -> _Patterns | None:
    # Actions are not case-sensitive, resources are.
    return [each.lower() for each in patterns] if isinstance(patterns, list) else patterns and patterns.lower()
