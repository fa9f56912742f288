// Signs of life: heartbeats, a page that sleep and wakes, and a network that comes and goes.

import { describe, expect, test } from "vitest";
import { advance, MINUTE, PROGRESS, sleep, useFakeTime, World } from "./world.js";

useFakeTime();

describe("heartbeat", () => {
  test("a ping is sent after 240 seconds of silence, and after each answer anew", async () => {
    const world = new World();
    const socket = await world.opens();
    await advance(239_999);
    expect(socket.sent).toEqual([]);
    await advance(1);
    expect(socket.sent).toEqual([{ type: "ping" }]);
    await advance(4_000);
    socket.says({ type: "pong", data: {} });
    await advance(239_999);
    expect(socket.pings).toBe(1);
    await advance(1);
    expect(socket.pings).toBe(2);
  });

  test("anything received counts as life", async () => {
    const world = new World();
    const socket = await world.opens();
    await advance(200_000);
    socket.says("whatever");
    await advance(239_999);
    expect(socket.sent).toEqual([]);
    await advance(1);
    socket.says(PROGRESS);
    await advance(MINUTE);
    expect(world.status).toBe("open");
  });

  test("what the client sends does not count as life", async () => {
    const world = new World();
    const socket = await world.opens();
    await advance(200_000);
    world.client.send("hey");
    await advance(40_000);
    expect(socket.pings).toBe(1);
  });

  test("without an answer within 5 seconds there is a new connection, at once", async () => {
    const world = new World();
    const socket = await world.opens();
    await advance(244_999);
    expect(world.status).toBe("open");
    await advance(1);
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
    await advance(5_000);
    expect(socket.closedWith).toBe(1000);
  });

  test("what arrives late on the connection that did not answer is passed on, once", async () => {
    const world = new World();
    const socket = await world.opens();
    await advance(245_000);
    socket.says(PROGRESS);
    world.socket.opens();
    world.socket.says(PROGRESS);
    socket.says({ ...PROGRESS, id: "2" });
    expect(world.messages.map(({ id }) => id)).toEqual(["1", "2"]);
  });

  test("0 turns pings off, for a server that does not answer any", async () => {
    const world = new World({ heartbeatSeconds: 0 });
    const socket = await world.opens();
    await advance(60 * MINUTE);
    world.shows("wake");
    await advance(MINUTE);
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
      await advance(1_999);
      expect(world.status).toBe("open");
      await advance(1);
      expect(world.client.state).toMatchObject({ status: "connecting", attempt: 1 });
      expect(world.sockets).toHaveLength(2);
    },
  );

  test("a sign of life is enough", async () => {
    const world = new World();
    const socket = await world.opens();
    world.shows("wake");
    await advance(1_000);
    socket.says(PROGRESS);
    await advance(200_000);
    expect([world.status, world.sockets.length]).toEqual(["open", 1]);
  });

  test("waking up makes the answer to a ping more urgent, and never less", async () => {
    const world = new World();
    await world.opens();
    await advance(241_000);
    world.shows("wake");
    await advance(1_999);
    expect(world.status).toBe("open");
    await advance(1);
    expect(world.sockets).toHaveLength(2);
    expect(world.sockets[0]?.pings).toBe(1);
    world.socket.opens();
    world.shows("wake");
    await advance(1_000);
    world.shows("wake");
    await advance(1_000);
    expect(world.sockets).toHaveLength(3);
  });

  test.each(["wake", "online"] as const)("%s ends a wait, and waits begin anew", async (sign) => {
    const world = new World();
    await world.connects();
    for (let count = 0; count < 6; count++) {
      world.socket.ends();
      await advance(world.wait);
    }
    world.socket.ends();
    world.shows(sign);
    expect(world.status).toBe("connecting");
    await advance(0);
    world.socket.ends();
    expect(world.wait).toBe(250);
  });

  test("online begins an attempt anew that was made on another network", async () => {
    const world = new World();
    const socket = await world.connects();
    world.shows("wake");
    await advance(0);
    expect(world.sockets).toHaveLength(1);
    world.shows("online");
    await advance(0);
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
    const socket = await world.settles();
    sleep(2 * MINUTE);
    await advance(10_000);
    expect(socket.pings).toBe(1);
    await advance(1_999);
    expect(world.sockets).toHaveLength(1);
    await advance(1);
    expect(world.sockets).toHaveLength(2);
  });

  test("a timer as late as those of hidden pages does not", async () => {
    const world = new World();
    const socket = await world.opens();
    sleep(MINUTE);
    await advance(10_000);
    expect(socket.sent).toEqual([]);
  });

  test("what did not come while the device slept says nothing", async () => {
    const world = new World();
    const socket = await world.opens();
    await advance(241_000);
    sleep(60 * MINUTE);
    await advance(4_000);
    expect([world.status, socket.pings]).toEqual(["open", 2]);
    socket.says({ type: "pong" });
    await advance(MINUTE);
    expect([world.status, world.sockets.length]).toEqual(["open", 1]);
  });

  test("who slept while waiting tries at once", async () => {
    const world = new World();
    await world.connects();
    for (let count = 0; count < 6; count++) {
      world.socket.ends();
      await advance(world.wait);
    }
    world.socket.ends();
    expect(world.wait).toBe(15_000);
    sleep(5 * MINUTE);
    await advance(10_000);
    await advance(0);
    expect([world.status, world.sockets.length]).toEqual(["connecting", 8]);
  });

  test("who slept while connecting begins anew", async () => {
    const world = new World();
    const socket = await world.connects();
    sleep(5 * MINUTE);
    await advance(10_000);
    expect([world.status, world.sockets.length, socket.closedWith]).toEqual(["connecting", 2, 1000]);
  });

  test("a clock that is set back by an hour changes nothing", async () => {
    const world = new World();
    const socket = await world.opens();
    sleep(-60 * MINUTE);
    await advance(240_000);
    expect(socket.pings).toBe(1);
    socket.ends();
    sleep(-60 * MINUTE);
    await advance(250);
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
    await advance(59_000);
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
    await advance(1_000);
    socket.says({ type: "pong" });
    await advance(2_000);
    expect(world.status).toBe("open");
    world.goesOffline();
    await advance(2_000);
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
    await advance(59_000);
    expect(world.sockets).toHaveLength(1);
  });

  test("waking up does not help, nor does it put the slow attempt off", async () => {
    const world = new World();
    world.isOnline = false;
    world.client.connect();
    await advance(30_000);
    world.shows("wake");
    world.shows("offline");
    expect(world.client.state).toMatchObject(OFFLINE);
    await advance(30_000);
    expect(world.asked).toHaveLength(1);
  });

  test("an attempt a minute is made, as the browser may be wrong", async () => {
    const world = new World();
    world.isOnline = false;
    world.client.connect();
    await advance(60_000);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 1 });
    world.socket.ends();
    expect(world.client.state).toMatchObject({ ...OFFLINE, attempt: 1 });
    await advance(60_000);
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
