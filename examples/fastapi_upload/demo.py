"""The example at work: `python -m examples.fastapi_upload.demo [--once]`.

It serves the program with uvicorn. `--once` signs in, connects a device, imports a file, prints the messages of the
device, and ends: with exit code 0 if the import was seen to its end.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import urllib.request
from collections.abc import AsyncIterator

import uvicorn

from examples.fastapi_upload.app import app
from tellwire.client import Client

SECONDS = 60.0
FILE = "part,name\n" + "".join(f"{number},Plate {number}\n" for number in range(3001, 3040)) + ",no number\n"


@contextlib.asynccontextmanager
async def served(port: int) -> AsyncIterator[str]:
    """Serve the program inside the block; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(SECONDS):
            while not server.started:
                if serving.done():
                    sys.exit(1)  # uvicorn has said why
                await asyncio.sleep(0.01)
        host, found = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{found}"
    finally:
        server.should_exit = True
        await serving


def call(url: str, body: bytes, cookie: str = "") -> tuple[str, bytes]:
    """Make a POST request, and return the session's cookie and the answer."""
    request = urllib.request.Request(url, body, {"cookie": cookie} if cookie else {})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return str(answer.headers.get("set-cookie", "")).partition(";")[0], answer.read()


async def once() -> int:
    """Import a file, and return the exit code."""
    async with served(0) as url:
        cookie, _ = await asyncio.to_thread(call, f"{url}/login/ada", b"")
        device = Client(f"{url}/live/", headers=lambda: {"cookie": cookie}, start_from="oldest")
        async with asyncio.timeout(SECONDS), device:
            _, answer = await asyncio.to_thread(call, f"{url}/imports?name=plates.csv", FILE.encode(), cookie)
            upload_id = json.loads(answer)["uploadId"]
            async for message in device:
                match message.type, message.data:
                    case "upload_progress", {"uploadId": each} if each == upload_id:
                        print(f"  {message.data.get('progress', 0):>3} %  {message.data.get('message', '')}")
                    case "notification", {"title": title, "message": text}:
                        print(f"  {title}: {text}")
                        return 0
    return 1


async def serve(port: int) -> int:
    """Serve until Ctrl-C."""
    async with served(port) as url:
        print(f"Open {url} twice, sign in, and import a CSV. Ctrl-C ends it.")
        await asyncio.Event().wait()
    return 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="import a file, and end")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(once() if arguments.once else serve(arguments.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
