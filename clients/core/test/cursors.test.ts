// Cursors: their storage, `ack()` and `cancel()`, and hello while clocks go wrong. The rules are in the traces.

import { describe, expect, test, vi } from "vitest";
import { note, page } from "./stream.js";
import { advance, MINUTE, useFakeTime, World } from "./world.js";

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

const ids = (world: World): (string | undefined)[] => world.messages.map(({ id }) => id);

/** A client that was told that it missed nothing, at e:5. */
async function welcomed(options = {}): Promise<World> {
  const world = new World({ heartbeatSeconds: 0, ...options });
  (await world.opens()).says(page("e:5"));
  return world;
}

test("a client goes on from its cursors after close() and connect()", async () => {
  const world = await welcomed();
  world.client.close();
  await world.opens();
  expect(world.socket.hellos).toEqual(["e:5"]);
});

test("hello waits no longer than a second if the clock is set back", async () => {
  const world = await welcomed();
  vi.setSystemTime(Date.now() - 60 * MINUTE);
  world.socket.says(note(7));
  await advance(1_000);
  expect(world.socket.hellos).toHaveLength(2);
});

test("a device that sleeps during a welcome gives it the time anew", async () => {
  const world = await welcomed();
  world.socket.ends();
  await advance(world.wait);
  world.socket.opens();
  vi.setSystemTime(Date.now() + 10 * MINUTE);
  await advance(5_000);
  world.socket.says(note(9));
  expect(world.messages).toEqual([]);
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

  const KEY = "tellwire:cursors:wss://gateway.test/live:user-1";

  test("has a page that is loaded anew hear what it missed", async () => {
    const cursorStorage = new Shelf();
    const world = await welcomed({ cursorStorage, cursorKey: "user-1" });
    world.socket.says(note(6));
    expect(cursorStorage.items.size).toBe(0);
    await advance(500);
    expect([...cursorStorage.items]).toEqual([[KEY, '{"user":"e:6"}']]);
    const anew = new World({ cursorStorage, cursorKey: "user-1", startFrom: "oldest" });
    expect([(await anew.opens()).hellos, anew.client.cursors.user]).toEqual([["e:6"], "e:6"]);
    const another = new World({ cursorStorage, cursorKey: "user-2" });
    expect((await another.opens()).hellos).toEqual([undefined]);
  });

  test("has a page that is loaded anew before its first message come back to its welcome", async () => {
    const cursorStorage = new Shelf();
    await welcomed({ cursorStorage });
    await advance(500);
    const anew = new World({ cursorStorage });
    expect((await anew.opens()).hellos).toEqual(["e:5"]);
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
    expect([...cursorStorage.items.values()]).toEqual(['{"user":"e:105"}']);
    await advance(MINUTE);
    expect(cursorStorage.writes).toBeLessThanOrEqual(3);
  });

  test("is written to when the page is left, and when the client closes", async () => {
    const cursorStorage = new Shelf();
    const { left, onPageHide } = leaving();
    const world = await welcomed({ cursorStorage, environment: { onPageHide } });
    for (const leave of [...left]) leave();
    expect([[...cursorStorage.items.values()], left.size]).toEqual([['{"user":"e:5"}'], 0]);
    world.socket.says(note(6));
    world.client.close();
    expect([[...cursorStorage.items.values()], left.size, vi.getTimerCount()]).toEqual([['{"user":"e:6"}'], 0, 0]);
  });

  test("is written to after the listeners were called, so that none misses a message", async () => {
    const cursorStorage = new Shelf();
    const { left, onPageHide } = leaving();
    const world = await welcomed({ cursorStorage, environment: { onPageHide } });
    world.client.on("note", () => {
      for (const leave of [...left]) leave();
    });
    world.socket.says(note(6));
    expect([...cursorStorage.items.values()]).toEqual(['{"user":"e:5"}']);
  });

  test.each([
    ["session", "sessionStorage"],
    ["local", "localStorage"],
  ] as const)("may be the page's: %s", async (word, name) => {
    const shelf = new Shelf();
    vi.stubGlobal(name, shelf);
    await welcomed({ cursorStorage: word, cursorKey: "user-1" });
    await advance(500);
    expect([...shelf.items]).toEqual([[KEY, '{"user":"e:5"}']]);
    vi.unstubAllGlobals();
  });

  test("may be looked up by a function, and be absent", async () => {
    const shelf = new Shelf();
    await welcomed({ cursorStorage: () => shelf, cursorKey: "user-1" });
    await advance(500);
    expect(shelf.items.size).toBe(1);
    for (const none of [undefined, null]) expect((await welcomed({ cursorStorage: () => none })).status).toBe("open");
  });

  test("does not disturb where the page may not use it", async () => {
    const denied = (): never => {
      throw new DOMException("denied", "SecurityError");
    };
    Object.defineProperty(globalThis, "sessionStorage", { configurable: true, get: denied });
    for (const cursorStorage of ["session", () => sessionStorage] as const) {
      const world = await welcomed({ cursorStorage });
      await advance(500);
      expect([world.status, world.errors]).toEqual(["open", []]);
    }
    Reflect.deleteProperty(globalThis, "sessionStorage");
  });

  test.each(["sesion", null, 7, {}])("is none of the kind %j", (cursorStorage) => {
    expect(() => new World({ cursorStorage: cursorStorage as never })).toThrow(
      `cursorStorage: got ${JSON.stringify(cursorStorage)}; allowed: "session", "local", a storage, or a function`,
    );
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

  test.each([
    ["", undefined],
    ["nonsense", "nonsense"],
    ['{"user":7}', '{"user":7}'],
    ["{}", undefined],
  ])("with the text %j begins with the cursor %j", async (stored, cursor) => {
    const cursorStorage = { getItem: () => stored, setItem: () => {} };
    const world = new World({ cursorStorage });
    expect((await world.opens()).hellos).toEqual([cursor]);
  });

  test("counts more than the option cursors, and that more than startFrom", async () => {
    const options = { cursors: { user: "e:3" }, startFrom: "oldest" } as const;
    expect((await new World(options).opens()).hellos).toEqual(["e:3"]);
    const cursorStorage = { getItem: () => '{"user":"e:4"}', setItem: () => {} };
    expect((await new World({ ...options, cursorStorage }).opens()).hellos).toEqual(["e:4"]);
  });
});

describe("seen", () => {
  test("ack() says that all was seen, or all up to a cursor", async () => {
    const world = new World();
    const socket = await world.opens();
    await world.client.ack();
    socket.says(page("e:5"));
    socket.says(note(6));
    world.client.ack();
    world.client.ack("e:3");
    expect(socket.sent).toMatchObject([
      { type: "ack", cursor: "e:6" },
      { type: "ack", cursor: "e:3" },
    ]);
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

describe("the user of stored cursors", () => {
  const stored = (user: string) => ({ getItem: () => `{"user":"e:4","of":"${user}"}`, setItem: () => {} });

  test("is the one that they are of: another user's are not used", async () => {
    expect((await new World({ user: "ada", cursorStorage: stored("ada") }).opens()).hellos).toEqual(["e:4"]);
    expect((await new World({ user: "bob", cursorStorage: stored("ada") }).opens()).hellos).toEqual([undefined]);
  });

  test("is compared with the first welcome: another user begins anew, and gets nothing by them", async () => {
    const world = new World({ cursorStorage: stored("ada") });
    const socket = await world.opens();
    socket.says(page("e:9", { userId: "bob", messages: [note(9)] }));
    expect([world.messages, world.client.cursors]).toEqual([[], {}]);
    await advance(0);
    world.socket.opens();
    world.socket.says(page("e:9", { userId: "bob" }));
    expect([socket.hellos, world.socket.hellos]).toEqual([["e:4"], [undefined]]);
    expect(world.client.state).toMatchObject({ status: "open", user: "bob", recovered: true });
  });
});
