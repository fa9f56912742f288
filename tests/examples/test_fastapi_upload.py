"""The FastAPI example, as `make demo-fastapi ONCE=1` runs it, and its login."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from starlette.websockets import WebSocketDisconnect

from examples.fastapi_upload.app import app

with warnings.catch_warnings():
    # It prefers another HTTP client than the one that is here.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

REPOSITORY = Path(__file__).parents[2]


def test_the_demo_imports_a_file_and_ends() -> None:
    command = [sys.executable, "-m", "examples.fastapi_upload.demo", "--once"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 %" in done.stdout
    assert "Import complete: 40 rows of plates.csv" in done.stdout


def test_without_a_login_there_is_no_import_and_no_connection() -> None:
    with TestClient(app) as client:
        assert client.post("/imports", content=b"part,name\n").status_code == 401
        with (
            client.websocket_connect("/live/", subprotocols=["tellwire.v1"]) as socket,
            pytest.raises(WebSocketDisconnect) as closed,
        ):
            socket.receive_json()
        assert closed.value.reason.startswith("NOT_SIGNED_IN")
        assert client.get("/openapi.json").json()["info"]["title"] == "Imports"
        assert "tellwire-uploads" in client.get("/").text


def test_a_file_that_is_too_big_is_refused() -> None:
    with TestClient(app) as client:
        client.post("/login/ada")
        assert client.post("/imports", content=b"x" * 5_000_001).status_code == 413
