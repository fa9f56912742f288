// A device in Node, with the client of clients/core and the WebSocket of the package ws. It does what stdin says, and
// says on stdout what happens, one JSON value a line:
//
//     argv   the options of the client, as JSON
//     in     {"token": "…"}   the answer to the first question that has none
//            {"close": true}
//     out    {"asked": "connect"} │ {"state": {…}} │ {"message": {…}}

import { createInterface } from "node:readline";
import { TellwireClient } from "@tellwire/client";
import { WebSocket } from "ws";

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const questions = [];

const client = new TellwireClient({
  ...JSON.parse(process.argv[2]),
  getToken: (why) => {
    say({ asked: why });
    return new Promise((resolve) => questions.push(resolve));
  },
  environment: { WebSocket },
});
client.onState((state) => say({ state }));
client.on("*", (message) => say({ message }));
client.connect();

createInterface({ input: process.stdin }).on("line", (line) => {
  const said = JSON.parse(line);
  if (said.token !== undefined) questions.shift()(said.token);
  if (said.close) {
    client.close();
    process.stdin.destroy();
  }
});
