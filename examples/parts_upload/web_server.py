"""The gateway's process: a gateway in development mode that also serves the page.

`python -m examples.parts_upload.web_server [--port 8787]`. The demo starts it on a free port; alone it is for work on
the page: `npm run dev` forwards requests to it.

Files, jobs and the history are in `--folder`, so a server that is started again there shows what the one before has
shown, and begins again the uploads that were interrupted.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import uvloop

from examples.parts_upload.make_samples import DATA, make_samples
from examples.parts_upload.web_app import WebApp
from tellwire import ConfigError, Node, Settings
from tellwire.auth import development_secret


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code."""
    parser = argparse.ArgumentParser(prog="web_server", description="The demo's gateway, with its page.")
    parser.add_argument("--port", type=_port, default=8787, help="port to listen on; 0: a free one (default: 8787)")
    parser.add_argument("--pace", type=float, default=0.15, help="pause after each batch, in seconds (default: 0.15)")
    parser.add_argument("--folder", type=Path, default=DATA / "page", help="folder of its files (default: %(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    try:
        _serve(options.folder, options.port, options.pace)
    except (ConfigError, OSError) as error:
        # Another server has the port or the folder, or the folder cannot be written to.
        print(f"web_server: {error}", file=sys.stderr)
        return 2
    return 0


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 6 and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a whole number, at most 65535")


def _serve(folder: Path, port: int, pace_seconds: float) -> None:
    secret = os.environ.get("TELLWIRE_JWT_SECRET") or development_secret()
    folder.mkdir(parents=True, exist_ok=True)
    database = str(folder / "history.sqlite3")
    settings = Settings(port=port, dev=True, jwt_secret=secret, engine="sqlite", database=database)
    pause = partial(asyncio.sleep, pace_seconds)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        app = WebApp(settings, folder / "uploads", make_samples(), pause=pause)
        runner.run(app.serve(_announce))


def _announce(node: Node) -> None:
    print(f"devices ws://{node.authority}\npage    http://{node.authority}/", flush=True)


if __name__ == "__main__":
    sys.exit(main())
