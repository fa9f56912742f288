// The application's side of topics. How a client behaves on the wire is in spec/client/topics.json.

import { expect, test } from "vitest";
import { TellwireClient } from "../src/index.js";
import type { Message, PresenceState, Topic } from "../src/types.js";
import { page } from "./stream.js";
import { advance, useFakeTime, World } from "./world.js";

useFakeTime();

const answer = (topic: string, cursor: string, more: object = {}): object => ({
  type: "subscribed",
  data: { topic, cursor, recovered: true, messages: [], state: [], last: true, ...more },
});

const comment = (offset: number, topic = "a"): Message => ({
  type: "comment",
  data: null,
  timestamp: "",
  id: `${topic}:${offset}`,
  cursor: `${topic}:${offset}`,
  topic,
});

async function opened(options = {}): Promise<World> {
  const world = new World({ heartbeatSeconds: 0, ...options }, (made) => new TellwireClient(made));
  world.client.connect();
  await advance(0);
  world.socket.opens();
  await advance(0);
  world.socket.says(page("e:5"));
  await advance(0);
  return world;
}

const nobody: PresenceState = { members: [], count: 0, isComplete: false, isLive: false };

const said = (world: World): unknown[] => world.socket.sent.filter(({ topic }) => topic !== undefined);

function heard(topic: Topic): unknown[] {
  const ids: unknown[] = [];
  topic.on("comment", ({ id }) => ids.push(id));
  return ids;
}

test("those who follow one topic share its subscription, until the last one has left", async () => {
  const world = await opened();
  const [one, two] = [world.client.topic("a"), world.client.topic("a")];
  const ids = [heard(one), heard(two)];
  world.socket.says(answer("a", "a:0"));
  world.socket.says(comment(1));
  expect(ids).toEqual([["a:1"], ["a:1"]]);
  expect([one.state, two.state]).toEqual([one.state, { status: "subscribed", recovered: true }]);
  one.close();
  await advance(0);
  world.socket.says(comment(2));
  expect(ids).toEqual([["a:1"], ["a:1", "a:2"]]);
  expect(one.state).toEqual({ status: "closed" });
  two.close();
  await advance(0);
  expect(said(world)).toEqual([
    { type: "subscribe", topic: "a" },
    { type: "unsubscribe", topic: "a" },
  ]);
});

test("who follows later begins with the present state", async () => {
  const world = await opened();
  world.client.topic("a");
  world.socket.says(answer("a", "a:0"));
  expect(world.client.topic("a").state).toEqual({ status: "subscribed", recovered: true });
});

const progress = (version: number, key = "upload:u"): object => ({
  type: "upload_progress",
  data: { uploadId: "u", progress: version, status: "running" },
  timestamp: "",
  id: `${key}:${version}`,
  key,
  version,
  topic: "a",
});

test("who follows later hears the newest state of each key, as it was kept, and no message twice", async () => {
  const world = await opened();
  const all = (topic: Topic): unknown[] => {
    const heard: unknown[] = [];
    topic.on("*", ({ id, replayed }) => heard.push([id, replayed]));
    return heard;
  };
  const first = all(world.client.topic("a"));
  await advance(0);
  world.socket.says(answer("a", "a:0", { state: [progress(1)] }));
  for (const message of [comment(1), progress(2), progress(3, "upload:other")]) world.socket.says(message);
  const topic = world.client.topic("a");
  const second = all(topic);
  await advance(0);
  world.socket.says(progress(4));
  const live = ["upload:u:4", false];
  expect(first.slice(-2)).toEqual([["upload:other:3", false], live]);
  expect(second).toEqual([["upload:u:2", true], ["upload:other:3", true], live]);
  expect(said(world)).toEqual([{ type: "subscribe", topic: "a" }]);
  const closed = world.client.topic("a");
  const none = all(closed);
  closed.close();
  await advance(0);
  expect(none).toEqual([]);
});

test("a part of a page that replaces another one keeps the subscription", async () => {
  const world = await opened();
  world.client.topic("a").close();
  const ids = heard(world.client.topic("a"));
  world.socket.says(answer("a", "a:0"));
  world.socket.says(comment(1));
  await advance(0);
  expect(ids).toEqual(["a:1"]);
  expect(said(world)).toEqual([{ type: "subscribe", topic: "a" }]);
});

test("closing twice is closing once", async () => {
  const world = await opened();
  const [one, two] = [world.client.topic("a"), world.client.topic("a")];
  one.close();
  one.close();
  await advance(0);
  expect(two.state.status).toBe("subscribing");
  expect(said(world)).toEqual([{ type: "subscribe", topic: "a" }]);
});

test("the listeners of the client do not hear a topic, and those of a topic nothing else", async () => {
  const world = await opened();
  const all: unknown[] = [];
  world.client.topic("a").on("*", ({ id }) => all.push(id));
  world.client.topic("b");
  world.socket.says(answer("a", ""));
  world.socket.says(comment(1));
  world.socket.says(comment(1, "b"));
  world.socket.says({ type: "comment", data: null, timestamp: "", id: "mine" });
  expect(all).toEqual(["a:1"]);
  expect(world.messages.map(({ id }) => id)).toEqual(["mine"]);
});

test("a topic that is left while its listeners are called brings no more states", async () => {
  const world = await opened();
  const states: string[] = [];
  const [one, two] = [world.client.topic("a"), world.client.topic("a")];
  one.onState(() => two.close());
  two.onState(({ status }) => states.push(status));
  world.socket.says(answer("a", "a:0"));
  expect(states).toEqual(["closed"]);
});

test("cursors of topics are stored with the user's, and a page that is loaded anew goes on", async () => {
  const stored = new Map<string, string>();
  const cursorStorage = {
    getItem: (key: string) => stored.get(key),
    setItem: (key: string, value: string) => void stored.set(key, value),
  };
  const world = await opened({ cursorStorage });
  const [one, two] = [world.client.topic("a"), world.client.topic("b")];
  world.socket.says(answer("a", "a:3"));
  world.socket.says(answer("b", "b:4"));
  two.close();
  await advance(1_000);
  expect(one.state.status).toBe("subscribed");
  const next = await opened({ cursorStorage });
  next.client.topic("a");
  expect(said(next)).toEqual([{ type: "subscribe", topic: "a", cursor: "a:3" }]);
  expect(next.client.cursors).toEqual({ user: "e:5", "topic:a": "a:3" });
});

test("of topics that nobody follows any more, the last hundred are kept", async () => {
  const topics = Object.fromEntries(Array.from({ length: 150 }, (_, number) => [`topic:${number}`, `t:${number}`]));
  const text = JSON.stringify({ user: "e:5", ...topics });
  const world = await opened({ cursorStorage: { getItem: () => text, setItem: () => {} } });
  const names = Object.keys(world.client.cursors);
  expect(names).toHaveLength(101);
  expect([names[0], names[1], names.at(-1)]).toEqual(["user", "topic:50", "topic:149"]);
});

test("a client that is closed has subscribed to nothing", async () => {
  const world = await opened();
  const topic = world.client.topic("a");
  world.socket.says(answer("a", "a:0"));
  world.client.close();
  expect(topic.state).toEqual({ status: "subscribing" });
});

const people = (...members: { userId: string; info?: object }[]): object => ({
  type: "presence",
  data: { topic: "a", count: members.length, members },
});

test("who is in a topic is asked for once, by the first who wants to know, and is told to all who do", async () => {
  const world = await opened();
  const [one, two] = [world.client.topic("a"), world.client.topic("a")];
  world.socket.says(answer("a", "a:0"));
  const heard: PresenceState[][] = [[], []];
  const stop = one.presence.subscribe((state) => heard[0]?.push(state));
  const asked = said(world).filter((each) => (each as Message).type === "presence");
  expect(asked).toHaveLength(1);
  world.socket.says(people({ userId: "ann", info: { name: "Ann" } }));
  two.presence.subscribe((state) => heard[1]?.push(state));
  const state = {
    members: [{ userId: "ann", info: { name: "Ann" } }],
    count: 1,
    isComplete: true,
    isLive: true,
  };
  expect(heard).toEqual([[nobody, state], [state]]);
  expect(two.presence.getSnapshot()).toBe(one.presence.getSnapshot());
  stop();
  world.socket.says({ type: "join", data: { topic: "a", userId: "ben", count: 2 } });
  expect(heard.map(({ length }) => length)).toEqual([2, 2]);
  two.close();
  expect(two.presence.getSnapshot()).toEqual(nobody);
  expect(one.presence.getSnapshot().count).toBe(2);
  expect(said(world).filter((each) => (each as Message).type === "presence")).toHaveLength(1);
  expect(world.messages).toEqual([]);
});

test("a topic that is closed asks nothing", async () => {
  const world = await opened();
  const topic = world.client.topic("a");
  topic.close();
  await advance(0);
  const heard: PresenceState[] = [];
  topic.presence.subscribe((state) => heard.push(state));
  await advance(0);
  expect(heard).toEqual([nobody]);
  expect(said(world)).toEqual([{ type: "subscribe", topic: "a" }]);
});
