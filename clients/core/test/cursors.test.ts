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
