// The machine by itself: every status, and what each happening makes of it; and links that are not heard any more.

import { describe, expect, test } from "vitest";
import { newModel, nextDue, step } from "../src/machine.js";
import type { Action, Happening, Model } from "../src/model.js";
import { settingsOf } from "../src/settings.js";

const NOW = 1_000_000;

/** Let things happen, one after the other, and return the model and the last one's actions. */
function after(...happenings: Happening[]): { model: Model; actions: Action[] } {
  let model = newModel(settingsOf({}));
  let actions: Action[] = [];
  for (const happening of happenings) {
    [model, actions] = step(model, happening, { now: NOW, online: true, random: () => 0.5 });
  }
  return { model, actions };
}

const CONNECT: Happening = { is: "connect" };
const CLOSE: Happening = { is: "close" };
const token = (link = 1): Happening => ({ is: "token", link, token: "a-token" });
const noToken = (link = 1): Happening => ({ is: "no token", link, message: "no" });
const opened = (link = 1): Happening => ({ is: "opened", link });
const ended = (link = 1, code = 1012): Happening => ({ is: "ended", link, code });
const received = (link = 1, type = "hey"): Happening => ({ is: "received", link, data: `{"type":"${type}"}` });
const tick = (wanted = NOW): Happening => ({ is: "tick", wanted });
const sign = (name: "wake" | "online" | "offline"): Happening => ({ is: "sign", sign: name });

/** A way to each status. */
const TO: Record<string, Happening[]> = {
  idle: [],
  connecting: [CONNECT],
  handshaking: [CONNECT, token()],
  open: [CONNECT, token(), opened()],
  waiting: [CONNECT, noToken()],
  closed: [CONNECT, CLOSE],
};

const EVERYTHING: [string, Happening][] = [
  ["connect", CONNECT],
  ["close", CLOSE],
  ["token", token()],
  ["no token", noToken()],
  ["opened", opened()],
  ["ended", ended()],
  ["ended for good", ended(1, 4403)],
  ["received", received()],
  ["wake", sign("wake")],
  ["online", sign("online")],
  ["offline", sign("offline")],
  ["tick", tick()],
  ["late tick", tick(NOW - 100_000)],
];

/** What becomes of each status, where it is not what it was. A handshake is `connecting`. */
const BECOMES: Record<string, Record<string, string>> = {
  idle: { connect: "connecting", close: "closed" },
  connecting: { close: "closed", "no token": "waiting", ended: "waiting", "ended for good": "waiting" },
  handshaking: {
    close: "closed",
    "no token": "waiting",
    opened: "open",
    ended: "waiting",
    "ended for good": "waiting",
  },
  open: { close: "closed", ended: "waiting", "ended for good": "closed" },
  waiting: {
    connect: "connecting",
    close: "closed",
    wake: "connecting",
    online: "connecting",
    "late tick": "connecting",
  },
  closed: { connect: "connecting" },
};

describe.each(Object.entries(TO))("%s", (place, way) => {
  const status = place === "handshaking" ? "connecting" : place;

  test.each(EVERYTHING)("%s", (name, happening) => {
    expect(after(...way).model.state.status).toBe(status);
    // A socket cannot open before there is a token.
    if (place === "connecting" && name === "opened") return;
    expect(after(...way, happening).model.state.status).toBe(BECOMES[place]?.[name] ?? status);
  });

  test.each(EVERYTHING)("%s changes nothing in the model that was", (_, happening) => {
    const { model } = after(...way);
    const before = structuredClone(model);
    step(model, happening, { now: NOW, online: true, random: () => 0.5 });
    expect(model).toEqual(before);
  });

  test("something is due while connecting, open or waiting, and nothing otherwise", () => {
    const isActive = ["connecting", "open", "waiting"].includes(status);
    expect(nextDue(after(...way).model) < Number.POSITIVE_INFINITY).toBe(isActive);
  });
});

describe("a link that is forgotten is not heard", () => {
  /** The first link was dropped, and the second one is under way. */
  const SECOND: Happening[] = [CONNECT, CLOSE, CONNECT];

  test.each([
    ["its token", token(1)],
    ["that it has none", noToken(1)],
    ["that it opened", opened(1)],
    ["that it ended", ended(1)],
    ["a message", received(1)],
  ])("%s", (_, happening) => {
    const before = after(...SECOND).model;
    const [model, actions] = step(before, happening, { now: NOW, online: true, random: () => 0.5 });
    expect([model, actions]).toEqual([before, []]);
  });

  test("nor is one that is not open yet", () => {
    expect(after(CONNECT, token(), received(1)).actions).toEqual([]);
  });
});

describe("actions", () => {
  test("a link is a token, then a socket", () => {
    expect(after(CONNECT).actions).toEqual([{ do: "get token", link: 1, why: "connect" }]);
    expect(after(CONNECT, token()).actions).toEqual([{ do: "open", link: 1, token: "a-token" }]);
    expect(after(CONNECT, token(), opened()).actions).toEqual([{ do: "send", link: 1, message: { type: "hello" } }]);
  });

  test("a token for an open link is sent on it", () => {
    const auth = { do: "send", link: 1, message: { type: "auth", token: "a-token" } };
    expect(after(CONNECT, token(), opened(), token()).actions).toEqual([auth]);
  });

  test("what is dropped is every link there is", () => {
    const late = after(CONNECT, token(), opened(), sign("wake"));
    const moment = { now: NOW + 2_000, online: true, random: () => 0.5 };
    const [silent] = step(late.model, tick(NOW + 2_000), moment);
    expect([silent.last, silent.current, silent.next]).toEqual([1, undefined, 2]);
    const [again] = step(silent, token(2), moment);
    const [open] = step(again, opened(2), moment);
    const [, actions] = step(open, CLOSE, moment);
    expect(actions).toEqual([
      { do: "drop", link: 2 },
      { do: "drop", link: 1 },
    ]);
  });
});
