"""The script of the custom elements, as the gateway serves it."""

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from tellwire.gateway.client_script import script_routes

TEXT = b"customElements.define('tellwire-bell', class extends HTMLElement {});\n" * 20


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Script:
    """The endpoints of the script in a file."""

    def __init__(self, file: Path) -> None:
        self._application = Starlette(routes=script_routes(file))

    async def get(self, path: str, **headers: str) -> Answer:
        sent: list[Any] = []

        async def send(event: Any) -> None:
            sent.append(event)

        async def receive() -> Any:
            return {"type": "http.request"}

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": raw}
        await self._application(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(event.get("body", b"") for event in sent[1:]))


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """The endpoints, where the script was built."""
    file = tmp_path / "tellwire.js"
    file.write_bytes(TEXT)
    return Script(file)


async def test_the_address_names_the_version_and_the_hash_of_the_script(script: Script) -> None:
    address = (await script.get("/client")).json
    answer = await script.get(address["src"])
    assert (answer.status, answer.body) == (200, TEXT)
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert address["integrity"] == "sha384-" + base64.b64encode(hashlib.sha384(TEXT).digest()).decode()


async def test_caches_ask_for_the_newest_each_time(script: Script) -> None:
    answer = await script.get("/client/tellwire.js")
    assert (answer.body, answer.headers["cache-control"]) == (TEXT, "no-cache")
    again = await script.get("/client/tellwire.js", if_none_match=answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")


async def test_it_is_sent_compressed_to_those_who_take_that(script: Script) -> None:
    answer = await script.get("/client/tellwire.js", accept_encoding="br, gzip")
    assert (answer.headers["content-encoding"], gzip.decompress(answer.body)) == ("gzip", TEXT)
    assert "content-encoding" not in (await script.get("/client/tellwire.js")).headers


async def test_pages_of_other_origins_may_load_it(script: Script) -> None:
    headers = (await script.get("/client/tellwire.js")).headers
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["x-content-type-options"] == "nosniff"


async def test_an_older_version_is_not_answered_with_a_newer_script(script: Script) -> None:
    answer = await script.get("/client/tellwire-0123456789ab.js")
    assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")
    assert "This gateway has version " in answer.json["message"]


async def test_where_it_was_not_built_the_answer_says_how(tmp_path: Path) -> None:
    script = Script(tmp_path / "none.js")
    for path in ("/client", "/client/tellwire.js", "/client/tellwire-0123456789ab.js"):
        answer = await script.get(path)
        assert answer.status == 404
        assert "`make script` builds it" in answer.json["message"]
