// Tokens: when a client asks for which, and how it renews one while it is connected.

import { describe, expect, test } from "vitest";
import { TellwireClient } from "../src/index.js";
import { advance, errorMessage, MINUTE, tokenFor, useFakeTime, World } from "./world.js";

useFakeTime();

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
    await advance(0);
    expect(world.client.state).toMatchObject(refused);
    expect(world.client.state.reason?.message).toBe("getToken failed: signed out");
    world.getToken = () => "a-token";
    await advance(world.wait);
    expect(world.asked).toEqual(["connect", "connect"]);
    expect(world.sockets).toHaveLength(1);
  });

  test.each([undefined, null, ""])("%j is no token", async (token) => {
    const world = new World();
    world.getToken = () => token as unknown as string;
    world.client.connect();
    await advance(0);
    expect(world.client.state).toMatchObject(refused);
    expect(world.sockets).toEqual([]);
  });

  test("a getToken that hangs is a failed attempt after 15 seconds, and its late token is not used", async () => {
    const world = new World();
    let answer = (_token: string): void => {};
    world.getToken = () => new Promise((resolve) => (answer = resolve));
    world.client.connect();
    await advance(15_000);
    expect(world.client.state).toMatchObject(refused);
    answer("late");
    await advance(0);
    expect(world.sockets).toEqual([]);
    await advance(world.wait);
    expect(world.asked).toEqual(["connect", "connect"]);
    answer("a-token");
    await advance(0);
    expect(world.sockets.map(({ protocols }) => protocols[1])).toEqual(["token.a-token"]);
  });

  test("the handshake has its own 15 seconds after the token", async () => {
    const world = new World();
    world.getToken = () => new Promise((resolve) => setTimeout(resolve, 14_000, "a-token"));
    world.client.connect();
    await advance(14_000);
    await advance(14_000);
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
    await advance(0);
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
    await advance(100);
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
    await advance(0);
    expect(world.asked).toEqual(["connect", "refused"]);
    world.socket.opens();
    await advance(10_000);
    world.socket.ends(1001);
    await advance(0);
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
    await advance(0);
    world.getToken = () => "a-token";
    await advance(world.wait);
    expect(world.asked).toEqual(["connect", "refused", "refused"]);
  });

  test.each(["TOKEN_EXPIRED", "TOKEN_INVALID", "TOKEN_MISSING"])("%s before 1000 means 4401", async (code) => {
    const world = new World();
    const socket = await world.settles();
    socket.says(errorMessage(code));
    socket.ends(1000);
    await advance(0);
    expect(world.client.state.reason).toMatchObject({ code: 4401, kind: "token" });
    expect(world.asked).toEqual(["connect", "refused"]);
    expect(world.messages).toEqual([errorMessage(code)]);
  });

  test("an error of long ago does not explain a 1000", async () => {
    const world = new World();
    const socket = await world.settles();
    socket.says(errorMessage("TOKEN_EXPIRED"));
    await advance(10_001);
    socket.ends(1000);
    expect(world.client.state.reason).toMatchObject({ code: 1000, kind: "server" });
  });

  test("an error of another connection does not explain a 1000", async () => {
    const world = new World();
    const socket = await world.settles();
    socket.says(errorMessage("TOKEN_OF_ANOTHER_USER"));
    socket.ends(1001);
    await advance(0);
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
    socket.says(errorMessage(code));
    socket.ends(1000);
    expect(world.client.state).toMatchObject({ status: "waiting", reason: { code: 1000, kind: "server" } });
  });

  test("another user's token before 1000 means 4403", async () => {
    const world = new World();
    const socket = await world.settles();
    socket.says(errorMessage("TOKEN_OF_ANOTHER_USER"));
    socket.ends(1000);
    expect(world.client.state).toMatchObject({ status: "closed", reason: { code: 4403, kind: "final" } });
  });

  test("a handshake that fails with an expired token asks for a new one", async () => {
    const world = new World();
    const token = tokenFor(1);
    world.getToken = () => token;
    await world.connects();
    await advance(1_001);
    world.socket.ends();
    await advance(world.wait);
    expect(world.asked).toEqual(["connect", "refused"]);
  });

  test("every fourth failed handshake in a row is taken for a refused token", async () => {
    const world = new World();
    await world.connects();
    for (let count = 0; count < 8; count++) {
      world.socket.ends();
      await advance(world.wait);
    }
    expect(world.asked.map((why) => why === "refused")).toEqual([0, 0, 0, 0, 1, 0, 0, 0, 1].map(Boolean));
  });
});

test("handshakes that failed before one that did not are forgotten", async () => {
  const world = new World();
  await world.connects();
  for (let count = 0; count < 3; count++) {
    world.socket.ends();
    await advance(world.wait);
  }
  world.socket.opens();
  world.socket.ends();
  await advance(world.wait);
  world.socket.ends();
  await advance(world.wait);
  expect(world.asked).not.toContain("refused");
});

describe("renewal", () => {
  const authOk = (seconds: number, skew = 0): object => ({
    type: "auth_ok",
    data: { expiresAt: new Date(Date.now() + skew + seconds * 1000).toISOString() },
    timestamp: new Date(Date.now() + skew).toISOString(),
  });

  async function opensFor(seconds: number, random = 0): Promise<World> {
    const world = new World({ heartbeatSeconds: 0 });
    world.random = random;
    const token = tokenFor(seconds);
    world.getToken = (why) => (why === "renew" ? "new-token" : token);
    await world.opens();
    return world;
  }

  test.each([
    [0, 240],
    [0.5, 210],
    [0.999, 180],
  ])("a token is renewed one to two minutes before it expires (random %d)", async (random, seconds) => {
    const world = await opensFor(300, random);
    await advance(seconds * 1000 - 1);
    expect(world.asked).toEqual(["connect"]);
    await advance(101);
    expect(world.asked).toEqual(["connect", "renew"]);
    expect(world.socket.sent.filter(({ type }) => type === "auth")).toEqual([{ type: "auth", token: "new-token" }]);
  });

  test("a token of a short life is renewed in the middle of it", async () => {
    const world = await opensFor(30);
    await advance(14_999);
    expect(world.asked).toEqual(["connect"]);
    await advance(1);
    expect(world.asked).toEqual(["connect", "renew"]);
  });

  test("a token that is no JWT, or never expires, is not renewed", async () => {
    for (const token of ["opaque", "a.b.c", `a.${btoa("{}")}.c`, `a.${btoa("null")}.c`]) {
      const world = new World({ rotateAfterSeconds: 1e9, heartbeatSeconds: 0 });
      world.getToken = () => token;
      await world.opens();
      await advance(5 * 60 * MINUTE);
      expect(world.asked).toEqual(["connect"]);
    }
  });

  test("the expiry that the server tells counts, and by its clock", async () => {
    const world = await opensFor(300);
    world.socket.says(authOk(1_000, 55 * MINUTE));
    expect(world.messages).toEqual([]);
    await advance(939_999);
    expect(world.asked).toEqual(["connect"]);
    await advance(1);
    expect(world.asked).toEqual(["connect", "renew"]);
  });

  test("an expiry without the server's time is taken by this clock", async () => {
    const world = await opensFor(300);
    world.socket.says({ type: "auth_ok", data: { expiresAt: new Date(Date.now() + 500_000).toISOString() } });
    await advance(440_000);
    expect(world.asked).toEqual(["connect", "renew"]);
  });

  test("an expiry that is none changes nothing", async () => {
    const world = await opensFor(300);
    world.socket.says({ type: "auth_ok", data: { expiresAt: "soon" } });
    world.socket.says({ type: "auth_ok" });
    await advance(240_000);
    expect(world.asked).toEqual(["connect", "renew"]);
  });

  test("a renewal that fails is tried again while there is time", async () => {
    const world = await opensFor(300);
    world.getToken = () => Promise.reject(new Error("no network"));
    await advance(240_000);
    expect(world.asked).toEqual(["connect", "renew"]);
    await advance(30_000);
    expect(world.asked).toEqual(["connect", "renew", "renew"]);
    expect(world.status).toBe("open");
  });

  test("a renewal that is not confirmed is tried again while there is time, and not after", async () => {
    const world = await opensFor(300);
    await advance(299_000);
    const tries = world.asked.length;
    expect(tries).toBeGreaterThan(3);
    expect(tries).toBeLessThan(12);
    await advance(60_000);
    expect(world.asked.length).toBeLessThan(tries + 3);
  });

  test("a token that was accepted though it is expired by this clock is left alone", async () => {
    const world = await opensFor(-3600);
    await advance(MINUTE);
    expect(world.asked).toEqual(["connect"]);
  });

  test("a new token that comes when the connection is gone is not sent", async () => {
    const world = await opensFor(30);
    let answer = (_token: string): void => {};
    world.getToken = () => new Promise((resolve) => (answer = resolve));
    await advance(15_000);
    expect(world.asked).toEqual(["connect", "renew"]);
    const { socket } = world;
    socket.ends(1001);
    world.getToken = () => "a-token";
    answer("new-token");
    await advance(0);
    world.socket.opens();
    expect([socket.sent, world.socket.sent]).toEqual([[], []]);
  });
});
