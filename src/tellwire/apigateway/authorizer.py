"""What a REQUEST authorizer is asked for, and what its answer means. Pure.

    identity sources ─▶ missing: 401, nobody is asked
    answer ─▶ no policy: 500 │ does not allow $connect: 403 │ allowed: the context that every later event carries

Sources: developer guide, "Create an API Gateway Lambda REQUEST authorizer function"; IAM user guide, "Policy evaluation
logic".
"""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tellwire.apigateway.choices import context_text
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
        """Tell whether the statement is about this action on this resource."""
        return _is_about(action.lower(), _lower(self.action), _lower(self.not_action)) and _is_about(
            arn, self.resource, self.not_resource
        )


class Policy(Struct, rename="pascal", frozen=True):
    """An IAM policy."""

    statement: Statement | list[Statement]
    version: str = "2012-10-17"

    def allows(self, action: str, arn: str) -> bool:
        """Tell whether the policy allows this: a Deny wins, and what nothing allows is denied."""
        statements = self.statement if isinstance(self.statement, list) else [self.statement]
        effects = {statement.effect for statement in statements if statement.covers(action, arn)}
        return effects == {"Allow"}


class Verdict(Struct, rename="camel", frozen=True):
    """What an authorizer returns."""

    principal_id: _Text
    policy_document: Policy
    context: dict[str, bool | int | float | str] = {}

    def allows(self, api: Api) -> bool:
        """Tell whether the client may connect."""
        return self.policy_document.allows(ACTION, api.connect_arn)

    def as_context(self, latency_ms: int) -> dict[str, Any]:
        """Return `requestContext.authorizer`."""
        texts = {key: context_text(value) for key, value in self.context.items()}
        return {"principalId": self.principal_id, **texts, "integrationLatency": latency_ms}


class NoVerdict(Exception):
    """The authorizer's answer is none. The text says why, for the log."""


def read_verdict(result: Any) -> Verdict:
    """Read what an authorizer returned.

    Raises:
        NoVerdict: it is not a policy, its context has other values than scalars, or it is over 8 KB.
    """
    try:
        size_bytes = len(msgspec.json.encode(result))
    except UnicodeEncodeError as error:
        raise NoVerdict("returned text with half a character in it") from error
    if size_bytes > MAX_AUTHORIZER_RESULT_BYTES:
        raise NoVerdict(f"returned {size_bytes:,} bytes; allowed: at most {MAX_AUTHORIZER_RESULT_BYTES:,}")
    try:
        return msgspec.convert(result, Verdict)
    except msgspec.ValidationError as error:
        raise NoVerdict(
            f"returned no verdict: {error}; allowed: {{'principalId': '…', 'policyDocument': {{…}}, 'context': {{…}}}}"
        ) from error


def missing_source(sources: Sequence[IdentitySource], event: Event) -> IdentitySource | None:
    """Return the first identity source that the authorizer's event does not have, or has empty."""
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
