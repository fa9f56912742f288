// Shared connections: the leader, its followers, and the election of another leader.

import { afterEach, describe, expect, test, vi } from "vitest";
import { TellwireClient } from "../src/index.js";
import { sharedClient } from "../src/shared.js";
import { Browser, type BrowserTab, connected as connectedBy, leaders, sockets, statuses } from "./browser.js";
import { advance, MINUTE, PROGRESS, useFakeTime, World } from "./world.js";

useFakeTime();

afterEach(() => {
  vi.unstubAllGlobals();
});

/** For a server that does not know hello, so that nothing waits for a welcome. */
const PLAIN = { recover: false };

function connected(count: number, browser = new Browser(undefined, PLAIN), options = {}): Promise<BrowserTab[]> {
  return connectedBy(count, browser, options);
}

describe("sharing", () => {
  test("tabs have one connection among them, and all are open", async () => {
    const tabs = await connected(3);
    expect(leaders(tabs)).toEqual([true, false, false]);
    expect(sockets(tabs)).toEqual([1, 0, 0]);
    for (const { world } of tabs) expect(world.states.map(({ status }) => status)).toEqual(["connecting", "open"]);
    expect(tabs.map(({ world }) => world.asked.length)).toEqual([1, 0, 0]);
  });

  test("a new client is idle, and connecting at once when told to", () => {
    const { world, listens } = new Browser(undefined, PLAIN).tab();
    expect([world.client.state, listens, vi.getTimerCount()]).toEqual([
      { status: "idle", attempt: 0, user: "user-1" },
      0,
      0,
    ]);
    world.client.connect();
    expect(world.client.state).toEqual({ status: "connecting", attempt: 1, user: "user-1" });
  });

  test("a tab that comes later learns the state", async () => {
    const browser = new Browser(undefined, PLAIN);
    await connected(1, browser);
    const late = browser.tab();
    late.world.client.connect();
    await advance(0);
    expect(late.world.client.state).toEqual({ status: "open", attempt: 0, user: "user-1" });
    expect(late.world.states.map(({ status }) => status)).toEqual(["connecting", "open"]);
  });

  test("messages reach every tab, once", async () => {
    const tabs = await connected(3);
    tabs[0]?.world.socket.says(PROGRESS);
    tabs[0]?.world.socket.says(PROGRESS);
    await advance(0);
    for (const { world } of tabs) expect(world.messages).toEqual([PROGRESS]);
  });

  test("states reach every tab, and stay the same object until they change", async () => {
    const tabs = await connected(2);
    const follower = tabs[1]?.world as World;
    const { state } = follower.client;
    tabs[0]?.world.shows("wake");
    follower.shows("wake");
    await advance(100);
    expect(follower.client.state).toBe(state);
    tabs[0]?.world.socket.ends(1012);
    await advance(0);
    expect(follower.client.state).toEqual(tabs[0]?.world.client.state);
    expect(follower.client.state).toMatchObject({ status: "waiting", reason: { code: 1012 } });
  });

  test("any tab may send, and what is not answered is repeated on the next connection", async () => {
    const tabs = await connected(2);
    const [leader, follower] = tabs.map(({ world }) => world) as [World, World];
    leader.client.send("hey");
    follower.client.send("rename_moc", { name: "Ü", at: undefined });
    await advance(0);
    const sent = [{ type: "hey" }, { type: "rename_moc", data: { name: "Ü" } }];
    expect(leader.socket.sent).toMatchObject(sent);
    leader.socket.ends(1012);
    await advance(1_000);
    leader.socket.opens();
    await advance(0);
    expect(leader.socket.sent).toMatchObject(sent);
  });

  test("connect() of any tab ends the wait", async () => {
    for (const index of [0, 1]) {
      const tabs = await connected(2);
      tabs[0]?.world.socket.ends(1012);
      await advance(0);
      tabs[index]?.world.client.connect();
      await advance(0);
      expect(statuses(tabs)).toEqual(["connecting", "connecting"]);
    }
  });

  test.each(["wake", "online"] as const)("%s in any tab makes the leader look", async (sign) => {
    for (const index of [0, 1]) {
      const tabs = await connected(2);
      tabs[index]?.world.shows(sign);
      await advance(0);
      expect(tabs[0]?.world.socket.pings).toBe(1);
    }
  });

  test("a follower reminds a leader whose timers are late", async () => {
    const tabs = await connected(2);
    tabs[0]?.hides();
    tabs[0]?.world.socket.ends(1012);
    await advance(1_249);
    expect(statuses(tabs)).toEqual(["waiting", "waiting"]);
    await advance(1);
    expect(statuses(tabs)).toEqual(["connecting", "connecting"]);
    // The timers of both clients, and the follower's that watches the leader.
    expect(vi.getTimerCount()).toBe(3);
  });

  test("a follower does not remind a leader that waits for the network", async () => {
    const tabs = await connected(2);
    const leader = tabs[0]?.world as World;
    leader.isOnline = false;
    leader.socket.ends();
    await advance(10_000);
    expect(statuses(tabs)).toEqual(["waiting", "waiting"]);
  });

  test("a leader that is asked during a wait goes on waiting", async () => {
    const browser = new Browser(undefined, PLAIN);
    const [leader] = (await connected(1, browser)) as [BrowserTab];
    leader.world.socket.ends(1012);
    browser.posts({ type: "ask" });
    await advance(0);
    expect(leader.world.status).toBe("waiting");
  });

  test("users, and gateways, have connections of their own", async () => {
    const browser = new Browser(undefined, PLAIN);
    const tabs = [browser.tab("user-1"), browser.tab("user-2"), browser.tab("user-1", { url: "wss://other.test" })];
    for (const { world } of tabs) world.client.connect();
    await advance(0);
    expect(sockets(tabs)).toEqual([1, 1, 1]);
  });

  test("what is no gateway's address is refused at once", () => {
    expect(() => new Browser(undefined, PLAIN).tab("user-1", { url: "ftp://gateway.test" })).toThrow("url: got");
  });
});

describe("handing over", () => {
  async function takesOver(tabs: BrowserTab[]): Promise<void> {
    await advance(0);
    tabs[1]?.world.socket.opens();
    await advance(0);
  }

  test("when the leader closes, the next tab connects, and the others follow it", async () => {
    const tabs = await connected(3);
    tabs[0]?.world.client.close();
    await advance(0);
    expect(statuses(tabs)).toEqual(["closed", "connecting", "connecting"]);
    await takesOver(tabs);
    expect(statuses(tabs)).toEqual(["closed", "open", "open"]);
    expect(sockets(tabs)).toEqual([1, 1, 0]);
    expect(tabs[0]?.world.socket.closedWith).toBe(1000);
    tabs[1]?.world.socket.says(PROGRESS);
    await advance(0);
    expect(tabs.map(({ world }) => world.messages.length)).toEqual([0, 1, 1]);
  });

  test("a message that both connections bring is passed on once", async () => {
    const tabs = await connected(3);
    tabs[0]?.world.socket.says(PROGRESS);
    await advance(0);
    tabs[0]?.world.client.close();
    await takesOver(tabs);
    tabs[1]?.world.socket.says(PROGRESS);
    await advance(0);
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
    await advance(MINUTE);
    expect(statuses(tabs)).toEqual(["closed", "closed", "connecting"]);
    expect(sockets(tabs)).toEqual([1, 0, 4]);
    expect(tabs[1]?.listens).toBe(0);
  });

  test("when all have closed, nothing is left running", async () => {
    const browser = new Browser(undefined, PLAIN);
    const tabs = await connected(3, browser);
    for (const { world } of tabs) world.client.close();
    await advance(0);
    expect([vi.getTimerCount(), browser.channels.size, browser.locks.holders.length]).toEqual([0, 0, 0]);
    expect(tabs.map(({ listens }) => listens)).toEqual([0, 0, 0]);
  });

  test("also not when they were waiting", async () => {
    const tabs = await connected(2);
    tabs[0]?.world.socket.ends(1012);
    await advance(0);
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
    const { world } = new Browser(undefined, PLAIN).tab();
    world.client.connect();
    world.client.close();
    world.client.connect();
    await advance(0);
    world.socket.opens();
    await advance(0);
    expect([world.status, world.sockets.length]).toEqual(["open", 1]);
  });

  test("a leader that freezes hands over, and follows when it wakes up", async () => {
    const tabs = await connected(2);
    tabs[0]?.freezes();
    await takesOver(tabs);
    expect([statuses(tabs)[1], leaders(tabs)]).toEqual(["open", [false, true]]);
    tabs[0]?.wakes();
    await advance(0);
    tabs[1]?.world.socket.says(PROGRESS);
    await advance(0);
    expect(tabs.map(({ world }) => world.messages.length)).toEqual([1, 1]);
    expect(sockets(tabs)).toEqual([1, 1]);
  });

  test("a follower that is frozen is not given the lead", async () => {
    const tabs = await connected(3);
    tabs[1]?.freezes();
    tabs[0]?.world.client.close();
    await advance(0);
    expect(leaders(tabs)).toEqual([false, false, true]);
  });

  test("a leader that hangs loses the lead to a tab that woke up, within four seconds", async () => {
    const browser = new Browser(undefined, PLAIN);
    const tabs = await connected(3, browser);
    tabs[0]?.hangs();
    tabs[1]?.world.shows("wake");
    await advance(2_999);
    expect(leaders(tabs)).toEqual([true, false, false]);
    await advance(1);
    await takesOver(tabs);
    expect(leaders(tabs)).toEqual([false, true, false]);
    expect(statuses(tabs).slice(1)).toEqual(["open", "open"]);
    expect(browser.channels.size).toBe(3);
  });

  test("a leader that hangs loses the lead within ten seconds, to one tab that is shown", async () => {
    const tabs = await connected(4);
    tabs.forEach(({ world }, index) => {
      world.random = index / 4;
    });
    tabs[1]?.hides();
    tabs[0]?.hangs();
    await advance(7_900);
    expect(leaders(tabs)).toEqual([true, false, false, false]);
    await advance(2_100);
    expect(leaders(tabs)).toEqual([false, false, true, false]);
    expect(sockets(tabs)).toEqual([1, 0, 1, 0]);
  });

  test("where all other tabs are hidden it loses the lead after a minute or more", async () => {
    const tabs = await connected(2);
    tabs[1]?.hides();
    await advance(5_000);
    tabs[0]?.hangs();
    await advance(MINUTE);
    expect(leaders(tabs)).toEqual([true, false]);
    await advance(5 * MINUTE);
    expect(leaders(tabs)).toEqual([false, true]);
  });

  test("a leader that is hidden and has late timers keeps the lead", async () => {
    const tabs = await connected(3, new Browser(undefined, PLAIN), { heartbeatSeconds: 0 });
    tabs[0]?.hides();
    await advance(10 * MINUTE);
    expect([sockets(tabs), leaders(tabs)]).toEqual([
      [1, 0, 0],
      [true, false, false],
    ]);
  });

  test("tabs that are shown cost one question in five seconds among them", async () => {
    const browser = new Browser(undefined, PLAIN);
    await connected(3, browser, { heartbeatSeconds: 0 });
    await advance(MINUTE);
    const heard: unknown[] = [];
    const spy = browser.listens((message) => heard.push((message as { type: string }).type));
    await advance(MINUTE);
    expect(heard.filter((type) => type === "ask").length).toBeLessThanOrEqual(13);
    expect(heard.length).toBeLessThanOrEqual(26);
    spy.close();
  });

  test("hidden tabs ask once a minute", async () => {
    const browser = new Browser(undefined, PLAIN);
    const tabs = await connected(2, browser, { heartbeatSeconds: 0 });
    tabs[1]?.hides(0);
    await advance(MINUTE);
    const heard: unknown[] = [];
    const spy = browser.listens((message) => heard.push((message as { type: string }).type));
    await advance(5 * MINUTE);
    expect(heard.filter((type) => type === "ask").length).toBe(5);
    spy.close();
  });

  test("a tab that hung itself asks again before it takes the lead", async () => {
    const tabs = await connected(2, new Browser(undefined, PLAIN), { heartbeatSeconds: 0 });
    tabs[1]?.world.shows("wake");
    tabs[1]?.hangs();
    await advance(MINUTE);
    tabs[1]?.goesOn();
    await advance(MINUTE);
    expect([sockets(tabs), leaders(tabs)]).toEqual([
      [1, 0],
      [true, false],
    ]);
  });

  test("a leader that hung and goes on is followed by nobody, whatever it says", async () => {
    const tabs = await connected(3);
    tabs.forEach(({ world }, index) => {
      world.random = index / 3;
    });
    tabs[0]?.hangs();
    await advance(10_000);
    await takesOver(tabs);
    // Before it is told that its lock was stolen.
    tabs[0]?.world.socket.says({ ...PROGRESS, id: "late" });
    tabs[0]?.goesOn();
    tabs[0]?.world.socket.says({ ...PROGRESS, id: "later" });
    tabs[0]?.world.socket.ends(1012);
    await advance(0);
    expect(tabs[2]?.world.messages).toEqual([]);
    expect(statuses(tabs)).toEqual(["open", "open", "open"]);
    await advance(30_000);
    expect(tabs[1]?.world.sockets.length).toBe(1);
    expect(leaders(tabs)).toEqual([false, true, false]);
  });

  test("a leader that was only silent keeps the lead", async () => {
    const tabs = await connected(3, new Browser(undefined, PLAIN), { heartbeatSeconds: 0 });
    await advance(10 * MINUTE);
    expect([sockets(tabs), leaders(tabs)]).toEqual([
      [1, 0, 0],
      [true, false, false],
    ]);
  });

  test("a leader that lost the lead closes its connection and follows", async () => {
    const tabs = await connected(2);
    tabs[0]?.hangs();
    tabs[1]?.world.shows("wake");
    await advance(3_000);
    await takesOver(tabs);
    tabs[0]?.goesOn();
    await advance(0);
    expect(tabs[0]?.world.socket.closedWith).toBe(1000);
    expect([statuses(tabs), leaders(tabs)]).toEqual([
      ["open", "open"],
      [false, true],
    ]);
    tabs[1]?.world.client.close();
    await advance(0);
    expect(leaders(tabs)).toEqual([true, false]);
  });

  test("a tab that closes as it loses the lead stays closed", async () => {
    const browser = new Browser(undefined, PLAIN);
    const tabs = await connected(2, browser);
    tabs[0]?.hangs();
    tabs[1]?.world.shows("wake");
    await advance(3_000);
    tabs[0]?.world.client.close();
    tabs[0]?.goesOn();
    await takesOver(tabs);
    expect([statuses(tabs), browser.channels.size]).toEqual([["closed", "open"], 1]);
  });

  test("a new tab does not wait for a leader that hangs", async () => {
    const browser = new Browser(undefined, PLAIN);
    const [leader] = await connected(1, browser);
    leader?.hangs();
    const tab = browser.tab();
    tab.world.client.connect();
    await advance(4_000);
    expect(tab.leads).toBe(true);
  });

  test("a connection closed for good is so in every tab, and any may begin anew", async () => {
    const browser = new Browser(undefined, PLAIN);
    const tabs = await connected(3, browser);
    tabs[0]?.world.socket.ends(4403);
    await advance(MINUTE);
    for (const { world } of tabs)
      expect(world.client.state).toMatchObject({ status: "closed", reason: { code: 4403 } });
    expect([sockets(tabs), vi.getTimerCount(), browser.channels.size]).toEqual([[1, 0, 0], 0, 0]);
    tabs[1]?.world.client.connect();
    await advance(0);
    expect(sockets(tabs)).toEqual([1, 1, 0]);
  });
});

test("real channels carry what tabs say", async () => {
  vi.useRealTimers();
  const browser = new Browser(undefined, PLAIN);
  const environment = { BroadcastChannel } as object;
  const tabs = [browser.tab("user-1", { environment }), browser.tab("user-1", { environment })];
  const [leader, follower] = tabs.map(({ world }) => world) as [World, World];
  leader.client.connect();
  await vi.waitFor(() => leader.socket.opens());
  follower.client.connect();
  await vi.waitFor(() => expect(follower.client.state).toMatchObject({ status: "open" }));
  leader.socket.says(PROGRESS);
  follower.client.send("hey", { name: "Ü" });
  await vi.waitFor(() => expect(follower.messages).toEqual([PROGRESS]));
  await vi.waitFor(() => expect(leader.socket.sent).toMatchObject([{ type: "hey", data: { name: "Ü" } }]));
  leader.client.close();
  await vi.waitFor(() => follower.socket.opens());
  await vi.waitFor(() => expect(statuses(tabs)).toEqual(["closed", "open"]));
  follower.client.close();
});

test.each([undefined, "", null, 7])(
  "without the name of a user (%s) nothing is shared, and it says so at once",
  (user) => {
    const options = { url: "wss://gateway.test", user: user as string, getToken: () => "a-token" };
    expect(() => sharedClient(options)).toThrow(
      new TypeError(`user: got ${user}; allowed: a text that names the user, as their id does`),
    );
  },
);

describe("without what it takes", () => {
  test.each(["locks", "BroadcastChannel"])("a browser without %s has a connection for each tab", (missing) => {
    const world = new World({}, (options) =>
      sharedClient({ ...options, user: "user-1", environment: { ...options.environment, [missing]: undefined } }),
    );
    expect(world.client.constructor).toBe(TellwireClient);
  });

  test("locks and channels are the browser's, if none are given", () => {
    const options = { url: "wss://gateway.test", user: "user-1", getToken: () => "a-token" };
    vi.stubGlobal("navigator", { locks: {} });
    expect(sharedClient(options).constructor).not.toBe(TellwireClient);
    vi.stubGlobal("navigator", {});
    expect(sharedClient(options).constructor).toBe(TellwireClient);
  });

  const denied = (): DOMException => new DOMException("denied", "SecurityError");

  test.each([
    ["rejects", (): Promise<never> => Promise.reject(denied())],
    [
      "throws",
      (): never => {
        throw denied();
      },
    ],
  ])("a page that is denied locks has a connection of its own at once: it %s", async (_how, request) => {
    const browser = new Browser(undefined, PLAIN);
    const tab = browser.tab("user-1", { environment: { locks: { request } } as object });
    await tab.world.opens();
    await advance(MINUTE);
    expect([tab.world.status, tab.world.sockets.length, browser.channels.size]).toEqual(["open", 1, 0]);
    tab.world.client.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("a page that never gets a lock has a connection of its own before long", async () => {
    const request = (): Promise<never> => new Promise(() => {});
    const { world } = new Browser(undefined, PLAIN).tab("user-1", { environment: { locks: { request } } as object });
    world.client.connect();
    await advance(6_000);
    expect(world.sockets.length).toBe(1);
    await advance(MINUTE);
    expect(world.sockets.at(-1)?.closedWith).toBeUndefined();
  });

  test("a page that is denied channels has a connection of its own at once", async () => {
    const BroadcastChannel = class {
      constructor() {
        throw denied();
      }
    };
    const browser = new Browser(undefined, PLAIN);
    const tabs = [0, 1].map(() => browser.tab("user-1", { environment: { BroadcastChannel } as object }));
    for (const { world } of tabs) world.client.connect();
    await advance(0);
    for (const { world } of tabs) world.socket.opens();
    await advance(MINUTE);
    expect([statuses(tabs), tabs.map(({ world }) => world.errors)]).toEqual([
      ["open", "open"],
      [[], []],
    ]);
    tabs[0]?.world.socket.says(PROGRESS);
    await advance(0);
    expect(tabs.map(({ world }) => world.messages.length)).toEqual([1, 0]);
    tabs[0]?.world.client.close();
    expect(statuses(tabs)).toEqual(["closed", "open"]);
  });

  test("tabs with the same locks and other channels, as in partitions, have each a connection that they keep", async () => {
    const browser = new Browser(undefined, PLAIN);
    const tabs = [browser.tab(), new Browser(browser.locks, PLAIN).tab()];
    tabs[0]?.world.client.connect();
    await advance(0);
    tabs[1]?.world.client.connect();
    await advance(10_000);
    for (const { world } of tabs) world.socket.opens();
    const made = sockets(tabs);
    await advance(MINUTE);
    expect(statuses(tabs)).toEqual(["open", "open"]);
    expect(sockets(tabs)).toEqual(made);
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
    const { onPageEvent: _, ...environment } = { ...new World().environment(), locks: { request } };
    const client = sharedClient({ url: "wss://gateway.test", user: "user-1", getToken: () => "a-token", environment });
    client.connect();
    page.dispatchEvent(new Event(name));
    await advance(0);
    expect(isLeading).toBe(false);
    page.dispatchEvent(new Event("pageshow"));
    expect(isLeading).toBe(true);
    client.close();
    await advance(0);
    page.dispatchEvent(new Event("pageshow"));
    expect(isLeading).toBe(false);
    expect(removed.mock.calls).toEqual(added.mock.calls);
  });
});
