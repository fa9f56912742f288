// A client that comes back: when it says hello, what its listeners get, and what it says of it.

import { describe, expect, test, vi } from "vitest";
import type { ConnectionState } from "../src/index.js";
import { note, page, state } from "./stream.js";
import { advance, errorMessage, MINUTE, useFakeTime, World } from "./world.js";

useFakeTime();

/** A page's way to be left: `left` has who wants to know. */
function leaving(): { left: Set<() => void>; onPageHide: (listener: () => void) => () => void } {
  const left = new Set<() => void>();
  const onPageHide = (listener: () => void): (() => void) => {
    left.add(listener);
    return () => left.delete(listener);
  };
  return { left, onPageHide };
}

const hey = { type: "hey", data: null, timestamp: "" };
const ids = (world: World): (string | undefined)[] => world.messages.map(({ id }) => id);

/** A client that was told that it missed nothing, at e:5. */
async function welcomed(options = {}): Promise<World> {
  const world = new World({ heartbeatSeconds: 0, ...options });
  (await world.opens()).says(page("e:5"));
  return world;
}

/** Lose the connection, and come back as far as open. */
async function comesBack(world: World): Promise<void> {
  world.socket.ends();
  await advance(world.wait);
  world.socket.opens();
}

describe("hello", () => {
  test("is the first thing that is said on a connection, with the newest cursor", async () => {
    const world = await welcomed();
    expect([world.socket.hellos, world.client.cursors.user]).toEqual([[undefined], "e:5"]);
    world.socket.says(note(6));
    await comesBack(world);
    expect([world.socket.hellos, world.client.cursors.user]).toEqual([["e:6"], "e:6"]);
  });

  test("brings what was missed before what comes meanwhile, and each once", async () => {
    const world = await welcomed();
    await comesBack(world);
    for (const message of [note(8), state(2), note(6)]) world.socket.says(message);
    expect(world.messages).toEqual([]);
    world.socket.says(page("e:7", { messages: [note(6)], last: false }));
    world.socket.says(page("e:7", { messages: [note(7)], state: [state(1)] }));
    expect(world.messages).toEqual([note(6), note(7), state(1), note(8), state(2)]);
  });

  test("after a close() and a connect(), too", async () => {
    const world = await welcomed();
    world.client.close();
    await world.opens();
    expect(world.socket.hellos).toEqual(["e:5"]);
  });

  test("asks for all that is kept, if that is where the client is to start", async () => {
    const world = new World({ startFrom: "oldest" });
    const socket = await world.opens();
    expect([socket.hellos, world.client.cursors.user]).toEqual([["0"], undefined]);
    socket.says(page("e:2", { messages: [note(1), note(2)] }));
    expect(ids(world)).toEqual(["e:1", "e:2"]);
  });

  test("is said again for a message that leaves one out, at most once a second", async () => {
    const world = await welcomed();
    const { socket } = world;
    socket.says(note(7));
    await advance(999);
    expect([socket.hellos.length, world.messages]).toEqual([1, []]);
    await advance(1);
    expect(socket.hellos).toEqual([undefined, "e:5"]);
    socket.says(page("e:7", { messages: [note(6), note(7)] }));
    await advance(5_000);
    socket.says(note(9));
    await advance(0);
    expect([socket.hellos.length, ids(world)]).toEqual([3, ["e:6", "e:7"]]);
  });

  test("is said once at a time", async () => {
    const world = await welcomed();
    await advance(2_000);
    for (const offset of [7, 9, 11]) world.socket.says(note(offset));
    await advance(3_000);
    expect(world.socket.hellos).toHaveLength(2);
    // This one leaves one out of what the welcome brings.
    world.socket.says(note(13));
    world.socket.says(page("e:11", { messages: [6, 7, 8, 9, 10, 11].map((offset) => note(offset)) }));
    await advance(1_000);
    expect(world.socket.hellos).toEqual([undefined, "e:5", "e:11"]);
  });

  test("waits no longer than a second if the clock is set back", async () => {
    const world = await welcomed();
    vi.setSystemTime(Date.now() - 60 * MINUTE);
    world.socket.says(note(7));
    await advance(1_000);
    expect(world.socket.hellos).toHaveLength(2);
  });

  test("renews the token when the welcome's time says so", async () => {
    const world = new World();
    const socket = await world.opens();
    const [timestamp, expiresAt] = [0, 300_000].map((later) => new Date(Date.now() + later).toISOString());
    socket.says({ ...page("e:5", { expiresAt }), timestamp });
    await advance(211_000);
    expect(world.asked).toEqual(["connect", "renew"]);
  });

  test("is not said where recover is false; then everything is passed on", async () => {
    const world = new World({ recover: false });
    const socket = await world.opens();
    for (const message of [note(9), note(3), state(1), hey]) socket.says(message);
    expect([socket.hellos, world.messages.length]).toEqual([[], 4]);
    expect(world.client.state).toEqual({ status: "open", attempt: 0 });
    await comesBack(world);
    // The server started anew meanwhile.
    world.socket.says(state(1, "upload:a", "f"));
    expect(world.messages).toHaveLength(5);
  });
});

describe("a server that does not know hello", () => {
  test("says so, which stays inside; then everything is passed on", async () => {
    const world = new World();
    const socket = await world.opens();
    socket.says(note(3));
    socket.says(errorMessage("UNKNOWN_TYPE"));
    socket.says(note(9));
    socket.says(errorMessage("UNKNOWN_TYPE"));
    expect(world.messages).toEqual([note(3), note(9), errorMessage("UNKNOWN_TYPE")]);
    expect(world.client.state).toEqual({ status: "open", attempt: 0 });
  });

  test("or says nothing for five seconds", async () => {
    const world = new World();
    const socket = await world.opens();
    socket.says(note(3));
    socket.says(hey);
    await advance(4_999);
    expect(world.messages).toEqual([hey]);
    await advance(1);
    expect(world.messages).toEqual([hey, note(3)]);
    socket.says(note(9));
    expect([world.messages.length, world.client.cursors.user]).toEqual([3, undefined]);
  });

  test("each page has five seconds; and a welcome that comes late is heard, each message once", async () => {
    const world = await welcomed();
    await comesBack(world);
    await advance(4_000);
    world.socket.says(page("e:9", { messages: [note(6)], last: false }));
    world.socket.says(note(8));
    await advance(4_999);
    expect(ids(world)).toEqual(["e:6"]);
    await advance(1);
    expect(ids(world)).toEqual(["e:6", "e:8"]);
    expect(world.client.state).not.toHaveProperty("recovered");
    world.socket.says(page("e:9", { messages: [note(7), note(8), note(9)] }));
    expect(ids(world)).toEqual(["e:6", "e:8", "e:7", "e:9"]);
    expect(world.client.state.recovered).toBe(true);
  });

  test("a device that sleep meanwhile gives it the time anew", async () => {
    const world = await welcomed();
    await comesBack(world);
    vi.setSystemTime(Date.now() + 10 * MINUTE);
    await advance(5_000);
    world.socket.says(note(9));
    expect(world.messages).toEqual([]);
  });
});

describe("recovered", () => {
  const lossy = page("f:2", { recovered: false, messages: [note(1, "f"), note(2, "f")] });
  const seen = (world: World): (boolean | undefined)[] => world.states.map(({ recovered }) => recovered);

  test("is absent until the welcome has ended", async () => {
    const world = new World();
    const socket = await world.opens();
    expect(world.client.state).toEqual({ status: "open", attempt: 0 });
    socket.says(page("e:5", { last: false }));
    expect(world.client.state).not.toHaveProperty("recovered");
    socket.says(page("e:5"));
    expect(world.client.state).toEqual({ status: "open", attempt: 0, recovered: true });
    socket.ends();
    expect(world.client.state).not.toHaveProperty("recovered");
  });

  test("false is told each time, true once", async () => {
    const world = await welcomed();
    await comesBack(world);
    world.socket.says(lossy);
    const states: ConnectionState[] = [world.client.state];
    world.socket.says(note(9, "f"));
    await advance(1_000);
    world.socket.says({ ...lossy, data: { ...(lossy.data as object), messages: [note(9, "f")], cursor: "f:9" } });
    states.push(world.client.state);
    expect(states[0]).toEqual(states[1]);
    expect(states[0]).not.toBe(states[1]);
    expect(seen(world).slice(-3)).toEqual([undefined, false, false]);
    expect(ids(world)).toEqual(["f:1", "f:2", "f:9"]);
  });

  test("a welcome that leaves no doubt changes nothing", async () => {
    const world = await welcomed();
    const { state } = world.client;
    await advance(1_000);
    world.socket.says(note(7));
    await advance(0);
    world.socket.says(page("e:7", { messages: [note(6), note(7)] }));
    expect(world.client.state).toBe(state);
  });

  test("is told also if the connection ended within the welcome that said so", async () => {
    const world = await welcomed();
    await comesBack(world);
    world.socket.says(page("f:2", { recovered: false, messages: [note(1, "f")], last: false }));
    await comesBack(world);
    expect(world.socket.hellos).toEqual(["f:1"]);
    world.socket.says(page("f:2", { messages: [note(2, "f")] }));
    expect([world.client.state.recovered, ids(world)]).toEqual([false, ["f:1", "f:2"]]);
  });
});

describe("while one connection takes over from another", () => {
  async function replaced(): Promise<World> {
    const world = await welcomed({ rotateAfterSeconds: 100 });
    await advance(104_000);
    world.socket.opens();
    return world;
  }

  test("nobody notices, and the new one says hello", async () => {
    const world = await replaced();
    const states = world.states.length;
    expect(world.socket.hellos).toEqual(["e:5"]);
    world.socket.says(page("e:5"));
    expect(world.states).toHaveLength(states);
  });

  test("what the old one brings of the stream does not count, for the new one is told it all", async () => {
    const world = await replaced();
    const [old, young] = world.sockets;
    old?.says(note(6));
    old?.says(hey);
    // A server of another history: a state of the old one would be taken for a newer one.
    old?.says(state(9));
    young?.says(page("f:1", { recovered: false, messages: [note(1, "f")], state: [state(1, "upload:a", "f")] }));
    old?.says(state(10));
    young?.says(state(2, "upload:a", "f"));
    old?.says(page("e:9", { messages: [note(7)] }));
    expect(ids(world)).toEqual([undefined, "f:1", "f:upload:a:1", "f:upload:a:2"]);
  });

  test("what one brings that did not answer counts until there is another", async () => {
    const world = await welcomed({ heartbeatSeconds: 100 });
    const { socket } = world;
    await advance(105_000);
    expect(world.status).toBe("connecting");
    socket.says(note(6));
    socket.says(note(8));
    world.socket.opens();
    expect([ids(world), world.socket.hellos]).toEqual([["e:6"], ["e:6"]]);
    world.socket.says(page("e:8", { messages: [note(7), note(8)] }));
    expect(ids(world)).toEqual(["e:6", "e:7", "e:8"]);
  });
});

describe("the cursor's storage", () => {
  class Shelf {
    readonly items = new Map<string, string>();
    writes = 0;

    getItem(key: string): string | null {
      return this.items.get(key) ?? null;
    }

    setItem(key: string, value: string): void {
      this.writes += 1;
      this.items.set(key, value);
    }
  }

  const KEY = "tellwire:cursor:wss://gateway.test/live:user-1";

  test("has a page that is loaded anew hear what it missed", async () => {
    const cursorStorage = new Shelf();
    const world = await welcomed({ cursorStorage, cursorKey: "user-1" });
    world.socket.says(note(6));
    expect(cursorStorage.items.size).toBe(0);
    await advance(500);
    expect([...cursorStorage.items]).toEqual([[KEY, "e:6"]]);
    const anew = new World({ cursorStorage, cursorKey: "user-1", startFrom: "oldest" });
    expect([(await anew.opens()).hellos, anew.client.cursors.user]).toEqual([["e:6"], "e:6"]);
    const another = new World({ cursorStorage, cursorKey: "user-2" });
    expect((await another.opens()).hellos).toEqual([undefined]);
  });

  test("is written to twice a second, not with every message", async () => {
    const cursorStorage = new Shelf();
    const world = await welcomed({ cursorStorage });
    for (let offset = 6; offset < 106; offset++) {
      world.socket.says(note(offset));
      await advance(10);
    }
    await advance(500);
    expect(cursorStorage.writes).toBeLessThanOrEqual(3);
    expect([...cursorStorage.items.values()]).toEqual(["e:105"]);
    await advance(MINUTE);
    expect(cursorStorage.writes).toBeLessThanOrEqual(3);
  });

  test("is written to when the page is left, and when the client closes", async () => {
    const cursorStorage = new Shelf();
    const { left, onPageHide } = leaving();
    const world = await welcomed({ cursorStorage, environment: { onPageHide } });
    for (const leave of [...left]) leave();
    expect([[...cursorStorage.items.values()], left.size]).toEqual([["e:5"], 0]);
    world.socket.says(note(6));
    world.client.close();
    expect([[...cursorStorage.items.values()], left.size, vi.getTimerCount()]).toEqual([["e:6"], 0, 0]);
  });

  test("is written to after the listeners were called, so that none misses a message", async () => {
    const cursorStorage = new Shelf();
    const { left, onPageHide } = leaving();
    const world = await welcomed({ cursorStorage, environment: { onPageHide } });
    world.client.on("note", () => {
      for (const leave of [...left]) leave();
    });
    world.socket.says(note(6));
    expect([...cursorStorage.items.values()]).toEqual(["e:5"]);
  });

  test("does not disturb if it throws", async () => {
    const full = (): never => {
      throw new DOMException("full", "QuotaExceededError");
    };
    const world = await welcomed({ cursorStorage: { getItem: full, setItem: full } });
    await advance(500);
    world.socket.says(note(6));
    await advance(500);
    expect([ids(world), world.errors]).toEqual([["e:6"], []]);
  });

  test.each(["", "nonsense"])("what it says may be of no use: %j", async (stored) => {
    const cursorStorage = { getItem: () => stored, setItem: () => {} };
    const world = new World({ cursorStorage });
    expect((await world.opens()).hellos).toEqual([undefined]);
  });
});

describe("what a client may say", () => {
  test("ack() says that all was seen, or all up to a cursor", async () => {
    const world = new World();
    expect(world.client.ack("e:3")).toBe(false);
    const socket = await world.opens();
    expect(world.client.ack()).toBe(false);
    socket.says(page("e:5"));
    socket.says(note(6));
    expect([world.client.ack(), world.client.ack("e:3")]).toEqual([true, true]);
    expect(socket.sent).toEqual([
      { type: "ack", cursor: "e:6" },
      { type: "ack", cursor: "e:3" },
    ]);
    socket.ends();
    expect(world.client.ack()).toBe(false);
  });

  test("cancel() asks for the end of an upload", async () => {
    const world = new World();
    expect(world.client.cancel("moc-1")).toBe(false);
    const socket = await world.opens();
    expect(world.client.cancel("moc-1")).toBe(true);
    expect(socket.sent).toEqual([{ type: "cancel", uploadId: "moc-1" }]);
  });

  test("seen is a message as any", async () => {
    const world = await welcomed();
    const seen = { type: "seen", data: { cursor: "e:4" }, timestamp: "", id: "seen:e:4", key: "seen", version: 1 };
    const heard: string[] = [];
    world.client.on("seen", ({ data }) => heard.push(data.cursor));
    world.socket.says(seen);
    expect(heard).toEqual(["e:4"]);
  });
});
