// uWebSockets.js with its own publish and subscribe: a topic for each user, and one for all.
import uWS from "uwebsockets"

import { batch, port } from "./http.js"

function withBody(response, use) {
  const chunks = []
  response.onAborted(() => {})
  response.onData((chunk, isLast) => {
    // The memory of a chunk is valid in this call only.
    if (isLast && chunks.length === 0) use(chunk)
    else chunks.push(Buffer.from(chunk.slice(0)))
    if (!isLast) return
    if (chunks.length > 0) use(Buffer.concat(chunks))
    response.end()
  })
}

const app = uWS.App().ws("/*", {
  compression: uWS.DISABLED,
  maxBackpressure: 16 * 1024 * 1024,
  upgrade: (response, request, context) => {
    response.upgrade(
      { user: request.getQuery("user") },
      request.getHeader("sec-websocket-key"),
      request.getHeader("sec-websocket-protocol"),
      request.getHeader("sec-websocket-extensions"),
      context,
    )
  },
  open: (socket) => {
    socket.subscribe("all")
    socket.subscribe(`user/${socket.getUserData().user}`)
  },
})

app.post("/publish", (response, request) => {
  const topic = `user/${request.getQuery("user")}`
  withBody(response, (body) => app.publish(topic, body))
})
app.post("/publish-all", (response) => {
  withBody(response, (body) => app.publish("all", body))
})
app.post("/publish-batch", (response) => {
  withBody(response, (body) => batch(Buffer.from(body), (user, message) => app.publish(`user/${user}`, message)))
})

app.listen("127.0.0.1", port, (listening) => {
  if (!listening) process.exit(1)
})
