// Connecting: addresses, options, and what `connect()` and `close()` leave behind. The rules are in the traces.

import { describe, expect, test, vi } from "vitest";
import { TellwireClient } from "../src/index.js";
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
    const refusal = `url: got ${JSON.stringify(url.split("?")[0])}; allowed: a ws:, wss:, http: or https: address`;
    // A relative address may be that of a page, which a server renders.
    expect(() => new World({ url }).client.connect()).toThrow(new TypeError(refusal));
  });

  test("in a page the address may be relative", async () => {
    vi.stubGlobal("location", { href: "https://site.test/uploads?page=2" });
    expect((await new World({ url: "/live" }).connects()).url).toBe("wss://site.test/live");
    vi.unstubAllGlobals();
  });

  test("a URL that cannot be changed will do, as that of React Native", async () => {
    class ReadOnly {
      readonly href: string;
      constructor(url: string) {
        this.href = /:\/\/[^/]+$/.test(url) ? `${url}/` : url;
        Object.freeze(this);
      }
    }
    vi.stubGlobal("URL", ReadOnly);
    expect((await new World({ url: "https://gateway.test" }).connects()).url).toBe("wss://gateway.test/");
    const inQuery = new World({ url: "http://gateway.test/live?stage=1&token=old#top", tokenIn: "query" });
    expect((await inQuery.connects()).url).toBe("ws://gateway.test/live?stage=1&token=a-token");
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
    expect(heard).toHaveBeenCalledExactlyOnceWith({ ...PROGRESS, replayed: false });
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

  test("connect() ends a wait", async () => {
    const world = new World();
    (await world.connects()).ends();
    world.client.connect();
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 2 });
    await advance(1_000);
    expect(world.asked).toEqual(["connect", "connect"]);
  });

  test("send() uses the new connection as soon as it replaces the old one", async () => {
    const world = new World({ heartbeatSeconds: 0, rotateAfterSeconds: 100 });
    const old = await world.opens();
    await advance(100_000);
    world.client.send("hey");
    world.socket.opens();
    world.client.send("hey");
    expect([old.sent.length, world.socket.sent.length]).toEqual([1, 2]);
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

  test("twice is the same state", () => {
    const world = new World();
    world.client.close();
    const { state } = world.client;
    world.client.close();
    expect(world.client.state).toBe(state);
    expect(world.states).toHaveLength(1);
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

  test("a final close code leaves nothing running, and connect() works after it", async () => {
    const world = new World();
    (await world.opens()).ends(4403);
    expect([vi.getTimerCount(), world.page.size]).toEqual([0, 0]);
    world.client.connect();
    expect(world.client.state).toEqual({ status: "connecting", attempt: 1 });
  });

  test.each([4403, 1000])("who is shut out, and closed with %s, learns why and does not come back", async (code) => {
    const world = new World();
    const socket = await world.opens();
    const message = "Shut out until 2026-11-30T18:00:00Z: too many uploads";
    socket.says({ type: "error", data: { code: "USER_SHUT_OUT", message } });
    socket.ends(code);
    await advance(3_600_000);
    expect(world.sockets).toHaveLength(1);
    expect(world.client.state).toEqual({
      status: "closed",
      attempt: 0,
      reason: { kind: "final", code: 4403, error: "USER_SHUT_OUT", message },
    });
  });
});
