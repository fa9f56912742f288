"""The server of the services: calls of functions to AWS come here, and each is answered, or refused with one line.

Two addresses: one is in `AWS_ENDPOINT_URL`, the other speaks TLS for AWS's own host names. moto answers in this process
and in memory: everything starts empty, and nothing is kept.
"""

import asyncio
import contextlib
import http.client
import io
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from tellwire.apigateway.certificate import make_certificate
from tellwire.apigateway.checks.policies import denied_permission
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.services.calls import AwsCall, invoked_function, read_call
from tellwire.apigateway.services.definition import ANSWERED, EventRule, FunctionUrl, Policy
from tellwire.apigateway.services.event_rules import matching_events
from tellwire.apigateway.services.function_urls import (
    FAILED,
    FORBIDDEN,
    MAX_BYTES,
    TOO_LARGE,
    UrlRequest,
    answer_of,
    call_of,
    event_of,
    is_forbidden,
    requested,
)
from tellwire.apigateway.services.hosts import SUFFIXES
from tellwire.apigateway.services.invoke import LambdaApi
from tellwire.apigateway.services.queues import topic_event
from tellwire.apigateway.services.refusal import Answer, error_answer, refusal, refusal_note, service_name
from tellwire.apigateway.services.resources import SNS_PATH
from tellwire.apigateway.services.wsgi import WsgiApplication, refuse_browsers, serve
from tellwire.errors import ConfigError
from tellwire.limits import MAX_LOCAL_REQUEST_BYTES

_NEEDS: Final = "services on this machine need: pip install 'tellwire[template]'"
_ANSWER_SECONDS: Final = 910.0
"""Longer than any function may run."""

_MAX_NOTES: Final = 1000
_PASSED_HEADERS: Final = ("authorization", "content-type", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Attachment:
    """The running API, as the services need it: its event loop, Lambda Invoke, and the URL of its management API.

    `policies` are by the name of the function, which its calls have as their session token.
    """

    loop: asyncio.AbstractEventLoop
    lambda_api: LambdaApi
    management_url: str
    policies: Mapping[str, Policy] = field(default_factory=dict)
    event_rules: Sequence[EventRule] = ()
    function_urls: Mapping[str, FunctionUrl] = field(default_factory=dict)


class LocalServices:
    """The services, from `with` to its end. They know the functions once an API is attached.

    Args:
        region: the region of the API; resources of another one are not there.
        port: the preferred port; another one if it is taken.
        say: writes a line for the developer. Each is written once.
        is_strict: what would fail on AWS is an error of the call.
    """

    def __init__(self, region: str, *, port: int = 0, say: Say = lambda line: None, is_strict: bool = False) -> None:
        self._region = region
        self._port = port
        self._say = say
        self._is_strict = is_strict
        self._noted: set[object] = set()
        self._attached: Attachment | None = None
        self._moto: WsgiApplication | None = None
        self._loading = threading.Lock()
        self._resources = contextlib.ExitStack()
        self._listeners: list[Callable[[AwsCall], None]] = []

    def __enter__(self) -> Self:
        if not can_answer():
            raise ConfigError(_NEEDS)
        with contextlib.ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellwire-")))
            tls, self._trusted = make_certificate(directory, suffixes=SUFFIXES)
            application = refuse_browsers(self._serve, _is_name_of_aws)
            self.port = stack.enter_context(serve(application, "tellwire-services", self._port))
            self._tls_port = stack.enter_context(serve(application, "tellwire-services-tls", tls=tls))
            stack.callback(self._forget_everything)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def load(self) -> None:
        """Load moto, which takes a second, now instead of at the first call.

        Raises:
            ConfigError: the AWS configuration of this machine cannot be read.
        """
        with self._loading:
            if self._moto is None:
                from boto3.session import Session
                from botocore.exceptions import BotoCoreError
                from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

                try:
                    # moto makes one at its first request, and reports an error in the configuration as a stack trace.
                    Session()
                except BotoCoreError as error:
                    raise ConfigError(f"AWS configuration: {error}") from error
                self._moto = DomainDispatcherApplication(create_backend_app)

    @property
    def url(self) -> str:
        """The value of `AWS_ENDPOINT_URL`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_address(self) -> str:
        """The address for AWS's own host names."""
        return f"127.0.0.1:{self._tls_port}"

    @property
    def certificate(self) -> bytes:
        """The authority of the certificates of `tls_address`."""
        _, begin, certificate = self._trusted.read_bytes().rpartition(b"-----BEGIN CERTIFICATE-----")
        return begin + certificate

    def attach(self, attachment: Attachment | None) -> None:
        """Give the services the functions, or take them away."""
        self._attached = attachment

    def on_call(self, listener: Callable[[AwsCall], None]) -> None:
        """Call `listener` after each call that moto has answered, in its thread."""
        self._listeners.append(listener)

    # --- requests -----------------------------------------------------------------------------------------------------

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = _body(environ)
        headers = _headers(environ)
        path = environ.get("PATH_INFO", "")
        if body is None:
            return _respond(Answer(413, b"the request is too large\n", "text/plain"), start_response)
        query = environ.get("QUERY_STRING", "")
        call = read_call(environ["REQUEST_METHOD"], path, query, headers, body, self._region)
        self._note_region(call, headers)
        if (at := requested(path)) is not None:
            request = UrlRequest(environ["REQUEST_METHOD"], at[1], query, headers, body, environ["REMOTE_ADDR"])
            return _respond(self._at_url(at[0], call, request), start_response)
        answer = self._checked(call, headers) or self._own_answer(call, environ, headers, body)
        if answer is not None:
            return _respond(answer, start_response)
        if call.service == "events" and call.action == "PutEvents":
            self._to_rules(body)
        return self._by_moto(call, environ, start_response)

    def _own_answer(
        self, call: AwsCall, environ: Mapping[str, Any], headers: Mapping[str, str], body: bytes
    ) -> Answer | None:
        """Answer a call here; None leaves it to moto."""
        path = environ.get("PATH_INFO", "")
        if call.service == "lambda" and invoked_function(path) is not None:
            return self._invoke(call, headers, body)
        if call.service == "execute-api" and path.startswith("/@connections/"):
            return self._without_endpoint(call, environ, headers, body)
        if path.startswith(SNS_PATH):
            return self._from_topic(unquote(path.removeprefix(SNS_PATH)), body)
        if call.service in ANSWERED or path.startswith("/moto-api/"):
            return None
        if not call.service and not call.action:
            return Answer(404, b"tellwire local: the services of AWS for functions on this machine\n", "text/plain")
        caller = self._caller(headers)
        self.note(refusal_note(call, caller), (caller, call.service))
        return refusal(call)

    def _invoke(self, call: AwsCall, headers: Mapping[str, str], body: bytes) -> Answer:
        attached = self._attached
        if attached is None:
            return error_answer(call, 503, "ServiceException", "the functions are not loaded yet")
        work = attached.lambda_api.answer(call, headers, body)
        return asyncio.run_coroutine_threadsafe(work, attached.loop).result(_ANSWER_SECONDS)

    def _at_url(self, name: str, signed: AwsCall, request: UrlRequest) -> Answer:
        """Answer a request to a function URL."""
        attached = self._attached
        url = attached.function_urls.get(name) if attached is not None else None
        if attached is None or url is None:
            return Answer(404, b"tellwire local: there is no such function URL here\n", "text/plain")
        if is_forbidden(url, signed):
            self.note(f"a request to {name} has no signature for lambda: AWS answers 403, too")
            return FORBIDDEN
        call = call_of(url, attached.lambda_api.name_of(url.function), self._region)
        if (refused := self._checked(call, request.headers)) is not None:
            return refused
        if len(request.body) > MAX_BYTES:
            return TOO_LARGE
        work = attached.lambda_api.result(url.function, event_of(url, request, self._region))
        try:
            return answer_of(asyncio.run_coroutine_threadsafe(work, attached.loop).result(_ANSWER_SECONDS))
        except HandlerFailed:
            return FAILED

    def _to_rules(self, body: bytes) -> None:
        attached = self._attached
        if attached is None:
            return
        for rule, event in matching_events(attached.event_rules, body, self._region):
            attached.loop.call_soon_threadsafe(attached.lambda_api.start, rule.function, event, f"rule {rule.name}")

    def _from_topic(self, function_arn: str, body: bytes) -> Answer:
        attached = self._attached
        if attached is not None:
            attached.loop.call_soon_threadsafe(attached.lambda_api.start_by_name, function_arn, topic_event(body))
        return Answer(200, b"", "text/plain")

    def _without_endpoint(
        self, call: AwsCall, environ: Mapping[str, Any], headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Answer a management client that was made without `endpoint_url`: on AWS, there is no such host."""
        advice = "give it endpoint_url (endpoint in JavaScript), as https://{domainName}/{stage} of the event"
        self.note(
            f"{self._caller(headers)} has a management client without endpoint_url: its calls arrive here, and fail on "
            f"AWS; {advice}"
        )
        if self._attached is None or self._is_strict:
            return error_answer(
                call, 400, "EndpointConnectionError", f"without endpoint_url this fails on AWS; {advice}"
            )
        return _forwarded(self._attached.management_url, environ, headers, body)

    def _by_moto(self, call: AwsCall, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if call.service == "cognito-idp" and "HTTP_AUTHORIZATION" not in environ:
            # Sign-in is not signed, and moto would look for the pool in its own region.
            scope = f"local/20260101/{self._region}/cognito-idp/aws4_request"
            environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        # moto tells by the host, too.
        environ["HTTP_HOST"] = f"127.0.0.1:{self.port}"
        try:
            self.load()
        except ConfigError as error:
            return _respond(error_answer(call, 500, "InternalFailure", str(error)), start_response)
        assert self._moto is not None  # noqa: S101 - loaded
        parts = list(self._moto(environ, start_response))
        for listener in self._listeners:
            listener(call)
        return parts

    # --- notes --------------------------------------------------------------------------------------------------------

    def _checked(self, call: AwsCall, headers: Mapping[str, str]) -> Answer | None:
        """Note a call that the template's policies do not allow; when strict, answer as AWS would."""
        name = headers.get("x-amz-security-token", "")
        policy = self._attached.policies.get(name) if self._attached is not None else None
        if policy is None or (call.service not in ANSWERED and call.service not in ("lambda", "execute-api")):
            return None
        permission = denied_permission(policy, call, self._region)
        if permission is None:
            return None
        on = f" on {call.resource}" if call.resource else ""
        self.note(
            f"function {name} has no permission for {permission}{on} in the template: it works here, and AWS answers "
            "AccessDenied; add it to Policies of the function"
        )
        if not self._is_strict:
            return None
        text = f"{name} is not authorized to perform: {permission}{on}: no policy of the template allows it"
        return error_answer(call, 403 if call.is_form else 400, "AccessDeniedException", text)

    def _note_region(self, call: AwsCall, headers: Mapping[str, str]) -> None:
        """Note a call to another region: nothing of the template is there, neither here nor on AWS."""
        if call.region == self._region or call.service not in (*ANSWERED, "lambda", "execute-api"):
            return
        if call.service == "sts":
            return  # it has a global address, which is signed for us-east-1
        self.note(
            f"{self._caller(headers)} calls {service_name(call.service)} in {call.region}, but the template runs in "
            f"{self._region}; if the code names the region, run tellwire with AWS_REGION={call.region}",
            ("region", call.service, call.region),
        )

    def management_refusal(self, headers: Mapping[str, str]) -> Answer | None:
        """Note a client of the management API that may not manage connections; return AWS's answer when strict."""
        return self._checked(AwsCall("execute-api", "ManageConnections", self._region), headers)

    def _caller(self, headers: Mapping[str, str]) -> str:
        token = headers.get("x-amz-security-token", "")
        is_function = self._attached is not None and token in self._attached.policies
        return f"function {token}" if is_function else "a function"

    def note(self, line: str, subject: object = None) -> None:
        """Write a line, once for each subject."""
        key = subject or line
        if key not in self._noted and len(self._noted) < _MAX_NOTES:
            self._noted.add(key)
            self._say(line)

    def _forget_everything(self) -> None:
        if self._moto is None:
            return
        from tellwire.apigateway.dynamodb import delete_everything

        # The data belongs to the process, not to the server: the next server would still have it.
        delete_everything("127.0.0.1", self.port)


def can_answer() -> bool:
    """Return True if the packages that answer calls are installed: they belong to an extra."""
    return all(find_spec(name) is not None for name in ("boto3", "moto"))


def _is_name_of_aws(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return name.endswith(SUFFIXES)


def _body(environ: dict[str, Any]) -> bytes | None:
    """Return the body, and put it back for moto; None if it is too large."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or -1)
    except ValueError:
        return None
    if length > MAX_LOCAL_REQUEST_BYTES:
        return None
    if length < 0 and not environ.get("wsgi.input_terminated"):
        return b""
    body: bytes = environ["wsgi.input"].read(length if length >= 0 else MAX_LOCAL_REQUEST_BYTES + 1)
    if len(body) > MAX_LOCAL_REQUEST_BYTES:
        return None
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return body


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    named = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    return named | {"content-type": environ.get("CONTENT_TYPE", "")}


def _respond(answer: Answer, start_response: Callable[..., Any]) -> Iterable[bytes]:
    phrase = HTTPStatus(answer.status).phrase
    length = str(len(answer.body))
    # As moto's answers: a connection that stays open would keep a thread.
    headers = [("Content-Type", answer.media_type), ("Content-Length", length), ("Connection", "close")]
    headers += answer.headers
    start_response(f"{answer.status} {phrase}", headers)
    return [answer.body]


def _forwarded(url: str, environ: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> Answer:
    """Return the answer of the management API to a request without its stage."""
    parts = urlsplit(url)
    path = f"{parts.path}{environ.get('RAW_URI') or environ.get('REQUEST_URI') or environ['PATH_INFO']}"
    passed = {name: headers[name] for name in _PASSED_HEADERS if headers.get(name)}
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request(environ["REQUEST_METHOD"], path, body, passed)
        response = connection.getresponse()
        kind = response.getheader("x-amzn-ErrorType")
        more = (("x-amzn-ErrorType", kind),) if kind else ()
        media_type = response.getheader("content-type") or "application/json"
        return Answer(response.status, response.read(), media_type, more)
