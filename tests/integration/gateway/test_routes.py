"""Routes of a program's own, served by the gateway that it embeds."""

from collections.abc import AsyncIterator

import pytest
from msgspec import to_builtins
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tellwire.config import Settings
from tellwire.errors import TokenInvalid
from tellwire.gateway import Node
from tellwire.model import Delivery
from tests.conftest import API_KEY, SECRET, Gateway
from tests.integration.gateway.test_http_api import call, publish


async def page(request: Request) -> Response:
    return PlainTextResponse(f"page {request.url.path}")


async def fails(request: Request) -> Response:
    raise {"token": TokenInvalid("no"), "http": HTTPException(404, "no")}[request.path_params["how"]]


@pytest.fixture
async def embedded() -> AsyncIterator[Gateway]:
    """A gateway with a page at `/` and everywhere else that it may be."""
    routes = [Route("/fails/{how}", fails), Route("/{path:path}", page)]
    node = Node(Settings(port=0, jwt_secret=SECRET, api_key=API_KEY, drain_seconds=1, engine="memory"), routes=routes)
    async with node.running() as url:
        yield Gateway(node, url)


@pytest.mark.parametrize("path", ["/", "/assets/app.js", "/v2/else"])
async def test_other_paths_are_answered_by_the_programs_routes(embedded: Gateway, path: str) -> None:
    status, body, _ = await call(embedded, "GET", path, key=None)
    assert (status, body) == (200, f"page {path}".encode())


@pytest.mark.parametrize(("path", "status"), [("/v1/stats", 401), ("/healthz", 200), ("/openapi.json", 200)])
async def test_a_programs_route_cannot_replace_one_of_the_api(embedded: Gateway, path: str, status: int) -> None:
    found, body, _ = await call(embedded, "GET", path, key=None)
    assert found == status
    assert isinstance(body, dict)


async def test_devices_connect_and_get_messages_beside_the_page(embedded: Gateway) -> None:
    async with embedded.device() as device:
        assert await publish(embedded, {"user": "user-1"}) == (200, to_builtins(Delivery(delivered=1)))
        assert "World" in str(await device.recv())


@pytest.mark.parametrize(("how", "status", "code"), [("token", 401, "TOKEN_INVALID"), ("http", 404, "NOT_FOUND")])
async def test_an_error_of_a_program_is_answered_as_the_apis_are(
    embedded: Gateway, how: str, status: int, code: str
) -> None:
    found, body, _ = await call(embedded, "GET", f"/fails/{how}", key=None)
    assert (found, body["code"]) == (status, code)
