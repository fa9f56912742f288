// A device in Node, with the client of clients/core and the WebSocket of the package ws. It reads commands from stdin and
// writes events to stdout, one JSON value a line:
//
//     argv   the options of the client, as JSON; `storedIn` is a file for its cursors, `topic` one to follow
//     in     {"token": "…"}   answers the oldest open question for a token
//            {"ack": "…"}     acknowledges everything up to a cursor
//            {"cancel": "…"}  cancels an upload
//            {"close": true}
//     out    {"asked": "connect"} │ {"state": {…}} │ {"message": {…}} │ {"answered": "ok"}, or the code of the error
//            {"topic": {…}}, a state of the topic

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { TellwireClient } from "@tellwire/client";
import { WebSocket } from "ws";

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const questions = [];
const { storedIn, topic, ...options } = JSON.parse(process.argv[2]);
const file = {
  getItem: () => (existsSync(storedIn) ? readFileSync(storedIn, "utf8") : null),
  setItem: (_, value) => writeFileSync(storedIn, value),
};

const client = new TellwireClient({
  ...options,
  cursorStorage: storedIn && file,
  getToken: (why) => {
    say({ asked: why });
    return new Promise((resolve) => questions.push(resolve));
  },
  environment: { WebSocket },
});
client.onState((state) => say({ state }));
client.on("*", (message) => say({ message }));
if (topic !== undefined) {
  const followed = client.topic(topic);
  followed.onState((state) => say({ topic: state }));
  followed.on("*", (message) => say({ message }));
}
client.connect();

createInterface({ input: process.stdin }).on("line", (line) => {
  const said = JSON.parse(line);
  if (said.token !== undefined) questions.shift()(said.token);
  if (said.ack !== undefined) client.ack(said.ack);
  if (said.cancel !== undefined) {
    client.cancel(said.cancel).then(
      () => say({ answered: "ok" }),
      ({ code }) => say({ answered: code }),
    );
  }
  if (said.close) {
    client.close();
    process.stdin.destroy();
  }
});
