import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Changes, FRAME_MILLISECONDS } from "../src/source.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a change is told at once", () => {
  const changes = new Changes();
  const listener = vi.fn();
  changes.subscribe(listener);

  changes.tell();

  expect(listener).toHaveBeenCalledTimes(1);
});

test("changes of one frame are told together at its end, however many there are", () => {
  const changes = new Changes();
  const listener = vi.fn();
  changes.subscribe(listener);

  for (let count = 0; count < 1000; count += 1) changes.tell();
  expect(listener).toHaveBeenCalledTimes(1);

  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(listener).toHaveBeenCalledTimes(2);

  vi.advanceTimersByTime(10 * FRAME_MILLISECONDS);
  expect(listener).toHaveBeenCalledTimes(2);
});

test("a change in the frame after the told ones waits for its end too", () => {
  const changes = new Changes();
  const listener = vi.fn();
  changes.subscribe(listener);
  changes.tell();
  changes.tell();
  vi.advanceTimersByTime(FRAME_MILLISECONDS);

  changes.tell();
  expect(listener).toHaveBeenCalledTimes(2);

  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(listener).toHaveBeenCalledTimes(3);
});

test("nobody is called who took it back, and nothing ticks without changes", () => {
  const changes = new Changes();
  const listener = vi.fn();
  const unsubscribe = changes.subscribe(listener);
  const other = changes.subscribe(listener);

  unsubscribe();
  unsubscribe();
  changes.tell();
  expect(listener).toHaveBeenCalledTimes(1);

  other();
  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(vi.getTimerCount()).toBe(0);
});

test("what a person did is told at once, and not again at the frame's end", () => {
  const changes = new Changes();
  const listener = vi.fn();
  changes.subscribe(listener);
  changes.tell();
  changes.tell();

  changes.tellNow();
  expect(listener).toHaveBeenCalledTimes(2);

  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(listener).toHaveBeenCalledTimes(2);
});
