// The feed as a whole: its user, its connection, and what is done with uploads.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createFeed, type Feed, type FeedOptions } from "../../src/feed/index.js";
import { type FakeClient, fakeClient, refusal } from "../../src/testing.js";
import { error, logOf, notification, progress } from "./messages.js";

let client: FakeClient;
let feed: Feed;
let stop: () => void;
let clock = 0;

beforeEach(() => {
  vi.useFakeTimers();
  begin();
});

afterEach(() => void vi.useRealTimers());

function begin(fake: Parameters<typeof fakeClient>[0] = {}, options: FeedOptions = {}): void {
  clock = 0;
  client = fakeClient({ user: "ada", ...fake });
  feed = createFeed(client, { now: () => clock, ...options });
  stop = feed.start();
}

const settle = () => vi.advanceTimersByTimeAsync(0);

async function open(...args: Parameters<FakeClient["open"]>): Promise<void> {
  client.open(...args);
  await settle();
}

const uploads = (): string[] => feed.uploads.get().map(({ uploadId }) => uploadId);

function ended(uploadId: string, version: number, status: "complete" | "failed" = "complete") {
  return { ...progress({ uploadId, progress: 100, status }), key: `upload:${uploadId}`, version };
}

function running(uploadId: string, percent: number, data: Parameters<typeof progress>[0] = {}) {
  return progress({ uploadId, progress: percent, status: "running", ...data });
}

describe("the client", () => {
  test("is connected once, and closed by who has connected it", async () => {
    begin();
    stop();
    stop = feed.start();
    await settle();
    expect(client.calls).toEqual(["connect"]);

    stop();
    expect(client.calls).toEqual(["connect", "close"]);
  });

  test("is left open if it was open before", async () => {
    stop();
    client = fakeClient();
    client.open();
    const end = createFeed(client).start();
    await settle();
    end();

    expect(client.calls).toEqual([]);
  });

  test("leaves nothing ticking and nobody listening", async () => {
    await open();
    client.receive(running("a", 1));
    client.receive(running("a", 2));
    stop();
    await vi.advanceTimersByTimeAsync(50);
    expect(vi.getTimerCount()).toBe(0);

    client.receive(running("b", 1));
    expect(uploads()).toEqual(["a"]);
  });

  test("has its state in a store", async () => {
    begin();
    const seen: string[] = [];
    feed.connection.subscribe(({ status }) => seen.push(status));
    await settle();
    await open();
    client.lose();

    expect(seen).toEqual(["idle", "connecting", "open", "waiting"]);
  });
});

describe("another user", () => {
  beforeEach(async () => {
    begin({ kept: [...logOf(2), error("BROKEN", 3)] });
    await open();
    client.receive(running("a", 10));
    client.receive(running("a", 20));
    client.receive(ended("b", 4));
  });

  const everything = () => [
    feed.uploads.get(),
    feed.uploads.groups.get().finished,
    feed.uploads.summary.get().total,
    feed.uploads.find("a"),
    feed.notifications.get().notifications,
    feed.notifications.get().unread,
    feed.errors.get().errors,
  ];
  const nothing = [[], [], 0, undefined, [], 0, []];

  test("finds nothing of the one before, whoever looks first", async () => {
    const seen: unknown[] = [];
    stop();
    // A listener of the application, which hears of the state before the feed does.
    client.onState(() => seen.push(everything()));
    stop = feed.start();
    client.kept = [];
    client.open({ user: "bob" });

    expect(seen).toEqual([nothing]);
    expect(everything()).toEqual(nothing);
  });

  test("is told to every listener at once", () => {
    const lists = [vi.fn(), vi.fn(), vi.fn(), vi.fn(), vi.fn()] as const;
    const { uploads: stores, notifications, errors } = feed;
    [stores, stores.groups, stores.summary, notifications, errors].forEach((each, index) => {
      each.subscribe(lists[index] as never);
    });
    for (const list of lists) list.mockClear();
    client.open({ user: "bob" });

    for (const list of lists) expect(list).toHaveBeenCalled();
    expect(lists[3].mock.lastCall?.[0].notifications).toEqual([]);
  });

  test("ends the session, and nothing is left of it", () => {
    client.become({ status: "closed", attempt: 0, user: "ada", reason: { kind: "user", message: "another user" } });

    expect(everything()).toEqual(nothing);
  });

  test("does not get what the one before was about to say, nor the page that they asked for", async () => {
    client.lose();
    feed.notifications.get().markRead("1");
    feed.uploads.dismiss("b");
    await open({ user: "bob" });
    expect(client.requests).toEqual([]);

    let answer: (page: unknown) => void = () => {};
    client.answer = () =>
      new Promise((resolve) => {
        answer = resolve;
      });
    client.lose();
    await open({ recovered: false });
    client.answer = () => undefined;
    client.kept = [];
    await open({ user: "cleo" });
    answer({ messages: logOf(3), more: false });
    await settle();
    expect(feed.notifications.get().notifications).toEqual([]);
  });

  test("has uploads of the same id to dismiss, which are another one's", async () => {
    let answer: () => void = () => {};
    client.answer = () =>
      new Promise<undefined>((resolve) => {
        answer = () => resolve(undefined);
      });
    feed.uploads.dismiss("b");
    await settle();
    client.open({ user: "bob" });
    client.lose();
    client.receive(ended("b", 9));
    feed.uploads.dismiss("b");
    answer();
    await settle();
    client.answer = () => undefined;
    client.requests.length = 0;
    await open({ user: "bob" });

    expect(client.requests).toEqual([{ type: "dismiss", what: "b" }]);
  });

  test("is noticed also while the feed does not listen", () => {
    stop();
    client.become({ status: "open", attempt: 0, user: "bob" });

    expect(everything()).toEqual(nothing);
  });

  test("is none if the same one comes back", async () => {
    client.lose();
    await open({ user: "ada" });

    expect(uploads()).toEqual(["a", "b"]);
  });

  test("begins with what is theirs", async () => {
    client.kept = [notification("bob's", 1, "f")];
    await open({ user: "bob" });
    client.receive(running("c", 1));

    expect(feed.notifications.get().notifications.map(({ title }) => title)).toEqual(["bob's"]);
    expect(uploads()).toEqual(["c"]);
  });
});

describe("uploads", () => {
  test("are in groups, which stay the same lists until something in them changes", async () => {
    client.receive(running("a", 10));
    client.receive(progress({ uploadId: "b", status: "queued", progress: 0 }));
    client.receive(progress({ uploadId: "c", status: "retrying" }));
    client.receive(progress({ uploadId: "d", status: "stalled" }));
    client.receive(ended("e", 5));
    client.receive(progress({ uploadId: "f", status: "of a later version" as "running" }));
    const names = () =>
      Object.entries(feed.uploads.groups.get()).map(([name, list]) => [
        name,
        list.map(({ uploadId }: { uploadId: string }) => uploadId).join(),
      ]);
    expect(Object.fromEntries(names())).toEqual({
      running: "a,f",
      queued: "b",
      retrying: "c",
      stalled: "d",
      finished: "e",
    });

    const before = feed.uploads.groups.get();
    client.receive(running("a", 11));
    const { running: now, finished, queued } = feed.uploads.groups.get();
    expect([now === before.running, finished === before.finished, queued === before.queued]).toEqual([
      false,
      true,
      true,
    ]);
  });

  test("that have ended are dismissed on every device", async () => {
    await open();
    client.receive(ended("a", 1));
    client.receive(running("b", 1));
    feed.uploads.dismiss("a");
    feed.uploads.dismiss("b");
    await settle();

    expect(uploads()).toEqual(["b"]);
    expect(client.requests).toEqual([{ type: "dismiss", what: "a" }]);
  });

  test("are dismissed on this one if another one says so", () => {
    client.receive(ended("a", 1));
    client.receive({ type: "dismissed", data: { key: "upload:a" }, key: "upload:a", version: 2 });

    expect(uploads()).toEqual([]);
  });

  test("that have ended are cleared by one request, also said without a connection", async () => {
    client.receive(ended("a", 3));
    client.receive(ended("b", 7, "failed"));
    client.receive(running("c", 1));
    feed.uploads.clearFinished();
    expect(uploads()).toEqual(["c"]);
    expect(client.requests).toEqual([]);

    await open();
    expect(client.requests).toEqual([{ type: "dismiss", what: { endedUpTo: 7 } }]);

    client.receive({ ...ended("c", 8), replayed: true });
    expect(uploads()).toEqual(["c"]);
  });

  test("do not come back while the server was not told yet, but begin anew", async () => {
    client.receive(ended("a", 3));
    feed.uploads.dismiss("a");
    client.receive({ ...ended("a", 3), replayed: true });
    expect(uploads()).toEqual([]);

    client.receive(running("a", 0, { run: "another" }));
    await open();
    expect(uploads()).toEqual(["a"]);
    expect(client.requests).toEqual([]);
  });

  test("that a server forgot are gone after its welcome, and those of the welcome are there", async () => {
    client.cursors = { user: "e:1" };
    await open();
    client.receive(running("lost", 50));
    client.receive(running("kept", 50));
    client.lose();
    client.cursors = { user: "f:0" };
    client.receive({ ...running("kept", 60), replayed: true });
    await open({ recovered: false });

    expect(uploads()).toEqual(["kept"]);
  });

  test("are cancelled by a request, which is refused with the server's code", async () => {
    await feed.uploads.cancel("a");
    expect(client.requests).toEqual([{ type: "cancel", what: "a" }]);

    client.answer = () => {
      throw refusal("UPLOAD_OVER");
    };
    await expect(feed.uploads.cancel("a")).rejects.toMatchObject({ code: "UPLOAD_OVER" });
  });
});

describe("the summary", () => {
  const summary = () => feed.uploads.summary.get();

  /** Receive a state after some seconds. */
  function after(seconds: number, message: ReturnType<typeof progress>): void {
    clock += 1000 * seconds;
    client.receive(message);
  }

  test("is about those that go on, and those that ended meanwhile", () => {
    client.receive({ ...ended("yesterday", 1), timestamp: "2025-12-31T00:00:00.000Z" });
    client.receive(running("a", 50));
    client.receive(progress({ uploadId: "b", status: "queued", progress: 0 }));
    expect(summary()).toMatchObject({ total: 2, finished: 0, progress: 25 });

    client.receive(ended("a", 2, "failed"));
    expect(summary()).toMatchObject({ total: 2, finished: 1, failed: 1, progress: 50 });

    client.receive(ended("b", 3));
    expect(summary()).toEqual({ total: 2, finished: 2, failed: 1, progress: 100 });

    client.receive(running("c", 10));
    expect(summary()).toMatchObject({ total: 1, finished: 0, progress: 10 });
  });

  test("is the same on a page that is loaded anew", () => {
    const startedAt = "2026-01-01T00:00:00.000Z";
    client.receive({ ...ended("before", 1), timestamp: "2025-12-31T23:59:59.000Z", replayed: true });
    client.receive({ ...ended("meanwhile", 2), timestamp: "2026-01-01T00:00:01.000Z", replayed: true });
    client.receive({ ...running("now", 50, { startedAt }), replayed: true });

    expect(summary()).toMatchObject({ total: 2, finished: 1, progress: 75 });
  });

  test("knows the pace and the time that is left after two seconds", () => {
    client.receive(running("a", 0, { currentRow: 0 }));
    after(1, running("a", 1, { currentRow: 100 }));
    after(1, running("a", 2, { currentRow: 200 }));
    expect(summary()).not.toHaveProperty("secondsLeft");

    after(1, running("a", 3, { currentRow: 300 }));
    expect(summary()).toMatchObject({ rowsPerSecond: 100, secondsLeft: 97 });
  });

  test("counts what several do at once", () => {
    for (const one of ["a", "b"]) client.receive(running(one, 0));
    for (let second = 1; second <= 10; second += 1) {
      after(0.5, running("a", second));
      after(0.5, running("b", second));
    }
    expect(summary().secondsLeft).toBeCloseTo(90, -1);
  });

  test("knows no time while nothing happens, and measures anew afterwards", async () => {
    client.receive(running("a", 0));
    for (let second = 1; second <= 10; second += 1) after(1, running("a", second));
    expect(summary().secondsLeft).toBeCloseTo(90);

    clock += 60_000;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(summary()).not.toHaveProperty("secondsLeft");

    after(600, running("a", 11));
    expect(summary()).not.toHaveProperty("secondsLeft");
    for (let second = 1; second <= 3; second += 1) after(1, running("a", 11 + second));
    expect(summary().secondsLeft).toBeCloseTo(86);
  });

  test("takes what was missed for no work, and a retry for none undone", async () => {
    await open();
    client.receive(running("a", 0));
    for (let second = 1; second <= 10; second += 1) after(1, running("a", second));
    client.lose();
    expect(summary()).not.toHaveProperty("secondsLeft");
    clock += 30_000;
    client.receive({ ...running("a", 40), replayed: true });
    await open();
    for (let second = 1; second <= 4; second += 1) after(1, running("a", 40 + second));
    expect(summary().secondsLeft).toBeCloseTo(56);

    after(1, progress({ uploadId: "a", progress: 0, status: "retrying" }));
    after(1, running("a", 1));
    const { secondsLeft = 0 } = summary();
    expect(secondsLeft).toBeGreaterThan(99);
    expect(secondsLeft).toBeLessThan(200);
  });

  test("takes what was missed of several for no work", async () => {
    await open();
    for (const one of ["a", "b"]) client.receive(running(one, 0));
    client.lose();
    clock += 30_000;
    for (const one of ["a", "b"]) client.receive({ ...running(one, 50), replayed: true });
    await open();
    for (let second = 1; second <= 4; second += 1) after(1, running("a", 50 + second));

    expect(summary().secondsLeft).toBeCloseTo(96);
  });

  test("goes by a clock that nobody sets", () => {
    client.receive(running("a", 0));
    for (let second = 1; second <= 5; second += 1) {
      vi.setSystemTime(second % 2 ? 0 : 4e12);
      after(1, running("a", second));
    }
    expect(summary().secondsLeft).toBeCloseTo(95);
  });

  test("has a failed one for done, but not for work", () => {
    client.receive(running("a", 0));
    client.receive(running("b", 0));
    for (let second = 1; second <= 5; second += 1) after(1, running("a", second));
    client.receive(ended("b", 9, "failed"));
    expect(summary().secondsLeft).toBeCloseTo(95);
  });

  test("is the same object until it changes", () => {
    client.receive(running("a", 1));
    const before = summary();
    client.receive(running("a", 1));
    expect(summary()).toBe(before);
  });
});
