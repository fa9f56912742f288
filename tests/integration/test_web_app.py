"""The server side of the page: sign-in, uploads, the workers' messages, and refusals."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from examples.parts_upload.make_samples import Samples, make_samples
from examples.parts_upload.web_app import WebApp
from examples.parts_upload.web_uploads import Uploads
from tellwire import Broadcaster
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


async def test_images_become_thumbnails_that_their_user_alone_can_see(app: Gateway, samples: Samples) -> None:
    async with app.device("ada") as device:
        for number, image in enumerate(samples.images[:2], 1):
            path = f"/demo/uploads/u-2/files/{number}?name={image.name}"
            assert (await ask(app, "PUT", path, image.read_bytes()))[0] == 201
        await ask(app, "POST", "/demo/uploads/u-2", {"kind": "images"})
        messages = await received_messages(device)
    assert last_states(messages)["2 images"]["status"] == "complete"
    assert await ask(app, "GET", "/demo/uploads/u-2/thumbnails") == (200, {"thumbnails": ["1", "2"]})
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
        gate.open()
        # Its turn comes, and its worker stops at once.
        words = ""
        while words != "Cancelled after 2 rows. Nothing of it was kept.":
            message = json.loads(await device.recv())
            if message["data"].get("uploadId") == "u-3":
                assert message["data"]["status"] == "cancelled"
                words = message["data"]["message"]


async def until_status(
    device: ClientConnection, wanted: dict[str, str], known: dict[str, str] | None = None
) -> dict[str, str]:
    """Receive until uploads have these statuses, and return those of all."""
    status = dict(known or {})
    while not wanted.items() <= status.items():
        message = json.loads(await device.recv())
        if message["type"] == "upload_progress":
            status[message["data"]["uploadId"]] = message["data"]["status"]
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
        ("POST", "/demo/token", b"{", "body: got b'{'; allowed: JSON"),
        ("POST", "/demo/uploads/U_1", {}, "upload id: got 'U_1'; allowed: 1 to 64 of a-z, 0-9 and -"),
        ("POST", "/demo/uploads/u-1", {"kind": "songs"}, "body: got"),
        ("POST", "/demo/uploads/u-1", {"kind": "parts"}, "files: got 0; allowed: one parts list"),
        ("POST", "/demo/uploads/u-1", {"kind": "images"}, "files: got 0; allowed: at least one image"),
        ("PUT", "/demo/uploads/u-1/files/1", b"x", "name: got ''"),
        ("PUT", "/demo/uploads/u-1/files/1?name=..", b"x", "name: got '..'"),
        ("PUT", "/demo/uploads/u-1/files/1?name=a%2Fb.csv", b"x", "name: got 'a/b.csv'"),
        ("PUT", "/demo/uploads/u-1/files/201?name=a.csv", b"x", "number: got 201; allowed: a number from 1 to 200"),
        ("PUT", f"/demo/uploads/u-1/files/{'9' * 5000}?name=a.csv", b"x", "number: got '999"),
        ("PUT", "/demo/uploads/u-1/files/%C2%B2?name=a.csv", b"x", "number: got '²'"),
    ],
)
async def test_what_cannot_be_is_refused_with_a_reason(
    app: Gateway, method: str, path: str, body: Any, words: str
) -> None:
    status, answer = await ask(app, method, path, body)
    assert status == 400
    assert words in answer["message"]


async def test_a_file_that_is_too_big_is_refused_and_does_not_stay(
    app: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.parts_upload.web_uploads.MAX_FILE_BYTES", 10)
    status, answer = await ask(app, "PUT", "/demo/uploads/u-1/files/1?name=a.csv", b"x" * 11)
    assert (status, answer["code"]) == (413, "MESSAGE_TOO_BIG")
    assert not [file for file in (tmp_path / "root").rglob("*") if file.is_file()]


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
