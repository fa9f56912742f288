// The planned replacement: a new connection before the old one has to go, and nothing lost or twice between them.

import { describe, expect, test } from "vitest";
import { advance, errorMessage, MINUTE, PROGRESS, useFakeTime, World } from "./world.js";

useFakeTime();

describe("the planned replacement", () => {
  const EARLIEST = 6_600_000 * 0.96;

  async function ages(options = {}): Promise<World> {
    const world = new World({ heartbeatSeconds: 0, ...options });
    world.random = 0;
    await world.opens();
    await advance(EARLIEST);
    return world;
  }

  test.each([
    [0, 105.6],
    [0.5, 110],
    [0.999, 114.38],
  ])("comes at 110 minutes, give or take 4 %% (random %d)", async (random, minutes) => {
    const world = new World({ heartbeatSeconds: 0 });
    world.random = random;
    await world.opens();
    await advance((minutes - 0.1) * MINUTE);
    expect(world.sockets).toHaveLength(1);
    await advance(0.2 * MINUTE);
    expect(world.sockets).toHaveLength(2);
  });

  test("the new connection is open before the old one is closed, and nobody notices", async () => {
    const world = await ages();
    const [old, young] = world.sockets;
    const { state } = world.client;
    expect(world.asked).toEqual(["connect", "connect"]);
    await advance(3_000);
    world.client.send("hey");
    expect([old?.sent.length, old?.closedWith]).toEqual([1, undefined]);
    young?.opens();
    expect([old?.closedWith, world.status]).toEqual([undefined, "open"]);
    world.client.send("hey");
    expect(young?.sent).toEqual([{ type: "hey" }]);
    await advance(5_000);
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
    await advance(5_000);
    old?.says({ ...PROGRESS, id: "4" });
    expect(world.messages).toHaveLength(3);
  });

  test("the old one may close by itself then", async () => {
    const world = await ages();
    const [old, young] = world.sockets;
    young?.opens();
    old?.ends(1001);
    await advance(MINUTE);
    expect([world.status, world.sockets.length]).toEqual(["open", 2]);
  });

  test("one that fails is tried again within a minute or so, and the old one stays", async () => {
    const world = await ages();
    world.random = 0.25;
    const { state } = world.client;
    world.socket.ends();
    await advance(44_999);
    expect(world.sockets).toHaveLength(2);
    await advance(1);
    expect(world.sockets).toHaveLength(3);
    expect(world.client.state).toBe(state);
    await advance(15_000 + MINUTE);
    expect(world.sockets).toHaveLength(4);
    expect(world.sockets[2]?.closedWith).toBe(1000);
  });

  test("one without a token is tried again, too", async () => {
    const world = new World({ heartbeatSeconds: 0, rotateAfterSeconds: 100 });
    await world.opens();
    world.getToken = () => Promise.reject(new Error("no network"));
    await advance(100_000);
    expect([world.asked.length, world.status]).toEqual([2, "open"]);
    await advance(60_000);
    expect(world.asked).toHaveLength(3);
  });

  test("the new one is replaced in its turn", async () => {
    const world = await ages();
    world.socket.opens();
    await advance(EARLIEST - 1);
    expect(world.sockets).toHaveLength(2);
    await advance(1);
    expect(world.sockets).toHaveLength(3);
  });

  test("if the old one closes first, there is one attempt as always", async () => {
    const world = await ages();
    const [old, young] = world.sockets;
    old?.ends(1001);
    expect(world.client.state).toMatchObject({ status: "connecting", attempt: 1 });
    await advance(0);
    expect([young?.closedWith, world.sockets.length]).toEqual([1000, 3]);
    world.socket.opens();
    await advance(MINUTE);
    expect(world.sockets.filter(({ closedWith }) => closedWith === undefined)).toEqual([old, world.socket]);
  });

  test("what the old one says is no life of the new one, nor does it explain its end", async () => {
    const world = new World({ rotateAfterSeconds: 200 });
    world.random = 0.5;
    const old = await world.opens();
    await advance(200_000);
    world.socket.opens();
    await advance(4_000);
    old.says(errorMessage("TOKEN_OF_ANOTHER_USER"));
    await advance(235_999);
    expect(world.sockets[1]?.pings).toBe(0);
    await advance(1);
    expect(world.sockets[1]?.pings).toBe(1);
    const [other] = [await ages()];
    other.socket.opens();
    other.sockets[0]?.says(errorMessage("TOKEN_OF_ANOTHER_USER"));
    other.socket.ends(1000);
    expect(other.client.state).toMatchObject({ status: "waiting", reason: { code: 1000 } });
  });

  test("the old one is closed also if the new one ends before that", async () => {
    const world = await ages();
    world.random = 0.999;
    const [old, young] = world.sockets;
    young?.opens();
    await advance(1_000);
    young?.ends(1012);
    old?.says(PROGRESS);
    expect(world.messages).toHaveLength(1);
    await advance(4_000);
    expect(old?.closedWith).toBe(1000);
  });

  test("if the old one closes first and there has to be a wait, the new one does not come in between", async () => {
    const world = await ages();
    const [old, young] = world.sockets;
    world.random = 0.5;
    old?.ends(1012);
    expect([world.status, young?.closedWith]).toEqual(["waiting", 1000]);
    young?.opens();
    expect(world.status).toBe("waiting");
  });

  test("of three in a row, the first is closed when the third is open", async () => {
    const world = new World({ rotateAfterSeconds: 1 });
    await world.opens();
    for (let count = 0; count < 2; count++) {
      await advance(1_000);
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
