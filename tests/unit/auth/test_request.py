"""The request of a client that wants to connect."""

from tellwire.auth.request import HandshakeRequest


def test_cookies_are_read_as_browsers_send_them() -> None:
    request = HandshakeRequest("/", "", {"cookie": 'a=1; session="x=y"; a=2; nonsense; empty='})
    assert request.cookies == {"a": "1", "session": "x=y", "empty": ""}
    assert HandshakeRequest("/", "", {}).cookies == {}


def test_the_query_is_given_on_without_a_token() -> None:
    assert HandshakeRequest("/", "room=a%20b&token=secret&x=", {}).query_without_token == "room=a+b&x="
    assert HandshakeRequest("/", "room=a%20b", {}).query_without_token == "room=a%20b"


def test_a_request_shows_no_secret() -> None:
    request = HandshakeRequest("/live", "token=secret", {"cookie": "secret"}, "192.0.2.1", {"headers": "secret"})
    assert "secret" not in repr(request)
