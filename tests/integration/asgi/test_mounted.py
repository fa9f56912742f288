"""The gateway as an application below another one, and at the root, without and with a lifespan."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.websockets import WebSocketDisconnect

from tellwire import ConfigError, HandshakeRequest, Settings, create_message, tellwire_app
from tellwire.asgi import TellwireApp
from tellwire.auth import mint_token
from tests.conftest import API_KEY, SECRET

with warnings.catch_warnings():
    # It prefers another HTTP client than the one that is here.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

SAID = create_message("said", {"text": "hello"})
PUBLISH = {"target": {"user": "ada"}, "message": {"type": "said", "data": {"text": "hello"}}}
KEY = {"authorization": f"Bearer {API_KEY}"}


def app(**settings: Any) -> TellwireApp:
    options: dict[str, Any] = {"jwt_secret": SECRET, "api_key": API_KEY, "engine": "memory", "drain_seconds": 1}
    return tellwire_app(Settings(**options | settings))


def offered(user: str = "ada") -> list[str]:
    return ["tellwire.v1", f"token.{mint_token(SECRET, user)}"]


@pytest.fixture
def live() -> TellwireApp:
    """A gateway that is not open yet."""
    return app()


def closed_by(socket: Any) -> WebSocketDisconnect:
    with pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_json()
    return closed.value


def mounted(live: TellwireApp, **options: Any) -> FastAPI:
    host = FastAPI(title="host", **options)
    host.mount("/live", live)
    return host


def test_it_opens_with_the_lifespan_of_its_host_and_closes_with_it(live: TellwireApp) -> None:
    done: list[str] = []

    @live.node.before_drain
    async def tell() -> None:
        done.append("told")

    with TestClient(mounted(live, lifespan=live.lifespan)) as client:
        assert live.node.hub is not None
        assert client.get("/live/readyz").json() == {"status": "ready"}
        with client.websocket_connect("/live/", subprotocols=offered()) as socket:
            answer = client.post("/live/v1/publish", json=PUBLISH, headers=KEY)
            assert answer.json()["delivered"] == 1
            assert socket.receive_json()["data"] == {"text": "hello"}
    assert done == ["told"]
    with pytest.raises(RuntimeError, match="does not run"):
        _ = live.node.hub


def test_it_opens_at_the_first_request_where_nobody_runs_its_lifespan(live: TellwireApp) -> None:
    with TestClient(mounted(live)) as client:
        with pytest.raises(RuntimeError, match="does not run"):
            _ = live.node.hub
        with client.websocket_connect("/live/", subprotocols=offered()):
            assert len(live.node.hub) == 1
    # The end of the host's event loop has closed it.
    with pytest.raises(RuntimeError, match="does not run"):
        _ = live.node.hub


def test_without_a_lifespan_nothing_published_is_lost_at_the_end(tmp_path: Path) -> None:
    database = tmp_path / "tellwire.sqlite3"
    with TestClient(mounted(app(engine="sqlite", database=str(database)))) as client:
        assert client.post("/live/v1/publish", json=PUBLISH, headers=KEY).status_code == 200
    assert not database.with_name(f"{database.name}-wal").exists()
    live = app(engine="sqlite", database=str(database))
    with TestClient(live) as client, client.websocket_connect("/", subprotocols=offered()) as socket:
        socket.send_json({"type": "hello", "cursors": {"user": "oldest"}})
        welcome = socket.receive_json()
    assert "welcome" in str(welcome)


def test_at_the_root_it_answers_the_lifespan_itself(live: TellwireApp) -> None:
    with TestClient(live) as client:
        assert len(live.node.hub) == 0
        assert client.get("/healthz").json() == {"status": "ok"}
        assert "servers" not in client.get("/openapi.json").json()


def test_beside_an_application_that_cannot_mount_it_has_a_path(live: TellwireApp) -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    with TestClient(live.beside(other, "/live/")) as client:
        assert len(live.node.hub) == 0
        assert client.get("/live/healthz").json() == {"status": "ok"}
        assert client.get("/lively").status_code == 418
        assert client.get("/").text == "/"
        with client.websocket_connect("/live", subprotocols=offered()):
            assert len(live.node.hub) == 1


def test_a_host_that_mounts_it_at_the_root_keeps_its_own_routes(live: TellwireApp) -> None:
    host = FastAPI(title="host", lifespan=live.lifespan)

    @host.get("/mine")
    async def mine() -> str:
        return "mine"

    host.mount("", live)
    with TestClient(host) as client:
        assert client.get("/mine").json() == "mine"
        assert client.get("/openapi.json").json()["info"]["title"] == "host"
        assert client.get("/healthz").json() == {"status": "ok"}
        with client.websocket_connect("/any", subprotocols=offered()):
            assert len(live.node.hub) == 1


def test_the_hosts_scope_is_its_own() -> None:
    seen: list[Any] = []
    host = mounted(app())

    @host.middleware("http")
    async def look(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        seen.append(request.scope["app"])
        return response

    with TestClient(host) as client:
        assert client.get("/live/healthz").status_code == 200
    assert seen == [host]


def test_a_refused_client_hears_why(live: TellwireApp) -> None:
    with TestClient(mounted(live)) as client:
        with client.websocket_connect("/live/", subprotocols=["tellwire.v1", "token.no"]) as socket:
            closed = closed_by(socket)
        assert (closed.code, closed.reason.split(":")[0]) == (4401, "TOKEN_INVALID")


def test_a_drain_refuses_new_clients_and_closes_those_that_are_here(live: TellwireApp) -> None:
    with TestClient(mounted(live, lifespan=live.lifespan)) as client:
        with client.websocket_connect("/live/", subprotocols=offered()) as socket:
            assert client.post("/live/v1/drain", headers=KEY).status_code == 202
            assert closed_by(socket).code == 1012
        with client.websocket_connect("/live/", subprotocols=offered()) as socket:
            assert closed_by(socket).code == 1012


def test_an_engine_that_cannot_be_used_stops_the_host(tmp_path: Path) -> None:
    live = app(engine="sqlite", database=str(tmp_path / "no" / "folder" / "x.sqlite3"))
    with pytest.raises(Exception, match="cannot be opened"), TestClient(mounted(live, lifespan=live.lifespan)):
        pytest.fail("it runs")


def test_settings_that_cannot_be_used_are_told_where_it_is_made() -> None:
    with pytest.raises(ConfigError, match="no way to verify tokens"):
        tellwire_app(Settings(engine="memory"))


def test_a_function_sees_what_the_hosts_middleware_knows() -> None:
    def signed_in(request: HandshakeRequest) -> str | None:
        assert request.scope is not None
        return str(request.scope["user"]) if request.scope["user"] else None

    live = tellwire_app(Settings(engine="memory", drain_seconds=1), identify=signed_in)

    class Session:
        """Middleware that knows users by a session, for HTTP and WebSockets alike."""

        def __init__(self, app: Any) -> None:
            self._app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                headers = dict(scope["headers"])
                scope["user"] = "ada" if headers.get(b"cookie") == b"session=1" else None
            await self._app(scope, receive, send)

    host = mounted(live, lifespan=live.lifespan)
    host.add_middleware(Session)
    ours = {"cookie": "session=1", "origin": "http://testserver"}
    with TestClient(host) as client:
        with client.websocket_connect("/live/", headers=ours) as socket:
            socket.send_json({"type": "hello"})
            assert socket.receive_json()["data"]["userId"] == "ada"
        found = client.get("/live/v1/uploads/row-errors?upload=x", headers=ours)
        assert found.json()["code"] == "ROW_ERRORS_UNKNOWN"
        elsewhere = {"cookie": "session=1", "origin": "https://evil.example"}
        with client.websocket_connect("/live/", subprotocols=["tellwire.v1"], headers=elsewhere) as socket:
            assert closed_by(socket).code == 4403
        with client.websocket_connect("/live/", subprotocols=["tellwire.v1"]) as socket:
            assert closed_by(socket).reason.startswith("NOT_SIGNED_IN")
