// Socket.IO with a room for each user. As its page on performance has it, `bufferutil` and `utf-8-validate` are installed
// and the first HTTP request of a connection is not kept. Only WebSocket, so that nobody begins with polling.
import { Server } from "socket.io"

import { listen } from "./http.js"

const io = new Server(
  listen(
    (user, body) => io.to(user).emit("message", JSON.parse(body)),
    (body) => io.emit("message", JSON.parse(body)),
  ),
  { transports: ["websocket"], serveClient: false },
)

io.engine.on("connection", (connection) => {
  connection.request = null
})
io.on("connection", (socket) => {
  socket.join(socket.handshake.auth.user)
})
