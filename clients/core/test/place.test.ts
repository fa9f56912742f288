// A place by itself: what each message makes of it. coming-back.test.ts has what chance makes of it.

import { describe, expect, test } from "vitest";
import { cursorOf, goLive, helloOf, hold, MAX_HELD, MAX_KEYS, newPlace, type Place, take } from "../src/place.js";
import type { AnyMessage } from "../src/types.js";
import { note, page, state } from "./stream.js";

/** Take messages in, one after the other. */
function after(place: Place, ...messages: AnyMessage[]): { place: Place; passed: AnyMessage[]; recovered?: boolean } {
  let now = { place, passed: [] as AnyMessage[] };
  for (const message of messages) {
    const { pass, ...taken } = take(now.place, message);
    now = { ...taken, passed: [...now.passed, ...pass] };
  }
  return now;
}

/** A place that was told that it missed nothing. */
const along = (cursor?: string): Place => after(hold(newPlace(cursor)), page(cursor ?? "e:5")).place;
const other: AnyMessage = { type: "hey", data: null, timestamp: "" };

describe("a hello", () => {
  test.each([
    [undefined, { type: "hello" }],
    ["0", { type: "hello", cursor: "0" }],
    ["e:5", { type: "hello", cursor: "e:5" }],
    ["a:b:5", { type: "hello", cursor: "a:b:5" }],
    ["nonsense", { type: "hello" }],
  ])("of a client with %j", (cursor, hello) => {
    expect(helloOf(newPlace(cursor))).toEqual(hello);
  });

  test("is said with what was passed on last, also within a welcome", () => {
    const { place } = after(hold(newPlace("e:1")), page("e:9", { messages: [note(2), note(3)], last: false }));
    expect(helloOf(hold(place))).toEqual({ type: "hello", cursor: "e:3" });
  });
});

describe("while held", () => {
  test("what comes waits for the last page, and is then passed on in the order of offsets", () => {
    const held = after(
      hold(newPlace("e:1")),
      note(5),
      state(7),
      note(4),
      page("e:3", { messages: [note(2)], last: false }),
    );
    expect(held.passed).toEqual([note(2)]);
    const ended = after(held.place, page("e:3", { messages: [note(3)], state: [state(6)] }));
    expect(ended.passed).toEqual([note(3), state(6), note(4), note(5), state(7)]);
    expect([cursorOf(ended.place), ended.recovered]).toEqual(["e:5", true]);
  });

  test("a message that comes by itself goes before those of the next page", () => {
    const pages = [page("e:4", { messages: [note(2)], last: false }), note(3), page("e:4", { messages: [note(4)] })];
    expect(after(hold(newPlace("e:1")), ...pages).passed).toEqual([note(2), note(3), note(4)]);
  });

  test("what a welcome leaves out is not asked for again", () => {
    const { place, passed } = after(hold(newPlace("e:1")), page("e:9", { messages: [note(3), note(7)] }));
    expect([passed, place.is, cursorOf(place)]).toEqual([[note(3), note(7)], "along", "e:9"]);
  });

  test("what both a page and the link bring is passed on once", () => {
    const { passed } = after(
      hold(newPlace("e:1")),
      note(1),
      note(2),
      page("e:3", { messages: [note(2), note(3)] }),
      note(3),
    );
    expect(passed).toEqual([note(2), note(3)]);
  });

  test("messages without a place are passed on at once", () => {
    expect(after(hold(newPlace("e:1")), note(2), other).passed).toEqual([other]);
  });

  test("a thousand wait and no more; for what came after them there is another hello", () => {
    const many = Array.from({ length: MAX_HELD + 1 }, (_, index) => note(index + 4));
    const full = after(hold(newPlace("e:1")), ...many).place;
    // This one came by itself, and belongs between two pages.
    const { place, passed } = after(full, note(2), page("e:3", { messages: [note(3)] }));
    expect([place.held.length, passed[0], place.is]).toEqual([0, note(2), "behind"]);
    expect(helloOf(place).cursor).toBe(`e:${MAX_HELD + 2}`);
  });
});

describe("a welcome that says that something may be missing", () => {
  const lossy = page("e:9", { recovered: false, messages: [note(7)], last: false });

  test("begins the log anew", () => {
    const { passed, place } = after(
      hold(newPlace("e:20")),
      lossy,
      page("e:9", { recovered: false, messages: [note(9)] }),
    );
    expect([passed, cursorOf(place)]).toEqual([[note(7), note(9)], "e:9"]);
  });

  test("is told of at its end", () => {
    const begun = after(hold(newPlace("e:2")), lossy);
    expect(begun.recovered).toBeUndefined();
    expect(after(begun.place, page("e:9", { recovered: false })).recovered).toBe(false);
  });

  test("is told of also if only the next one ends, and then no more", () => {
    const { place } = after(hold(newPlace("e:2")), lossy);
    const ended = after(hold(place), page("e:9"));
    expect(ended.recovered).toBe(false);
    expect(after(hold(ended.place), page("e:9")).recovered).toBe(true);
  });

  test("of another epoch begins versions anew", () => {
    const { place } = after(along("e:5"), state(8));
    const anew = page("f:2", { recovered: false, messages: [note(1, "f"), note(2, "f")], state: [state(3)] });
    const { passed } = after(hold(place), anew, state(3), state(4));
    expect(passed).toEqual([note(1, "f"), note(2, "f"), state(3), state(4)]);
  });

  test("of another epoch asks again what a state was that came before it", () => {
    const { place, passed } = after(hold(along("e:5")), state(8), page("f:0", { recovered: false, state: [state(3)] }));
    expect([passed, place.is]).toEqual([[state(3)], "behind"]);
  });
});

describe("along", () => {
  test("each message of the log is the next one, and comes once", () => {
    const { passed, place } = after(along("e:5"), note(6), note(6), note(5), note(7));
    expect([passed, cursorOf(place)]).toEqual([[note(6), note(7)], "e:7"]);
  });

  test.each([
    ["an offset that leaves one out", note(7)],
    ["another epoch", note(1, "f")],
  ])("%s means hello, and nothing of the stream until then", (_, message) => {
    const { passed, place } = after(along("e:5"), message, note(6), state(1), other);
    expect([passed, place.is, cursorOf(place)]).toEqual([[other], "behind", "e:5"]);
  });

  test("an older state does not follow a newer one of its key", () => {
    const { passed } = after(along("e:5"), state(2), state(1), state(2), state(1, "upload:b"));
    expect(passed).toEqual([state(2), state(1, "upload:b")]);
  });

  test("of a thousand keys the newest version is known; the one that was told least recently makes place", () => {
    const many = Array.from({ length: MAX_KEYS }, (_, index) => state(2, `upload:${index}`));
    const { place } = after(along("e:5"), ...many, state(3, "upload:0"), state(1, "upload:new"));
    expect(place.versions.size).toBe(MAX_KEYS);
    expect(after(place, state(2, "upload:0"), state(1, "upload:1")).passed).toEqual([state(1, "upload:1")]);
  });

  test("is the place, and is not changed by what comes", () => {
    const place = along("e:5");
    const before = structuredClone(place);
    after(place, state(1), note(6), note(9));
    expect(place).toEqual(before);
  });
});

describe("a client that came without a cursor", () => {
  test("passes on what it hears live that is as old as the welcome", () => {
    expect(after(hold(newPlace()), page("e:5"), note(4), note(5), note(6)).passed).toEqual([note(4), note(5), note(6)]);
    expect(after(hold(newPlace()), note(5), page("e:5"), note(6)).passed).toEqual([note(5), note(6)]);
    expect(after(along(), note(6)).passed).toEqual([note(6)]);
  });

  test("has its log begin with the first one, so none may be left out after it", () => {
    expect(after(along(), note(3), note(5)).place.is).toBe("behind");
    expect(after(along(), note(7)).place.is).toBe("behind");
    expect(after(hold(newPlace()), note(3), note(5), page("e:5")).place.is).toBe("behind");
  });

  test("comes back with the cursor of its welcome", () => {
    const place = hold(along());
    expect(helloOf(place)).toEqual({ type: "hello", cursor: "e:5" });
    expect(after(place, page("e:6", { messages: [note(6)] }), note(5)).passed).toEqual([note(6)]);
  });

  test("gets the states that there are", () => {
    expect(after(hold(newPlace()), state(1), page("e:5", { state: [state(1)] })).passed).toEqual([state(1)]);
  });
});

describe("a server that keeps nothing", () => {
  const empty = (more: object = {}): AnyMessage => page("", more);

  test("is one whose welcome has no cursor: everything is passed on", () => {
    const welcomed = after(hold(newPlace()), other, note(2), empty());
    expect([welcomed.passed, welcomed.recovered]).toEqual([[other, note(2)], true]);
    const { place, passed } = after(welcomed.place, note(9), note(1), other);
    expect([passed, place.is]).toEqual([[note(9), note(1), other], "live"]);
    expect([cursorOf(place), helloOf(place)]).toEqual([undefined, { type: "hello" }]);
  });

  test("has a client say that something may be missing when it comes back", () => {
    const { place } = after(hold(newPlace()), empty());
    expect(after(hold(place), empty()).recovered).toBe(false);
    expect(after(hold(place), page("e:5")).recovered).toBe(false);
  });

  test("or does not answer a client without a cursor, which may miss something until it is back", () => {
    const { place } = goLive(hold(newPlace()));
    expect(after(hold(place), page("e:5")).recovered).toBe(false);
    expect(after(hold(goLive(hold(newPlace("e:5"))).place), page("e:5")).recovered).toBe(true);
  });

  test("or one that does not answer: what was held is passed on, and the cursor stays", () => {
    const { place, pass } = goLive(after(hold(newPlace("e:5")), note(9), state(3)).place);
    expect(pass).toEqual([note(9), state(3)]);
    const { passed, place: still } = after(place, note(11), state(4), state(3));
    expect([passed, cursorOf(still)]).toEqual([[note(11), state(4)], "e:5"]);
  });

  test("a welcome that comes late is as good as any", () => {
    const { place } = goLive(hold(newPlace("e:5")));
    const late = after(place, page("e:7", { messages: [note(6), note(7)] }), note(8));
    expect([late.passed, late.place.is]).toEqual([[note(6), note(7), note(8)], "along"]);
  });
});

test.each(["yes", { text: "Welcome!" }, null])("a welcome of your own (%j) is a message as any", (data) => {
  const message = { type: "welcome", data, timestamp: "" };
  expect(after(along("e:5"), message).passed).toEqual([message]);
});
