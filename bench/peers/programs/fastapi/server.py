"""FastAPI with the `ConnectionManager` of its tutorial, which here has a list for each user, too."""

from collections import defaultdict

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from serving import batch, encoded, serve

app = FastAPI()


class ConnectionManager:
    """Connections of all, and of each user."""

    def __init__(self) -> None:
        self.active_connections: list[WebSocket] = []
        self.users: defaultdict[str, list[WebSocket]] = defaultdict(list)

    async def connect(self, websocket: WebSocket, user: str) -> None:
        await websocket.accept()
        self.active_connections.append(websocket)
        self.users[user].append(websocket)

    def disconnect(self, websocket: WebSocket, user: str) -> None:
        self.active_connections.remove(websocket)
        self.users[user].remove(websocket)
        if not self.users[user]:
            del self.users[user]

    async def send_to_user(self, message: str, user: str) -> None:
        for connection in self.users.get(user, ()):
            await connection.send_text(message)

    async def broadcast(self, message: str) -> None:
        for connection in self.active_connections:
            await connection.send_text(message)


manager = ConnectionManager()


@app.websocket("/ws")
async def device(websocket: WebSocket, user: str) -> None:
    await manager.connect(websocket, user)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        manager.disconnect(websocket, user)


@app.post("/publish")
async def publish(user: str, request: Request) -> Response:
    await manager.send_to_user((await request.body()).decode(), user)
    return Response()


@app.post("/publish-all")
async def publish_all(request: Request) -> Response:
    await manager.broadcast((await request.body()).decode())
    return Response()


@app.post("/publish-batch")
async def publish_batch(request: Request) -> Response:
    for user, message in batch(await request.body()):
        await manager.send_to_user(encoded(message), user)
    return Response()


if __name__ == "__main__":
    serve(app)
