// One connection for all tabs: who leads, what the others hear, and who takes over when.

import { afterEach, describe, expect, test, vi } from "vitest";
import { TellwireClient } from "../src/index.js";
import { sharedClient } from "../src/shared.js";
import { Browser, type BrowserTab } from "./browser.js";
import { note, page, state } from "./stream.js";
import { errorMessage, MINUTE, PROGRESS, passes, testsItsTime, World } from "./world.js";

testsItsTime();

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Connect so many tabs of a user; the first one leads, and its connection is open. */
async function connected(count: number, browser = new Browser(), options = {}): Promise<BrowserTab[]> {
  const tabs = Array.from({ length: count }, () => browser.tab("user-1", options));
  for (const tab of tabs) tab.world.client.connect();
  await passes(0);
  tabs[0]?.world.socket.opens();
  await passes(0);
  return tabs;
}

const sockets = (tabs: BrowserTab[]): number[] => tabs.map(({ world }) => world.sockets.length);
const statuses = (tabs: BrowserTab[]): string[] => tabs.map(({ world }) => world.status);
const leaders = (tabs: BrowserTab[]): boolean[] => tabs.map(({ leads }) => leads);

describe("sharing", () => {
  test("tabs have one connection among them, and all are open", async () => {
    const tabs = await connected(3);
    expect(leaders(tabs)).toEqual([true, false, false]);
    expect(sockets(tabs)).toEqual([1, 0, 0]);
    for (const { world } of tabs) expect(world.states.map(({ status }) => status)).toEqual(["connecting", "open"]);
    expect(tabs.map(({ world }) => world.asked.length)).toEqual([1, 0, 0]);
  });

  test("a new client is idle, and connecting at once when told to", () => {
    const { world, listens } = new Browser().tab();
    expect([world.client.state, listens, vi.getTimerCount()]).toEqual([{ status: "idle", attempt: 0 }, 0, 0]);
    world.client.connect();
    expect(world.client.state).toEqual({ status: "connecting", attempt: 1 });
  });

  test("a tab that comes later learns the state", async () => {
    const browser = new Browser();
    await connected(1, browser);
    const late = browser.tab();
    late.world.client.connect();
    await passes(0);
    expect(late.world.client.state).toEqual({ status: "open", attempt: 0 });
    expect(late.world.states.map(({ status }) => status)).toEqual(["connecting", "open"]);
  });

  test("messages reach every tab, once", async () => {
    const tabs = await connected(3);
    tabs[0]?.world.socket.says(PROGRESS);
    tabs[0]?.world.socket.says(PROGRESS);
    await passes(0);
    for (const { world } of tabs) expect(world.messages).toEqual([PROGRESS]);
  });

  test("states reach every tab, and stay the same object until they change", async () => {
    const tabs = await connected(2);
    const follower = tabs[1]?.world as World;
    const { state } = follower.client;
    tabs[0]?.world.shows("wake");
    follower.shows("wake");
    await passes(100);
    expect(follower.client.state).toBe(state);
    tabs[0]?.world.socket.ends(1012);
    await passes(0);
    expect(follower.client.state).toEqual(tabs[0]?.world.client.state);
    expect(follower.client.state).toMatchObject({ status: "waiting", reason: { code: 1012 } });
  });

  test("any tab may send, while the connection is open", async () => {
    const tabs = await connected(2);
    const [leader, follower] = tabs.map(({ world }) => world) as [World, World];
    expect(leader.client.send("hey")).toBe(true);
    expect(follower.client.send("rename_moc", { name: "Ü", at: undefined })).toBe(true);
    await passes(0);
    expect(leader.socket.sent).toEqual([{ type: "hey" }, { type: "rename_moc", data: { name: "Ü" } }]);
    leader.socket.ends(1012);
    await passes(0);
    expect([leader.client.send("hey"), follower.client.send("hey")]).toEqual([false, false]);
  });

  test("connect() of any tab ends the wait", async () => {
    for (const index of [0, 1]) {
      const tabs = await connected(2);
      tabs[0]?.world.socket.ends(1012);
      await passes(0);
      tabs[index]?.world.client.connect();
      await passes(0);
      expect(statuses(tabs)).toEqual(["connecting", "connecting"]);
    }
  });

  test.each(["wake", "online"] as const)("%s in any tab makes the leader look", async (sign) => {
    for (const index of [0, 1]) {
      const tabs = await connected(2);
      tabs[index]?.world.shows(sign);
      await passes(0);
      expect(tabs[0]?.world.socket.pings).toBe(1);
    }
  });

  test("a follower reminds a leader whose timers are late", async () => {
    const tabs = await connected(2);
    tabs[0]?.hides();
    tabs[0]?.world.socket.ends(1012);
    await passes(1_249);
    expect(statuses(tabs)).toEqual(["waiting", "waiting"]);
    await passes(1);
    expect(statuses(tabs)).toEqual(["connecting", "connecting"]);
    // The leader's timer, and the follower's that watches it.
    expect(vi.getTimerCount()).toBe(2);
  });

  test("a follower does not remind a leader that waits for the network", async () => {
    const tabs = await connected(2);
    const leader = tabs[0]?.world as World;
    leader.isOnline = false;
    leader.socket.ends();
    await passes(10_000);
    expect(statuses(tabs)).toEqual(["waiting", "waiting"]);
  });

  test("a reminder of a wait that is over is too late", async () => {
    const browser = new Browser();
    const [leader] = (await connected(1, browser)) as [BrowserTab];
    leader.world.socket.ends(1012);
    const { state } = leader.world.client;
    browser.hears({ is: "connect", retryAt: 1 });
    await passes(0);
    expect(leader.world.client.state).toBe(state);
    browser.hears({ is: "connect", retryAt: state.retryAt });
    await passes(0);
    expect(leader.world.status).toBe("connecting");
  });

  test("users, and gateways, have connections of their own", async () => {
    const browser = new Browser();
    const tabs = [browser.tab("user-1"), browser.tab("user-2"), browser.tab("user-1", { url: "wss://other.test" })];
    for (const { world } of tabs) world.client.connect();
    await passes(0);
    expect(sockets(tabs)).toEqual([1, 1, 1]);
  });

  test("what is no gateway's address is refused at once", () => {
    const { world } = new Browser().tab("user-1", { url: "ftp://gateway.test" });
    expect(() => world.client.connect()).toThrow("url: got");
    expect(world.status).toBe("idle");
  });
});

describe("handing over", () => {
  async function takesOver(tabs: BrowserTab[]): Promise<void> {
    await passes(0);
    tabs[1]?.world.socket.opens();
    await passes(0);
  }

  test("when the leader closes, the next tab connects, and the others follow it", async () => {
    const tabs = await connected(3);
    tabs[0]?.world.client.close();
    await passes(0);
    expect(statuses(tabs)).toEqual(["closed", "connecting", "connecting"]);
    await takesOver(tabs);
    expect(statuses(tabs)).toEqual(["closed", "open", "open"]);
    expect(sockets(tabs)).toEqual([1, 1, 0]);
    expect(tabs[0]?.world.socket.closedWith).toBe(1000);
    tabs[1]?.world.socket.says(PROGRESS);
    await passes(0);
    expect(tabs.map(({ world }) => world.messages.length)).toEqual([0, 1, 1]);
  });

  test("a message that both connections bring is passed on once", async () => {
    const tabs = await connected(3);
    tabs[0]?.world.socket.says(PROGRESS);
    await passes(0);
    tabs[0]?.world.client.close();
    await takesOver(tabs);
    tabs[1]?.world.socket.says(PROGRESS);
    await passes(0);
    expect(tabs.map(({ world }) => world.messages.length)).toEqual([1, 1, 1]);
  });

  test("when the leader dies, too", async () => {
    const tabs = await connected(3);
    tabs[0]?.dies();
    await takesOver(tabs);
    expect(statuses(tabs).slice(1)).toEqual(["open", "open"]);
  });

  test("a follower that closes is not heard of again, and never leads", async () => {
    const tabs = await connected(3);
    tabs[1]?.world.client.close();
    tabs[0]?.world.client.close();
    await passes(MINUTE);
    expect(statuses(tabs)).toEqual(["closed", "closed", "connecting"]);
    expect(sockets(tabs)).toEqual([1, 0, 4]);
    expect(tabs[1]?.listens).toBe(0);
  });

  test("when all have closed, nothing is left running", async () => {
    const browser = new Browser();
    const tabs = await connected(3, browser);
    for (const { world } of tabs) world.client.close();
    await passes(0);
    expect([vi.getTimerCount(), browser.channels.size, browser.locks.holders.length]).toEqual([0, 0, 0]);
    expect(tabs.map(({ listens }) => listens)).toEqual([0, 0, 0]);
  });

  test("also not when they were waiting", async () => {
    const tabs = await connected(2);
    tabs[0]?.world.socket.ends(1012);
    await passes(0);
    tabs[1]?.world.client.close();
    tabs[0]?.world.client.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("a tab that closed may connect again, and heeds its page again, once", async () => {
    const tabs = await connected(2);
    tabs[0]?.world.client.close();
    tabs[0]?.world.client.connect();
    tabs[0]?.world.client.connect();
    expect(tabs[0]?.listens).toBe(2);
    await takesOver(tabs);
    expect(statuses(tabs)).toEqual(["open", "open"]);
    expect(leaders(tabs)).toEqual([false, true]);
  });

  test("close() and connect() in one task leave one connection", async () => {
    const { world } = new Browser().tab();
    world.client.connect();
    world.client.close();
    world.client.connect();
    await passes(0);
    world.socket.opens();
    expect([world.status, world.sockets.length]).toEqual(["open", 1]);
  });

  test("a leader that freezes hands over, and follows when it wakes up", async () => {
    const tabs = await connected(2);
    tabs[0]?.freezes();
    await takesOver(tabs);
    expect([statuses(tabs)[1], leaders(tabs)]).toEqual(["open", [false, true]]);
    tabs[0]?.wakes();
    await passes(0);
    tabs[1]?.world.socket.says(PROGRESS);
    await passes(0);
    expect(tabs.map(({ world }) => world.messages.length)).toEqual([1, 1]);
    expect(sockets(tabs)).toEqual([1, 1]);
  });

  test("a follower that is frozen is not given the lead", async () => {
    const tabs = await connected(3);
    tabs[1]?.freezes();
    tabs[0]?.world.client.close();
    await passes(0);
    expect(leaders(tabs)).toEqual([false, false, true]);
  });

  test("a leader that hangs loses the lead to a tab that woke up, within four seconds", async () => {
    const browser = new Browser();
    const tabs = await connected(3, browser);
    tabs[0]?.hangs();
    tabs[1]?.world.shows("wake");
    await passes(2_999);
    expect(leaders(tabs)).toEqual([true, false, false]);
    await passes(1);
    await takesOver(tabs);
    expect(leaders(tabs)).toEqual([false, true, false]);
    expect(statuses(tabs).slice(1)).toEqual(["open", "open"]);
    expect(browser.channels.size).toBe(3);
  });

  test("a leader that hangs loses the lead after a minute of silence, to one tab", async () => {
    const tabs = await connected(3);
    tabs.forEach(({ world }, index) => {
      world.luck = index / 3;
    });
    tabs[0]?.hangs();
    await passes(MINUTE + 2_600);
    expect(leaders(tabs)).toEqual([true, false, false]);
    await passes(MINUTE);
    expect(leaders(tabs)).toEqual([false, true, false]);
    expect(sockets(tabs)[2]).toBe(0);
  });

  test("a leader that was only silent keeps the lead", async () => {
    const tabs = await connected(3, new Browser(), { heartbeatSeconds: 0 });
    await passes(10 * MINUTE);
    expect([sockets(tabs), leaders(tabs)]).toEqual([
      [1, 0, 0],
      [true, false, false],
    ]);
  });

  test("a leader that lost the lead closes its connection and follows", async () => {
    const tabs = await connected(2);
    tabs[0]?.hangs();
    tabs[1]?.world.shows("wake");
    await passes(3_000);
    await takesOver(tabs);
    tabs[0]?.goesOn();
    await passes(0);
    expect(tabs[0]?.world.socket.closedWith).toBe(1000);
    expect([statuses(tabs), leaders(tabs)]).toEqual([
      ["open", "open"],
      [false, true],
    ]);
    tabs[1]?.world.client.close();
    await passes(0);
    expect(leaders(tabs)).toEqual([true, false]);
  });

  test("a tab that closes as it loses the lead stays closed", async () => {
    const browser = new Browser();
    const tabs = await connected(2, browser);
    tabs[0]?.hangs();
    tabs[1]?.world.shows("wake");
    await passes(3_000);
    tabs[0]?.world.client.close();
    tabs[0]?.goesOn();
    await takesOver(tabs);
    expect([statuses(tabs), browser.channels.size]).toEqual([["closed", "open"], 1]);
  });

  test("a new tab does not wait for a leader that hangs", async () => {
    const browser = new Browser();
    const [leader] = await connected(1, browser);
    leader?.hangs();
    const tab = browser.tab();
    tab.world.client.connect();
    await passes(4_000);
    expect(tab.leads).toBe(true);
  });

  test("a connection closed for good is so in every tab, and any may begin anew", async () => {
    const browser = new Browser();
    const tabs = await connected(3, browser);
    tabs[0]?.world.socket.ends(4403);
    await passes(MINUTE);
    for (const { world } of tabs)
      expect(world.client.state).toMatchObject({ status: "closed", reason: { code: 4403 } });
    expect([sockets(tabs), vi.getTimerCount(), browser.channels.size]).toEqual([[1, 0, 0], 0, 0]);
    tabs[1]?.world.client.connect();
    await passes(0);
    expect(sockets(tabs)).toEqual([1, 1, 0]);
  });
});

describe("what is said to the user", () => {
  /** Connect so many tabs, of which each was told at which place it is. */
  async function welcomed(count: number, options = {}): Promise<BrowserTab[]> {
    const tabs = await connected(count, new Browser(), { heartbeatSeconds: 0, ...options });
    for (let answered = 0; answered < count; answered++) await says(tabs[0], page("e:5"));
    return tabs;
  }

  /** Have the server say something on the newest connection of a tab. */
  async function says(tab: BrowserTab | undefined, ...messages: object[]): Promise<void> {
    for (const message of messages) tab?.world.socket.says(message);
    await passes(0);
  }

  const ids = (tab: BrowserTab | undefined): unknown[] => tab?.world.messages.map(({ id }) => id) ?? [];
  const cursors = (tabs: BrowserTab[]): unknown[] => tabs.map(({ world }) => world.client.cursor);

  test("each tab has its own place, and says hello by the leader, one at a time", async () => {
    const tabs = await connected(3);
    const { socket } = (tabs[0] as BrowserTab).world;
    expect(socket.hellos).toHaveLength(1);
    await says(tabs[0], page("e:5", { last: false }));
    expect(socket.hellos).toHaveLength(1);
    await says(tabs[0], page("e:5"));
    expect(socket.hellos).toHaveLength(2);
    expect(cursors(tabs)).toEqual(["e:5", undefined, undefined]);
    await says(tabs[0], page("e:5"));
    await says(tabs[0], page("e:6"));
    expect(cursors(tabs)).toEqual(["e:5", "e:5", "e:6"]);
    expect(tabs.map(({ world }) => world.client.state.recovered)).toEqual([true, true, true]);
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
    await passes(0);
    expect(tabs[0]?.world.socket.hellos.at(-1)).toBe("e:5");
    // What is said meanwhile waits, but only where there is something to wait for.
    await says(tabs[0], note(8), page("e:7", { messages: [note(6), note(7)] }));
    for (const tab of tabs) expect(ids(tab)).toEqual(["e:6", "e:7", "e:8"]);
  });

  test("a tab that takes the lead begins with its own cursor, and the others with theirs", async () => {
    const tabs = await welcomed(3);
    tabs[0]?.dies();
    await passes(0);
    const leader = tabs[1] as BrowserTab;
    leader.world.socket.opens();
    await passes(0);
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
      await passes(30_000);
      await passes(0);
      tabs[0]?.world.socket.opens();
      await passes(0);
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
    await passes(1_000);
    await says(leader, lossy, note(11, "f"));
    await passes(1_000);
    await says(leader, lossy);
    expect(leader?.world.states.filter(({ recovered }) => recovered === false)).toHaveLength(2);
  });

  test("when the leader's connection is replaced every tab asks on the new one, and nobody notices", async () => {
    const tabs = await welcomed(2, { replaceSeconds: 100 });
    const states = tabs.map(({ world }) => world.client.state.status);
    await passes(105_000);
    const [old, young] = (tabs[0] as BrowserTab).world.sockets;
    young?.opens();
    await passes(0);
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
    const tabs = await welcomed(2, { replaceSeconds: 100 });
    await passes(105_000);
    const [old, young] = (tabs[0] as BrowserTab).world.sockets;
    young?.opens();
    await passes(0);
    old?.says(PROGRESS);
    young?.says(PROGRESS);
    await passes(0);
    expect(tabs.map(ids)).toEqual([["1"], ["1"]]);
  });

  test("a follower that misses one asks for it", async () => {
    const tabs = await welcomed(2);
    await passes(2_000);
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
      await passes(0);
    }
    for (let count = 0; count < 4; count++) await says(tabs[0], page("e:5"));
    expect([socket.hellos.length, cursors(tabs)]).toEqual([2, ["e:5", "e:5"]]);
  });

  test("followers may ack and cancel, and have no token", async () => {
    const tabs = await welcomed(2);
    const follower = tabs[1]?.world as World;
    expect([follower.client.ack(), follower.client.cancel("moc-1")]).toEqual([true, true]);
    await passes(0);
    expect(tabs[0]?.world.socket.sent).toEqual([
      { type: "ack", cursor: "e:5" },
      { type: "cancel", uploadId: "moc-1" },
    ]);
    expect(follower.asked).toEqual([]);
  });

  test("only who leads renews its token", async () => {
    const tabs = await connected(2);
    const [timestamp, expiresAt] = [0, 300_000].map((later) => new Date(Date.now() + later).toISOString());
    for (let count = 0; count < 2; count++) await says(tabs[0], { ...page("e:5", { expiresAt }), timestamp });
    await passes(239_000);
    expect(tabs.map(({ world }) => world.asked.length)).toEqual([2, 0]);
    expect(tabs[0]?.world.socket.sent.map(({ type }) => type)).toEqual(["auth"]);
  });

  test("a device that says it is offline, and is not, keeps nobody from following", async () => {
    const tabs = await connected(1);
    const follower = (tabs[0] as BrowserTab).sibling();
    follower.world.isOnline = false;
    follower.world.client.connect();
    await passes(0);
    expect(follower.world.status).toBe("open");
  });

  test("a tab without others tells nobody", async () => {
    const browser = new Browser();
    const [leader] = await connected(1, browser);
    const heard: unknown[] = [];
    const spy = browser.listens((saying) => heard.push((saying as { is: string }).is));
    await says(leader, page("e:5"), note(6));
    expect(heard).not.toContain("received");
    spy.close();
  });

  test("each tab keeps its cursor in its own storage", async () => {
    const items = new Map<string, string>();
    const cursorStorage = { getItem: () => null, setItem: (key: string, value: string) => items.set(key, value) };
    const tabs = await welcomed(2, { cursorStorage });
    await passes(500);
    expect([...items]).toEqual([["tellwire:cursor:wss://gateway.test/live:user-1", "e:5"]]);
    expect(cursors(tabs)).toEqual(["e:5", "e:5"]);
  });
});

test("real channels carry what tabs say", async () => {
  vi.useRealTimers();
  const browser = new Browser();
  const environment = { BroadcastChannel } as object;
  const tabs = [browser.tab("user-1", { environment }), browser.tab("user-1", { environment })];
  const [leader, follower] = tabs.map(({ world }) => world) as [World, World];
  leader.client.connect();
  await vi.waitFor(() => leader.socket.opens());
  follower.client.connect();
  await vi.waitFor(() => expect(follower.client.state).toEqual({ status: "open", attempt: 0 }));
  leader.socket.says(PROGRESS);
  follower.client.send("hey", { name: "Ü" });
  await vi.waitFor(() => expect(follower.messages).toEqual([PROGRESS]));
  await vi.waitFor(() => expect(leader.socket.sent).toEqual([{ type: "hey", data: { name: "Ü" } }]));
  leader.client.close();
  await vi.waitFor(() => follower.socket.opens());
  expect(statuses(tabs)).toEqual(["closed", "open"]);
  follower.client.close();
});

describe("without what it takes", () => {
  test.each(["locks", "BroadcastChannel"])("a browser without %s has a connection for each tab", (missing) => {
    const world = new World({}, (options) =>
      sharedClient({ ...options, user: "user-1", environment: { ...options.environment, [missing]: undefined } }),
    );
    expect(world.client).toBeInstanceOf(TellwireClient);
  });

  test("locks and channels are the browser's, if none are given", () => {
    const options = { url: "wss://gateway.test", user: "user-1", getToken: () => "a-token" };
    vi.stubGlobal("navigator", { locks: {} });
    expect(sharedClient(options)).not.toBeInstanceOf(TellwireClient);
    vi.stubGlobal("navigator", {});
    expect(sharedClient(options)).toBeInstanceOf(TellwireClient);
  });

  test("a page that is denied locks has a connection of its own", async () => {
    const request = (): Promise<never> => Promise.reject(new DOMException("denied", "SecurityError"));
    const BroadcastChannel = class {
      onmessage = null;
      postMessage(): void {}
      close(): void {}
    };
    const environment = { locks: { request }, BroadcastChannel } as object;
    const world = new World({ environment }, (options) => sharedClient({ ...options, user: "user-1" }));
    await world.opens();
    await passes(MINUTE);
    expect([world.status, world.sockets.length]).toEqual(["open", 1]);
  });

  test.each(["pagehide", "freeze"])("a page gives the lead back on %s", async (name) => {
    const page = new EventTarget();
    const added = vi.spyOn(page, "addEventListener");
    const removed = vi.spyOn(page, "removeEventListener");
    vi.stubGlobal("window", page);
    vi.stubGlobal("document", page);
    let isLeading = false;
    const request = async (_name: string, _options: object, lead: () => Promise<void>): Promise<void> => {
      isLeading = true;
      await lead();
      isLeading = false;
    };
    const { onSign: _, ...environment } = { ...new World().environment(), locks: { request } };
    const client = sharedClient({ url: "wss://gateway.test", user: "user-1", getToken: () => "a-token", environment });
    client.connect();
    page.dispatchEvent(new Event(name));
    await passes(0);
    expect(isLeading).toBe(false);
    page.dispatchEvent(new Event("pageshow"));
    expect(isLeading).toBe(true);
    client.close();
    await passes(0);
    page.dispatchEvent(new Event("pageshow"));
    expect(isLeading).toBe(false);
    expect(removed.mock.calls).toEqual(added.mock.calls);
  });
});
