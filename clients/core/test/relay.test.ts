// The sockets of shared tabs: answers find the tab that asked.

import { expect, test } from "vitest";
import { FollowerSocket, Relay } from "../src/relay.js";
import { FakeSocket } from "./world.js";

interface Heard {
  /** The data that the leader's own client received. */
  own: unknown[];
  /** The received data for other tabs, with their names. */
  others: [data: unknown, to: readonly string[] | undefined][];
}

function relayed(): { socket: FakeSocket; relay: Relay; heard: Heard } {
  const socket = new FakeSocket("", []);
  const heard: Heard = { own: [], others: [] };
  const relay = new Relay(
    socket,
    "leader",
    {
      opening() {},
      opened() {},
      received: (data, to) => heard.others.push([JSON.parse(data as string), to]),
    },
    { now: Date.now, setTimeout },
  );
  relay.onmessage = ({ data }) => heard.own.push(JSON.parse(data as string));
  return { socket, relay, heard };
}

const ok = (id: string): object => ({ type: "ok", data: { id } });
const refusal = (id: string): object => ({ type: "error", data: { id, code: "UPLOAD_OVER", message: "" } });

test("the answer to a request is for the tab that made it, once", () => {
  const { socket, relay, heard } = relayed();
  relay.send('{"type":"cancel","uploadId":"a","id":"1"}', "tab");
  relay.send('{"type":"cancel","uploadId":"b","id":"2"}', "tab");
  relay.send('{"type":"cancel","uploadId":"c","id":"3"}');
  for (const answer of [ok("1"), refusal("2"), ok("3")]) socket.says(answer);
  expect(heard).toEqual({
    own: [ok("3")],
    others: [
      [ok("1"), ["tab"]],
      [refusal("2"), ["tab"]],
    ],
  });
  // A request of a connection before this one, or none of ours: whoever waits for it knows it.
  socket.says(ok("1"));
  expect([heard.own.at(-1), heard.others.at(-1)]).toEqual([ok("1"), [ok("1"), undefined]]);
});

test("an answer to a request is none to a hello that waits", () => {
  const { socket, relay, heard } = relayed();
  relay.send('{"type":"hello"}');
  relay.send('{"type":"rename","id":"1"}', "tab");
  const unknown = { type: "error", data: { id: "1", code: "UNKNOWN_TYPE", message: "" } };
  socket.says(unknown);
  expect(heard.others).toEqual([[unknown, ["tab"]]]);
  socket.says({ type: "error", data: { code: "UNKNOWN_TYPE", message: "" } });
  expect(heard.own).toHaveLength(1);
});

test("a follower answers its pings itself, unless it waits for an answer", async () => {
  const sent: string[] = [];
  let probes = 0;
  const received: unknown[] = [];
  const socket = new FollowerSocket({
    send: (text) => sent.push(text),
    probe: () => {
      probes += 1;
    },
  });
  socket.onmessage = ({ data }) => received.push(JSON.parse(data as string).type);
  socket.send('{"type":"ping"}');
  await undefined;
  expect([received, probes]).toEqual([["pong"], 0]);
  socket.send('{"type":"cancel","uploadId":"a","id":"1"}');
  socket.send('{"type":"ping"}');
  await undefined;
  expect([received, probes]).toEqual([["pong"], 1]);
  socket.receive(JSON.stringify(ok("1")));
  socket.send('{"type":"ping"}');
  await undefined;
  expect([received, probes, sent.length]).toEqual([["pong", "ok", "pong"], 1, 1]);
});
