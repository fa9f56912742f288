// The planned replacement: a new connection before the old one has to go, and nothing lost or twice between them.

import { describe, expect, test } from "vitest";
import { errorMessage, MINUTE, PROGRESS, passes, testsItsTime, World } from "./world.js";

testsItsTime();

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
    old.says(errorMessage("TOKEN_OF_ANOTHER_USER"));
    await passes(235_999);
    expect(world.sockets[1]?.pings).toBe(0);
    await passes(1);
    expect(world.sockets[1]?.pings).toBe(1);
    const [other] = [await ages()];
    other.socket.opens();
    other.sockets[0]?.says(errorMessage("TOKEN_OF_ANOTHER_USER"));
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
