"""The page, and a gateway in the same process: `python -m examples.comments.serve [--port 8787]`.

With `--socket ws://127.0.0.1:3001/prod` the page connects there instead: to the API of `template.yaml`, run by
`tellwire local`. For development, on loopback: anybody who reaches it can sign in with any name.

    GET  /              the page
    GET  /page/…        its files
    GET  /client/…      @tellwire/client, as `npm run build` in clients/ makes it
    POST /token         {"name": "Ada"} → {"token", "userId", "url"}
"""

import argparse
import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from examples.comments.handlers.comments import Comments
from tellwire import InvalidMessage, Node, Settings, mint_token
from tellwire.auth import development_secret
from tellwire.model import is_loopback_authority

HERE: Final = Path(__file__).parent
CLIENT: Final = HERE.parents[1] / "clients" / "core" / "dist"
TOPICS: Final = "moc:*:comments"
RULES: Final = """
[{"pattern": "moc:*:comments", "presence": true, "history": {"max_messages": 200, "max_age_seconds": 604800}}]
"""

_MAX_NAME_CHARACTERS: Final = 40
_HEADERS: Final = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; img-src data:; connect-src 'self' ws:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


class SignIn(msgspec.Struct):
    """Body of a request to sign in: the user's name."""

    name: str


def make_node(settings: Settings, socket_url: str | None = None) -> Node:
    """Return a gateway that serves the page, too. `socket_url`: where the page connects; None: to this gateway."""
    secret = settings.jwt_secrets[0]

    async def index(request: Request) -> Response:
        return FileResponse(HERE / "page" / "index.html", headers=_HEADERS)

    async def sign_in(request: Request) -> Response:
        host = request.headers.get("host")
        if not is_loopback_authority(host) or request.headers.get("origin") not in (None, f"http://{host}"):
            return JSONResponse({"message": "Only pages of this server may sign in"}, 403)
        name = msgspec.json.decode(await request.body(), type=SignIn).name.strip()
        if not name.isprintable() or not 1 <= len(name) <= _MAX_NAME_CHARACTERS:
            raise InvalidMessage("name", name, f"1 to {_MAX_NAME_CHARACTERS} characters")
        token = mint_token(secret, name, topics=[TOPICS], info={"name": name})
        url = socket_url or f"ws://{host}"
        return JSONResponse({"token": token, "userId": name, "url": url}, headers={"cache-control": "no-store"})

    routes: list[BaseRoute] = [
        Route("/", index),
        Route("/token", sign_in, methods=["POST"]),
        Mount("/page", StaticFiles(directory=HERE / "page")),
        Mount("/client", StaticFiles(directory=CLIENT, check_dir=False)),
    ]
    node = Node(settings, routes=routes)
    node.on_message("add_comment", Comments(node.broadcaster.broadcast_to_topic).add)
    return node


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="comments", description="Who is here, and what they say about a MOC.")
    parser.add_argument("--port", type=int, default=8787, help="port to listen on; 0 picks a free one (default: 8787)")
    parser.add_argument(
        "--database", default="comments.sqlite3", help="file of the history (default: comments.sqlite3)"
    )
    parser.add_argument("--socket", metavar="URL", help="let the page connect to this API instead")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    if not (CLIENT / "index.js").is_file():
        parser.exit(2, "comments: the client is not built: run `npm ci && npm run build` in clients/\n")
    secret = os.environ.get("TELLWIRE_JWT_SECRET") or development_secret()
    settings = Settings(port=options.port, dev=True, jwt_secret=secret, database=options.database, topics=RULES)
    node = make_node(settings, options.socket)
    asyncio.run(node.serve(lambda node: print(f"page http://{node.authority}/", flush=True)))


if __name__ == "__main__":
    main()
