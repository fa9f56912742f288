// What a client does to be connected: where it goes, how long it tries, and how it is closed.

import { describe, expect, test, vi } from "vitest";
import { CLOSE_CODES, TellwireClient } from "../src/index.js";
import { advance, MINUTE, PROGRESS, useFakeTime, World } from "./world.js";

useFakeTime();

describe("connecting", () => {
  test("a new client is idle, asks for nothing and has no timers", () => {
    const world = new World();
    expect(world.client.state).toEqual({ status: "idle", attempt: 0 });
    expect([world.asked, world.sockets, world.page.size, vi.getTimerCount()]).toEqual([[], [], 0, 0]);
  });

  test("connect() shows at once", () => {
    const world = new World();
    world.client.connect();
    expect(world.client.state).toEqual({ status: "connecting", attempt: 1 });
    expect(world.states).toEqual([world.client.state]);
  });

  test("the token goes into the subprotocol", async () => {
    const world = new World();
    const socket = await world.connects();
    expect(socket.url).toBe("wss://gateway.test/live");
    expect(socket.protocols).toEqual(["tellwire.v1", "token.a-token"]);
    expect(world.asked).toEqual(["connect"]);
  });

  test("the token goes into the query on request, beside what is there", async () => {
    const world = new World({ tokenIn: "query", url: "wss://gateway.test/dev?stage=1#top" });
    world.getToken = () => "a+token";
    const socket = await world.connects();
    expect(socket.url).toBe("wss://gateway.test/dev?stage=1&token=a%2Btoken");
    expect(socket.protocols).toEqual([]);
  });

  test.each([
    ["http://gateway.test", "ws://gateway.test/"],
    ["https://gateway.test/live", "wss://gateway.test/live"],
  ])("the address may be %s", async (url, expected) => {
    expect((await new World({ url }).connects()).url).toBe(expected);
  });

  test.each(["ftp://gateway.test?token=a", "/live", "", "gateway.test:80"])("the address %j is refused", (url) => {
    const world = new World({ url });
    const refusal = `url: got ${JSON.stringify(url.split("?")[0])}; allowed: a ws:, wss:, http: or https: address`;
    expect(() => world.client.connect()).toThrow(new TypeError(refusal));
    expect(world.status).toBe("idle");
  });

  test("in a page the address may be relative", async () => {
    vi.stubGlobal("location", { href: "https://site.test/uploads?page=2" });
    expect((await new World({ url: "/live" }).connects()).url).toBe("wss://site.test/live");
    vi.unstubAllGlobals();
  });

  test("without a WebSocket connect() says what to do", () => {
    vi.stubGlobal("WebSocket", undefined);
    const client = new TellwireClient({ url: "ws://gateway.test", getToken: () => "a-token" });
    expect(() => client.connect()).toThrow("environment.WebSocket: got undefined");
    vi.unstubAllGlobals();
  });

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])("%s seconds are refused", (seconds) => {
    const refusal = `heartbeatSeconds: got ${seconds}; allowed: a number from 0`;
    expect(() => new World({ heartbeatSeconds: seconds })).toThrow(new RangeError(refusal));
  });

  test("a socket that opens makes the client open", async () => {
    const world = new World();
    await world.opens();
    expect(world.states.map(({ status, attempt }) => [status, attempt])).toEqual([
      ["connecting", 1],
      ["open", 0],
    ]);
  });

  test("nothing happens in the task that calls connect(), so listeners added after it miss nothing", async () => {
    const world = new World();
    world.client.connect();
    expect([world.asked, world.sockets]).toEqual([[], []]);
    const heard = vi.fn();
    world.client.on("upload_progress", heard);
    await advance(0);
    world.socket.opens();
    world.socket.says(PROGRESS);
    expect(heard).toHaveBeenCalledExactlyOnceWith(PROGRESS);
  });

  test("connect() changes nothing while connecting or open", async () => {
    const world = new World();
    await world.connects();
    world.client.connect();
    world.socket.opens();
    const { state } = world.client;
    world.client.connect();
    await advance(100);
    expect(world.client.state).toBe(state);
    expect(world.sockets).toHaveLength(1);
  });

  test("a handshake that hangs is given up after 15 seconds", async () => {
    const world = new World();
    const socket = await world.connects();
    await advance(14_999);
    expect(world.status).toBe("connecting");
    await advance(1);
    expect(world.client.state).toMatchObject({ status: "waiting", attempt: 1, reason: { code: 1006, kind: "lost" } });
    expect(socket.closedWith).toBe(1000);
    socket.opens();
    expect(world.status).toBe("waiting");
  });
});

describe("waiting", () => {
  test("waits have full jitter, and their bound doubles up to 30 seconds", async () => {
    const waits = async (random: number): Promise<number[]> => {
      const world = new World();
      world.random = random;
      await world.connects();
      const all: number[] = [];
      for (let count = 0; count < 9; count++) {
        world.socket.ends();
        all.push(world.wait);
        await advance(world.wait);
      }
      return all;
    };
    const bounds = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];
    expect(await waits(0)).toEqual(bounds.map(() => 0));
    expect(await waits(0.5)).toEqual(bounds.map((bound) => bound / 2));
    expect(await waits(0.998)).toEqual(bounds.map((bound) => bound * 0.998));
  });

  test("the next attempt is made when the state says", async () => {
    const world = new World();
    (await world.connects()).ends();
    expect(world.client.state).toMatchObject({ status: "waiting", attempt: 1, retryAt: Date.now() + 250 });
    await advance(249);
    expect(world.status).toBe("waiting");
    await advance(1);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 2, reason: { code: 1006 } });
    expect(world.client.state).not.toHaveProperty("retryAt");
  });

  test("waits do not begin anew with a connection that closes soon", async () => {
    const world = new World();
    await world.connects();
    for (const expected of [250, 500, 1_000, 2_000]) {
      world.socket.opens();
      await advance(9_999);
      world.socket.ends(1012);
      expect(world.wait).toBe(expected);
      await advance(expected);
    }
  });

  test("waits begin anew with a connection that was open for ten seconds", async () => {
    const world = new World();
    await world.connects();
    for (let count = 0; count < 3; count++) {
      world.socket.opens();
      await advance(10_000);
      world.socket.ends(1012);
      expect(world.wait).toBe(250);
      await advance(250);
    }
  });

  test("attempts are counted since the connection was last open", async () => {
    const world = new World();
    await world.settles();
    world.socket.ends();
    expect(world.client.state).toMatchObject({ status: "waiting", attempt: 0 });
    await advance(world.wait);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 1 });
    world.socket.ends();
    await advance(world.wait);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 2 });
    world.socket.opens();
    expect(world.client.state).toEqual({ status: "open", attempt: 0 });
  });

  test("connect() ends a wait", async () => {
    const world = new World();
    (await world.connects()).ends();
    world.client.connect();
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 2 });
    await advance(1_000);
    expect(world.asked).toEqual(["connect", "connect"]);
  });
});

describe("close codes", () => {
  const AT_ONCE = { status: "connecting" };
  const WAITS = { status: "waiting" };
  const NEVER = { status: "closed" };

  test.each([
    [1000, WAITS, "server"],
    [1001, AT_ONCE, "server"],
    [1002, WAITS, "server"],
    [1003, WAITS, "server"],
    [1005, WAITS, "server"],
    [1006, WAITS, "lost"],
    [1007, WAITS, "server"],
    [1009, WAITS, "server"],
    [1011, WAITS, "server"],
    [1012, WAITS, "server"],
    [1013, WAITS, "server"],
    [3999, WAITS, "server"],
    [4400, NEVER, "final"],
    [4401, AT_ONCE, "token"],
    [4403, NEVER, "final"],
    [4408, WAITS, "server"],
  ])("%d", async (code, expected, kind) => {
    const world = new World();
    (await world.settles()).ends(code);
    expect(world.client.state).toMatchObject({ ...expected, reason: { code, kind } });
    expect(world.client.state.reason?.message).not.toBe("");
    await advance(MINUTE);
    expect(world.sockets.length > 1).toBe(expected !== NEVER);
  });

  test("every code of the table is tried here", () => {
    expect(Object.keys(CLOSE_CODES)).toHaveLength(12);
  });

  test.each([1001, 4401])("%d from a connection that was not settled has to wait", async (code) => {
    const world = new World();
    (await world.opens()).ends(code);
    expect(world.status).toBe("waiting");
  });

  test("what was closed for good leaves nothing running, and can be connected again", async () => {
    const world = new World();
    (await world.settles()).ends(4403);
    expect([vi.getTimerCount(), world.page.size]).toEqual([0, 0]);
    world.client.connect();
    expect(world.client.state).toEqual({ status: "connecting", attempt: 1 });
  });
});

describe("close()", () => {
  const CLOSED = { status: "closed", attempt: 0 };

  test("from idle", () => {
    const world = new World();
    world.client.close();
    expect(world.client.state).toEqual(CLOSED);
  });

  test("while a token is under way", async () => {
    const world = new World();
    world.client.connect();
    world.client.close();
    await advance(MINUTE);
    expect(world.client.state).toEqual(CLOSED);
    expect([world.sockets, vi.getTimerCount()]).toEqual([[], 0]);
  });

  test("while a socket is under way", async () => {
    const world = new World();
    const socket = await world.connects();
    world.client.close();
    expect([socket.closedWith, vi.getTimerCount(), world.page.size]).toEqual([1000, 0, 0]);
    socket.opens();
    expect(world.client.state).toEqual(CLOSED);
    // Node would end for an error that nobody listens to.
    expect(socket.onerror).not.toBeNull();
  });

  test("while open: nothing more is heard", async () => {
    const world = new World();
    const socket = await world.opens();
    world.client.close();
    socket.says(PROGRESS);
    socket.ends(1006);
    await advance(MINUTE);
    expect([world.messages, socket.closedWith, vi.getTimerCount()]).toEqual([[], 1000, 0]);
    expect(world.client.state).toEqual(CLOSED);
  });

  test("while waiting", async () => {
    const world = new World();
    (await world.connects()).ends();
    world.client.close();
    await advance(MINUTE);
    expect(world.client.state).toEqual(CLOSED);
    expect([world.sockets.length, vi.getTimerCount()]).toEqual([1, 0]);
  });

  test("twice is the same state", () => {
    const world = new World();
    world.client.close();
    const { state } = world.client;
    world.client.close();
    expect(world.client.state).toBe(state);
    expect(world.states).toHaveLength(1);
  });

  test("waits begin anew with connect() after it", async () => {
    const world = new World();
    (await world.connects()).ends();
    world.client.close();
    (await world.connects()).ends();
    expect(world.wait).toBe(250);
  });

  test("connect() works after it, also in the same task", async () => {
    const world = new World();
    world.client.connect();
    world.client.close();
    world.client.connect();
    await advance(0);
    expect(world.sockets).toHaveLength(1);
    world.socket.opens();
    expect(world.status).toBe("open");
  });
});
