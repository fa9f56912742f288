"""Files that arrive in parts at the page's server, by the tus protocol."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from examples.parts_upload.make_samples import Samples, make_samples
from examples.parts_upload.web_app import WebApp
from tellwire.config import Settings
from tests.conftest import SECRET, Gateway
from tests.integration.gateway.test_http_api import call
from tests.integration.test_web_app import last_states, received_messages
from tests.tools import until

PARTS = b"Part;Qty\n3001;4\n3002;5\n"
FILES = "/demo/uploads/u-1/tus"
FILE = f"{FILES}/1"

Answer = tuple[int, Any, dict[str, str]]
StartApp = Callable[[], Any]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture
async def start_app(tmp_path: Path, samples: Samples) -> AsyncIterator[StartApp]:
    """Start the page's server, or another one in the same folder; they stop with the test."""
    async with AsyncExitStack() as stack:

        async def start() -> Gateway:
            settings = Settings(port=0, dev=True, jwt_secret=SECRET, drain_seconds=1)
            web = WebApp(settings, tmp_path / "root", samples, page=tmp_path / "none")
            return Gateway(web.node, await stack.enter_async_context(web.running()))

        yield start


@pytest.fixture
async def app(start_app: StartApp) -> Gateway:
    started = await start_app()
    assert isinstance(started, Gateway)
    return started


async def ask(
    app: Gateway, method: str, path: str = FILE, body: Any = None, user: str = "ada", **headers: str
) -> Answer:
    """Ask, with headers whose names have _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(
        app,
        method,
        path,
        body,
        key=None,
        **{"Authorization": f"Bearer {app.token(user)}", "Tus-Resumable": "1.0.0"} | named,
    )


def metadata(**texts: str) -> str:
    return ",".join(f"{name} {b64encode(text.encode()).decode()}" for name, text in texts.items())


async def create(app: Gateway, size: int = len(PARTS), name: str = "päckchen.csv") -> Answer:
    return await ask(app, "POST", FILES, Upload_Length=str(size), Upload_Metadata=metadata(filename=name))


async def add(app: Gateway, offset: int, content: bytes, **headers: str) -> Answer:
    kind = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": str(offset)}
    return await ask(app, "PATCH", body=content, **kind | headers)


async def offset(app: Gateway) -> int:
    status, _, headers = await ask(app, "HEAD")
    assert (status, headers["cache-control"]) == (200, "no-store")
    return int(headers["upload-offset"])


async def hanging(app: Gateway, at: int, announced: int, content: bytes) -> asyncio.StreamWriter:
    """Begin a PATCH on a connection of its own, and return it when so much has arrived."""
    host, port = app.node.address
    _, writer = await asyncio.open_connection(host, port)
    lines = [
        f"PATCH {FILE} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Authorization: Bearer {app.token('ada')}",
        "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream",
        f"Upload-Offset: {at}",
        f"Content-Length: {announced}",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + content)
    return writer


def size_of_part(tmp_path: Path) -> int:
    return sum(file.stat().st_size for file in (tmp_path / "root").rglob("*.part"))


# --- from begin to end ------------------------------------------------------------------------------------------------


async def test_a_file_that_arrives_in_two_requests_is_imported(app: Gateway) -> None:
    status, _, headers = await create(app)
    assert (status, headers["location"], headers["tus-resumable"]) == (201, FILE, "1.0.0")
    parsedate_to_datetime(headers["upload-expires"])
    assert await offset(app) == 0
    status, _, headers = await add(app, 0, PARTS[:7])
    assert (status, headers["upload-offset"]) == (204, "7")
    assert (await ask(app, "HEAD"))[2]["upload-length"] == str(len(PARTS))
    status, answer, _ = await ask(app, "POST", "/demo/uploads/u-1", {"kind": "parts"})
    assert (status, answer["code"]) == (409, "STILL_ARRIVING")
    assert (await add(app, 7, PARTS[7:]))[0] == 204
    # The client may not have heard it.
    assert await offset(app) == len(PARTS)
    assert (await add(app, len(PARTS), b""))[0] == 204
    assert await offset(app) == len(PARTS)
    async with app.device("ada") as device:
        assert (await ask(app, "POST", "/demo/uploads/u-1", {"kind": "parts"}))[0] == 202
        state = last_states(await received_messages(device))["päckchen.csv"]
    assert state["status"] == "complete"
    assert state["message"].startswith("2 parts imported")


async def test_bytes_that_arrived_before_the_connection_was_lost_stay_also_for_the_next_server(
    app: Gateway, start_app: StartApp, tmp_path: Path
) -> None:
    await create(app)
    writer = await hanging(app, 0, len(PARTS), PARTS[:5])
    await until(lambda: size_of_part(tmp_path) == 5)
    writer.close()
    assert await offset(app) == 5
    again = await start_app()
    assert await offset(again) == 5
    assert (await add(again, 5, PARTS[5:]))[0] == 204
    assert [file.read_bytes() for file in (tmp_path / "root").rglob("*.csv")] == [PARTS]


async def test_a_newer_request_goes_on_where_an_older_one_hangs(app: Gateway, tmp_path: Path) -> None:
    await create(app)
    writer = await hanging(app, 0, len(PARTS), PARTS[:5])
    await until(lambda: size_of_part(tmp_path) == 5)
    assert await offset(app) == 5
    assert (await add(app, 5, PARTS[5:10]))[0] == 204
    # The older one has its bytes at last, and changes nothing.
    writer.write(PARTS[5:])
    await writer.drain()
    assert (await add(app, 10, PARTS[10:]))[0] == 204
    writer.close()
    assert [file.read_bytes() for file in (tmp_path / "root").rglob("*.csv")] == [PARTS]


async def test_an_empty_file_is_whole_at_once(app: Gateway) -> None:
    assert (await create(app, size=0))[0] == 201
    assert await offset(app) == 0
    assert (await ask(app, "POST", "/demo/uploads/u-1", {"kind": "parts"}))[0] == 202


async def test_a_file_can_be_removed_while_it_arrives(app: Gateway, tmp_path: Path) -> None:
    await create(app)
    await add(app, 0, PARTS[:5])
    assert (await ask(app, "DELETE"))[0] == 204
    assert (await ask(app, "HEAD"))[0] == 404
    assert (await ask(app, "DELETE"))[0] == 404
    assert [file for file in (tmp_path / "root").rglob("*") if file.is_file()] == []


# --- checksums --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
async def test_bytes_with_the_right_checksum_count_and_others_do_not(app: Gateway, algorithm: str) -> None:
    await create(app)
    digest = b64encode(hashlib.new(algorithm, PARTS[:5]).digest()).decode()
    checked = partial(add, app, 0, Upload_Checksum=f"{algorithm} {digest}")
    assert (await checked(PARTS[1:6]))[0] == 460
    assert await offset(app) == 0
    assert (await checked(PARTS[:5]))[0] == 204
    assert await offset(app) == 5


async def test_of_bytes_with_a_checksum_none_count_if_some_are_missing(app: Gateway, tmp_path: Path) -> None:
    await create(app)
    host, port = app.node.address
    reader, writer = await asyncio.open_connection(host, port)
    del reader
    head = f"PATCH {FILE} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {app.token('ada')}\r\n"
    kind = "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n"
    writer.write(f"{head}{kind}Upload-Checksum: sha1 AAAA\r\nContent-Length: 9\r\n\r\nPart".encode())
    await until(lambda: list((tmp_path / "root").rglob("incoming/*")))
    writer.close()
    await until(lambda: not list((tmp_path / "root").rglob("incoming/*")))
    assert await offset(app) == 0


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_the_server_says_what_it_can(app: Gateway) -> None:
    status, _, headers = await call(app, "OPTIONS", FILES, key=None)
    assert status == 204
    assert headers["tus-version"] == "1.0.0"
    assert headers["tus-extension"] == "creation,termination,checksum,expiration"
    assert headers["tus-max-size"] == str(64 * 1024 * 1024)
    assert headers["tus-checksum-algorithm"] == "sha1,sha256,md5"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "words"),
    [
        ("HEAD", FILE, {"Tus_Resumable": "0.2.2"}, 412, ""),
        ("PATCH", FILE, {"Content_Type": "text/csv"}, 415, "allowed: application/offset+octet-stream"),
        ("PATCH", FILE, {"Upload_Offset": "3"}, 409, "Upload-Offset: got 3; allowed: 5, the bytes that have arrived"),
        ("PATCH", FILE, {"Upload_Offset": "-1"}, 400, "Upload-Offset: got '-1'; allowed: a whole number"),
        ("PATCH", FILE, {"Upload_Checksum": "crc32 AAAA"}, 400, "allowed: one of sha1, sha256, md5"),
        ("PATCH", f"{FILES}/2", {}, 404, "There is no file 2 that arrives"),
        ("POST", FILES, {"Upload_Metadata": "filename !"}, 400, "allowed: names with texts in Base64"),
        ("POST", FILES, {"Upload_Metadata": metadata(filename="a/b")}, 400, "The name 'a/b' is a path"),
        ("POST", FILES, {"Upload_Length": str(2**27)}, 413, "is too big: got 134,217,728 bytes"),
        ("POST", FILES, {"Upload_Length": ""}, 400, "Upload-Length: got ''"),
    ],
)
async def test_a_request_that_is_not_valid_changes_nothing(
    app: Gateway, method: str, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    await create(app)
    await add(app, 0, PARTS[:5])
    usual = {"Upload_Metadata": metadata(filename="a.csv"), "Upload_Length": "5", "Upload_Offset": "5"}
    kind = {"Content_Type": "application/offset+octet-stream"}
    found, answer, given = await ask(app, method, path, b"x" if method == "PATCH" else None, **usual | kind | headers)
    assert (found, given["tus-resumable"]) == (status, "1.0.0")
    assert method == "HEAD" or words in answer["message"]
    assert await offset(app) == 5


async def test_more_bytes_than_announced_are_refused(app: Gateway) -> None:
    await create(app, size=4)
    status, answer, _ = await add(app, 0, PARTS)
    assert (status, answer["code"]) == (413, "FILE_TOO_BIG")


async def test_another_user_has_no_such_file(app: Gateway) -> None:
    await create(app)
    assert (await ask(app, "HEAD", user="bob"))[0] == 404
