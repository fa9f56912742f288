"""The script of the custom elements, which pages of others load from the gateway.

    GET /client                        {"src": "/client/tellwire-<version>.js", "integrity": "sha384-…"}
    GET /client/tellwire-<version>.js  kept by caches for a year: the version is that of its content
    GET /client/tellwire.js            the newest; caches ask each time whether it still is

`make script` builds it from clients/elements, and a wheel has it. Any page may load it: it has no secrets, and shows
nothing without a token.
"""

import base64
import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tellwire.gateway.http import json_response, problem

SCRIPT: Final = Path(__file__).with_name("script") / "tellwire.js"
_FOR_EVERYBODY: Final = {
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "vary": "accept-encoding",
    "x-content-type-options": "nosniff",
}


class ScriptAddress(Struct, frozen=True):
    """The attributes of a script tag: `<script type="module" src="…" integrity="…" crossorigin="anonymous">`."""

    src: str
    integrity: str


@dataclass(frozen=True, slots=True)
class ClientScript:
    """The script: its text, the same compressed with gzip, and the version of its content."""

    text: bytes
    compressed: bytes
    version: str
    integrity: str

    @classmethod
    def of(cls, text: bytes) -> "ClientScript":
        """Return the script with this text."""
        integrity = base64.b64encode(hashlib.sha384(text).digest()).decode()
        return cls(text, gzip.compress(text, mtime=0), hashlib.sha256(text).hexdigest()[:12], f"sha384-{integrity}")

    def address_below(self, root: str) -> ScriptAddress:
        """Return the address of the script where the endpoints are below a path."""
        return ScriptAddress(f"{root}/client/tellwire-{self.version}.js", self.integrity)


@cache
def client_script(path: Path = SCRIPT) -> ClientScript | None:
    """Return the script; None if it was not built."""
    return ClientScript.of(path.read_bytes()) if path.is_file() else None


def script_routes(path: Path = SCRIPT) -> list[BaseRoute]:
    """Return the endpoints of the script in a file."""

    async def address(request: Request) -> Response:
        if (script := client_script(path)) is None:
            return _not_built()
        response = json_response(script.address_below(request.scope.get("root_path", "")))
        response.headers.update(_FOR_EVERYBODY | {"cache-control": "no-cache"})
        return response

    async def newest(request: Request) -> Response:
        if (script := client_script(path)) is None:
            return _not_built()
        return _script(request, script, "no-cache")

    async def versioned(request: Request) -> Response:
        if (script := client_script(path)) is None:
            return _not_built()
        if request.path_params["version"] != script.version:
            text = f"This gateway has version {script.version} of the script"
            return problem(404, "NOT_FOUND", text, _FOR_EVERYBODY | {"cache-control": "no-store"})
        return _script(request, script, "public, max-age=31536000, immutable")

    return [
        Route("/client", address, methods=["GET"]),
        Route("/client/tellwire.js", newest, methods=["GET"]),
        Route("/client/tellwire-{version}.js", versioned, methods=["GET"]),
    ]


def _script(request: Request, script: ClientScript, caching: str) -> Response:
    headers = _FOR_EVERYBODY | {"cache-control": caching, "etag": f'W/"{script.version}"'}
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(script.compressed, headers=headers, media_type="text/javascript")
    return Response(script.text, headers=headers, media_type="text/javascript")


def _not_built() -> Response:
    text = "This copy of tellwire has no script: `make script` builds it, and a published package has it"
    return problem(404, "NOT_FOUND", text, {"cache-control": "no-store"})
