import { expect, test } from "vitest";
import { isEqual, TrackedViews } from "../src/views.js";

interface State {
  readonly a: number;
  readonly b?: number;
}

const views = (): TrackedViews<State> => new TrackedViews<State>(["a", "b"]);

test("a view shows its state, absent fields too", () => {
  const view = views().of({ a: 1 });

  expect(view).toEqual({ a: 1, b: undefined });
  expect({ ...view }).toEqual({ a: 1, b: undefined });
});

test("it is another view when a field has changed that was read", () => {
  const tracked = views();
  const first = tracked.of({ a: 1, b: 1 });
  expect(first.a).toBe(1);

  const second = tracked.of({ a: 2, b: 1 });

  expect(second).not.toBe(first);
  expect(second.a).toBe(2);
  expect(first.a).toBe(1);
});

test("it is the same view when another field has changed, and shows its new value when that is read after all", () => {
  const tracked = views();
  const first = tracked.of({ a: 1, b: 1 });
  expect(first.a).toBe(1);

  expect(tracked.of({ a: 1, b: 2 })).toBe(first);
  expect(first.b).toBe(2);
  expect(tracked.of({ a: 1, b: 3 })).not.toBe(first);
});

test("what was read once counts for later views too", () => {
  const tracked = views();
  expect(tracked.of({ a: 1 }).a).toBe(1);
  const second = tracked.of({ a: 2 });

  expect(tracked.of({ a: 3 })).not.toBe(second);
});

test.each([
  [1, 1, true],
  [Number.NaN, Number.NaN, true],
  [1, "1", false],
  [null, undefined, false],
  [[1, 2], [1, 2], true],
  [[1, 2], [1], false],
  [[1], [1, 2], false],
  [[{}], [{}], false],
  [{ a: 1 }, { a: 1 }, true],
  [{ a: 1 }, { a: 2 }, false],
  [{ a: undefined }, { b: undefined }, false],
  [{ 0: 1 }, [1], false],
  [new Map(), new Map(), false],
])("%o and %o: equal is %o", (one, other, expected) => {
  expect(isEqual(one, other)).toBe(expected);
});
