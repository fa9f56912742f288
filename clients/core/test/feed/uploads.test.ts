import { beforeEach, describe, expect, test, vi } from "vitest";
import { MAX_ENDED, newestFirst, Uploads } from "../../src/feed/uploads.js";
import type { UploadProgressMessage } from "../../src/index.js";
import { golden, progress } from "./messages.js";

let uploads: Uploads;

beforeEach(() => {
  uploads = new Uploads(
    () => 0,
    () => {},
  );
});

test("an upload is what its newest message says", () => {
  uploads.receive(progress({ progress: 10, message: "Row 10" }));
  uploads.receive(progress({ progress: 20, message: "Row 20", currentRow: 20, totalRows: 100 }));

  expect(uploads.find("moc-1")).toMatchObject({
    progress: 20,
    message: "Row 20",
    currentRow: 20,
    totalRows: 100,
    status: "running",
  });
});

test("what a later message leaves out is not kept", () => {
  uploads.receive(progress({ currentRow: 20, totalRows: 100 }));
  uploads.receive(progress());

  expect(uploads.find("moc-1")).not.toHaveProperty("currentRow");
});

test("newest first is one order, whichever upload was heard of first", () => {
  const begun = (uploadId: string, second: number) => {
    uploads.receive(progress({ uploadId, startedAt: `2026-11-23T09:18:${second}.000Z` }));
  };
  const ids = () => newestFirst(uploads.list.get()).map(({ uploadId }) => uploadId);
  for (const id of ["b", "a"]) begun(id, 20);
  begun("c", 19);
  for (const id of ["u1", "u2"]) uploads.receive(progress({ uploadId: id }));
  const before = ids();

  expect(before).toEqual(["b", "a", "c", "u2", "u1"]);
  uploads.clear();
  begun("c", 19);
  for (const id of ["a", "b"]) begun(id, 20);
  for (const id of ["u1", "u2"]) uploads.receive(progress({ uploadId: id }));
  expect(ids()).toEqual(before);
});

test("a message that was overtaken is ignored", () => {
  uploads.receive(progress({ progress: 20 }, "2026-11-23T09:18:54.200Z"));
  uploads.receive(progress({ progress: 10 }, "2026-11-23T09:18:54.100Z"));

  expect(uploads.find("moc-1")?.progress).toBe(20);
});

test("progress may go back, and without timestamps the last message counts", () => {
  uploads.receive(progress({ progress: 20 }));
  uploads.receive(progress({ progress: 10 }));
  expect(uploads.find("moc-1")?.progress).toBe(10);

  uploads.receive({ ...progress({ progress: 5 }), timestamp: undefined as unknown as string });
  uploads.receive({ ...progress({ progress: 6 }), timestamp: undefined as unknown as string });
  expect(uploads.find("moc-1")?.progress).toBe(6);
});

describe("a message with a version", () => {
  const old = "2026-11-23T09:18:53.000Z";

  test("counts whatever its time, since the server has judged it", () => {
    uploads.receive({ ...progress({ progress: 20 }), key: "upload:moc-1", version: 1 });
    uploads.receive({ ...progress({ progress: 10 }, old), key: "upload:moc-1", version: 2 });

    expect(uploads.find("moc-1")?.progress).toBe(10);
  });

  test("counts after a last word, also with a lower version, as from a server that lost its history", () => {
    uploads.receive({ ...progress({ progress: 90, status: "failed" }), key: "upload:moc-1", version: 9 });
    uploads.receive({ ...progress({ progress: 50, status: "running" }, old), key: "upload:moc-1", version: 1 });

    expect(uploads.find("moc-1")).toMatchObject({ progress: 50, status: "running" });
  });
});

test("an upload may stall, which is not its last word", () => {
  uploads.receive(progress({ progress: 20, status: "running", leaseSeconds: 30 }));
  uploads.receive(progress({ progress: 20, status: "stalled", leaseSeconds: 30 }));
  expect(uploads.find("moc-1")).toMatchObject({ status: "stalled", leaseSeconds: 30 });

  uploads.receive(progress({ progress: 30, status: "running" }));
  expect(uploads.find("moc-1")).toMatchObject({ status: "running", progress: 30 });
});

describe("a run", () => {
  const [first, second] = ["2026-11-23T09:10:00Z", "2026-11-23T09:00:00Z"];

  test("that was not heard of begins, whatever its clock says", () => {
    uploads.receive(progress({ progress: 90, status: "running", startedAt: first }));
    uploads.receive(progress({ progress: 5, status: "running", startedAt: second }));

    expect(uploads.find("moc-1")).toMatchObject({ progress: 5, status: "running" });
  });

  test.each(["running", "failed"] as const)("that is superseded is late, also if it is %s", (status) => {
    for (const run of ["one", "two", "three"]) uploads.receive(progress({ progress: 5, status: "running", run }));
    for (const run of ["one", "two"]) uploads.receive(progress({ progress: 90, status, run }, "2026-11-23T10:00:00Z"));

    expect(uploads.find("moc-1")).toMatchObject({ progress: 5, status: "running", run: "three" });
  });

  test("that has failed may begin again, and one that is complete may not", () => {
    uploads.receive(progress({ progress: 90, status: "failed", run: "one" }));
    uploads.receive(progress({ progress: 0, status: "running", run: "one" }));
    expect(uploads.find("moc-1")?.status).toBe("running");

    uploads.receive(progress({ progress: 100, status: "complete", run: "one" }));
    uploads.receive(progress({ progress: 0, status: "running", run: "one" }));
    expect(uploads.find("moc-1")?.status).toBe("complete");
  });
});

test.each(["queued", "running", "retrying", "stalled"] as const)("an upload that is %s goes on", (status) => {
  uploads.receive(progress({ progress: 30, status }, "2026-11-23T09:18:54.100Z"));
  expect(uploads.find("moc-1")?.status).toBe(status);

  uploads.receive(progress({ progress: 20, status: "running" }, "2026-11-23T09:18:54.200Z"));
  expect(uploads.find("moc-1")).toMatchObject({ progress: 20, status: "running" });
});

describe.each(["complete", "failed", "cancelled"] as const)("that an upload is %s", (status) => {
  test("is heard from a worker whose clock is slow", () => {
    uploads.receive(progress({ progress: 20 }, "2026-11-23T09:18:54.200Z"));
    uploads.receive(progress({ progress: 30, status }, "2026-11-23T09:18:53.000Z"));

    expect(uploads.find("moc-1")?.status).toBe(status);
  });

  test("outranks every other status", () => {
    uploads.receive(progress({ progress: 90, status }));
    uploads.receive(progress({ progress: 95, status: "running" }));
    uploads.receive(progress({ progress: 95 }));

    expect(uploads.find("moc-1")).toMatchObject({ progress: 90, status });
  });

  test.each([undefined, 2])("gives way to the worker's complete, which is newer (version %s)", (version) => {
    uploads.receive(progress({ progress: 90, status }));
    uploads.receive({ ...progress({ progress: 100, status: "complete" }), ...(version && { version }) });

    expect(uploads.find("moc-1")).toMatchObject({ progress: 100, status: "complete" });
  });

  test("stays if another end is older", () => {
    uploads.receive(progress({ progress: 90, status }, "2026-11-23T09:18:54.200Z"));
    uploads.receive(progress({ progress: 80, status: "failed" }, "2026-11-23T09:18:54.100Z"));

    expect(uploads.find("moc-1")).toMatchObject({ progress: 90, status });
  });

  test("is over when the upload begins anew with a progress of 0", () => {
    uploads.receive(progress({ progress: 90, status }));
    uploads.receive(progress({ progress: 0, status: "running" }));
    uploads.receive(progress({ progress: 1 }));

    expect(uploads.find("moc-1")).toMatchObject({ progress: 1, status: "running" });
  });

  test("is over when a message without a run begins at 0, whatever its clock says", () => {
    uploads.receive(progress({ progress: 90, status }, "2026-11-23T09:18:54.200Z"));
    uploads.receive(progress({ progress: 0 }, "2026-11-23T09:18:54.100Z"));

    expect(uploads.find("moc-1")?.status).toBe("running");
  });
});

test("an upload of a server that gives no status is complete at 100, and may go on", () => {
  uploads.receive(progress({ progress: 99.9 }));
  expect(uploads.find("moc-1")?.status).toBe("running");

  uploads.receive(progress({ progress: 100 }));
  expect(uploads.find("moc-1")?.status).toBe("complete");

  uploads.receive(progress({ progress: 10, message: "Now the images" }));
  expect(uploads.find("moc-1")?.status).toBe("running");
});

test("a status of null is none", () => {
  uploads.receive(progress({ progress: 10, status: null }));

  expect(uploads.find("moc-1")?.status).toBe("running");
});

test("uploads are listed in the order in which they were first heard of", () => {
  uploads.receive(progress({ uploadId: "b" }));
  uploads.receive(progress({ uploadId: "a" }));
  uploads.receive(progress({ uploadId: "b", progress: 60 }));

  expect(uploads.list.get().map((each) => each.uploadId)).toEqual(["b", "a"]);
});

test("the list and an upload are the same objects until they change", () => {
  expect(uploads.list.get()).toBe(uploads.list.initial);
  uploads.receive(progress({ uploadId: "a" }));
  uploads.receive(progress({ uploadId: "b" }));
  const list = uploads.list.get();
  const a = uploads.find("a");

  expect(uploads.list.get()).toBe(list);
  uploads.receive(progress({ uploadId: "b", progress: 60 }));
  expect(uploads.list.get()).not.toBe(list);
  expect(uploads.find("a")).toBe(a);
});

test("listeners are told of what changed something, and only of that", () => {
  vi.useFakeTimers();
  const listener = vi.fn();
  uploads.list.subscribe(listener);
  listener.mockClear();

  uploads.receive(progress({ progress: 100, status: "complete" }));
  uploads.receive(progress({ progress: 50 }));
  vi.runAllTimers();
  vi.useRealTimers();

  expect(listener).toHaveBeenCalledTimes(1);
});

test("of too many ended uploads the oldest goes, and a running one never", () => {
  uploads.receive(progress({ uploadId: "running" }));
  for (let count = 0; count <= MAX_ENDED; count += 1) {
    uploads.receive(progress({ uploadId: `${count}`, status: "complete" }));
    uploads.receive(progress({ uploadId: `running ${count}` }));
  }

  expect(uploads.find("running")).toBeDefined();
  expect(uploads.find("0")).toBeUndefined();
  expect(uploads.find("1")).toBeDefined();
  expect(uploads.list.get()).toHaveLength(2 * MAX_ENDED + 2);
});

test("an upload that is dismissed is shown no more", () => {
  vi.useFakeTimers();
  const changed = vi.fn();
  uploads.receive(progress({ status: "complete" }));
  uploads.list.subscribe(changed);
  vi.runAllTimers();
  changed.mockClear();

  uploads.forget("upload:another");
  uploads.forget("moc-1");
  vi.runAllTimers();
  expect(uploads.list.get()).toHaveLength(1);
  expect(changed).not.toHaveBeenCalled();

  uploads.forget("upload:moc-1");
  vi.runAllTimers();
  vi.useRealTimers();
  expect(uploads.list.get()).toEqual([]);
  expect(changed).toHaveBeenCalledOnce();
});

test.each(["upload_progress", "upload_progress_complete", "upload_progress_failed", "upload_progress_minimal"])(
  "the message of spec/messages/%s.json is understood",
  (name) => {
    const message = golden<UploadProgressMessage>(name);

    uploads.receive(message);

    expect(uploads.list.get()).toMatchObject([{ ...message.data, timestamp: message.timestamp }]);
  },
);
