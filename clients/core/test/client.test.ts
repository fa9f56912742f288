// The client from outside: every rule that its README and the protocol promise, with time in the test's hands.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CLOSE_CODES, TellwireClient } from "../src/index.js";
import { MINUTE, passes, sleeps, tokenFor, World } from "./world.js";

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2026, 10, 23, 9, 18, 54) });
});

afterEach(() => {
  vi.useRealTimers();
});

const PROGRESS = { type: "upload_progress", data: { uploadId: "moc-1", progress: 1 }, timestamp: "", id: "1" };
const error = (code: string): object => ({ type: "error", data: { code, message: "" }, timestamp: "" });

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
    await passes(0);
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
    await passes(100);
    expect(world.client.state).toBe(state);
    expect(world.sockets).toHaveLength(1);
  });

  test("a handshake that hangs is given up after 15 seconds", async () => {
    const world = new World();
    const socket = await world.connects();
    await passes(14_999);
    expect(world.status).toBe("connecting");
    await passes(1);
    expect(world.client.state).toMatchObject({ status: "waiting", attempt: 1, reason: { code: 1006, kind: "lost" } });
    expect(socket.closedWith).toBe(1000);
    socket.opens();
    expect(world.status).toBe("waiting");
  });
});

describe("tokens", () => {
  const refused = { status: "waiting", attempt: 1, reason: { code: 1006, kind: "token" } };

  test.each([
    ["rejects", async () => Promise.reject(new Error("signed out"))],
    [
      "throws",
      () => {
        throw new Error("signed out");
      },
    ],
  ])("a getToken that %s is a failed attempt, and is asked again", async (_, getToken) => {
    const world = new World();
    world.getToken = getToken;
    world.client.connect();
    await passes(0);
    expect(world.client.state).toMatchObject(refused);
    expect(world.client.state.reason?.message).toBe("getToken failed: signed out");
    world.getToken = () => "a-token";
    await passes(world.wait);
    expect(world.asked).toEqual(["connect", "connect"]);
    expect(world.sockets).toHaveLength(1);
  });

  test.each([undefined, null, ""])("%j is no token", async (token) => {
    const world = new World();
    world.getToken = () => token as unknown as string;
    world.client.connect();
    await passes(0);
    expect(world.client.state).toMatchObject(refused);
    expect(world.sockets).toEqual([]);
  });

  test("a getToken that hangs is a failed attempt after 15 seconds, and its late token is not used", async () => {
    const world = new World();
    let answer = (_token: string): void => {};
    world.getToken = () => new Promise((resolve) => (answer = resolve));
    world.client.connect();
    await passes(15_000);
    expect(world.client.state).toMatchObject(refused);
    answer("late");
    await passes(0);
    expect(world.sockets).toEqual([]);
    await passes(world.wait);
    expect(world.asked).toEqual(["connect", "connect"]);
    answer("a-token");
    await passes(0);
    expect(world.sockets.map(({ protocols }) => protocols[1])).toEqual(["token.a-token"]);
  });

  test("the handshake has its own 15 seconds after the token", async () => {
    const world = new World();
    world.getToken = () => new Promise((resolve) => setTimeout(resolve, 14_000, "a-token"));
    world.client.connect();
    await passes(14_000);
    await passes(14_000);
    world.socket.opens();
    expect(world.status).toBe("open");
  });

  test("a token that cannot be in a subprotocol is a failed attempt, and is not shown", async () => {
    class Picky {
      constructor(_url: string, protocols: string[]) {
        throw new SyntaxError(`The subprotocol '${protocols[1]}' is invalid`);
      }
    }
    const world = new World();
    const environment = { ...world.environment(), WebSocket: Picky as never };
    const client = new TellwireClient({ url: "ws://gateway.test", getToken: () => "a token", environment });
    client.connect();
    await passes(0);
    expect(client.state).toMatchObject({ status: "waiting", reason: { kind: "token" } });
    expect(client.state.reason?.message).toBe("the token cannot be sent this way (SyntaxError)");
  });

  test("getToken may close the client", async () => {
    const world = new World();
    world.getToken = () => {
      world.client.close();
      return "a-token";
    };
    world.client.connect();
    await passes(100);
    expect(world.client.state).toEqual({ status: "closed", attempt: 0 });
    expect(world.sockets).toEqual([]);
  });

  test("after 4401 a new token is asked for, at once if the connection was settled", async () => {
    const world = new World();
    (await world.settles()).ends(4401);
    expect(world.client.state).toMatchObject({
      status: "connecting",
      attempt: 1,
      reason: { code: 4401, kind: "token" },
    });
    await passes(0);
    expect(world.asked).toEqual(["connect", "refused"]);
    world.socket.opens();
    await passes(10_000);
    world.socket.ends(1001);
    await passes(0);
    expect(world.asked).toEqual(["connect", "refused", "connect"]);
  });

  test("a new token that is refused as well has to wait", async () => {
    const world = new World();
    (await world.opens()).ends(4401);
    expect(world.client.state).toMatchObject({ status: "waiting", reason: { kind: "token" } });
    expect(world.wait).toBe(250);
  });

  test("a new token is asked for until there is one", async () => {
    const world = new World();
    await world.settles();
    world.getToken = () => Promise.reject(new Error("no network"));
    world.socket.ends(4401);
    await passes(0);
    world.getToken = () => "a-token";
    await passes(world.wait);
    expect(world.asked).toEqual(["connect", "refused", "refused"]);
  });

  test.each(["TOKEN_EXPIRED", "TOKEN_INVALID", "TOKEN_MISSING"])("%s before 1000 means 4401", async (code) => {
    const world = new World();
    const socket = await world.settles();
    socket.says(error(code));
    socket.ends(1000);
    await passes(0);
    expect(world.client.state.reason).toMatchObject({ code: 4401, kind: "token" });
    expect(world.asked).toEqual(["connect", "refused"]);
    expect(world.messages).toEqual([error(code)]);
  });

  test("an error of long ago does not explain a 1000", async () => {
    const world = new World();
    const socket = await world.settles();
    socket.says(error("TOKEN_EXPIRED"));
    await passes(10_001);
    socket.ends(1000);
    expect(world.client.state.reason).toMatchObject({ code: 1000, kind: "server" });
  });

  test("an error of another connection does not explain a 1000", async () => {
    const world = new World();
    const socket = await world.settles();
    socket.says(error("TOKEN_OF_ANOTHER_USER"));
    socket.ends(1001);
    await passes(0);
    world.socket.opens();
    world.socket.ends(1000);
    expect(world.client.state.reason).toMatchObject({ code: 1000, kind: "server" });
  });

  test("a message that is no error does not explain a 1000, whatever its data", async () => {
    const world = new World();
    const socket = await world.settles();
    socket.says({ type: "sold", data: { code: "TOKEN_EXPIRED" } });
    socket.says({ type: "error", data: { code: 7 } });
    socket.says({ type: "error" });
    socket.ends(1000);
    expect(world.client.state.reason).toMatchObject({ code: 1000 });
  });

  test.each(["CONNECTION_UNKNOWN", "UPLOAD_FAILED", "tokens"])("%s before 1000 means 1000", async (code) => {
    const world = new World();
    const socket = await world.settles();
    socket.says(error(code));
    socket.ends(1000);
    expect(world.client.state).toMatchObject({ status: "waiting", reason: { code: 1000, kind: "server" } });
  });

  test("another user's token before 1000 means 4403", async () => {
    const world = new World();
    const socket = await world.settles();
    socket.says(error("TOKEN_OF_ANOTHER_USER"));
    socket.ends(1000);
    expect(world.client.state).toMatchObject({ status: "closed", reason: { code: 4403, kind: "final" } });
  });

  test("a handshake that fails with an expired token asks for a new one", async () => {
    const world = new World();
    const token = tokenFor(1);
    world.getToken = () => token;
    await world.connects();
    await passes(1_001);
    world.socket.ends();
    await passes(world.wait);
    expect(world.asked).toEqual(["connect", "refused"]);
  });

  test("every fourth failed handshake in a row is taken for a refused token", async () => {
    const world = new World();
    await world.connects();
    for (let count = 0; count < 8; count++) {
      world.socket.ends();
      await passes(world.wait);
    }
    expect(world.asked.map((why) => why === "refused")).toEqual([0, 0, 0, 0, 1, 0, 0, 0, 1].map(Boolean));
  });
});

test("handshakes that failed before one that did not are forgotten", async () => {
  const world = new World();
  await world.connects();
  for (let count = 0; count < 3; count++) {
    world.socket.ends();
    await passes(world.wait);
  }
  world.socket.opens();
  world.socket.ends();
  await passes(world.wait);
  world.socket.ends();
  await passes(world.wait);
  expect(world.asked).not.toContain("refused");
});

describe("renewal", () => {
  const authOk = (seconds: number, skew = 0): object => ({
    type: "auth_ok",
    data: { expiresAt: new Date(Date.now() + skew + seconds * 1000).toISOString() },
    timestamp: new Date(Date.now() + skew).toISOString(),
  });

  async function opensFor(seconds: number, luck = 0): Promise<World> {
    const world = new World({ heartbeatSeconds: 0 });
    world.luck = luck;
    const token = tokenFor(seconds);
    world.getToken = (why) => (why === "renew" ? "new-token" : token);
    await world.opens();
    return world;
  }

  test.each([
    [0, 240],
    [0.5, 210],
    [0.999, 180],
  ])("a token is renewed one to two minutes before it expires (luck %d)", async (luck, seconds) => {
    const world = await opensFor(300, luck);
    await passes(seconds * 1000 - 1);
    expect(world.asked).toEqual(["connect"]);
    await passes(101);
    expect(world.asked).toEqual(["connect", "renew"]);
    expect(world.socket.sent.filter(({ type }) => type === "auth")).toEqual([{ type: "auth", token: "new-token" }]);
  });

  test("a token of a short life is renewed in the middle of it", async () => {
    const world = await opensFor(30);
    await passes(14_999);
    expect(world.asked).toEqual(["connect"]);
    await passes(1);
    expect(world.asked).toEqual(["connect", "renew"]);
  });

  test("a token that is no JWT, or never expires, is not renewed", async () => {
    for (const token of ["opaque", "a.b.c", `a.${btoa("{}")}.c`, `a.${btoa("null")}.c`]) {
      const world = new World({ replaceSeconds: 1e9, heartbeatSeconds: 0 });
      world.getToken = () => token;
      await world.opens();
      await passes(5 * 60 * MINUTE);
      expect(world.asked).toEqual(["connect"]);
    }
  });

  test("the expiry that the server tells counts, and by its clock", async () => {
    const world = await opensFor(300);
    world.socket.says(authOk(1_000, 55 * MINUTE));
    expect(world.messages).toEqual([]);
    await passes(939_999);
    expect(world.asked).toEqual(["connect"]);
    await passes(1);
    expect(world.asked).toEqual(["connect", "renew"]);
  });

  test("an expiry without the server's time is taken by this clock", async () => {
    const world = await opensFor(300);
    world.socket.says({ type: "auth_ok", data: { expiresAt: new Date(Date.now() + 500_000).toISOString() } });
    await passes(440_000);
    expect(world.asked).toEqual(["connect", "renew"]);
  });

  test("an expiry that is none changes nothing", async () => {
    const world = await opensFor(300);
    world.socket.says({ type: "auth_ok", data: { expiresAt: "soon" } });
    world.socket.says({ type: "auth_ok" });
    await passes(240_000);
    expect(world.asked).toEqual(["connect", "renew"]);
  });

  test("a renewal that fails is tried again while there is time", async () => {
    const world = await opensFor(300);
    world.getToken = () => Promise.reject(new Error("no network"));
    await passes(240_000);
    expect(world.asked).toEqual(["connect", "renew"]);
    await passes(30_000);
    expect(world.asked).toEqual(["connect", "renew", "renew"]);
    expect(world.status).toBe("open");
  });

  test("a renewal that is not confirmed is tried again while there is time, and not after", async () => {
    const world = await opensFor(300);
    await passes(299_000);
    const tries = world.asked.length;
    expect(tries).toBeGreaterThan(3);
    expect(tries).toBeLessThan(12);
    await passes(60_000);
    expect(world.asked.length).toBeLessThan(tries + 3);
  });

  test("a token that was accepted though it is expired by this clock is left alone", async () => {
    const world = await opensFor(-3600);
    await passes(MINUTE);
    expect(world.asked).toEqual(["connect"]);
  });

  test("a new token that comes when the connection is gone is not sent", async () => {
    const world = await opensFor(30);
    let answer = (_token: string): void => {};
    world.getToken = () => new Promise((resolve) => (answer = resolve));
    await passes(15_000);
    expect(world.asked).toEqual(["connect", "renew"]);
    const { socket } = world;
    socket.ends(1001);
    world.getToken = () => "a-token";
    answer("new-token");
    await passes(0);
    world.socket.opens();
    expect([socket.sent, world.socket.sent]).toEqual([[], []]);
  });
});

describe("waiting", () => {
  test("waits have full jitter, and their bound doubles up to 30 seconds", async () => {
    const waits = async (luck: number): Promise<number[]> => {
      const world = new World();
      world.luck = luck;
      await world.connects();
      const all: number[] = [];
      for (let count = 0; count < 9; count++) {
        world.socket.ends();
        all.push(world.wait);
        await passes(world.wait);
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
    await passes(249);
    expect(world.status).toBe("waiting");
    await passes(1);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 2, reason: { code: 1006 } });
    expect(world.client.state).not.toHaveProperty("retryAt");
  });

  test("waits do not begin anew with a connection that closes soon", async () => {
    const world = new World();
    await world.connects();
    for (const expected of [250, 500, 1_000, 2_000]) {
      world.socket.opens();
      await passes(9_999);
      world.socket.ends(1012);
      expect(world.wait).toBe(expected);
      await passes(expected);
    }
  });

  test("waits begin anew with a connection that was open for ten seconds", async () => {
    const world = new World();
    await world.connects();
    for (let count = 0; count < 3; count++) {
      world.socket.opens();
      await passes(10_000);
      world.socket.ends(1012);
      expect(world.wait).toBe(250);
      await passes(250);
    }
  });

  test("attempts are counted since the connection was last open", async () => {
    const world = new World();
    await world.settles();
    world.socket.ends();
    expect(world.client.state).toMatchObject({ status: "waiting", attempt: 0 });
    await passes(world.wait);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 1 });
    world.socket.ends();
    await passes(world.wait);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 2 });
    world.socket.opens();
    expect(world.client.state).toEqual({ status: "open", attempt: 0 });
  });

  test("connect() ends a wait", async () => {
    const world = new World();
    (await world.connects()).ends();
    world.client.connect();
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 2 });
    await passes(1_000);
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
    await passes(MINUTE);
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
    await passes(MINUTE);
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
    await passes(MINUTE);
    expect([world.messages, socket.closedWith, vi.getTimerCount()]).toEqual([[], 1000, 0]);
    expect(world.client.state).toEqual(CLOSED);
  });

  test("while waiting", async () => {
    const world = new World();
    (await world.connects()).ends();
    world.client.close();
    await passes(MINUTE);
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
    await passes(0);
    expect(world.sockets).toHaveLength(1);
    world.socket.opens();
    expect(world.status).toBe("open");
  });
});

describe("messages", () => {
  test("go to the listeners of their type and of all types, until those leave", async () => {
    const world = new World();
    const [progress, all, custom] = [vi.fn(), vi.fn(), vi.fn()];
    const leave = world.client.on("upload_progress", progress);
    world.client.on("*", all);
    world.client.on("comment_added", custom);
    const socket = await world.opens();
    socket.says(PROGRESS);
    leave();
    leave();
    socket.says({ ...PROGRESS, id: "2" });
    expect([progress.mock.calls.length, all.mock.calls.length, custom.mock.calls.length]).toEqual([1, 2, 0]);
  });

  test("the same listener may be there twice", async () => {
    const world = new World();
    const heard = vi.fn();
    const leave = world.client.on("upload_progress", heard);
    world.client.on("upload_progress", heard);
    leave();
    (await world.opens()).says(PROGRESS);
    expect(heard).toHaveBeenCalledTimes(1);
  });

  test("a listener that throws is reported, and the others are called", async () => {
    const world = new World();
    const heard = vi.fn();
    world.client.onState(() => {
      throw new Error("of a state");
    });
    world.client.on("upload_progress", () => {
      throw new Error("of a message");
    });
    world.client.on("upload_progress", heard);
    (await world.opens()).says(PROGRESS);
    expect(heard).toHaveBeenCalledTimes(1);
    expect(world.messages).toEqual([PROGRESS]);
    expect(world.errors.map(String)).toEqual(["Error: of a state", "Error: of a state", "Error: of a message"]);
  });

  test("a listener may close the client; nobody is told an old state after the new one", async () => {
    const world = new World();
    const seen: string[] = [];
    world.client.onState(({ status }) => status === "open" && world.client.close());
    world.client.onState(({ status }) => seen.push(status));
    await world.opens();
    expect(seen).toEqual(["connecting", "closed"]);
  });

  test("a listener may leave, or let others in, while it is called", async () => {
    const world = new World();
    const late = vi.fn();
    const leave = world.client.on("upload_progress", () => {
      leave();
      world.client.on("upload_progress", late);
    });
    const socket = await world.opens();
    socket.says(PROGRESS);
    expect(late).not.toHaveBeenCalled();
    socket.says({ ...PROGRESS, id: "2" });
    expect(late).toHaveBeenCalledTimes(1);
  });

  test("pong and auth_ok stay inside, errors do not", async () => {
    const world = new World();
    const socket = await world.opens();
    socket.says({ type: "pong", data: {}, timestamp: "" });
    socket.says({ type: "auth_ok", data: {}, timestamp: "" });
    socket.says(error("BAD_ROWS"));
    expect(world.messages).toEqual([error("BAD_ROWS")]);
  });

  test.each(["hello", "[]", '{"message": "Forbidden", "connectionId": "a="}'])("%s is left out", async (text) => {
    const world = new World();
    (await world.opens()).says(text);
    expect([world.messages, world.errors, world.status]).toEqual([[], [], "open"]);
  });

  test("messages without an id, as the guide's server sends them, are all passed on", async () => {
    const world = new World();
    const socket = await world.opens();
    const message = { type: "notification", data: { title: "Upload Complete" } };
    socket.says(message);
    socket.says(message);
    expect(world.messages).toEqual([message, message]);
  });

  test("a message with the id of one before is left out", async () => {
    const world = new World();
    const socket = await world.opens();
    socket.says(PROGRESS);
    socket.says(PROGRESS);
    expect(world.messages).toHaveLength(1);
  });

  test("a thousand ids are remembered, and no more", async () => {
    const world = new World();
    const socket = await world.opens();
    for (let id = 0; id <= 1000; id++) socket.says({ ...PROGRESS, id: `${id}` });
    socket.says({ ...PROGRESS, id: "1" });
    expect(world.messages).toHaveLength(1001);
    socket.says({ ...PROGRESS, id: "0" });
    expect(world.messages).toHaveLength(1002);
  });

  test("send() sends while open, and says so", async () => {
    const world = new World();
    expect(world.client.send("rename_moc")).toBe(false);
    const socket = await world.connects();
    expect(world.client.send("rename_moc")).toBe(false);
    socket.opens();
    expect(world.client.send("rename_moc", { name: "Ü" })).toBe(true);
    expect(world.client.send("hey")).toBe(true);
    expect(socket.sent).toEqual([{ type: "rename_moc", data: { name: "Ü" } }, { type: "hey" }]);
    socket.ends();
    expect(world.client.send("hey")).toBe(false);
  });
});

describe("heartbeat", () => {
  test("a ping is sent after 240 seconds of silence, and after each answer anew", async () => {
    const world = new World();
    const socket = await world.opens();
    await passes(239_999);
    expect(socket.sent).toEqual([]);
    await passes(1);
    expect(socket.sent).toEqual([{ type: "ping" }]);
    await passes(4_000);
    socket.says({ type: "pong", data: {} });
    await passes(239_999);
    expect(socket.pings).toBe(1);
    await passes(1);
    expect(socket.pings).toBe(2);
  });

  test("anything received counts as life", async () => {
    const world = new World();
    const socket = await world.opens();
    await passes(200_000);
    socket.says("whatever");
    await passes(239_999);
    expect(socket.sent).toEqual([]);
    await passes(1);
    socket.says(PROGRESS);
    await passes(MINUTE);
    expect(world.status).toBe("open");
  });

  test("what the client sends does not count as life", async () => {
    const world = new World();
    const socket = await world.opens();
    await passes(200_000);
    world.client.send("hey");
    await passes(40_000);
    expect(socket.pings).toBe(1);
  });

  test("without an answer within 5 seconds there is a new connection, at once", async () => {
    const world = new World();
    const socket = await world.opens();
    await passes(244_999);
    expect(world.status).toBe("open");
    await passes(1);
    expect(world.client.state).toMatchObject({
      status: "connecting",
      attempt: 1,
      reason: { code: 1006, kind: "lost" },
    });
    expect(world.sockets).toHaveLength(2);
    world.socket.opens();
    expect(world.status).toBe("open");
    expect(world.client.send("hey")).toBe(true);
    expect(socket.pings).toBe(1);
    await passes(5_000);
    expect(socket.closedWith).toBe(1000);
  });

  test("what arrives late on the connection that did not answer is passed on, once", async () => {
    const world = new World();
    const socket = await world.opens();
    await passes(245_000);
    socket.says(PROGRESS);
    world.socket.opens();
    world.socket.says(PROGRESS);
    socket.says({ ...PROGRESS, id: "2" });
    expect(world.messages.map(({ id }) => id)).toEqual(["1", "2"]);
  });

  test("0 turns pings off, for a server that does not answer any", async () => {
    const world = new World({ heartbeatSeconds: 0 });
    const socket = await world.opens();
    await passes(60 * MINUTE);
    world.shows("wake");
    await passes(MINUTE);
    expect([socket.sent, world.sockets.length, world.status]).toEqual([[], 1, "open"]);
  });
});

describe("the page", () => {
  test.each(["wake", "online", "offline"] as const)(
    "%s makes an open client look whether it is alive",
    async (sign) => {
      const world = new World();
      const socket = await world.opens();
      world.shows(sign);
      world.shows(sign);
      expect(socket.sent).toEqual([{ type: "ping" }]);
      await passes(1_999);
      expect(world.status).toBe("open");
      await passes(1);
      expect(world.client.state).toMatchObject({ status: "connecting", attempt: 1 });
      expect(world.sockets).toHaveLength(2);
    },
  );

  test("a sign of life is enough", async () => {
    const world = new World();
    const socket = await world.opens();
    world.shows("wake");
    await passes(1_000);
    socket.says(PROGRESS);
    await passes(200_000);
    expect([world.status, world.sockets.length]).toEqual(["open", 1]);
  });

  test("waking up makes the answer to a ping more urgent, and never less", async () => {
    const world = new World();
    await world.opens();
    await passes(241_000);
    world.shows("wake");
    await passes(1_999);
    expect(world.status).toBe("open");
    await passes(1);
    expect(world.sockets).toHaveLength(2);
    expect(world.sockets[0]?.pings).toBe(1);
    world.socket.opens();
    world.shows("wake");
    await passes(1_000);
    world.shows("wake");
    await passes(1_000);
    expect(world.sockets).toHaveLength(3);
  });

  test.each(["wake", "online"] as const)("%s ends a wait, and waits begin anew", async (sign) => {
    const world = new World();
    await world.connects();
    for (let count = 0; count < 6; count++) {
      world.socket.ends();
      await passes(world.wait);
    }
    world.socket.ends();
    world.shows(sign);
    expect(world.status).toBe("connecting");
    await passes(0);
    world.socket.ends();
    expect(world.wait).toBe(250);
  });

  test("online begins an attempt anew that was made on another network", async () => {
    const world = new World();
    const socket = await world.connects();
    world.shows("wake");
    await passes(0);
    expect(world.sockets).toHaveLength(1);
    world.shows("online");
    await passes(0);
    expect([world.sockets.length, socket.closedWith]).toEqual([2, 1000]);
  });

  test("an idle or closed client does not look", async () => {
    const world = new World();
    world.client.connect();
    expect(world.page.size).toBe(1);
    world.client.close();
    expect(world.page.size).toBe(0);
    world.client.connect();
    expect(world.page.size).toBe(1);
  });

  test("a timer that is much too late means that the device slept", async () => {
    const world = new World();
    const socket = await world.opens();
    sleeps(2 * MINUTE);
    await passes(10_000);
    expect(socket.pings).toBe(1);
    await passes(1_999);
    expect(world.sockets).toHaveLength(1);
    await passes(1);
    expect(world.sockets).toHaveLength(2);
  });

  test("a timer as late as those of hidden pages does not", async () => {
    const world = new World();
    const socket = await world.opens();
    sleeps(MINUTE);
    await passes(10_000);
    expect(socket.sent).toEqual([]);
  });

  test("what did not come while the device slept says nothing", async () => {
    const world = new World();
    const socket = await world.opens();
    await passes(241_000);
    sleeps(60 * MINUTE);
    await passes(4_000);
    expect([world.status, socket.pings]).toEqual(["open", 2]);
    socket.says({ type: "pong" });
    await passes(MINUTE);
    expect([world.status, world.sockets.length]).toEqual(["open", 1]);
  });

  test("who slept while waiting tries at once", async () => {
    const world = new World();
    await world.connects();
    for (let count = 0; count < 6; count++) {
      world.socket.ends();
      await passes(world.wait);
    }
    world.socket.ends();
    expect(world.wait).toBe(15_000);
    sleeps(5 * MINUTE);
    await passes(10_000);
    await passes(0);
    expect([world.status, world.sockets.length]).toEqual(["connecting", 8]);
  });

  test("who slept while connecting begins anew", async () => {
    const world = new World();
    const socket = await world.connects();
    sleeps(5 * MINUTE);
    await passes(10_000);
    expect([world.status, world.sockets.length, socket.closedWith]).toEqual(["connecting", 2, 1000]);
  });

  test("a clock that is set back by an hour changes nothing", async () => {
    const world = new World();
    const socket = await world.opens();
    sleeps(-60 * MINUTE);
    await passes(240_000);
    expect(socket.pings).toBe(1);
    socket.ends();
    sleeps(-60 * MINUTE);
    await passes(250);
    expect(world.status).toBe("connecting");
  });
});

describe("offline", () => {
  const OFFLINE = { status: "waiting", reason: { kind: "offline" } };

  test("connect() waits for the network", async () => {
    const world = new World();
    world.isOnline = false;
    world.client.connect();
    expect(world.client.state).toMatchObject({ ...OFFLINE, attempt: 0 });
    expect(world.client.state).not.toHaveProperty("retryAt");
    await passes(59_000);
    expect(world.asked).toEqual([]);
    world.goesOnline();
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 1 });
  });

  test("a connection that is lost waits for the network", async () => {
    const world = new World();
    const socket = await world.settles();
    world.isOnline = false;
    socket.ends();
    expect(world.client.state).toMatchObject(OFFLINE);
  });

  test("a connection that does not answer waits for the network, and does not end for it alone", async () => {
    const world = new World();
    const socket = await world.opens();
    world.goesOffline();
    await passes(1_000);
    socket.says({ type: "pong" });
    await passes(2_000);
    expect(world.status).toBe("open");
    world.goesOffline();
    await passes(2_000);
    expect(world.client.state).toMatchObject(OFFLINE);
    expect(world.sockets).toHaveLength(1);
  });

  test("who waits for the next attempt waits for the network from now on", async () => {
    const world = new World();
    (await world.connects()).ends();
    world.goesOffline();
    const { state } = world.client;
    expect(state).toMatchObject({ ...OFFLINE, attempt: 1 });
    expect(state).not.toHaveProperty("retryAt");
    world.goesOffline();
    expect(world.client.state).toBe(state);
    await passes(59_000);
    expect(world.sockets).toHaveLength(1);
  });

  test("waking up does not help, nor does it put the slow attempt off", async () => {
    const world = new World();
    world.isOnline = false;
    world.client.connect();
    await passes(30_000);
    world.shows("wake");
    world.shows("offline");
    expect(world.client.state).toMatchObject(OFFLINE);
    await passes(30_000);
    expect(world.asked).toHaveLength(1);
  });

  test("an attempt a minute is made, as the browser may be wrong", async () => {
    const world = new World();
    world.isOnline = false;
    world.client.connect();
    await passes(60_000);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 1 });
    world.socket.ends();
    expect(world.client.state).toMatchObject({ ...OFFLINE, attempt: 1 });
    await passes(60_000);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 2 });
    world.socket.opens();
    expect(world.status).toBe("open");
  });

  test("the user may try at any time", async () => {
    const world = new World();
    world.isOnline = false;
    world.client.connect();
    world.client.connect();
    expect(world.status).toBe("connecting");
  });

  test("a device that says it is offline though it is online does not wait", async () => {
    const world = new World();
    (await world.connects()).ends();
    const { state } = world.client;
    world.shows("offline");
    expect(world.client.state).toBe(state);
  });
});

describe("the planned replacement", () => {
  const EARLIEST = 6_600_000 * 0.96;

  async function ages(options = {}): Promise<World> {
    const world = new World({ heartbeatSeconds: 0, ...options });
    world.luck = 0;
    await world.opens();
    await passes(EARLIEST);
    return world;
  }

  test.each([
    [0, 105.6],
    [0.5, 110],
    [0.999, 114.38],
  ])("comes at 110 minutes, give or take 4 %% (luck %d)", async (luck, minutes) => {
    const world = new World({ heartbeatSeconds: 0 });
    world.luck = luck;
    await world.opens();
    await passes((minutes - 0.1) * MINUTE);
    expect(world.sockets).toHaveLength(1);
    await passes(0.2 * MINUTE);
    expect(world.sockets).toHaveLength(2);
  });

  test("the new connection is open before the old one is closed, and nobody notices", async () => {
    const world = await ages();
    const [old, young] = world.sockets;
    const { state } = world.client;
    expect(world.asked).toEqual(["connect", "connect"]);
    await passes(3_000);
    world.client.send("hey");
    expect([old?.sent.length, old?.closedWith]).toEqual([1, undefined]);
    young?.opens();
    expect([old?.closedWith, world.status]).toEqual([undefined, "open"]);
    world.client.send("hey");
    expect(young?.sent).toEqual([{ type: "hey" }]);
    await passes(5_000);
    expect([old?.closedWith, young?.closedWith]).toEqual([1000, undefined]);
    expect(world.client.state).toBe(state);
  });

  test("while both are open messages are passed once", async () => {
    const world = await ages();
    const [old, young] = world.sockets;
    old?.says(PROGRESS);
    young?.opens();
    young?.says(PROGRESS);
    young?.says({ ...PROGRESS, id: "2" });
    old?.says({ ...PROGRESS, id: "2" });
    old?.says({ ...PROGRESS, id: "3" });
    expect(world.messages.map(({ id }) => id)).toEqual(["1", "2", "3"]);
    await passes(5_000);
    old?.says({ ...PROGRESS, id: "4" });
    expect(world.messages).toHaveLength(3);
  });

  test("the old one may close by itself then", async () => {
    const world = await ages();
    const [old, young] = world.sockets;
    young?.opens();
    old?.ends(1001);
    await passes(MINUTE);
    expect([world.status, world.sockets.length]).toEqual(["open", 2]);
  });

  test("one that fails is tried again within a minute or so, and the old one stays", async () => {
    const world = await ages();
    world.luck = 0.25;
    const { state } = world.client;
    world.socket.ends();
    await passes(44_999);
    expect(world.sockets).toHaveLength(2);
    await passes(1);
    expect(world.sockets).toHaveLength(3);
    expect(world.client.state).toBe(state);
    await passes(15_000 + MINUTE);
    expect(world.sockets).toHaveLength(4);
    expect(world.sockets[2]?.closedWith).toBe(1000);
  });

  test("one without a token is tried again, too", async () => {
    const world = new World({ heartbeatSeconds: 0, replaceSeconds: 100 });
    await world.opens();
    world.getToken = () => Promise.reject(new Error("no network"));
    await passes(100_000);
    expect([world.asked.length, world.status]).toEqual([2, "open"]);
    await passes(60_000);
    expect(world.asked).toHaveLength(3);
  });

  test("the new one is replaced in its turn", async () => {
    const world = await ages();
    world.socket.opens();
    await passes(EARLIEST - 1);
    expect(world.sockets).toHaveLength(2);
    await passes(1);
    expect(world.sockets).toHaveLength(3);
  });

  test("if the old one closes first, there is one attempt as always", async () => {
    const world = await ages();
    const [old, young] = world.sockets;
    old?.ends(1001);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 1 });
    await passes(0);
    expect([young?.closedWith, world.sockets.length]).toEqual([1000, 3]);
    world.socket.opens();
    await passes(MINUTE);
    expect(world.sockets.filter(({ closedWith }) => closedWith === undefined)).toEqual([old, world.socket]);
  });

  test("what the old one says is no life of the new one, nor does it explain its end", async () => {
    const world = new World({ replaceSeconds: 200 });
    world.luck = 0.5;
    const old = await world.opens();
    await passes(200_000);
    world.socket.opens();
    await passes(4_000);
    old.says(error("TOKEN_OF_ANOTHER_USER"));
    await passes(235_999);
    expect(world.sockets[1]?.pings).toBe(0);
    await passes(1);
    expect(world.sockets[1]?.pings).toBe(1);
    const [other] = [await ages()];
    other.socket.opens();
    other.sockets[0]?.says(error("TOKEN_OF_ANOTHER_USER"));
    other.socket.ends(1000);
    expect(other.client.state).toMatchObject({ status: "waiting", reason: { code: 1000 } });
  });

  test("the old one is closed also if the new one ends before that", async () => {
    const world = await ages();
    world.luck = 0.999;
    const [old, young] = world.sockets;
    young?.opens();
    await passes(1_000);
    young?.ends(1012);
    old?.says(PROGRESS);
    expect(world.messages).toHaveLength(1);
    await passes(4_000);
    expect(old?.closedWith).toBe(1000);
  });

  test("if the old one closes first and there has to be a wait, the new one does not come in between", async () => {
    const world = await ages();
    const [old, young] = world.sockets;
    world.luck = 0.5;
    old?.ends(1012);
    expect([world.status, young?.closedWith]).toEqual(["waiting", 1000]);
    young?.opens();
    expect(world.status).toBe("waiting");
  });

  test("of three in a row, the first is closed when the third is open", async () => {
    const world = new World({ replaceSeconds: 1 });
    await world.opens();
    for (let count = 0; count < 2; count++) {
      await passes(1_000);
      world.socket.opens();
    }
    expect(world.sockets.map(({ closedWith }) => closedWith)).toEqual([1000, undefined, undefined]);
  });

  test("close() closes both", async () => {
    const world = await ages();
    world.socket.opens();
    world.client.close();
    expect(world.sockets.map(({ closedWith }) => closedWith)).toEqual([1000, 1000]);
  });
});

test("ten thousand messages take far less than a second of computing", async () => {
  const world = new World();
  const socket = await world.opens();
  const before = process.cpuUsage();
  for (let id = 0; id < 10_000; id++) socket.says({ ...PROGRESS, id: `${id}` });
  expect(world.messages).toHaveLength(10_000);
  expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
});
