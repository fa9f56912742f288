"""The program of docs/how-to/flask.md: its token endpoint, and a job that it starts."""

import re
from pathlib import Path
from typing import Any

import jwt
import pytest

from tellwire.broadcast import Broadcaster, use_broadcaster
from tellwire.testing import MemoryCarrier
from tests.conftest import SECRET
from tests.tools import until

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "flask.md").read_text()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TELLWIRE_JWT_SECRET", SECRET)
    names: dict[str, Any] = {"__name__": "program"}
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(snippet, names)
    return names["app"].test_client()


def test_the_user_of_the_session_gets_a_token(client: Any) -> None:
    assert client.get("/token").status_code == 401
    with client.session_transaction() as session:
        session["user"] = "ada"
    answer = client.get("/token")
    assert jwt.decode(answer.json["token"], SECRET, algorithms=["HS256"])["sub"] == "ada"
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get("/token", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 401


async def test_a_job_is_shown_to_the_user_of_the_session(client: Any) -> None:
    carrier = MemoryCarrier()
    with use_broadcaster(Broadcaster(carrier)):
        assert client.post("/import").status_code == 401
        with client.session_transaction() as session:
            session["user"] = "ada"
        assert client.post("/import").status_code == 202
        await until(lambda: carrier.sent_to("ada")[-1:] and carrier.sent_to("ada")[-1]["type"] == "notification")
    assert [each["data"]["progress"] for each in carrier.sent_to("ada") if each["type"] == "upload_progress"][-1] == 100
