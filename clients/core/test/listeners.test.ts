// Listeners: who is called with which message, and in which order. Also `send()`, and the cost of a message.

import { describe, expect, test, vi } from "vitest";
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

test("ten thousand messages take far less than a second of computing", async () => {
  const world = new World();
  const socket = await world.opens();
  const before = process.cpuUsage();
  for (let id = 0; id < 10_000; id++) socket.says({ ...PROGRESS, id: `${id}` });
  expect(world.messages).toHaveLength(10_000);
  expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
});
