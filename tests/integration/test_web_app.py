"""The server side of the page: sign-in, uploads, the workers' messages, and refusals."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.client import ClientConnection, connect

from examples.parts_upload.make_samples import Samples, make_samples
from examples.parts_upload.web_app import WebApp
from examples.parts_upload.web_uploads import ABANDONED_SECONDS, Uploads
from tellwire import Broadcaster, create_upload_progress_message
from tellwire.config import Settings
from tellwire.errors import ConfigError
from tellwire.testing import MemoryCarrier
from tests.conftest import API_KEY, SECRET, Gateway, offered
from tests.gate import Gate
from tests.integration.gateway.test_http_api import call

PARTS = b"Part;Qty\n3001;4\n;5\n"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture
async def app(tmp_path: Path, samples: Samples) -> AsyncIterator[Gateway]:
    """A gateway with a page beside it."""
    page = tmp_path / "dist"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html><title>Parts</title>")
    (page / "assets" / "app-1.js").write_text("run()")
    settings = Settings(port=0, dev=True, jwt_secret=SECRET, drain_seconds=1)
    web = WebApp(settings, tmp_path / "root", samples, page=page)
    async with web.running() as url:
        yield Gateway(web.node, url)


async def ask(
    app: Gateway, method: str, path: str, body: Any = None, user: str | None = "ada", **headers: str
) -> tuple[int, Any]:
    if user is not None:
        headers["Authorization"] = f"Bearer {app.token(user)}"
    status, answer, _ = await call(app, method, path, body, key=None, **headers)
    return status, answer


async def received_messages(device: ClientConnection, notifications: int = 1) -> list[dict[str, Any]]:
    """Receive until as many notifications have come."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(100):
        while sum(message["type"] == "notification" for message in messages) < notifications:
            messages.append(json.loads(await device.recv()))
    return messages


def last_states(messages: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {m["data"]["fileName"]: m["data"] for m in messages if m["type"] == "upload_progress"}


async def test_who_signs_in_gets_a_token_that_opens_a_connection(app: Gateway) -> None:
    status, answer = await ask(app, "POST", "/demo/token", {"name": " ada "}, user=None)
    assert status == 200
    async with connect(app.ws_url, subprotocols=offered(answer["token"]), proxy=None):
        [device] = await app.node.hub.connections("ada")
    assert device.user_id == "ada"


async def test_a_parts_list_is_put_and_begun_and_its_user_told(app: Gateway) -> None:
    async with app.device("ada") as device:
        assert (await ask(app, "PUT", "/demo/uploads/u-1/files/1?name=my%20parts.csv", PARTS))[0] == 201
        assert (await ask(app, "POST", "/demo/uploads/u-1", {"kind": "parts"}))[0] == 202
        messages = await received_messages(device)
    assert messages[0]["data"]["progress"] == 0
    state = last_states(messages)["my parts.csv"]
    assert (state["uploadId"], state["progress"], state["status"]) == ("u-1", 100, "complete")
    [error] = [m["data"] for m in messages if m["type"] == "error"]
    assert [(cause["cause"], cause["rows"]) for cause in error["details"]["causes"]] == [("MISSING_PART_NUMBER", [3])]


async def test_the_imported_parts_are_read_page_by_page_by_their_user_alone(app: Gateway) -> None:
    rows = "".join(f"{3000 + n};{n};Weiß;Stein {n}\n" for n in range(1, 121))
    parts = "/demo/uploads/u-1/parts"
    assert await ask(app, "GET", parts) == (200, {"total": 0, "parts": []})
    async with app.device("ada") as device:
        await ask(app, "PUT", "/demo/uploads/u-1/files/1?name=list.csv", ("Part;Qty;Color;Name\n" + rows).encode())
        await ask(app, "POST", "/demo/uploads/u-1", {"kind": "parts"})
        await received_messages(device)
    status, answer = await ask(app, "GET", f"{parts}?offset=118&limit=5")
    assert (status, answer["total"]) == (200, 120)
    assert answer["parts"][1] == {"part": "3120", "colour": "Weiß", "quantity": 120, "name": "Stein 120"}
    assert len(answer["parts"]) == 2
    assert len((await ask(app, "GET", parts))[1]["parts"]) == 100
    assert await ask(app, "GET", f"{parts}?offset=500") == (200, {"total": 120, "parts": []})
    assert await ask(app, "GET", parts, user="bob") == (200, {"total": 0, "parts": []})


def numbered(images: list[Path]) -> list[dict[str, str]]:
    return [{"number": str(number), "name": image.name} for number, image in enumerate(images, 1)]


async def test_images_become_thumbnails_that_their_user_alone_can_see(app: Gateway, samples: Samples) -> None:
    async with app.device("ada") as device:
        for number, image in enumerate(samples.images[:2], 1):
            path = f"/demo/uploads/u-2/files/{number}?name={image.name}"
            assert (await ask(app, "PUT", path, image.read_bytes()))[0] == 201
        await ask(app, "POST", "/demo/uploads/u-2", {"kind": "images"})
        messages = await received_messages(device)
    assert last_states(messages)["2 images"]["status"] == "complete"
    assert await ask(app, "GET", "/demo/uploads/u-2/thumbnails") == (200, {"thumbnails": numbered(samples.images[:2])})
    status, jpeg = await ask(app, "GET", "/demo/uploads/u-2/thumbnails/1")
    assert (status, jpeg[:2]) == (200, b"\xff\xd8")
    assert await ask(app, "GET", "/demo/uploads/u-2/thumbnails", user="bob") == (200, {"thumbnails": []})
    assert (await ask(app, "GET", "/demo/uploads/u-2/thumbnails/1", user="bob"))[0] == 404


async def test_the_samples_are_two_uploads(app: Gateway) -> None:
    async with app.device("ada") as device:
        assert (await ask(app, "POST", "/demo/samples", {"paced": False}))[0] == 202
        states = last_states(await received_messages(device, notifications=2))
    assert {name: state["status"] for name, state in states.items()} == {
        "parts-list.csv": "complete",
        "6 images": "complete",
    }


async def test_an_upload_that_is_cancelled_stops_and_is_no_failure_in_the_log(
    tmp_path: Path, samples: Samples, caplog: pytest.LogCaptureFixture
) -> None:
    settings, gate = Settings(port=0, dev=True, jwt_secret=SECRET, drain_seconds=1), Gate()
    web = WebApp(settings, tmp_path, samples, page=tmp_path / "none", pause=gate)
    async with web.running() as url, Gateway(web.node, url).device("ada") as device, asyncio.timeout(100):
        web.uploads.start_samples("ada", samples, is_paced=True)
        begun: set[str] = set()
        while len(begun) < 2:
            begun.add(json.loads(await device.recv())["data"]["uploadId"])
        for upload_id in begun:
            await device.send(json.dumps({"type": "cancel", "uploadId": upload_id}))
        cancelled: set[str] = set()
        last: dict[str, str] = {}
        while len(last) < 2:
            message = json.loads(await device.recv())
            assert message["type"] == "upload_progress"
            # At once it is the gateway's word; then it is the worker's, who knows how far it came.
            if message["data"]["status"] == "cancelled":
                cancelled.add(message["data"]["uploadId"])
            if len(cancelled) == 2:
                gate.open()
            if message["data"]["message"].endswith("Nothing of it was kept."):
                last[message["data"]["uploadId"]] = message["data"]["status"]
    assert set(last.values()) == {"cancelled"}
    for upload_id in begun:
        assert not any(web.uploads.folder("ada", upload_id).thumbnails.glob("*"))
    assert [record for record in caplog.records if record.name == "parts_upload"] == []


async def test_uploads_that_wait_are_shown_and_can_be_cancelled_and_others_do_not_wait_for_them(
    tmp_path: Path, samples: Samples
) -> None:
    settings, gate = Settings(port=0, dev=True, jwt_secret=SECRET, drain_seconds=1), Gate()
    web = WebApp(settings, tmp_path, samples, page=tmp_path / "none", pause=gate)
    async with AsyncExitStack() as stack:
        app = Gateway(web.node, await stack.enter_async_context(web.running()))
        device, other = [await stack.enter_async_context(app.device(user)) for user in ("ada", "bob")]
        await stack.enter_async_context(asyncio.timeout(100))
        for upload_id in ("u-1", "u-2", "u-3"):
            await ask(app, "PUT", f"/demo/uploads/{upload_id}/files/1?name={upload_id}.csv", PARTS)
            assert (await ask(app, "POST", f"/demo/uploads/{upload_id}", {"kind": "parts", "paced": True}))[0] == 202
        status = await until_status(device, {"u-1": "running", "u-2": "running", "u-3": "queued"})
        # Another user's list has its place at once.
        await ask(app, "PUT", "/demo/uploads/u-4/files/1?name=u-4.csv", PARTS, user="bob")
        await ask(app, "POST", "/demo/uploads/u-4", {"kind": "parts"}, user="bob")
        await until_status(other, {"u-4": "complete"})
        await device.send(json.dumps({"type": "cancel", "uploadId": "u-3"}))
        await until_status(device, {"u-3": "cancelled"}, status)
        # It has ended: its files are gone, and it can be sent anew.
        assert await ask(app, "POST", "/demo/uploads/u-3", {"kind": "parts"}) == (
            400,
            {"code": "NOTHING_TO_START", "message": "The upload has 0 files; allowed: one parts list"},
        )
        await ask(app, "PUT", "/demo/uploads/u-3/files/1?name=u-3.csv", PARTS)
        assert (await ask(app, "POST", "/demo/uploads/u-3", {"kind": "parts"}))[0] == 202
        # One of another producer is none of these.
        await app.node.broadcaster.broadcast_to_user("ada", create_upload_progress_message("Other/1", "x", 0, "…"))
        await device.send(json.dumps({"type": "cancel", "uploadId": "Other/1"}))
        await until_status(device, {"Other/1": "cancelled", "u-3": "queued"}, {"u-3": "queued"})
        gate.open()
        await until_status(device, {"u-1": "complete", "u-2": "complete", "u-3": "complete"})


async def until_status(
    device: ClientConnection, wanted: dict[str, str], known: dict[str, str] | None = None
) -> dict[str, str]:
    """Receive until uploads have these statuses, and return those of all."""
    status = dict(known or {})
    while not wanted.items() <= status.items():
        message = json.loads(await device.recv())
        if message["type"] == "upload_progress":
            status[message["data"]["uploadId"]] = message["data"].get("status", "running")
    return status


async def test_who_waits_for_an_upload_is_told_that_the_server_stopped(tmp_path: Path, samples: Samples) -> None:
    carrier = MemoryCarrier()
    uploads = Uploads(tmp_path, Broadcaster(carrier), pause=asyncio.Event().wait)
    uploads.start_samples("ada", samples, is_paced=True)
    async with asyncio.timeout(100):
        # Each has waited, has begun, and is now at its first rest.
        while len(carrier.sent) < 6:
            await asyncio.sleep(0.01)
    await uploads.close()
    codes = [message["data"].get("code") for message in carrier.sent_to("ada")]
    assert codes.count("UPLOAD_INTERRUPTED") == 2


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/demo/uploads/u-1/thumbnails"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "parts.example:80"},
        {"Host": "a{b.evil.test"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_other_names_and_other_sites_pages_are_refused(app: Gateway, path: str, headers: dict[str, str]) -> None:
    status, answer = await ask(app, "GET", path, **headers)
    assert (status, answer["code"]) == (403, "NOT_FROM_HERE")
    status, answer = await ask(app, "POST", "/demo/token", {"name": "ada"}, None, **headers)
    assert (status, answer["code"]) == (403, "NOT_FROM_HERE")


@pytest.mark.parametrize("name", ["x" * 300, "%00", "..%2Findex.html", "no-such-file.js"])
async def test_a_file_of_the_page_that_cannot_be_is_not_found(app: Gateway, name: str) -> None:
    assert (await ask(app, "GET", f"/assets/{name}"))[0] == 404


async def test_its_own_page_may_ask(app: Gateway) -> None:
    assert (await ask(app, "GET", "/demo/uploads/u-1/thumbnails", Origin=app.url))[0] == 200


async def test_without_a_good_token_nothing_is_had(app: Gateway) -> None:
    thumbnails = ("GET", "/demo/uploads/u-1/thumbnails")
    for method, path in [thumbnails, ("POST", "/demo/samples"), ("PUT", "/demo/uploads/u/files/1")]:
        status, answer = await ask(app, method, path, user=None)
        assert (status, answer["code"]) == (401, "TOKEN_MISSING")
        status, answer = await ask(app, method, path, user=None, Authorization="Bearer nonsense")
        assert (status, answer["code"]) == (401, "TOKEN_INVALID")


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/demo/token", {"name": "  "}, "name: got ''; allowed: 1 to 64 characters"),
        ("POST", "/demo/token", {"name": "x" * 65}, "allowed: 1 to 64 characters"),
        ("POST", "/demo/token", b"{", "body: got '{'; allowed: JSON"),
        ("POST", "/demo/uploads/U_1", {}, "upload id: got 'U_1'; allowed: 1 to 64 of a-z, 0-9 and -"),
        ("POST", "/demo/uploads/u-1", {"kind": "songs"}, "body: got"),
        ("POST", "/demo/uploads/u-1", {"kind": "parts"}, "The upload has 0 files; allowed: one parts list"),
        ("POST", "/demo/uploads/u-1", {"kind": "images"}, "The upload has 0 files; allowed: 1 to 200 images"),
        ("PUT", "/demo/uploads/u-1/files/1", b"x", "name: got ''"),
        ("PUT", "/demo/uploads/u-1/files/1?name=..", b"x", "name: got '..'"),
        ("PUT", "/demo/uploads/u-1/files/1?name=a%2Fb.csv", b"x", "The name 'a/b.csv' is a path"),
        ("PUT", "/demo/uploads/u-1/files/1?name=a%0Ab.csv", b"x", "The name 'a\\nb.csv' has a control character"),
        ("PUT", "/demo/uploads/u-1/files/1?name=a%E2%80%A8b.csv", b"x", "has a control character"),
        (
            "PUT",
            f"/demo/uploads/u-1/files/1?name={'%C3%A4' * 126}.csv",
            b"x",
            "is too long: got 256 bytes; allowed: at",
        ),
        (
            "PUT",
            "/demo/uploads/u-1/files/201?name=a.csv",
            b"x",
            "number: got 201; allowed: 1 to 200, the most files of an upload",
        ),
        ("PUT", f"/demo/uploads/u-1/files/{'9' * 5000}?name=a.csv", b"x", "number: got '999"),
        ("PUT", "/demo/uploads/u-1/files/%C2%B2?name=a.csv", b"x", "number: got '²'"),
        ("GET", "/demo/uploads/u-1/parts?offset=-1", None, "offset: got '-1'; allowed: a whole number from 0 to "),
        ("GET", "/demo/uploads/u-1/parts?offset=", None, "offset: got ''"),
        (
            "GET",
            "/demo/uploads/u-1/parts?limit=1001",
            None,
            "limit: got '1001'; allowed: a whole number from 0",
        ),
        ("GET", f"/demo/uploads/u-1/parts?limit={'9' * 5000}", None, "limit: got '999"),
    ],
)
async def test_what_cannot_be_is_refused_with_a_reason(
    app: Gateway, method: str, path: str, body: Any, words: str
) -> None:
    status, answer = await ask(app, method, path, body)
    assert status == 400
    assert words in answer["message"]


@pytest.mark.parametrize("headers", [{}, {"Transfer-Encoding": "chunked"}])
async def test_a_file_that_is_too_big_is_refused_and_does_not_stay(
    app: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr("examples.parts_upload.upload_folder.MAX_FILE_BYTES", 10)
    status, answer = await ask(app, "PUT", "/demo/uploads/u-1/files/1?name=a.csv", b"x" * 11, **headers)
    assert (status, answer["code"]) == (413, "FILE_TOO_BIG")
    assert answer["message"] == "The file 'a.csv' is too big: got 11 bytes; allowed: at most 10 bytes"
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("headers", [{"Content-Type": "multipart/form-data; boundary=x"}, {"Content-Encoding": "gzip"}])
async def test_a_body_that_is_not_the_file_itself_is_refused(
    app: Gateway, tmp_path: Path, headers: dict[str, str]
) -> None:
    status, answer = await ask(app, "PUT", "/demo/uploads/u-1/files/1?name=a.csv", PARTS, **headers)
    assert (status, answer["code"]) == (415, "NOT_THE_FILE_ITSELF")
    assert "allowed: the bytes of the file itself" in answer["message"]
    assert files_in(tmp_path) == []


async def test_a_file_of_which_less_arrives_than_announced_does_not_stay(app: Gateway, tmp_path: Path) -> None:
    host, port = app.node.address
    _, writer = await asyncio.open_connection(host, port)
    writer.write(
        b"PUT /demo/uploads/u-1/files/1?name=a.csv HTTP/1.1\r\nContent-Length: 1000\r\n"
        + f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {app.token('ada')}\r\n\r\nPart;Qty\n".encode()
    )
    async with asyncio.timeout(100):
        while not files_in(tmp_path):
            await asyncio.sleep(0.01)
        writer.close()
        while files_in(tmp_path):
            await asyncio.sleep(0.01)
    assert (await ask(app, "POST", "/demo/uploads/u-1", {"kind": "parts"}))[0] == 400


def files_in(folder: Path) -> list[str]:
    return [file.name for file in (folder / "root").rglob("*") if file.is_file()]


# --- files stay as they are -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Screenshot 2026-01-02 at 9.41.00\u202fAM.csv",
        "Prix\u00a0: 5\u00a0€.csv",
        "部品\u3000一覧.csv",
        "\U0001f469\u200d\U0001f469\u200d\U0001f467.csv",
        "Stückliste.csv",
        "Stu\u0308ckliste.csv",
        ".csv",
        "a\\b.csv",
    ],
)
async def test_names_of_files_are_shown_as_they_are(app: Gateway, name: str) -> None:
    async with app.device("ada") as device:
        assert (await ask(app, "PUT", f"/demo/uploads/u-1/files/1?name={quote(name)}", PARTS))[0] == 201
        assert (await ask(app, "POST", "/demo/uploads/u-1", {"kind": "parts"}))[0] == 202
        assert last_states(await received_messages(device))[name]["status"] == "complete"


async def test_a_file_with_the_number_of_another_takes_its_place(app: Gateway, tmp_path: Path) -> None:
    for name in ("wrong.csv", "right.csv"):
        assert (await ask(app, "PUT", f"/demo/uploads/u-1/files/1?name={name}", PARTS))[0] == 201
    assert files_in(tmp_path) == ["right.csv"]


async def test_an_upload_is_deleted_with_all_of_it(app: Gateway, tmp_path: Path) -> None:
    await ask(app, "PUT", "/demo/uploads/u-1/files/1?name=a.csv", PARTS)
    assert (await ask(app, "DELETE", "/demo/uploads/u-1", user="bob"))[0] == 404
    assert (await ask(app, "DELETE", "/demo/uploads/u-1"))[0] == 204
    assert files_in(tmp_path) == []
    status, answer = await ask(app, "DELETE", "/demo/uploads/u-1")
    assert (status, answer["message"]) == (404, "There is no upload 'u-1'")


async def test_the_limits_can_be_had_before_sending(app: Gateway) -> None:
    limits = {"maxFiles": 200, "maxFileBytes": 64 * 1024 * 1024, "maxImageBytes": 20 * 1024 * 1024}
    assert await ask(app, "GET", "/demo/limits", user=None) == (200, limits)


async def test_while_an_upload_runs_its_files_stay_as_they_are(tmp_path: Path, samples: Samples) -> None:
    settings, gate = Settings(port=0, dev=True, jwt_secret=SECRET, drain_seconds=1), Gate()
    web = WebApp(settings, tmp_path / "root", samples, page=tmp_path / "none", pause=gate)
    async with web.running() as url, Gateway(web.node, url).device("ada") as device:
        app = Gateway(web.node, url)
        await ask(app, "PUT", "/demo/uploads/u-1/files/1?name=a.csv", PARTS)
        begin = ("POST", "/demo/uploads/u-1", {"kind": "parts", "paced": True})
        assert (await ask(app, *begin))[0] == 202
        for request in (
            begin,
            ("PUT", "/demo/uploads/u-1/files/1?name=a.csv", b"other"),
            ("PUT", "/demo/uploads/u-1/files/2?name=b.csv", b"other"),
            ("DELETE", "/demo/uploads/u-1"),
        ):
            status, answer = await ask(app, *request)
            assert (status, answer["code"]) == (409, "UPLOAD_RUNNING")
        assert web.uploads.folder("ada", "u-1").all_files()[0].read_bytes() == PARTS
        # Not even long after.
        web.uploads.remove_abandoned(time.time() + 2 * ABANDONED_SECONDS)
        gate.open()
        assert last_states(await received_messages(device))["a.csv"]["status"] == "complete"


async def test_two_files_that_arrive_at_once_do_not_mix_and_one_that_is_cut_short_changes_nothing(
    tmp_path: Path,
) -> None:
    uploads = Uploads(tmp_path / "root", Broadcaster(MemoryCarrier()), pause=asyncio.Event().wait)
    go_on = asyncio.Event()

    async def slow(*chunks: bytes) -> AsyncIterator[bytes]:
        yield chunks[0]
        await go_on.wait()
        for chunk in chunks[1:]:
            yield chunk

    async def cut_short() -> AsyncIterator[bytes]:
        yield b"C"
        raise ConnectionError

    first = asyncio.create_task(uploads.put("ada", "u-1", 1, "a.csv", slow(b"A", b"A")))
    await asyncio.sleep(0)
    go_on.set()
    await uploads.put("ada", "u-1", 1, "a.csv", slow(b"B", b"B"))
    await first
    [file] = uploads.folder("ada", "u-1").all_files()
    content = file.read_bytes()
    assert content in (b"AA", b"BB")
    with pytest.raises(ConnectionError):
        await uploads.put("ada", "u-1", 1, "a.csv", cut_short())
    assert file.read_bytes() == content
    assert files_in(tmp_path) == ["a.csv"]


async def test_files_that_no_upload_was_started_with_are_removed_after_a_time(app: Gateway, tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "root", Broadcaster(MemoryCarrier()), pause=asyncio.Event().wait)
    await ask(app, "PUT", "/demo/uploads/u-1/files/1?name=a.csv", PARTS)
    uploads.remove_abandoned(time.time() + ABANDONED_SECONDS / 2)
    assert files_in(tmp_path) == ["a.csv"]
    uploads.remove_abandoned(time.time() + 2 * ABANDONED_SECONDS)
    assert files_in(tmp_path) == []


async def test_thumbnails_of_an_earlier_run_are_gone(app: Gateway, samples: Samples) -> None:
    async with app.device("ada") as device:
        for images in (samples.images[:3], samples.images[:1]):
            for number, image in enumerate(images, 1):
                path = f"/demo/uploads/u-1/files/{number}?name={image.name}"
                # The notification comes a moment before the end of the run.
                while (await ask(app, "PUT", path, image.read_bytes()))[0] == 409:
                    await asyncio.sleep(0.01)
            assert (await ask(app, "POST", "/demo/uploads/u-1", {"kind": "images"}))[0] == 202
            await received_messages(device)
    assert await ask(app, "GET", "/demo/uploads/u-1/thumbnails") == (200, {"thumbnails": numbered(samples.images[:1])})


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"dev": False, "api_key": API_KEY}, {"dev": True, "jwks": "{}"}])
def test_only_a_gateway_in_development_mode_signs_anybody_in(
    tmp_path: Path, samples: Samples, settings: dict[str, Any]
) -> None:
    secret = None if "jwks" in settings else SECRET
    with pytest.raises(ConfigError, match="development mode"):
        WebApp(Settings(port=0, jwt_secret=secret, **settings), tmp_path, samples)


# --- the page ---------------------------------------------------------------------------------------------------------


async def test_the_page_and_its_assets_are_served(app: Gateway) -> None:
    status, body, headers = await call(app, "GET", "/", key=None)
    assert (status, body[:9]) == (200, b"<!doctype")
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-cache"
    status, body, headers = await call(app, "GET", "/assets/app-1.js", key=None)
    assert (status, body) == (200, b"run()")
    assert "immutable" in headers["cache-control"]


async def test_a_page_that_was_not_built_is_a_404_that_says_so(tmp_path: Path, samples: Samples) -> None:
    web = WebApp(Settings(port=0, dev=True, jwt_secret=SECRET), tmp_path, samples, page=tmp_path / "none")
    async with web.running() as url:
        app = Gateway(web.node, url)
        status, answer = await ask(app, "GET", "/", user=None)
        assert (status, "is not built" in answer["message"]) == (404, True)
        assert (await ask(app, "GET", "/assets/app.js", user=None))[0] == 404
