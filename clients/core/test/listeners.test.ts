// Listeners: who is called with which message, and in which order. Also `send()`, and the cost of a message.

import { describe, expect, test, vi } from "vitest";
import { RequestError } from "../src/index.js";
import { PROGRESS, useFakeTime, World } from "./world.js";

useFakeTime();

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

  test("send() sends with data or without, as soon as there is a connection", async () => {
    const world = new World();
    world.client.send("rename_moc", { name: "Ü" });
    const socket = await world.opens();
    world.client.send("hey");
    expect(socket.sent).toMatchObject([{ type: "rename_moc", data: { name: "Ü" } }, { type: "hey" }]);
  });

  test("what cannot be sent, and a time limit that is none, reject", async () => {
    const { client } = new World();
    await expect(client.send("hey", 1n)).rejects.toThrow(TypeError);
    for (const timeoutSeconds of [0, -1, Number.NaN, 301])
      await expect(client.send("hey", 1, { timeoutSeconds })).rejects.toThrow(
        new RangeError(`timeoutSeconds: got ${timeoutSeconds}; allowed: a number over 0, up to 300`),
      );
  });

  test("a rejection is an error with the server's words and details", async () => {
    const world = new World();
    const socket = await world.opens();
    const answer = world.client.cancel("moc-1");
    const data = { id: socket.sent[0]?.id, code: "UPLOAD_OVER", message: "it has ended", details: { rows: 3 } };
    socket.says({ type: "error", data, timestamp: "" });
    await expect(answer).rejects.toBeInstanceOf(RequestError);
    await expect(answer).rejects.toMatchObject({
      name: "RequestError",
      message: "it has ended",
      code: "UPLOAD_OVER",
      details: { rows: 3 },
    });
  });

  test("two clients have ids of their own", async () => {
    const [one, other] = [new World(), new World({ environment: { random: () => 0.25 } })];
    for (const world of [one, other]) {
      await world.opens();
      world.client.send("hey");
    }
    expect(one.socket.sent[0]?.id).not.toBe(other.socket.sent[0]?.id);
  });
});

test("a thousand messages set no timer each", async () => {
  let timers = 0;
  const environment = {
    setTimeout: (run: () => void, milliseconds: number) => {
      timers += 1;
      return setTimeout(run, milliseconds);
    },
  };
  const world = new World({ environment });
  const socket = await world.opens();
  const before = timers;
  for (let id = 0; id < 1_000; id++) socket.says({ ...PROGRESS, id: `${id}` });
  expect(world.messages).toHaveLength(1_000);
  expect(timers - before).toBeLessThan(10);
});
