"""The list of rows that an upload left out: handed in by its worker, downloaded by its user."""

import asyncio
import csv
import io
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tellwire import track_upload
from tellwire.limits import DOWNLOADS_PER_USER
from tellwire.row_errors import RowError, RowErrorChunk
from tests.conftest import API_KEY, Gateway, StartGateway
from tests.integration.gateway.test_http_api import call


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {k.lower(): v for k, v in error.headers.items()}


async def download(
    gateway: Gateway, path: str, user: str = "user-1", method: str = "GET", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    given = {"Authorization": f"Bearer {gateway.token(user)}"} | headers
    return await asyncio.to_thread(ask, f"{gateway.url}/v1/uploads/{path}", method, **given)


@pytest.mark.parametrize("name", ["../../a", "..\\a", "\r\nX: y", ".bashrc", "a\u202evsc.exe", 'a"b', "C:a"])
async def test_a_download_gets_a_harmless_name(gateway: Gateway, name: str) -> None:
    chunk = {"userId": "user-1", "uploadId": "u", "fileName": f"{name}.csv", "run": "r", "total": 1, "first": 0}
    assert (await call(gateway, "POST", "/v1/uploads/row-errors", chunk | {"errors": [[1, "A", "b"]]}))[0] == 204
    status, _, headers = await download(gateway, "row-errors?upload=u")
    assert status == 200
    _, _, encoded = headers["content-disposition"].partition("filename*=UTF-8''")
    saved = unquote(encoded)
    assert saved.endswith("-left-out.csv")
    assert not saved.startswith(".")
    assert not set(saved) & set('\r\n/\\:"\u202e')


@pytest.mark.usefixtures("producer")
async def test_a_user_downloads_what_a_job_left_out(gateway: Gateway) -> None:
    async with track_upload("user-1", "moc/1", "Teile ä.csv", 3000) as upload:
        async for row in upload.count(range(3000)):
            if row % 2:
                upload.row_error(row, "BAD", '=cmd|" /C calc"!A0' if row == 1 else "It is bad")
    status, body, headers = await download(gateway, "moc%2F1/row-errors")
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert headers["content-disposition"] == (
        "attachment; filename=\"Teile _-left-out.csv\"; filename*=UTF-8''Teile%20%C3%A4-left-out.csv"
    )
    assert headers["x-total-count"] == "1500"
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    assert [int(row["row"]) for row in rows] == list(range(1, 3000, 2))
    # No spreadsheet takes it for a formula.
    assert rows[0]["message"] == '\'=cmd|" /C calc"!A0'
    status, body, headers = await download(gateway, "moc%2F1/row-errors", Accept="application/x-ndjson")
    assert [json.loads(line)["row"] for line in body.splitlines()] == list(range(1, 3000, 2))


@pytest.mark.usefixtures("producer")
async def test_a_list_is_only_for_its_user(gateway: Gateway) -> None:
    async with track_upload("user-1", "u1", "f.csv") as upload:
        upload.row_error(1, "BAD", "It is bad")
    status, body, _ = await download(gateway, "u1/row-errors", user="user-2")
    assert (status, json.loads(body)["code"]) == (404, "ROW_ERRORS_UNKNOWN")
    status, body, _ = await download(gateway, "u1/row-errors", Authorization="")
    assert (status, json.loads(body)["code"]) == (401, "TOKEN_MISSING")
    status, body, _ = await download(gateway, "u1/row-errors", Authorization="Bearer nonsense")
    assert (status, json.loads(body)["code"]) == (401, "TOKEN_INVALID")
    # Whose it is only those may say who have the key.
    status, _, _ = await download(gateway, "u1/row-errors?user=user-1", user="user-2")
    assert status == 401
    status, body, _ = await download(gateway, "u1/row-errors?user=user-1", Authorization=f"Bearer {API_KEY}")
    assert (status, body) == (200, b'row,code,message\r\n1,"BAD","It is bad"\r\n')


async def test_pages_of_allowed_origins_may_ask(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(allowed_origins=("https://app.example",))
    for origin, allowed in (("https://app.example", "https://app.example"), ("https://evil.example", None)):
        _, _, headers = await download(gateway, "u1/row-errors", Origin=origin)
        assert headers.get("access-control-allow-origin") == allowed
        status, _, headers = await download(gateway, "u1/row-errors", method="OPTIONS", Origin=origin)
        assert (status, headers.get("access-control-allow-origin")) == (204, allowed)
    assert headers["access-control-allow-headers"] == "authorization, accept"


@pytest.mark.usefixtures("producer")
async def test_a_run_that_leaves_out_nothing_has_no_list_and_ends_the_one_before(gateway: Gateway) -> None:
    async with track_upload("user-1", "u1", "f.csv") as upload:
        upload.row_error(1, "BAD", "It is bad")
    async with track_upload("user-1", "u1", "f.csv"):
        status, body, _ = await download(gateway, "u1/row-errors")
    assert (status, json.loads(body)["code"]) == (404, "ROW_ERRORS_UNKNOWN")


async def test_the_last_line_counts_what_is_not_in_the_list(gateway: Gateway) -> None:
    chunk = CHUNK | {"total": 123_457, "errors": [[1, "BAD", "It is bad"]]}
    assert (await call(gateway, "POST", "/v1/uploads/row-errors", chunk))[0] == 204
    _, body, headers = await download(gateway, "u1/row-errors")
    assert body.splitlines()[1:] == [
        b'1,"BAD","It is bad"',
        b',"MORE","123,456 more were left out that are not in this list"',
    ]
    assert headers["x-total-count"] == "123457"
    _, body, _ = await download(gateway, "u1/row-errors", Accept="application/x-ndjson")
    assert [json.loads(line) for line in body.splitlines()] == [
        {"row": 1, "code": "BAD", "message": "It is bad"},
        {"more": 123_456},
    ]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n"])
async def test_no_spreadsheet_takes_a_cell_for_a_formula(gateway: Gateway, begin: str) -> None:
    chunk = CHUNK | {"total": 1, "errors": [[1, f"{begin}A", f'{begin}1,"2"']]}
    await call(gateway, "POST", "/v1/uploads/row-errors", chunk)
    _, body, _ = await download(gateway, "u1/row-errors")
    [row] = csv.DictReader(io.StringIO(body.decode(), newline=""))
    assert (row["code"], row["message"]) == (f"'{begin}A", f'\'{begin}1,"2"')


async def test_a_program_that_serves_and_publishes_has_lists_too(gateway: Gateway) -> None:
    async with track_upload("user-1", "u1", "f.csv", broadcaster=gateway.node.broadcaster) as upload:
        upload.row_error(1, "BAD", "It is bad")
    store = gateway.node.engine.row_errors
    assert store is not None
    found = await store.row_error_list("user-1", "u1")
    assert found is not None
    assert (found.file_name, found.total, found.kept) == ("f.csv", 1, 1)


CHUNK: dict[str, Any] = {
    "userId": "user-1",
    "uploadId": "u1",
    "fileName": "f",
    "run": "first",
    "total": 0,
    "first": 0,
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"first": -1}, "first: got -1; allowed: a whole number from 0 to 9,007,199,254,740,991"),
        ({"total": 2**63}, "total: got 9223372036854775808; allowed: "),
        ({"userId": ""}, "userId: got ''; allowed: a non-empty string"),
        ({"run": ""}, "run: got ''; allowed: a non-empty string"),
        ({"run": "x" * 201}, "allowed: at most 200 bytes in UTF-8"),
        ({"run": "\ud800"}, ""),
        ({"part": "9/8"}, "part: got '9/8'"),
        ({"startedAt": "9999-99-99T99:99:99.999Z"}, "startedAt"),
        ({"errors": [[-1, "A", ""]]}, "errors.row: got -1"),
        ({"errors": [[1, "", ""]]}, "errors.code: got ''"),
        ({"errors": [[1, "A", "m" * 201]]}, "allowed: texts of at most 200 characters"),
        ({"errors": [[1, "A"]]}, "errors"),
        ({"userId": 5}, "userId"),
        ({"more": 1}, "more"),
    ],
)
async def test_an_invalid_chunk_is_refused_with_the_reason(gateway: Gateway, change: dict[str, Any], says: str) -> None:
    status, answer, _ = await call(gateway, "POST", "/v1/uploads/row-errors", CHUNK | {"errors": []} | change)
    assert (status, answer["code"]) == (400, "INVALID_MESSAGE")
    assert says in answer["message"]


async def test_row_errors_are_accepted_with_the_api_key_only(gateway: Gateway) -> None:
    status, _, _ = await call(gateway, "POST", "/v1/uploads/row-errors", CHUNK | {"errors": []}, key=None)
    assert status == 401


# --- runs -------------------------------------------------------------------------------------------------------------


def state(run: str | None, progress: float) -> dict[str, Any]:
    data = {"uploadId": "u1", "fileName": "f.csv", "progress": progress, "message": ""}
    data |= {} if run is None else {"run": run}
    return {"target": {"user": "user-1"}, "message": {"type": "upload_progress", "data": data}}


@pytest.mark.parametrize("strange", ["9999-99-99T99:99:99.999Z", "2999-01-01T00:00:00.000Z", "\x00", "'; --"])
@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_a_run_may_have_any_name_and_holds_up_no_other_one(
    start_gateway: StartGateway, tmp_path: Path, engine: str, strange: str
) -> None:
    gateway = await start_gateway(engine=engine, database=str(tmp_path / "h.sqlite3"))
    for number, run in enumerate((strange, "the real one")):
        chunk = CHUNK | {"run": run, "total": 1, "errors": [[number, "BAD", "It is bad"]]}
        assert (await call(gateway, "POST", "/v1/publish", state(run, 50)))[0] == 200
        assert (await call(gateway, "POST", "/v1/uploads/row-errors", chunk))[0] == 204
        status, body, _ = await download(gateway, "u1/row-errors")
        assert (status, body.splitlines()[1:]) == (200, [b'%d,"BAD","It is bad"' % number])


async def test_the_list_is_that_of_the_run_that_the_user_sees(gateway: Gateway) -> None:
    for run in ("first", "second", "first"):
        chunk = CHUNK | {"run": run, "total": 1, "errors": [[1, "BAD", run]]}
        await call(gateway, "POST", "/v1/uploads/row-errors", chunk)
    _, body, _ = await download(gateway, "u1/row-errors")
    assert b"second" in body
    await call(gateway, "POST", "/v1/publish", state("first", 50))
    _, body, _ = await download(gateway, "u1/row-errors")
    assert b"first" in body


# --- many downloads ---------------------------------------------------------------------------------------------------


async def fill(gateway: Gateway, rows: int) -> None:
    store = gateway.node.engine.row_errors
    assert store is not None
    errors = [RowError(row, "BAD", "x" * 150) for row in range(rows)]
    await store.add_row_errors(RowErrorChunk("user-1", "u1", "f.csv", "first", rows, 0, errors))


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_a_user_may_download_a_few_lists_at_once(
    start_gateway: StartGateway, tmp_path: Path, engine: str
) -> None:
    gateway = await start_gateway(engine=engine, database=str(tmp_path / "h.sqlite3"))
    await fill(gateway, 100_000)
    host, port = gateway.node.address
    request = f"GET /v1/uploads/u1/row-errors HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.token()}\r\n\r\n"
    slow = []
    for _ in range(DOWNLOADS_PER_USER):
        reader, writer = await asyncio.open_connection(host, port, limit=1000)
        writer.write(request.encode())
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        slow.append(writer)
    status, body, headers = await download(gateway, "u1/row-errors")
    assert (status, json.loads(body)["code"], headers["retry-after"]) == (429, "TOO_MANY_DOWNLOADS", "5")
    # Another user has nothing to do with it.
    assert (await download(gateway, "u1/row-errors", user="user-2"))[0] == 404
    slow.pop().transport.abort()
    async with asyncio.timeout(60):
        while (answer := await download(gateway, "u1/row-errors"))[0] == 429:
            await asyncio.sleep(0.05)
    assert len(answer[1].splitlines()) == 100_001
    for writer in slow:
        writer.transport.abort()


async def test_publications_do_not_wait_for_row_errors(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = await start_gateway(engine="sqlite", database=str(tmp_path / "h.sqlite3"))
    await fill(gateway, 10)
    may_go_on = threading.Event()
    store = gateway.node.engine.row_errors
    blocked = asyncio.ensure_future(store.database.run(lambda _: may_go_on.wait(45)))
    reading = asyncio.create_task(download(gateway, "u1/row-errors"))
    assert (await call(gateway, "POST", "/v1/publish", state("first", 50)))[0] == 200
    assert not reading.done()
    may_go_on.set()
    await blocked
    assert (await reading)[0] == 200
