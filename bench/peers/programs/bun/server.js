// Bun's `Bun.serve`, which is uWebSockets in another runtime: a topic for each user, and one for all.
import { batch, port } from "./http.js"

const server = Bun.serve({
  hostname: "127.0.0.1",
  port,
  idleTimeout: 0,
  async fetch(request, server) {
    const { pathname, searchParams } = new URL(request.url)
    const user = searchParams.get("user")
    if (pathname === "/ws") {
      return server.upgrade(request, { data: { user } }) ? undefined : new Response("", { status: 400 })
    }
    const body = await request.text()
    if (pathname === "/publish") server.publish(`user/${user}`, body)
    else if (pathname === "/publish-all") server.publish("all", body)
    else if (pathname === "/publish-batch") batch(body, (user, message) => server.publish(`user/${user}`, message.toString()))
    else return new Response("", { status: 404 })
    return new Response("")
  },
  websocket: {
    perMessageDeflate: false,
    backpressureLimit: 16 * 1024 * 1024,
    message() {},
    open(socket) {
      socket.subscribe("all")
      socket.subscribe(`user/${socket.data.user}`)
    },
  },
})
