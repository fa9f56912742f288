import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Computed, FRAME_MILLISECONDS } from "../../src/feed/store.js";

let value = 0;
let store: Computed<number>;
const heard = vi.fn<(state: number) => void>();

beforeEach(() => {
  vi.useFakeTimers();
  heard.mockClear();
  value = 0;
  store = new Computed(0, () => value);
});

afterEach(() => void vi.useRealTimers());

/** Subscribe, and forget the call that says how it is. */
function listen(): () => void {
  const unsubscribe = store.subscribe(heard);
  heard.mockClear();
  return unsubscribe;
}

test("a listener is told the state at once, as Svelte wants it, and after every change", () => {
  store.subscribe(heard);
  expect(heard.mock.calls).toEqual([[0]]);

  value = 1;
  store.changed();

  expect(heard.mock.calls).toEqual([[0], [1]]);
});

test("changes of one frame are told once, at its end", () => {
  listen();
  for (let count = 0; count < 1000; count += 1) store.changed();
  expect(heard).toHaveBeenCalledTimes(1);

  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(heard).toHaveBeenCalledTimes(2);

  vi.advanceTimersByTime(10 * FRAME_MILLISECONDS);
  expect(heard).toHaveBeenCalledTimes(2);
});

test("a change in the next frame waits for the end of that one", () => {
  listen();
  store.changed();
  store.changed();
  vi.advanceTimersByTime(FRAME_MILLISECONDS);

  store.changed();
  expect(heard).toHaveBeenCalledTimes(2);

  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(heard).toHaveBeenCalledTimes(3);
});

test("a state is computed when somebody asks, and is new before the listeners are called", () => {
  const compute = vi.fn(() => ++value);
  store = new Computed(0, compute);
  for (let count = 0; count < 1000; count += 1) store.changed();
  expect(compute).not.toHaveBeenCalled();

  expect([store.get(), store.get()]).toEqual([1, 1]);
});

test("a listener that has unsubscribed is not called, and there is no timer without changes", () => {
  const unsubscribe = store.subscribe(heard);
  const other = store.subscribe(heard);
  heard.mockClear();

  unsubscribe();
  unsubscribe();
  store.changed();
  expect(heard).toHaveBeenCalledTimes(1);

  other();
  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(vi.getTimerCount()).toBe(0);
});

test("an action of the user is told at once, and not again at the end of the frame", () => {
  listen();
  store.changed();
  store.changed();

  store.changedNow();
  expect(heard).toHaveBeenCalledTimes(2);

  vi.advanceTimersByTime(FRAME_MILLISECONDS);
  expect(heard).toHaveBeenCalledTimes(2);
});
