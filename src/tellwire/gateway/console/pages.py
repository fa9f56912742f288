"""The endpoints of the console: its page, its session, its facts, and the HTTP API for a session."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from tellwire.api_keys import Scope
from tellwire.gateway.console.facts import Facts
from tellwire.gateway.console.guard import ConsoleGuard
from tellwire.gateway.http import json_response

_FILES: Final = Path(__file__).with_name("files")
_TYPES: Final = {"console.html": "text/html", "console.css": "text/css", "console.js": "text/javascript"}
_HEADERS: Final = {
    # Nothing of elsewhere, nothing inline, and no frame around it.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def console_routes(
    guard: ConsoleGuard, facts: Facts, api_routes: Callable[[ConsoleGuard], Sequence[BaseRoute]]
) -> list[BaseRoute]:
    """Return the endpoints. `api_routes` makes those of the HTTP API with another guard."""
    guarded = functools.partial(guard.guarded, scope=Scope.ADMIN)

    async def overview(request: Request) -> Response:
        return json_response(await facts.overview())

    async def topics(request: Request) -> Response:
        return json_response(facts.topics(request.query_params.get("part", "")))

    async def uploads(request: Request) -> Response:
        return json_response(await facts.uploads())

    return [
        Route("/console", _file("console.html"), methods=["GET"]),
        Route("/console/", _back, methods=["GET"]),
        Route("/console/console.css", _file("console.css"), methods=["GET"]),
        Route("/console/console.js", _file("console.js"), methods=["GET"]),
        Route("/console/session", guard.sign_in, methods=["POST"]),
        Route("/console/session", guard.show, methods=["GET"]),
        Route("/console/session", guarded(guard.sign_out), methods=["DELETE"]),
        Route("/console/api/overview", guarded(overview), methods=["GET"]),
        Route("/console/api/topics", guarded(topics), methods=["GET"]),
        Route("/console/api/uploads", guarded(uploads), methods=["GET"]),
        Mount("/console/api", routes=api_routes(guard)),
    ]


async def _back(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/console")


def _file(name: str) -> Callable[[Request], Response]:
    text = (_FILES / name).read_bytes()

    def answer(request: Request) -> Response:
        return Response(text, headers=_HEADERS, media_type=_TYPES[name])

    return answer
