"""python-socketio with a room for each user, under uvicorn, with Starlette for the requests."""

import json
from typing import Any

import socketio
from serving import batch, serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

sio = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str]) -> None:
    await sio.enter_room(sid, auth["user"])


async def publish(request: Request) -> Response:
    await sio.emit("message", json.loads(await request.body()), room=request.query_params["user"])
    return Response()


async def publish_all(request: Request) -> Response:
    await sio.emit("message", json.loads(await request.body()))
    return Response()


async def publish_batch(request: Request) -> Response:
    for user, message in batch(await request.body()):
        await sio.emit("message", message, room=user)
    return Response()


routes = [
    Route("/publish", publish, methods=["POST"]),
    Route("/publish-all", publish_all, methods=["POST"]),
    Route("/publish-batch", publish_batch, methods=["POST"]),
]

if __name__ == "__main__":
    serve(socketio.ASGIApp(sio, Starlette(routes=routes)))
