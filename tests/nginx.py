"""A real nginx before a gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.processes import free_port
from tests.tools import require

PROXY_TIMEOUT_SECONDS = 4

_AROUND = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
{configuration}
}}
"""

_SERVER = """
  access_log off;
  server {{
    listen 127.0.0.1:{port};
    location {prefix} {{
      proxy_pass {url}/;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout {seconds}s;
    }}
  }}
"""


def around(directory: Path, configuration: str) -> str:
    """Return the whole configuration of an nginx in a folder, with that of its `http` block."""
    return _AROUND.format(directory=directory, configuration=configuration)


@asynccontextmanager
async def nginx(directory: Path, url: str, prefix: str = "/") -> AsyncIterator[str]:
    """Run an nginx that is configured as its documentation says; give the address of its WebSocket.

    `prefix` is the path below which the server at `url` is found.
    """
    port = free_port()
    server = _SERVER.format(port=port, url=url, prefix=prefix, seconds=PROXY_TIMEOUT_SECONDS)
    async with running_nginx(directory, around(directory, server), port):
        yield f"ws://127.0.0.1:{port}"


@asynccontextmanager
async def running_nginx(directory: Path, configuration: str, port: int) -> AsyncIterator[None]:
    """Run an nginx with a configuration, as soon as it listens on its port."""
    program = require("nginx")
    path = directory / "nginx.conf"
    path.write_text(configuration)
    process = await asyncio.create_subprocess_exec(program, "-c", path, "-p", directory, "-e", "stderr")
    try:
        async with asyncio.timeout(100):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        assert process.returncode is None
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
