"""A Flask page with live uploads: one script tag and two elements. The README beside it says how to run it."""

import time
from threading import Thread

from flask import Flask, jsonify, redirect
from werkzeug.wrappers import Response

from tellwire.auth import development_secret, mint_token
from tellwire.sync import create_notification_message, track_upload, try_broadcast_to_user

GATEWAY, USER = "http://127.0.0.1:8787", "ada"  # the user that your session has
PAGE = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Imports</title>
<script type="module" src="{gateway}/client/tellwire.js"></script>
<h1>Imports <tellwire-bell></tellwire-bell></h1>
<form method="post" action="/import"><button>Import a parts list</button></form>
<tellwire-uploads token-url="/token"></tellwire-uploads></html>"""
app = Flask(__name__)


@app.get("/")
def page() -> str:
    return PAGE.format(gateway=GATEWAY)


@app.get("/token")
def token() -> Response:
    return jsonify(token=mint_token(development_secret(), USER))


@app.post("/import")
def start() -> Response:
    Thread(target=work).start()
    return redirect("/")


def work() -> None:
    with track_upload(USER, f"import-{time.time_ns()}", "parts-list.csv", total_rows=200) as upload:
        for _row in upload.count(range(200)):
            time.sleep(0.02)
    try_broadcast_to_user(USER, create_notification_message("Import complete", "200 parts", "success"))
