// The page and its timers: which events are listened to when, and what a late timer means. The rules are in the traces.

import { describe, expect, test } from "vitest";
import { advance, MINUTE, sleep, useFakeTime, World } from "./world.js";

useFakeTime();

describe("the page", () => {
  test("an idle or closed client does not listen to the page", async () => {
    const world = new World();
    world.client.connect();
    expect(world.page.size).toBe(1);
    world.client.close();
    expect(world.page.size).toBe(0);
    world.client.connect();
    expect(world.page.size).toBe(1);
  });

  test("a timer that is much too late means that the device slept", async () => {
    const world = new World({ recover: false });
    const socket = await world.opens();
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

  test("an answer that was due while the device slept is not missed", async () => {
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

  test("a device that slept while waiting tries at once", async () => {
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

  test("a device that slept while connecting tries again soon", async () => {
    const world = new World();
    const socket = await world.connects();
    sleep(5 * MINUTE);
    await advance(10_250);
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
  test("connect() tries at once, although the device says that it is offline", async () => {
    const world = new World();
    world.isOnline = false;
    world.client.connect();
    expect(world.client.state).toMatchObject({ status: "waiting", reason: { kind: "offline" } });
    world.client.connect();
    expect(world.status).toBe("connecting");
  });

  test("an event of a device that is online changes nothing while waiting", async () => {
    const world = new World();
    (await world.connects()).ends();
    const { state } = world.client;
    world.shows("offline");
    expect(world.client.state).toBe(state);
  });
});
