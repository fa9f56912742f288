// Notifications and errors: what is kept, read, seen and dismissed, whether there is a connection or not.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createFeed, type Feed, type FeedOptions } from "../../src/feed/index.js";
import { type FakeClient, fakeClient, refusal } from "../../src/testing.js";
import { error, golden, logOf, marks, notification } from "./messages.js";

let client: FakeClient;
let feed: Feed;

beforeEach(() => {
  vi.useFakeTimers();
  begin();
});

afterEach(() => void vi.useRealTimers());

function begin(kept: Parameters<typeof fakeClient>[0] = {}, options: FeedOptions = {}): void {
  client = fakeClient({ user: "ada", ...kept });
  feed = createFeed(client, options);
  feed.start();
}

/** Let answers arrive. */
const settle = () => vi.advanceTimersByTimeAsync(0);

async function open(...args: Parameters<FakeClient["open"]>): Promise<void> {
  client.open(...args);
  await settle();
}

const state = () => feed.notifications.get();
const titles = (): string[] => state().notifications.map(({ title }) => title);
const read = (): string[] =>
  state()
    .notifications.filter(({ isRead }) => isRead)
    .map(({ title }) => title);
const offsets = (from: number, to: number): string[] => Array.from({ length: from - to + 1 }, (_, i) => `${from - i}`);

describe("the list", () => {
  test("has the newest first, unread and not seen", () => {
    client.receive(notification("one", 1));
    client.receive(notification("two", 2));

    expect(titles()).toEqual(["two", "one"]);
    expect(state()).toMatchObject({ unread: 2, unseen: 2, notifications: [{ isRead: false, isSeen: false }, {}] });
  });

  test("has one once that comes live, as a replay and in a page", async () => {
    begin({ kept: logOf(3) });
    client.receive(notification("3", 3));
    client.receive({ ...notification("3", 3), replayed: true });
    await open();

    expect(titles()).toEqual(["3", "2", "1"]);
  });

  test("has one once whose id came before without a position", () => {
    client.receive(notification("one"));
    client.receive(notification("one"));

    expect(titles()).toEqual(["one"]);
  });

  test("has those without an id each", () => {
    const { id: _, ...unnamed } = notification("one");
    client.receive({ ...unnamed, id: undefined as unknown as string });
    client.receive({ ...unnamed, id: undefined as unknown as string });

    expect(new Set(state().notifications.map(({ id }) => id)).size).toBe(2);
  });

  test("says whether one is live", () => {
    client.receive({ ...notification("one", 1), replayed: true });
    client.receive(notification("two", 2));

    expect(state().notifications.map(({ replayed }) => replayed)).toEqual([false, true]);
  });

  test("is in the order of the log, whatever the times, and those without a position are where they came", async () => {
    const early = { ...notification("9", 9), timestamp: "2020-01-01T00:00:00.000Z" };
    begin({ kept: [...logOf(8), early] });
    client.receive(notification("to the connection"));
    await open();
    client.receive(notification("10", 10));

    expect(titles()).toEqual(["10", "to the connection", "9", ...offsets(8, 1)]);
  });

  test.each(["notification", "notification_minimal"])("takes the message of spec/messages/%s.json", (name) => {
    const message = golden<ReturnType<typeof notification>>(name);
    client.receive(message);

    expect(state().notifications[0]).toMatchObject({ ...message.data, id: message.id, isRead: false });
  });

  test("keeps its functions, and its state until it changes", () => {
    const { markRead, loadMore } = feed.notifications.initial;
    expect(state()).toBe(feed.notifications.initial);
    client.receive(notification("one", 1));
    expect(state()).toMatchObject({ markRead, loadMore });

    const before = state();
    client.receive(notification("one", 1));
    state().markRead("not there");
    expect(state()).toBe(before);
  });
});

describe("what is kept", () => {
  test("is there after a reload, and marked as before", async () => {
    begin({ kept: logOf(5) });
    client.receive(marks([[1, 2]], [[4, 4]]));
    await open();

    expect(titles()).toEqual(["5", "3", "2", "1"]);
    expect(read()).toEqual(["2", "1"]);
    expect(state()).toMatchObject({ unread: 2, hasMore: false, isLoading: false });
  });

  test("is not loaded where that is not wanted, until somebody asks", async () => {
    begin({ kept: logOf(5) }, { notifications: { kept: false } });
    await open();
    expect([titles(), state().hasMore]).toEqual([[], true]);

    await state().loadMore();
    expect(titles()).toHaveLength(5);
  });

  test("is paged to the newest 200, and further when somebody asks, up to 1,000", async () => {
    begin({ kept: logOf(1500) });
    await open();
    expect(titles()).toEqual(offsets(1500, 1301));
    expect(state()).toMatchObject({ hasMore: true, unread: 200 });

    await state().loadMore();
    expect(titles()).toEqual(offsets(1500, 1201));
    expect(state()).toMatchObject({ hasMore: true, unread: 200 });

    for (let page = 0; page < 7; page += 1) await state().loadMore();
    expect(titles()).toEqual(offsets(1500, 501));
    expect(state().hasMore).toBe(false);
  });

  test("counts the same on a device that has heard all of it live", async () => {
    const log = logOf(300);
    begin();
    await open();
    for (const message of log) client.receive(message);
    const live = state();
    expect(live.notifications).toHaveLength(200);

    begin({ kept: log });
    await open();
    expect(state()).toMatchObject({ unread: live.unread, unseen: live.unseen, hasMore: live.hasMore });
  });

  test("is paged on where live ones have pushed older ones out", async () => {
    const log = logOf(250);
    begin({ kept: log });
    await open();
    for (const message of logOf(50, 251)) client.receive(message);
    expect(titles()).toEqual(offsets(300, 101));

    await state().loadMore();
    expect(titles()).toEqual(offsets(300, 1));
  });

  test("is found behind pages of other messages", async () => {
    const others = Array.from({ length: 250 }, (_, i) => ({ type: "own", data: 1, cursor: `e:${i + 3}` }));
    begin({ kept: [...logOf(2), ...others] });
    await open();

    expect(titles()).toEqual(["2", "1"]);
  });

  test("is paged past those that were dismissed", async () => {
    begin({ kept: logOf(400) });
    client.receive(marks([], [[201, 400]]));
    await open();

    expect(titles()).toEqual(offsets(200, 1));
  });

  test("is not looked for without end", async () => {
    const others = Array.from({ length: 1500 }, (_, i) => ({ type: "own", data: 1, cursor: `e:${i + 2}` }));
    begin({ kept: [notification("1", 1), ...others] });
    const history = vi.spyOn(client, "history");
    await open();
    expect(history).toHaveBeenCalledTimes(10);
    expect(state()).toMatchObject({ notifications: [], hasMore: true, isLoading: false });

    await state().loadMore();
    expect(titles()).toEqual(["1"]);
  });

  test("is loaded after the next welcome if there was no answer", async () => {
    begin({ kept: logOf(2) });
    client.answer = () => {
      throw refusal("TIMEOUT");
    };
    await open();
    expect(state()).toMatchObject({ notifications: [], hasMore: true, isLoading: false });

    client.answer = () => undefined;
    client.lose();
    await open();
    expect(titles()).toEqual(["2", "1"]);
  });

  test("is not asked for again where the server keeps nothing", async () => {
    const answer = vi.fn(() => {
      throw refusal("HISTORY_MISSING");
    });
    begin({ answer });
    await open();
    expect(state()).toMatchObject({ hasMore: false, isLoading: false });
  });

  test("takes the place of all if messages may be missing: a list has no hidden gap", async () => {
    begin({ kept: logOf(3) });
    await open();
    client.lose();
    client.kept = logOf(2, 50);
    client.receive({ ...notification("51", 51), replayed: true });
    await open({ recovered: false });
    client.receive(notification("52", 52));

    expect(titles()).toEqual(["52", "51", "50"]);
  });

  test("stays if it cannot be loaded anew", async () => {
    begin({ kept: logOf(3) });
    await open();
    client.lose();
    client.answer = () => {
      throw refusal("TIMEOUT");
    };
    await open({ recovered: false });

    expect(titles()).toEqual(["3", "2", "1"]);
  });

  test("begins anew with another epoch, and with it all marks", async () => {
    begin({ kept: logOf(3) });
    client.receive(marks([[1, 3]]));
    await open();
    expect(state().unread).toBe(0);

    client.lose();
    client.kept = [notification("new 1", 1, "f"), notification("new 2", 2, "f")];
    client.receive({ ...notification("new 2", 2, "f"), replayed: true });
    await open({ recovered: false });

    expect(titles()).toEqual(["new 2", "new 1"]);
    expect(state().unread).toBe(2);
  });
});

describe("what the user does", () => {
  beforeEach(async () => {
    begin({ kept: logOf(5) });
    await open();
  });

  test("counts at once, and is told", async () => {
    state().markRead("2");
    expect([read(), state().unread]).toEqual([["2"], 4]);
    await settle();

    state().markAllRead();
    expect([read(), state().unread, state().unseen]).toEqual([offsets(5, 1), 0, 0]);
    await settle();

    state().dismiss("3");
    expect(titles()).toEqual(["5", "4", "2", "1"]);
    await settle();

    expect(client.requests).toEqual([
      { type: "read", what: { cursors: ["e:2"] } },
      { type: "read", what: { upTo: "e:5" } },
      { type: "dismiss", what: { cursors: ["e:3"] } },
    ]);
  });

  test("is seen without being read", async () => {
    state().markAllSeen();
    await settle();
    state().markAllSeen();
    await settle();

    expect(state()).toMatchObject({ unseen: 0, unread: 5 });
    expect(client.requests).toEqual([{ type: "ack", what: "e:5" }]);
  });

  test("is counted on every device alike", () => {
    client.receive({ type: "seen", data: { cursor: "e:4" }, key: "seen", version: 2 });
    client.receive(marks([[5, 5]], [[1, 1]]));

    expect(state()).toMatchObject({ unseen: 0, unread: 3 });
    expect(titles()).toEqual(["5", "4", "3", "2"]);
  });

  test("does not come back: not live, not as a replay, not in a page", async () => {
    state().dismiss("5");
    client.receive({ ...notification("5", 5), replayed: true });
    client.lose();
    await open({ recovered: false });

    expect(titles()).toEqual(["4", "3", "2", "1"]);
  });

  test("does not come back if it has no position", () => {
    client.receive(notification("loose"));
    state().dismiss("loose");
    client.receive(notification("loose"));

    expect(titles()).toEqual(offsets(5, 1));
  });

  test("may be about all, also about older ones, and not about errors", async () => {
    begin({ kept: [error("BROKEN", 1), ...logOf(449, 2)] });
    await open();
    expect(feed.errors.get().errors).toEqual([]);
    state().dismissAll();
    expect(titles()).toEqual([]);
    await vi.advanceTimersByTimeAsync(100);

    expect(titles()).toEqual([]);
    const said = client.requests.flatMap(({ what }) => (what as { cursors: string[] }).cursors);
    expect(new Set(said)).toEqual(new Set(logOf(449, 2).map(({ cursor }) => cursor)));
    expect(client.requests.every(({ what }) => (what as { cursors: string[] }).cursors.length <= 100)).toBe(true);
    expect(feed.errors.get().errors.map(({ code }) => code)).toEqual(["BROKEN"]);

    client.receive(notification("451", 451));
    expect(titles()).toEqual(["451"]);
  });

  test("has an end: what comes after all were dismissed is paged as ever", async () => {
    state().dismissAll();
    await settle();
    client.lose();
    client.kept = logOf(1000, 6);
    await open({ recovered: false });

    expect(titles()).toEqual(offsets(1005, 806));
  });

  test("is told once, and its state may come after the answer", async () => {
    state().markRead("2");
    await settle();
    client.receive(marks([[2, 2]]));
    state().markRead("2");
    await settle();

    expect(read()).toEqual(["2"]);
    expect(client.requests).toHaveLength(1);
  });
});

describe("what the user does without a connection", () => {
  beforeEach(async () => {
    begin({ kept: logOf(5) });
    await open();
    client.lose();
  });

  test("counts, and is told when there is one", async () => {
    state().markRead("2");
    state().markRead("3");
    state().dismiss("4");
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(client.requests).toEqual([]);
    expect([read(), titles()]).toEqual([
      ["3", "2"],
      ["5", "3", "2", "1"],
    ]);

    await open();
    expect(client.requests).toEqual([
      { type: "read", what: { cursors: ["e:2", "e:3"] } },
      { type: "dismiss", what: { cursors: ["e:4"] } },
    ]);
  });

  test("is one request for all that was read", async () => {
    state().markRead("2");
    state().markAllRead();
    await open();

    expect(client.requests).toEqual([{ type: "read", what: { upTo: "e:5" } }]);
  });

  test("is told again after a connection that ended before the answer", async () => {
    state().markRead("2");
    let refuse: (error: unknown) => void = () => {};
    client.answer = () =>
      new Promise((_, reject) => {
        refuse = reject;
      });
    await open();
    client.lose();
    refuse(refusal("TIMEOUT"));
    await settle();
    expect(read()).toEqual(["2"]);

    client.answer = () => undefined;
    await open();
    expect(client.requests).toEqual([
      { type: "read", what: { cursors: ["e:2"] } },
      { type: "read", what: { cursors: ["e:2"] } },
    ]);
  });

  test("is told after the welcome, not before", async () => {
    state().markRead("2");
    client.become({ status: "open", attempt: 0, user: "ada" });
    state().markRead("3");
    await settle();
    expect(client.requests).toEqual([]);

    await open();
    expect(client.requests).toEqual([{ type: "read", what: { cursors: ["e:2", "e:3"] } }]);
  });

  test("is told again later if the server cannot take it now, and not if it never will", async () => {
    state().markRead("2");
    client.answer = () => {
      throw refusal("HISTORY_UNAVAILABLE");
    };
    await open();
    expect(client.requests).toHaveLength(1);

    client.answer = () => {
      throw refusal("UNKNOWN_TYPE");
    };
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.requests).toHaveLength(2);

    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.requests).toHaveLength(2);
    expect(read()).toEqual(["2"]);
  });

  test("is not told of a log that is gone", async () => {
    state().markAllRead();
    client.kept = [notification("new", 1, "f")];
    client.receive({ ...notification("new", 1, "f"), replayed: true });
    await open({ recovered: false });

    expect(client.requests).toEqual([]);
    expect(state().unread).toBe(1);
  });
});

describe("errors", () => {
  test("are a list, newest first, also after a reload", async () => {
    begin({ kept: [error("ONE", 1), error("TWO", 2)] });
    await open();
    client.receive(error("THREE", 3));

    expect(feed.errors.get().errors.map(({ code }) => code)).toEqual(["THREE", "TWO", "ONE"]);
  });

  test("are dismissed for good", async () => {
    begin({ kept: [error("ONE", 1), notification("two", 2), error("THREE", 3)] });
    await open();
    feed.errors.get().dismiss("ONE");
    await settle();
    feed.errors.get().dismissAll();
    await settle();

    expect(feed.errors.get().errors).toEqual([]);
    expect(titles()).toEqual(["two"]);
    expect(client.requests.map(({ what }) => what)).toEqual([{ cursors: ["e:1"] }, { cursors: ["e:3"] }]);
  });

  test("are the newest 100", () => {
    for (let offset = 1; offset <= 150; offset += 1) client.receive(error(`E${offset}`, offset));

    const { errors } = feed.errors.get();
    expect([errors.length, errors[0]?.code]).toEqual([100, "E150"]);
  });

  test("do not change the notifications, nor the other way round", () => {
    client.receive(notification("one", 1));
    const before = state();
    client.receive(error("TWO", 2));
    expect(state()).toBe(before);

    const { errors } = feed.errors.get();
    client.receive(notification("three", 3));
    expect(feed.errors.get().errors).toBe(errors);
  });
});
