// `ws` with the broadcast of its README, and a map of each user's sockets.
import WebSocket, { WebSocketServer } from "ws"

import { listen } from "./http.js"

const users = new Map()
const sockets = new WebSocketServer({
  server: listen(
    (user, body) => send(users.get(user) ?? [], body),
    (body) => send(sockets.clients, body),
  ),
  perMessageDeflate: false,
})

function send(receivers, body) {
  for (const socket of receivers) {
    if (socket.readyState === WebSocket.OPEN) socket.send(body, { binary: false })
  }
}

sockets.on("connection", (socket, request) => {
  const user = new URLSearchParams(request.url.split("?")[1]).get("user")
  const own = users.get(user) ?? new Set()
  users.set(user, own.add(socket))
  socket.on("error", () => socket.terminate())
  socket.on("close", () => {
    own.delete(socket)
    if (own.size === 0) users.delete(user)
  })
})
