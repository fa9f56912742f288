// HTTP endpoints of the programs: POST /publish?user=…, /publish-all and /publish-batch. The body is a message; that of
// a batch has a line {"user": …, "message": …} for each. `one` and `all` take the bytes of a message.
import { createServer } from "node:http"

export const port = Number(process.argv[2])

export function listen(one, all) {
  const server = createServer((request, response) => {
    const chunks = []
    request.on("data", (chunk) => chunks.push(chunk))
    request.on("end", () => {
      const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
      const [path, query] = request.url.split("?")
      if (path === "/publish") one(new URLSearchParams(query).get("user"), body)
      else if (path === "/publish-all") all(body)
      else if (path === "/publish-batch") batch(body, one)
      else response.statusCode = 404
      response.setHeader("Content-Length", 0)
      response.end()
    })
  })
  server.keepAliveTimeout = 3_600_000
  return server.listen(port, "127.0.0.1", 4096)
}

export function batch(body, one) {
  for (const line of body.toString().split("\n")) {
    const { user, message } = JSON.parse(line)
    one(user, Buffer.from(JSON.stringify(message)))
  }
}
