// Shared connections and streams: each tab gets each message once and in order, whichever tab leads.

import { expect, test, vi } from "vitest";
import { Browser, type BrowserTab, connected } from "./browser.js";
import { note, page, state } from "./stream.js";
import { advance, errorMessage, PROGRESS, useFakeTime, type World } from "./world.js";

useFakeTime();

/** Connect tabs, and give each its welcome. */
async function welcomed(count: number, options = {}): Promise<BrowserTab[]> {
  const tabs = await connected(count, new Browser(), { heartbeatSeconds: 0, ...options });
  for (let answered = 0; answered < count; answered++) await says(tabs[0], page("e:5"));
  return tabs;
}

/** Receive messages on the newest connection of a tab. */
async function says(tab: BrowserTab | undefined, ...messages: object[]): Promise<void> {
  for (const message of messages) tab?.world.socket.says(message);
  await advance(0);
}

const ids = (tab: BrowserTab | undefined): unknown[] => tab?.world.messages.map(({ id }) => id) ?? [];
const cursors = (tabs: BrowserTab[]): unknown[] => tabs.map(({ world }) => world.client.cursors.user);

test("each tab has its own place, and says hello by the leader, one at a time", async () => {
  const browser = new Browser();
  const tabs = [...(await connected(2, browser)), browser.tab("user-1", { cursors: { user: "e:4" } })];
  tabs[2]?.world.client.connect();
  await advance(0);
  const { socket } = (tabs[0] as BrowserTab).world;
  expect(socket.hellos).toHaveLength(1);
  await says(tabs[0], page("e:5", { last: false }));
  expect(socket.hellos).toHaveLength(1);
  await says(tabs[0], page("e:5"));
  expect(socket.hellos).toHaveLength(2);
  expect(cursors(tabs)).toEqual(["e:5", undefined, "e:4"]);
  await says(tabs[0], page("e:5"));
  await says(tabs[0], page("e:6"));
  expect(cursors(tabs)).toEqual(["e:5", "e:5", "e:6"]);
  expect(tabs.map(({ world }) => world.client.state.recovered)).toEqual([true, true, true]);
});

test("tabs that are equally far say hello together, so that a server refuses none of many", async () => {
  const tabs = await welcomed(12);
  tabs[0]?.dies();
  await advance(0);
  const leader = tabs[1] as BrowserTab;
  leader.world.socket.opens();
  await advance(0);
  await says(leader, page("e:6", { messages: [note(6)] }));
  await says(leader, page("e:7", { messages: [note(6), note(7)] }));
  expect(leader.world.socket.hellos).toEqual(["e:5", "e:5"]);
  for (const tab of tabs.slice(2)) expect(ids(tab)).toEqual(["e:6", "e:7"]);
  expect(ids(leader)).toEqual(["e:6"]);
});

test("what is said live reaches each tab once and in order, whatever the others ask for", async () => {
  const tabs = await welcomed(2);
  await says(tabs[0], note(6), state(1), note(6));
  expect(tabs.map(ids)).toEqual([
    ["e:6", "e:upload:a:1"],
    ["e:6", "e:upload:a:1"],
  ]);
});

test("a tab that was away hears what it missed, and the others do not hear it again", async () => {
  const tabs = await welcomed(3);
  tabs[1]?.freezes();
  await says(tabs[0], note(6), note(7));
  tabs[1]?.wakes();
  await advance(0);
  expect(tabs[0]?.world.socket.hellos.at(-1)).toBe("e:5");
  // What is said meanwhile waits, but only where there is something to wait for.
  await says(tabs[0], note(8), page("e:7", { messages: [note(6), note(7)] }));
  for (const tab of tabs) expect(ids(tab)).toEqual(["e:6", "e:7", "e:8"]);
});

test("a tab that takes the lead begins with its own cursor, and the others with theirs", async () => {
  const tabs = await welcomed(3);
  tabs[0]?.dies();
  await advance(0);
  const leader = tabs[1] as BrowserTab;
  leader.world.socket.opens();
  await advance(0);
  expect(leader.world.socket.hellos).toEqual(["e:5"]);
  await says(leader, note(8), page("e:7", { messages: [note(6), note(7)] }));
  expect([leader.world.socket.hellos, ids(tabs[2])]).toEqual([["e:5", "e:5"], []]);
  await says(leader, page("e:8", { messages: [note(6), note(7), note(8)] }));
  for (const tab of tabs.slice(1)) expect(ids(tab)).toEqual(["e:6", "e:7", "e:8"]);
});

test("after an interruption every tab asks, and each is told whether something may be missing", async () => {
  const tabs = await welcomed(2);
  const told = vi.fn();
  tabs[1]?.world.client.onState(({ recovered }) => told(recovered));
  for (const epoch of ["f", "g"]) {
    tabs[0]?.world.socket.ends();
    await advance(30_000);
    await advance(0);
    tabs[0]?.world.socket.opens();
    await advance(0);
    const lossy = page(`${epoch}:1`, { recovered: false, messages: [note(1, epoch)] });
    await says(tabs[0], lossy, lossy);
  }
  expect(tabs.map(ids)).toEqual([
    ["f:1", "g:1"],
    ["f:1", "g:1"],
  ]);
  expect(told.mock.calls.flat().filter((recovered) => recovered === false)).toEqual([false, false]);
});

test("that something may be missing is told again and again also to the leader's tab", async () => {
  const [leader] = await welcomed(1);
  const lossy = page("f:9", { recovered: false });
  await says(leader, note(9, "f"));
  await advance(1_000);
  await says(leader, lossy, note(11, "f"));
  await advance(1_000);
  await says(leader, lossy);
  expect(leader?.world.states.filter(({ recovered }) => recovered === false)).toHaveLength(2);
});

test("when the leader's connection is replaced every tab asks on the new one, and nobody notices", async () => {
  const tabs = await welcomed(2, { rotateAfterSeconds: 100 });
  const states = tabs.map(({ world }) => world.client.state.status);
  await advance(105_000);
  const [old, young] = (tabs[0] as BrowserTab).world.sockets;
  young?.opens();
  await advance(0);
  // What the old one brought was lost on the way.
  old?.says(note(9));
  await says(tabs[0], page("e:6", { messages: [note(6)] }));
  await says(tabs[0], page("e:6", { messages: [note(6)] }));
  expect([young?.hellos, tabs.map(ids)]).toEqual([
    ["e:5", "e:5"],
    [["e:6"], ["e:6"]],
  ]);
  expect(tabs.map(({ world }) => world.client.state.status)).toEqual(states);
  expect(tabs[1]?.world.states.map(({ status }) => status)).not.toContain("closed");
});

test("messages to everybody reach every tab by a connection that was replaced, too", async () => {
  const tabs = await welcomed(2, { rotateAfterSeconds: 100 });
  await advance(105_000);
  const [old, young] = (tabs[0] as BrowserTab).world.sockets;
  young?.opens();
  await advance(0);
  for (let answered = 0; answered < 2; answered++) await says(tabs[0], page("e:5"));
  old?.says(PROGRESS);
  young?.says(PROGRESS);
  await advance(0);
  expect(tabs.map(ids)).toEqual([["1"], ["1"]]);
});

test("a follower that misses one asks for it", async () => {
  const tabs = await welcomed(2);
  await advance(2_000);
  tabs[1]?.hangs();
  await says(tabs[0], note(6));
  // It was lost on the way.
  tabs[1]?.loses();
  await says(tabs[0], note(7));
  expect(tabs[0]?.world.socket.hellos.at(-1)).toBe("e:5");
  await says(tabs[0], page("e:7", { messages: [note(6), note(7)] }));
  expect(tabs.map(ids)).toEqual([
    ["e:6", "e:7"],
    ["e:6", "e:7"],
  ]);
});

test("a server that does not know hello says so to each; then everything is passed on", async () => {
  const tabs = await connected(2);
  await says(tabs[0], errorMessage("UNKNOWN_TYPE"), errorMessage("UNKNOWN_TYPE"), note(3), note(9));
  for (const tab of tabs) expect(ids(tab)).toEqual(["e:3", "e:9"]);
  await says(tabs[0], errorMessage("UNKNOWN_TYPE"));
  for (const { world } of tabs) expect(world.messages).toHaveLength(3);
});

test("within a welcome, that a type is not known is the answer to something else", async () => {
  const tabs = await connected(2);
  const unknown = errorMessage("UNKNOWN_TYPE");
  await says(tabs[0], page("e:5", { last: false }), unknown, page("e:5"), page("e:6"));
  expect(cursors(tabs)).toEqual(["e:5", "e:6"]);
  expect(tabs.map(({ world }) => world.messages)).toEqual([[unknown], []]);
});

test("of the hellos of a tab that wait, the newest counts", async () => {
  const tabs = await connected(2);
  const { socket } = (tabs[0] as BrowserTab).world;
  for (let count = 0; count < 3; count++) {
    tabs[1]?.freezes();
    tabs[1]?.wakes();
    await advance(0);
  }
  for (let count = 0; count < 4; count++) await says(tabs[0], page("e:5"));
  expect([socket.hellos.length, cursors(tabs)]).toEqual([2, ["e:5", "e:5"]]);
});

test("followers may ack, cancel and dismiss, and have no token", async () => {
  const tabs = await welcomed(2);
  const follower = tabs[1]?.world as World;
  const { client } = follower;
  const answers = [client.ack(), client.cancel("moc-1"), client.dismiss("moc-1")];
  await advance(0);
  const { sent } = (tabs[0] as BrowserTab).world.socket;
  expect(sent).toMatchObject([
    { type: "ack", cursor: "e:5" },
    { type: "cancel", uploadId: "moc-1" },
    { type: "dismiss", key: "upload:moc-1" },
  ]);
  for (const { id } of sent) await says(tabs[0], { type: "ok", data: { id } });
  expect(await Promise.all(answers)).toEqual([undefined, undefined, undefined]);
  expect(follower.asked).toEqual([]);
});

test("only who leads renews its token", async () => {
  const tabs = await connected(2);
  for (const { world } of tabs) world.getToken = () => "a-new-token";
  const [timestamp, expiresAt] = [0, 300_000].map((later) => new Date(Date.now() + later).toISOString());
  for (let count = 0; count < 2; count++) await says(tabs[0], { ...page("e:5", { expiresAt }), timestamp });
  await advance(239_000);
  expect(tabs.map(({ world }) => world.asked.length)).toEqual([2, 0]);
  expect(tabs[0]?.world.socket.sent.map(({ type }) => type)).toEqual(["auth"]);
});

test("a device that says it is offline, and is not, keeps nobody from following", async () => {
  const tabs = await connected(1);
  const follower = (tabs[0] as BrowserTab).sibling();
  follower.world.isOnline = false;
  follower.world.client.connect();
  await advance(0);
  expect(follower.world.status).toBe("open");
});

test("a tab without others tells nobody", async () => {
  const browser = new Browser();
  const [leader] = await connected(1, browser);
  const heard: unknown[] = [];
  const spy = browser.listens((message) => heard.push((message as { type: string }).type));
  await says(leader, page("e:5"), note(6));
  expect(heard).not.toContain("received");
  spy.close();
});

test("each tab keeps its cursor in its own storage", async () => {
  const items = new Map<string, string>();
  const cursorStorage = { getItem: () => null, setItem: (key: string, value: string) => items.set(key, value) };
  const tabs = await welcomed(2, { cursorStorage });
  await advance(500);
  expect([...items]).toEqual([["tellwire:cursors:wss://gateway.test/live:user-1", '{"user":"e:5","of":"user-1"}']]);
  expect(cursors(tabs)).toEqual(["e:5", "e:5"]);
});

test("only the leader pings the server; a follower watches its leader instead", async () => {
  const tabs = await welcomed(3, { heartbeatSeconds: 10 });
  await advance(10_000);
  expect(tabs[0]?.world.socket.pings).toBe(1);
  await says(tabs[0], { type: "pong" });
  await advance(5_000);
  expect(tabs.map(({ world }) => world.status)).toEqual(["open", "open", "open"]);
});
