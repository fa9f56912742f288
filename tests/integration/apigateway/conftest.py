"""Common clients, driven from a test: the AWS CLI, the AWS SDK for JavaScript, wscat, and Chromium.

`make test` installs what comes from npm.
"""

import http.client
import json
import os
import pty
import re
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.tools import require, require_module

CLIENTS = Path(__file__).parent / "clients"
SECONDS = 100.0
"""Time limit for one action of a client: far more than it needs, far less than a test's."""

CHROMIUM_OPTIONS = (
    "--headless",
    "--no-sandbox",  # it refuses to run as root with one, and opens only our own page
    "--no-proxy-server",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--remote-debugging-port=0",
)


def _environment() -> dict[str, str]:
    """Return this environment without proxies, and without a developer's own configuration of AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return kept | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_PAGER": ""}


# --- the AWS CLI ------------------------------------------------------------------------------------------------------


@pytest.fixture
def aws() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run `aws apigatewaymanagementapi` with arguments."""
    program = require("aws")

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, "apigatewaymanagementapi", *arguments],
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


# --- the AWS SDK for JavaScript ---------------------------------------------------------------------------------------

SdkCall = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def sdk() -> SdkCall:
    """Make calls at an endpoint, all in one process of Node: see `clients/sdk.mjs`."""
    node = require("node")
    require_module(CLIENTS, "@aws-sdk/client-apigatewaymanagementapi")

    def run(endpoint: str, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        done = subprocess.run(
            [node, str(CLIENTS / "sdk.mjs")],
            # Node has its own list of trusted authorities.
            env=_environment() | {"NODE_EXTRA_CA_CERTS": os.environ["AWS_CA_BUNDLE"]},
            input=json.dumps({"endpoint": endpoint, "calls": calls}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    return run


# --- wscat ------------------------------------------------------------------------------------------------------------


class Wscat:
    """wscat in a terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", terminal: int) -> None:
        self._process = process
        self._terminal = terminal
        self.screen = ""

    def type(self, line: str) -> None:
        os.write(self._terminal, f"{line}\n".encode())

    def shows(self, text: str) -> None:
        """Wait until the screen shows a text."""
        end = time.monotonic() + SECONDS
        while text not in self.screen:
            assert self._read(end - time.monotonic()), f"no {text!r} on the screen: {self.screen!r}"

    def ends(self) -> int:
        """Wait until it ends by itself, and return its exit code."""
        end = time.monotonic() + SECONDS
        while self._read(end - time.monotonic()):
            pass
        return self._process.wait(SECONDS)

    def _read(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._terminal], [], [], max(seconds, 0))
        try:
            data = os.read(self._terminal, 65536) if readable else b""
        except OSError:
            # Linux raises this when no process has the other end open.
            data = b""
        self.screen += data.decode()
        return bool(data)


StartWscat = Callable[..., Wscat]


@pytest.fixture
def wscat() -> Iterator[StartWscat]:
    """Start wscat with arguments; it ends with the test."""
    command = [require("node"), str(require_module(CLIENTS, "wscat") / "bin" / "wscat"), "--no-color"]
    with ExitStack() as stack:

        def start(*arguments: str) -> Wscat:
            terminal, its_end = pty.openpty()
            stack.callback(os.close, terminal)
            process = subprocess.Popen(
                [*command, *arguments], stdin=its_end, stdout=its_end, stderr=its_end, env=_environment()
            )
            os.close(its_end)
            stack.callback(process.wait, SECONDS)
            stack.callback(process.terminate)
            return Wscat(process, terminal)

        yield start


# --- Chromium ---------------------------------------------------------------------------------------------------------


class Browser:
    """A page in Chromium with one WebSocket: see `clients/browser.html`. Driven by the DevTools protocol."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._asked = 0

    def go_to(self, page: str) -> None:
        self._ask("Page.enable")
        self._ask("Page.navigate", url=page)
        while json.loads(self._devtools.recv(SECONDS)).get("method") != "Page.loadEventFired":
            pass
        self._ask("Page.disable")

    def run(self, script: str) -> Any:
        """Run a script in the page and return its result; a promise is awaited."""
        outcome = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in outcome, outcome["exceptionDetails"]
        return outcome["result"].get("value")

    def connect(self, url: str, *protocols: str) -> None:
        self.run(f"client = new Client({json.dumps(url)}, {json.dumps(protocols)}); 0")

    def send(self, text: str) -> None:
        self.run(f"client.socket.send({json.dumps(text)})")

    def next(self) -> dict[str, Any]:
        """Return the next event of the socket, once it happens."""
        return dict(self.run("client.next()"))

    def rest(self) -> list[dict[str, Any]]:
        """Return the events up to the end of the socket."""
        events = [self.next()]
        while events[-1]["type"] != "close":
            events.append(self.next())
        return events

    def quit(self) -> None:
        self._devtools.send(json.dumps({"id": 0, "method": "Browser.close"}))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._asked += 1
        self._devtools.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._devtools.recv(SECONDS))
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Chromium once: it takes a second or two."""
    program = require("chromium", "chromium-browser", "google-chrome")
    directory = tmp_path_factory.mktemp("chromium")
    log = directory / "log"
    with log.open("wb") as output, _served(CLIENTS) as pages, ExitStack() as stack:
        process = subprocess.Popen(
            [program, *CHROMIUM_OPTIONS, f"--user-data-dir={directory / 'profile'}", "about:blank"],
            env=_environment(),
            stdout=output,
            stderr=output,
        )
        stack.callback(process.wait, SECONDS)
        stack.callback(process.terminate)
        devtools = stack.enter_context(connect(_devtools_url(process, log), proxy=None, max_size=None))
        browser = Browser(devtools)
        browser.go_to(f"{pages}/browser.html")
        yield browser
        # Closed this way, it deletes its temporary files.
        browser.quit()
        process.wait(SECONDS)


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """Return the browser; its socket closes with the test."""
    yield chromium
    chromium.run("client?.socket.close()")


class _Pages(SimpleHTTPRequestHandler):
    """A file server without a log."""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    """Serve a directory: a page from a server has an origin, and it is not that of the API."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pages, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _devtools_url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Return the DevTools address of the page, once the browser has started."""
    end = time.monotonic() + SECONDS
    while (found := re.search(r"DevTools listening on ws://(\S+?)/", log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    with closing(http.client.HTTPConnection(found[1], timeout=SECONDS)) as connection:
        connection.request("GET", "/json/list")
        targets = json.load(connection.getresponse())
    return str(next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"))
