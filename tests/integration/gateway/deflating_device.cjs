// A device on Node's `ws`, which offers compression by default. It tells what was agreed, then the first message and the
// answer to a long request.
const WebSocket = require("ws");

const socket = new WebSocket(process.argv[2], { perMessageDeflate: { threshold: 0 } });
let message;
socket.on("open", () => console.log(JSON.stringify({ extensions: socket.extensions })));
socket.on("message", (data) => {
  if (message === undefined) {
    message = { number: JSON.parse(data).data.number, length: data.length, bytesRead: socket._socket.bytesRead };
    socket.send(JSON.stringify({ type: "unknown-to-it", data: "x".repeat(20_000) }));
  } else {
    console.log(JSON.stringify({ ...message, code: JSON.parse(data).data.code }));
    socket.close();
  }
});
