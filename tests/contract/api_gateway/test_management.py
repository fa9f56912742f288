"""The management API, by boto3 and by hand."""

import hashlib
import http.client
import json
import re
import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from websockets.exceptions import ConnectionClosed

from tests.contract.api_gateway.conftest import Contract

UNKNOWN = "nBUGZLR2Hhyb5qM="


def ask(contract: Contract, method: str, path: str, body: bytes = b"", *, signed: bool = True) -> Any:
    """Send a request with the path as it is written here."""
    url = contract.management_url.removesuffix("/prod") + path
    request = AWSRequest(method, url, data=body)
    if signed:
        SigV4Auth(Credentials("AKID", "secret"), "execute-api", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(url.removeprefix("http://").partition("/")[0], timeout=100)
    try:
        connection.request(method, path, body, dict(request.headers))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("at", ["@", "%40"])
@pytest.mark.parametrize("equals", ["=", "%3D"])
def test_a_post_arrives_as_text_however_the_path_is_written(contract: Contract, at: str, equals: str) -> None:
    with contract.connect() as client:
        path = f"/prod/{at}connections/{contract.connection_id.removesuffix('=')}{equals}"
        status, headers, body = ask(contract, "POST", path, b"hello")
        assert (status, body) == (200, b"")
        assert re.fullmatch(r"[0-9a-f-]{36}", headers["x-amzn-requestid"])
        assert client.recv(45) == "hello"
        assert ask(contract, "GET", path)[0] == 200
        assert ask(contract, "DELETE", path)[0] == 204


def test_boto3_posts_gets_and_deletes(contract: Contract) -> None:
    api = contract.boto3()
    with contract.connect(user_agent_header="agent/1") as client:
        connection_id = contract.connection_id
        api.post_to_connection(ConnectionId=connection_id, Data=b'{"a": 1}')
        assert client.recv(45) == '{"a": 1}'
        info = api.get_connection(ConnectionId=connection_id)
        assert info["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "agent/1"}
        assert info["ConnectedAt"] <= info["LastActiveAt"]
        assert info["ConnectedAt"].tzinfo is not None
        answer = api.delete_connection(ConnectionId=connection_id)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(45)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
    context = contract.event("DISCONNECT")["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1000, "Connection Closed Normally")


def test_get_says_when_there_was_something_last(contract: Contract) -> None:
    api = contract.boto3()
    with contract.connect() as client:
        connection_id = contract.connection_id
        for number in (1, 2):
            contract.advance(30)
            if number == 1:
                client.send("hello")
                contract.events("MESSAGE", 1)
            else:
                api.post_to_connection(ConnectionId=connection_id, Data=b"hello")
            info = api.get_connection(ConnectionId=connection_id)
            assert (info["LastActiveAt"] - info["ConnectedAt"]).total_seconds() >= 30 * number
        contract.advance(30)
        assert api.get_connection(ConnectionId=connection_id)["LastActiveAt"] == info["LastActiveAt"]


def test_get_says_times_in_iso_and_names_in_camel_case(contract: Contract) -> None:
    with contract.connect():
        _, headers, body = ask(contract, "GET", f"/prod/@connections/{quote(contract.connection_id)}")
    info = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert list(info) == ["connectedAt", "identity", "lastActiveAt"]
    assert datetime.fromisoformat(info["connectedAt"]).tzinfo == UTC
    assert list(info["identity"]) == ["sourceIp", "userAgent"]


def test_who_is_gone_is_gone_for_boto3(contract: Contract) -> None:
    api = contract.boto3()
    with contract.connect():
        connection_id = contract.connection_id
    contract.events("DISCONNECT", 1)
    for each in (connection_id, UNKNOWN):
        with pytest.raises(api.exceptions.GoneException):
            api.post_to_connection(ConnectionId=each, Data=b"x")
        with pytest.raises(api.exceptions.GoneException):
            api.get_connection(ConnectionId=each)
        with pytest.raises(api.exceptions.GoneException):
            api.delete_connection(ConnectionId=each)
    status, headers, body = ask(contract, "POST", f"/prod/@connections/{UNKNOWN}", b"x")
    assert (status, headers["x-amzn-errortype"], body) == (410, "GoneException", b"")


def test_a_second_delete_finds_nobody(contract: Contract) -> None:
    api = contract.boto3()
    with contract.connect():
        api.delete_connection(ConnectionId=contract.connection_id)
        with pytest.raises(api.exceptions.GoneException):
            api.delete_connection(ConnectionId=contract.connection_id)


def test_during_connect_the_connection_is_gone(contract: Contract) -> None:
    # The handler answers 418 if its own post was refused with GoneException.
    assert contract.refused({"post": "1"}).status_code == 418


@pytest.mark.parametrize("junk", ["test-connection-123", "foo", "nBUGZLR2Hhyb5qN=", "nBUGZLR2Hhyb5qM", "a/b", "../x"])
def test_an_id_of_another_form_is_a_bad_request(contract: Contract, junk: str) -> None:
    with pytest.raises(ClientError) as caught:
        contract.boto3().post_to_connection(ConnectionId=junk, Data=b"x")
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("BadRequestException", f"Invalid connectionId: {junk}")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_128_kib_arrive_in_frames_of_at_most_32_and_one_byte_more_is_too_large(contract: Contract) -> None:
    api = contract.boto3()
    with contract.connect(max_size=None) as client:
        api.post_to_connection(ConnectionId=contract.connection_id, Data=b"x" * 131_072)
        assert [len(piece) for piece in client.recv_streaming()] == [32_768] * 4
        with pytest.raises(api.exceptions.PayloadTooLargeException) as caught:
            api.post_to_connection(ConnectionId=contract.connection_id, Data=b"x" * 131_073)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
        api.post_to_connection(ConnectionId=contract.connection_id, Data=b"still here")
        assert client.recv(45) == "still here"


def test_who_does_not_sign_is_forbidden(contract: Contract) -> None:
    with contract.connect():
        for method in ("POST", "GET", "DELETE"):
            path = f"/prod/@connections/{contract.connection_id}"
            status, headers, body = ask(contract, method, path, signed=False)
            assert (status, json.loads(body)) == (403, {"message": "Missing Authentication Token"})
            assert headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"


def test_another_stage_is_forbidden(contract: Contract) -> None:
    api = contract.boto3("dev")
    with contract.connect(), pytest.raises(api.exceptions.ForbiddenException) as caught:
        api.post_to_connection(ConnectionId=contract.connection_id, Data=b"x")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize(
    "path", ["/", "/prod/@connections", "/prod/connections/x", "/prod/@connections/a/b", "/prod/x/@connections/x", "/x"]
)
def test_another_path_is_forbidden(contract: Contract, path: str) -> None:
    status, headers, _ = ask(contract, "POST", path, b"x")
    assert (status, headers["x-amzn-errortype"]) == (403, "ForbiddenException")


def test_the_stage_may_be_left_out_as_at_a_custom_domain(contract: Contract) -> None:
    with contract.connect() as client:
        assert ask(contract, "POST", f"/@connections/{contract.connection_id}", b"hello")[0] == 200
        assert client.recv(45) == "hello"


def test_another_method_is_forbidden(contract: Contract) -> None:
    assert ask(contract, "PUT", f"/prod/@connections/{UNKNOWN}")[0] == 403


def test_an_empty_post_is_an_empty_message(contract: Contract) -> None:
    with contract.connect() as client:
        contract.boto3().post_to_connection(ConnectionId=contract.connection_id, Data=b"")
        assert client.recv(45) == ""


def test_what_is_no_text_arrives_with_replacement_characters(contract: Contract) -> None:
    with contract.connect() as client:
        contract.boto3().post_to_connection(ConnectionId=contract.connection_id, Data=b"a\xffb")
        assert client.recv(45) == "a\ufffdb"


def test_a_client_that_does_not_read_is_a_limit_exceeded(contract: Contract) -> None:
    api = contract.boto3()
    with contract.connect(max_queue=1, max_size=None) as client:
        connection_id = contract.connection_id
        with pytest.raises(api.exceptions.LimitExceededException) as caught:
            for _ in range(200):
                api.post_to_connection(ConnectionId=connection_id, Data=b"x" * 131_072)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        # It reads again, and is still connected.
        heard = threading.Thread(target=lambda: [None for _ in iter(lambda: client.recv(45), "last")])
        heard.start()
        for _ in range(400):
            try:
                api.post_to_connection(ConnectionId=connection_id, Data=b"last")
                break
            except api.exceptions.LimitExceededException:
                threading.Event().wait(0.1)
        heard.join(45)
        assert not heard.is_alive()


def test_posts_arrive_whole_and_in_order(contract: Contract) -> None:
    api = contract.boto3()
    with contract.connect() as client:
        sent = [hashlib.sha256(str(number).encode()).hexdigest() * (number + 1) for number in range(30)]
        for text in sent:
            api.post_to_connection(ConnectionId=contract.connection_id, Data=text.encode())
        assert [client.recv(45) for _ in sent] == sent
