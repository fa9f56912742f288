// Topics of a shared connection: each tab gets the topics that it follows, and the connection is subscribed while any does.

import { expect, test } from "vitest";
import type { Topic } from "../src/types.js";
import { type BrowserTab, connected } from "./browser.js";
import { page } from "./stream.js";
import { advance, useFakeTime } from "./world.js";

useFakeTime();

const NAME = "moc:1";

const answer = (cursor: string, more: object = {}): object => ({
  type: "subscribed",
  data: { topic: NAME, cursor, recovered: true, messages: [], state: [], last: true, ...more },
});

const comment = (offset: number): object => ({
  type: "comment",
  data: null,
  timestamp: "",
  id: `t:${offset}`,
  cursor: `t:${offset}`,
  topic: NAME,
});

const unsubscribed = { type: "unsubscribed", data: { topic: NAME } };

async function welcomed(count: number): Promise<BrowserTab[]> {
  const tabs = await connected(count, undefined, { heartbeatSeconds: 0 });
  for (let answered = 0; answered < count; answered++) await says(tabs[0], page("e:5"));
  return tabs;
}

async function says(tab: BrowserTab | undefined, ...messages: object[]): Promise<void> {
  for (const message of messages) tab?.world.socket.says(message);
  await advance(0);
}

interface Follower {
  readonly topic: Topic;
  readonly ids: unknown[];
}

async function follows(tab: BrowserTab | undefined, options = {}): Promise<Follower> {
  const topic = (tab as BrowserTab).world.client.topic(NAME, options);
  const ids: unknown[] = [];
  topic.on("*", ({ id }) => ids.push(id));
  await advance(0);
  return { topic, ids };
}

/** What was said of topics on the newest connection of a tab. */
const said = (tab: BrowserTab | undefined): unknown[] =>
  (tab as BrowserTab).world.socket.sent.filter(({ type }) => type === "subscribe" || type === "unsubscribe");

test("a tab that does not follow a topic gets none of its messages", async () => {
  const tabs = await welcomed(3);
  const first = await follows(tabs[1]);
  expect(said(tabs[0])).toEqual([{ type: "subscribe", topic: NAME }]);
  await says(tabs[0], answer("t:0"), comment(1));
  expect(first.ids).toEqual(["t:1"]);
  expect(first.topic.state).toEqual({ status: "subscribed", recovered: true });
  for (const tab of [tabs[0], tabs[2]]) expect(tab?.world.messages).toEqual([]);
});

test("tabs that follow one topic share its subscription, which ends with the last one", async () => {
  const tabs = await welcomed(3);
  const [one, two] = [await follows(tabs[1]), await follows(tabs[2])];
  // The second one waits for the answer of the first.
  expect(said(tabs[0])).toEqual([{ type: "subscribe", topic: NAME }]);
  await says(tabs[0], answer("t:0"));
  expect(said(tabs[0])).toHaveLength(2);
  await says(tabs[0], comment(1), answer("t:1"));
  expect([one.ids, two.ids]).toEqual([["t:1"], ["t:1"]]);
  one.topic.close();
  await advance(0);
  expect(said(tabs[0])).toHaveLength(2);
  await says(tabs[0], comment(2));
  expect([one.ids, two.ids]).toEqual([["t:1"], ["t:1", "t:2"]]);
  two.topic.close();
  await advance(0);
  expect(said(tabs[0])).toEqual([
    { type: "subscribe", topic: NAME },
    { type: "subscribe", topic: NAME },
    { type: "unsubscribe", topic: NAME },
  ]);
  await says(tabs[0], unsubscribed);
  await follows(tabs[1]);
  expect(said(tabs[0])).toHaveLength(4);
});

test("the leader follows as the others do", async () => {
  const tabs = await welcomed(2);
  const [own, other] = [await follows(tabs[0]), await follows(tabs[1])];
  await says(tabs[0], answer("t:0"), answer("t:0"), comment(1));
  expect([own.ids, other.ids]).toEqual([["t:1"], ["t:1"]]);
  own.topic.close();
  await advance(0);
  await says(tabs[0], comment(2));
  expect([own.ids, other.ids]).toEqual([["t:1"], ["t:1", "t:2"]]);
  await follows(tabs[0]);
  expect(said(tabs[0]).at(-1)).toEqual({ type: "subscribe", topic: NAME });
});

test("a tab that is closed or frozen follows no longer, and one that hung goes on", async () => {
  const tabs = await welcomed(3);
  const [one, two] = [await follows(tabs[1]), await follows(tabs[2])];
  await says(tabs[0], answer("t:0"), answer("t:0"), comment(1));
  tabs[1]?.world.client.close();
  await advance(0);
  expect(said(tabs[0])).toHaveLength(2);
  tabs[2]?.freezes();
  await advance(0);
  expect(said(tabs[0]).at(-1)).toEqual({ type: "unsubscribe", topic: NAME });
  await says(tabs[0], unsubscribed, comment(2));
  tabs[2]?.wakes();
  await advance(0);
  expect(tabs[0]?.world.socket.helloTopics.at(-1)).toEqual({ [`topic:${NAME}`]: "t:1" });
  await says(tabs[0], page("e:5"), answer("t:2", { messages: [comment(2)] }));
  expect([one.ids, two.ids]).toEqual([["t:1"], ["t:1", "t:2"]]);
});

test("after another tab took the lead, each one goes on from its own cursor", async () => {
  const tabs = await welcomed(3);
  const followers = [await follows(tabs[1]), await follows(tabs[2])];
  await says(tabs[0], answer("t:0"), answer("t:0"), comment(1));
  tabs[0]?.dies();
  await advance(0);
  const leader = tabs[1] as BrowserTab;
  leader.world.socket.opens();
  await advance(0);
  expect(leader.world.socket.hellos).toEqual(["e:5"]);
  expect(leader.world.socket.helloTopics).toEqual([{ [`topic:${NAME}`]: "t:1" }]);
  // Another hello would end the answers to this one.
  await says(leader, page("e:5"));
  expect(leader.world.socket.hellos).toHaveLength(1);
  await says(leader, answer("t:2", { messages: [comment(2)] }));
  expect(leader.world.socket.helloTopics.at(-1)).toEqual({ [`topic:${NAME}`]: "t:1" });
  await says(leader, page("e:5"), answer("t:2", { messages: [comment(2)] }), comment(3));
  expect(said(leader)).toEqual([]);
  for (const { ids, topic } of followers) {
    expect(ids).toEqual(["t:1", "t:2", "t:3"]);
    expect(topic.state).toEqual({ status: "subscribed", recovered: true });
  }
});

test("a refusal is for the tab that asked, and a withdrawal for all that follow", async () => {
  const tabs = await welcomed(3);
  const error = { type: "error", data: { topic: NAME, code: "TOPIC_FORBIDDEN", message: "no" } };
  const one = await follows(tabs[1]);
  await says(tabs[0], error);
  const two = await follows(tabs[2]);
  await says(tabs[0], answer("t:0"));
  expect([one, two].map(({ topic }) => topic.state.status)).toEqual(["refused", "subscribed"]);
  await says(tabs[0], { type: "unsubscribed", data: error.data });
  expect([one, two].map(({ topic }) => topic.state.status)).toEqual(["refused", "refused"]);
  for (const { world } of tabs) expect(world.messages).toEqual([]);
});

test("a request that stays without an answer is said again, and not behind itself", async () => {
  const tabs = await welcomed(2);
  await follows(tabs[1]);
  await advance(6_000);
  expect(said(tabs[0])).toHaveLength(2);
});

test("a tab that crashed follows no longer", async () => {
  const tabs = await welcomed(3);
  const [one] = [await follows(tabs[1]), await follows(tabs[2])];
  await says(tabs[0], answer("t:0"), answer("t:0"));
  tabs[2]?.dies();
  await advance(0);
  await says(tabs[0], comment(1));
  expect(one.ids).toEqual(["t:1"]);
  expect(said(tabs[0])).toHaveLength(2);
  tabs[1]?.dies();
  await advance(0);
  expect(said(tabs[0]).at(-1)).toEqual({ type: "unsubscribe", topic: NAME });
});

test("the hellos of a new leader say the topics of the tabs, and what has no room there keeps the server's pace", async () => {
  const tabs = await welcomed(2);
  const limits = { maxRequestsPerSecond: 20, maxRequestBurst: 10 };
  const name = (number: number): string => `many:${number}`;
  const follow = (tab: BrowserTab | undefined, from: number): void => {
    for (let number = from; number < from + 60; number++) tab?.world.client.topic(name(number));
  };
  follow(tabs[0], 0);
  follow(tabs[1], 60);
  tabs[0]?.dies();
  await advance(0);
  const { socket } = (tabs[1] as BrowserTab).world;
  socket.opens();
  await advance(0);
  expect(Object.keys(socket.helloTopics[0] ?? {})).toEqual(
    Array.from({ length: 40 }, (_, at) => `topic:${name(60 + at)}`),
  );
  socket.says(page("e:5", { limits }));
  const empty = { cursor: "t:0", recovered: true, messages: [], state: [], last: true };
  for (let number = 60; number < 100; number++) {
    socket.says({ type: "subscribed", data: { topic: name(number), ...empty } });
  }
  const subscribed = (): number => said(tabs[1]).length;
  await advance(0);
  expect(subscribed()).toBe(8);
  await advance(250);
  expect(subscribed()).toBe(12);
  await advance(1_000);
  expect(subscribed()).toBe(20);
});

test("one connection asks who is in a topic, all tabs hear it, and one that comes late has it at once", async () => {
  const tabs = await welcomed(3);
  const shown: Record<string, string[]> = {};
  const people = (...ids: string[]): object => ({
    type: "presence",
    data: { topic: NAME, count: ids.length, members: ids.map((userId) => ({ userId })) },
  });
  const watch = async (name: string, tab: BrowserTab | undefined): Promise<Topic> => {
    const { topic } = await follows(tab);
    await says(tabs[0], answer("t:0"));
    topic.presence.subscribe(({ members }) => {
      shown[name] = members.map(({ userId }) => userId);
    });
    await advance(0);
    return topic;
  };
  const { socket } = (tabs[0] as BrowserTab).world;
  const asked = () => socket.sent.filter(({ type }) => type === "presence");
  const own = await watch("own", tabs[0]);
  await says(tabs[0], people("ann"), { type: "ok", data: { id: asked()[0]?.id } });
  await watch("other", tabs[1]);
  await says(tabs[0], people("ann", "ben"), { type: "ok", data: { id: asked()[1]?.id } });
  expect(shown).toEqual({ own: ["ann", "ben"], other: ["ann", "ben"] });
  await says(tabs[0], { type: "leave", data: { topic: NAME, userId: "ann", count: 1 } });
  expect(shown).toEqual({ own: ["ben"], other: ["ben"] });
  own.close();
  await advance(0);
  await says(tabs[0], { type: "join", data: { topic: NAME, userId: "cid", count: 2 } });
  expect(shown).toEqual({ own: [], other: ["ben", "cid"] });
  expect(asked()).toHaveLength(2);
});
