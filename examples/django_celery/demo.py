"""`make demo-django`: Redis, the gateway, a Celery worker and Django, each a process; with --once a device watches.

The device signs in at the page, sends its form, and follows the import until it is complete.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from tellwire.client import Client

ROOT = Path(__file__).parents[2]
MANAGE = [sys.executable, "-m", "examples.django_celery.manage"]
START_SECONDS = 60.0
ONCE_SECONDS = 60.0
END_SECONDS = 10.0
NO_REDIS = (
    "there is no redis-server on this machine, and Celery needs one as its broker: install it, "
    "as with `sudo apt-get install redis-server` or `brew install redis`"
)


class Unable(Exception):
    """The demo cannot run. The text is for the terminal."""


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program; at the end it is terminated, by its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a program listens.

    Raises:
        Unable: it has ended, or does not listen in time.
    """
    give_up_at = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up_at:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Unable("\n".join([f"{log.stem} did not start:", *log.read_text(errors="replace").splitlines()[-20:]]))


def started(stack: ExitStack, folder: Path) -> tuple[str, str]:
    """Start all programs, and return the addresses of the page and of the gateway."""
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        raise Unable(NO_REDIS)
    redis, gateway, web = free_port(), free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TELLWIRE_")} | {
        "DJANGO_SETTINGS_MODULE": "examples.django_celery.settings",
        "DEMO_FOLDER": str(folder),
        "DEMO_BROKER": f"redis://127.0.0.1:{redis}",
        "DEMO_GATEWAY": f"http://127.0.0.1:{gateway}",
        "TELLWIRE_DATABASE": str(folder / "tellwire.sqlite3"),
        "TELLWIRE_DRAIN_SECONDS": "1",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run(
        [*MANAGE, "migrate", "--verbosity", "0"], cwd=ROOT, env=environment, check=True, timeout=START_SECONDS
    )
    worker = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "examples.django_celery.tasks",
        "worker",
        "-c",
        "2",
        "-l",
        "warning",
    ]
    programs = {
        "redis": (
            [redis_server, "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            redis,
        ),
        "gateway": ([*MANAGE, "tellwire", "serve", "--dev", "--port", str(gateway)], gateway),
        "worker": ([*worker, "--without-gossip", "--without-mingle"], None),
        "django": ([*MANAGE, "runserver", "--noreload", f"127.0.0.1:{web}"], web),
    }
    for name, (command, port) in programs.items():
        log = folder / f"{name}.log"
        process = stack.enter_context(running(command, environment, log))
        if port is not None:
            wait_for(port, process, log)
    return f"http://127.0.0.1:{web}", f"http://127.0.0.1:{gateway}"


def signed_in(page: str) -> tuple[OpenerDirector, str]:
    """Return a browser with Ada's session, and the CSRF token of the form."""
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    with browser.open(page, timeout=START_SECONDS) as answer:
        text = answer.read().decode()
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', text)
    if found is None or "<tellwire-uploads" not in text:
        raise Unable("the page has no form, or no element for uploads")
    return browser, found[1]


async def follow(page: str, gateway: str) -> None:
    """Import the sample, and print its progress as a device of the user sees it.

    Raises:
        Unable: the import does not come to its end.
    """
    browser, csrf_token = await asyncio.to_thread(signed_in, page)

    def token() -> str:
        with browser.open(f"{page}/live/token", timeout=START_SECONDS) as answer:
            return str(json.load(answer)["token"])

    async def get_token(_: object) -> str:
        return await asyncio.to_thread(token)

    def send() -> None:
        form = urlencode({"csrfmiddlewaretoken": csrf_token}).encode()
        browser.open(f"{page}/import", form, timeout=START_SECONDS).close()

    async with Client(gateway.replace("http", "ws", 1), get_token) as client:
        await asyncio.to_thread(send)
        async for message in client:
            if message.type != "upload_progress":
                continue
            print(f"{message.data['progress']:>5} %  {message.data['message']}", flush=True)
            if message.data["status"] == "complete":
                return
            if message.data["status"] in ("failed", "cancelled"):
                break
    raise Unable("the import did not come to its end")


def main() -> int:
    """Run the demo, and return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the programs end with it
    try:
        with tempfile.TemporaryDirectory(prefix="tellwire-django-") as folder, ExitStack() as stack:
            page, gateway = started(stack, Path(folder))
            print(f"Open {page} twice, and import a file. Ctrl-C ends it.", flush=True)
            if "--once" not in sys.argv[1:]:
                while True:
                    time.sleep(3600)
            asyncio.run(asyncio.wait_for(follow(page, gateway), ONCE_SECONDS))
    except KeyboardInterrupt:
        return 0
    except (Unable, TimeoutError, URLError, subprocess.SubprocessError) as error:
        print(f"demo-django: {str(error) or 'no end in time'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
