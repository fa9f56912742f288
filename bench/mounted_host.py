"""A FastAPI program with the gateway mounted, on uvicorn, for `bench/mounted.py`. It prints its address."""

import os
import sys

import uvicorn
from fastapi import FastAPI

from tellwire import tellwire_app
from tellwire.config import load_settings

live = tellwire_app(load_settings(os.environ))
app = FastAPI(lifespan=live.lifespan)
# At the root, so that the load has the same paths on both sides.
app.mount("", live)


class Announced(uvicorn.Server):
    """uvicorn, which prints its address when it listens."""

    async def startup(self, sockets: object = None) -> None:
        await super().startup(None)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"ws://127.0.0.1:{port}", flush=True)


if __name__ == "__main__":
    # Without its access log, as our own server has none, and without its pings, which would come in between.
    config = uvicorn.Config(
        app, port=0, log_level="warning", access_log=False, ws="websockets-sansio", ws_ping_interval=None, backlog=4096
    )
    Announced(config).run()
    sys.exit(0)
