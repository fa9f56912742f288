// The environment of a browser, and of Node.

import { afterEach, expect, test, vi } from "vitest";
import { environment } from "../src/environment.js";
import type { PageEvent } from "../src/types.js";

afterEach(() => {
  vi.unstubAllGlobals();
});

/** A fake page, and the events that were received from it. */
function page(): {
  window: EventTarget;
  document: EventTarget & { visibilityState: string };
  signs: PageEvent[];
  leave(): void;
} {
  const window = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  vi.stubGlobal("window", window);
  vi.stubGlobal("document", document);
  const signs: PageEvent[] = [];
  return { window, document, signs, leave: environment().onPageEvent((sign) => signs.push(sign)) };
}

test.each([
  ["window", "online", "online"],
  ["window", "offline", "offline"],
  ["window", "pageshow", "wake"],
  ["document", "resume", "wake"],
  ["document", "visibilitychange", "wake"],
] as const)("on the %s, %s means %s", (target, name, sign) => {
  const { signs, leave, ...targets } = page();
  targets[target].dispatchEvent(new Event(name));
  expect(signs).toEqual([sign]);
  leave();
  targets[target].dispatchEvent(new Event(name));
  expect(signs).toHaveLength(1);
});

test("a page that is hidden does not wake up, and one that is left closes nothing", () => {
  const { document, window, signs } = page();
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  window.dispatchEvent(new Event("pagehide"));
  expect(signs).toEqual([]);
});

test("where there is no page there are no signs", () => {
  expect(() => environment().onPageEvent(() => {})()).not.toThrow();
});

test.each([
  [undefined, true],
  [{}, true],
  [{ onLine: true }, true],
  [{ onLine: false }, false],
])("with the navigator %j online is %s", (navigator, expected) => {
  vi.stubGlobal("navigator", navigator);
  expect(environment().online()).toBe(expected);
});

test("errors go to reportError, or to the console where there is none", () => {
  const report = vi.fn();
  vi.stubGlobal("reportError", report);
  environment().reportError("first");
  vi.stubGlobal("reportError", undefined);
  const log = vi.spyOn(console, "error").mockReturnValue();
  environment().reportError("second");
  expect([report.mock.calls, log.mock.calls]).toEqual([[["first"]], [["second"]]]);
});

test("what is given takes the place of what is there", () => {
  const now = (): number => 7;
  const { now: given, random } = environment({ now });
  expect(given).toBe(now);
  expect(random()).toBeLessThan(1);
});
