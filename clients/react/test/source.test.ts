import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Changes, FRAME_MILLISECONDS } from "../src/source.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a change is announced at once", () => {
  const changes = new Changes();
  const listener = vi.fn();
  changes.subscribe(listener);

  changes.announce();

  expect(listener).toHaveBeenCalledTimes(1);
});

test("changes of one frame are announced once, at its end", () => {
  const changes = new Changes();
  const listener = vi.fn();
  changes.subscribe(listener);

  for (let count = 0; count < 1000; count += 1) changes.announce();
  expect(listener).toHaveBeenCalledTimes(1);

  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(listener).toHaveBeenCalledTimes(2);

  vi.advanceTimersByTime(10 * FRAME_MILLISECONDS);
  expect(listener).toHaveBeenCalledTimes(2);
});

test("a change in the next frame waits for the end of that one", () => {
  const changes = new Changes();
  const listener = vi.fn();
  changes.subscribe(listener);
  changes.announce();
  changes.announce();
  vi.advanceTimersByTime(FRAME_MILLISECONDS);

  changes.announce();
  expect(listener).toHaveBeenCalledTimes(2);

  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(listener).toHaveBeenCalledTimes(3);
});

test("a listener that has unsubscribed is not called, and there is no timer without changes", () => {
  const changes = new Changes();
  const listener = vi.fn();
  const unsubscribe = changes.subscribe(listener);
  const other = changes.subscribe(listener);

  unsubscribe();
  unsubscribe();
  changes.announce();
  expect(listener).toHaveBeenCalledTimes(1);

  other();
  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(vi.getTimerCount()).toBe(0);
});

test("an action of the user is announced at once, and not again at the end of the frame", () => {
  const changes = new Changes();
  const listener = vi.fn();
  changes.subscribe(listener);
  changes.announce();
  changes.announce();

  changes.announceNow();
  expect(listener).toHaveBeenCalledTimes(2);

  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(listener).toHaveBeenCalledTimes(2);
});
