"""A FastAPI program on one port: a login by session, a CSV to import, and its progress on every device of the user.

`uvicorn examples.fastapi_upload.app:app` runs it. The README beside it says more.
"""

import asyncio
import csv
import os
import secrets
import time
from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from starlette.middleware.sessions import SessionMiddleware

from tellwire import HandshakeRequest, Settings, create_notification_message, tellwire_app, track_upload

MAX_BYTES = 5_000_000
PACE_SECONDS = 0.01  # so that there is something to look at


def user_of_session(request: HandshakeRequest) -> str | None:
    """Return the user of a connection, whom the session middleware knows."""
    return None if request.scope is None else request.scope["session"].get("user")


live = tellwire_app(Settings(engine="memory", drain_seconds=2), identify=user_of_session)
app = FastAPI(title="Imports", lifespan=live.lifespan)
app.add_middleware(SessionMiddleware, secret_key=os.environ.get("SESSION_SECRET") or secrets.token_hex(32))
app.mount("/live", live)


def current_user(request: Request) -> str:
    """Return the user who is signed in."""
    if user := request.session.get("user"):
        return str(user)
    raise HTTPException(401, "Sign in first")


User = Annotated[str, Depends(current_user)]


@app.get("/", include_in_schema=False)
def page() -> FileResponse:
    return FileResponse(Path(__file__).with_name("page.html"))


@app.get("/page.js", include_in_schema=False)
def script() -> FileResponse:
    return FileResponse(Path(__file__).with_name("page.js"))


@app.post("/login/{user}", status_code=204)
def login(request: Request, user: str) -> None:
    """Sign in: here your program looks at a password."""
    request.session["user"] = user


@app.post("/imports", status_code=202)
async def start(request: Request, user: User, tasks: BackgroundTasks, name: str = "parts.csv") -> dict[str, str]:
    """Take a CSV as the body of the request, and import it in the background."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(413, f"The file is over {MAX_BYTES:,} bytes")
    upload_id = f"import-{time.time_ns()}"
    tasks.add_task(import_parts, user, upload_id, name, body.decode("utf-8-sig", "replace"))
    return {"uploadId": upload_id}


async def import_parts(user: str, upload_id: str, name: str, text: str) -> None:
    """Import the rows of a CSV, and show each step to the user."""
    rows = list(csv.reader(text.splitlines()))[1:]
    async with track_upload(user, upload_id, name, total_rows=len(rows), broadcaster=live.broadcaster) as upload:
        number = 1
        async for row in upload.count(rows):
            number += 1
            if len(row) < 2 or not row[0].strip():
                upload.row_error(number, "NO_NUMBER", "This row has no part number")
            await asyncio.sleep(PACE_SECONDS)  # here your program stores the part
    done = create_notification_message("Import complete", f"{len(rows):,} rows of {name}", "success")
    await live.broadcaster.broadcast_to_user(user, done)
