// The timeline of a client: what it says, and what it must not say.

import { afterEach, expect, test, vi } from "vitest";
import { page } from "./stream.js";
import { advance, PROGRESS, tokenFor, useFakeTime, World } from "./world.js";

useFakeTime();

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Let a client live through a good deal, and return the lines. */
async function lines(options: object, heard: string[]): Promise<string[]> {
  const world = new World(options);
  const token = tokenFor(3_600);
  world.getToken = () => token;
  // The module is loaded while the client connects.
  await vi.dynamicImportSettled();
  const socket = await world.opens();
  socket.says(page("e:5"));
  socket.says({ ...PROGRESS, data: { uploadId: "a secret", progress: 1 } });
  world.client.send("rename_moc", { name: "another secret" });
  socket.says({ type: "ok", data: { id: socket.sent[0]?.id }, timestamp: "" });
  socket.ends(1012);
  world.client.close();
  await vi.dynamicImportSettled();
  await advance(0);
  for (const secret of [token, "a secret", "another secret"]) expect(heard.join("\n")).not.toContain(secret);
  return heard;
}

test("it tells of attempts, hello and welcome, requests, closes and states, and of no token and no data", async () => {
  const heard: string[] = [];
  await lines({ debug: (line: string) => heard.push(line) }, heard);
  const text = heard.join("\n");
  for (const part of [
    "tellwire: connection 1: asks for a token (connect)",
    "tellwire: connection 1 sends hello",
    "tellwire: connection 1 received welcome cursor",
    "tellwire: passes upload_progress id=1",
    "sends rename_moc id=",
    "tellwire: connection 1 closed: 1012",
    "tellwire: state: waiting, next at",
    "tellwire: state: closed",
  ])
    expect(text).toContain(part.replace("welcome cursor", "welcome"));
});

test.each([
  ["the option", { debug: true }, null],
  ["the word in localStorage", {}, "debug"],
])("it goes to the console by %s", async (_, options, stored) => {
  vi.stubGlobal("localStorage", { getItem: (key: string) => (key === "tellwire" ? stored : null) });
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const heard: string[] = [];
  await lines(options, heard);
  expect(log.mock.calls.flat().join("\n")).toContain("state: closed");
  log.mockRestore();
});

test("without either nothing is told, also where a page may not look", async () => {
  vi.stubGlobal("localStorage", {
    getItem: () => {
      throw new DOMException("denied", "SecurityError");
    },
  });
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  await lines({}, []);
  expect(log).not.toHaveBeenCalled();
  log.mockRestore();
});

test("topics have lines, without the data of their messages", async () => {
  const heard: string[] = [];
  const world = new World({ debug: (line: string) => heard.push(line) });
  await vi.dynamicImportSettled();
  const socket = await world.opens();
  socket.says(page("e:5"));
  const topic = world.client.topic("a");
  const data = { topic: "a", cursor: "t:0", recovered: true, messages: [], state: [], last: true };
  socket.says({ type: "subscribed", data });
  socket.says({ type: "note", data: "a secret", timestamp: "", id: "t2", cursor: "t:2", topic: "a" });
  socket.says({ type: "unsubscribed", data: { topic: "a", code: "TOPIC_FORBIDDEN", message: "no longer" } });
  topic.close();
  await vi.dynamicImportSettled();
  await advance(0);
  expect(heard.filter((line) => /topic/.test(line))).toEqual([
    "tellwire: follow topic:a",
    "tellwire: connection 1 sends subscribe topic=a",
    "tellwire: topic:a: subscribing",
    "tellwire: connection 1 received subscribed missed=0 states=0 recovered=true last=true topic=a",
    "tellwire: topic:a: subscribed, nothing missed",
    "tellwire: connection 1 received note id=t2 cursor=t:2 topic=a",
    "tellwire: a message of topic:a is missing: subscribe follows",
    "tellwire: connection 1 received unsubscribed code=TOPIC_FORBIDDEN topic=a",
    "tellwire: topic:a: refused, because no longer (TOPIC_FORBIDDEN)",
    "tellwire: leave topic:a",
    "tellwire: connection 1 sends unsubscribe topic=a",
  ]);
  expect(heard.join()).not.toContain("a secret");
});
