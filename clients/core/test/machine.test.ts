// The state machine by itself: every event in every status, and connections that are ignored.

import { describe, expect, test } from "vitest";
import { newModel, nextDue, reduce } from "../src/machine.js";
import type { Action, Event, Model } from "../src/model.js";
import { resolveOptions } from "../src/options.js";

const NOW = 1_000_000;

/** Let things happen, one after the other, and return the model and the last one's actions. */
function after(...events: Event[]): { model: Model; actions: Action[] } {
  let model = newModel(resolveOptions({}));
  let actions: Action[] = [];
  for (const event of events) {
    [model, actions] = reduce(model, event, { now: NOW, online: true, random: () => 0.5 });
  }
  return { model, actions };
}

const CONNECT: Event = { type: "connect" };
const CLOSE: Event = { type: "close" };
const token = (connection = 1): Event => ({ type: "token", connection, token: "a-token" });
const noToken = (connection = 1): Event => ({ type: "token failed", connection, message: "no" });
const opened = (connection = 1): Event => ({ type: "opened", connection });
const ended = (connection = 1, code = 1012): Event => ({ type: "closed", connection, code, reason: "" });
const received = (connection = 1, type = "hey"): Event => ({
  type: "received",
  connection,
  data: `{"type":"${type}"}`,
});
const tick = (wanted = NOW): Event => ({ type: "tick", wanted });
const page = (type: "wake" | "online" | "offline"): Event => ({ type });

/** A way to each status. */
const TO: Record<string, Event[]> = {
  idle: [],
  connecting: [CONNECT],
  handshaking: [CONNECT, token()],
  open: [CONNECT, token(), opened(), received(1, "pong")],
  waiting: [CONNECT, noToken()],
  closed: [CONNECT, CLOSE],
};

const EVERYTHING: [string, Event][] = [
  ["connect", CONNECT],
  ["close", CLOSE],
  ["token", token()],
  ["no token", noToken()],
  ["opened", opened()],
  ["ended", ended()],
  ["ended for good", ended(1, 4403)],
  ["received", received()],
  ["wake", page("wake")],
  ["online", page("online")],
  ["offline", page("offline")],
  ["tick", tick()],
];

/** What becomes of each status, where it is not what it was. A handshake is `connecting`. */
const BECOMES: Record<string, Record<string, string>> = {
  idle: { connect: "connecting", close: "closed" },
  connecting: { close: "closed", "no token": "waiting", ended: "waiting", "ended for good": "closed" },
  handshaking: {
    close: "closed",
    "no token": "waiting",
    received: "open",
    ended: "waiting",
    "ended for good": "closed",
  },
  open: { close: "closed", ended: "waiting", "ended for good": "closed" },
  waiting: {
    connect: "connecting",
    close: "closed",
    wake: "connecting",
    online: "connecting",
  },
  closed: { connect: "connecting" },
};

describe.each(Object.entries(TO))("%s", (place, way) => {
  const status = place === "handshaking" ? "connecting" : place;

  test.each(EVERYTHING)("%s", (name, event) => {
    expect(after(...way).model.state.status).toBe(status);
    // A socket cannot open before there is a token.
    if (place === "connecting" && (name === "opened" || name === "received")) return;
    expect(after(...way, event).model.state.status).toBe(BECOMES[place]?.[name] ?? status);
  });

  test.each(EVERYTHING)("%s changes nothing in the model that was", (_, event) => {
    const { model } = after(...way);
    const before = structuredClone(model);
    reduce(model, event, { now: NOW, online: true, random: () => 0.5 });
    expect(model).toEqual(before);
  });

  test("something is due while connecting, open or waiting, and nothing otherwise", () => {
    const isActive = ["connecting", "open", "waiting"].includes(status);
    expect(nextDue(after(...way).model) < Number.POSITIVE_INFINITY).toBe(isActive);
  });
});

describe("a connection that is forgotten is not heard", () => {
  /** The first connection was dropped, and the second one is under way. */
  const SECOND: Event[] = [CONNECT, CLOSE, CONNECT];

  test.each([
    ["its token", token(1)],
    ["that it has none", noToken(1)],
    ["that it opened", opened(1)],
    ["that it ended", ended(1)],
    ["a message", received(1)],
  ])("%s", (_, event) => {
    const before = after(...SECOND).model;
    const [model, actions] = reduce(before, event, { now: NOW, online: true, random: () => 0.5 });
    expect([model, actions]).toEqual([before, []]);
  });
});
