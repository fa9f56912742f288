// Each example shows what a gateway says, and says what a click asks for. The gateway is the test.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { views } from "./src/main.js";

const timestamp = "2026-11-29T09:18:54.123Z";
const upload = { uploadId: "a", fileName: "parts.csv", progress: 40, message: "", status: "running" };
const welcome = {
  connectionId: "c",
  userId: "user-1",
  cursor: "e:1",
  recovered: true,
  messages: [],
  state: [{ type: "upload_progress", data: upload, timestamp, id: "u", key: "upload:a", version: 1 }],
  heartbeatSeconds: 25,
  rotateAfterSeconds: 6600,
  expiresAt: "2036-11-29T09:18:54.123Z",
  last: true,
};
const kept = {
  type: "notification",
  data: { title: "Kept", message: "", severity: "info" },
  timestamp,
  id: "n1",
  cursor: "e:1",
};

class Gateway {
  static asked = [];

  constructor() {
    setTimeout(() => this.onopen?.({}));
  }

  send(text) {
    const { type, id, ...asked } = JSON.parse(text);
    if (type === "hello") this.#say({ type: "welcome", data: welcome });
    if (id === undefined) return;
    Gateway.asked.push({ type, ...asked });
    const result = type === "history" ? { messages: [kept], more: false } : undefined;
    this.#say({ type: "ok", data: { id, result } });
    if (type === "history") this.#say({ ...kept, data: { ...kept.data, title: "Live" }, id: "n2", cursor: "e:2" });
  }

  close() {}

  #say(message) {
    setTimeout(() => this.onmessage?.({ data: JSON.stringify({ timestamp, ...message }) }));
  }
}

beforeEach(() => {
  vi.stubGlobal("WebSocket", Gateway);
  Gateway.asked = [];
});

afterEach(() => {
  document.body.replaceChildren();
});

test.each(Object.keys(views))("%s shows what is kept and what is live, and marks it as read", async (name) => {
  const element = document.body.appendChild(document.createElement("main"));
  const options = { url: "wss://live.example.com", user: "user-1", getToken: () => "a-token" };
  const stop = views[name](element, options);
  await vi.waitFor(() => expect(element.textContent).toContain("Notifications: 2 new"));
  for (const words of ["Kept", "Live", "parts.csv"]) expect(element.textContent).toContain(words);
  expect(element.querySelector("progress").value).toBe(40);

  element.querySelector("button").click();
  await vi.waitFor(() => expect(element.textContent).toContain("Notifications: 0 new"));
  await vi.waitFor(() => expect(Gateway.asked.map(({ type }) => type)).toContain("read"));
  stop?.();
});
