// @vitest-environment happy-dom

import { FakeClient } from "@tellwire/client/testing";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { connect, setWords, type UnsentUpload } from "../src/index.js";
import { disconnect } from "../src/session.js";

let client: FakeClient;
let offset = 0;

beforeEach(() => {
  vi.useFakeTimers();
  client = new FakeClient({ user: "ada" });
  offset = 0;
  document.documentElement.lang = "en";
});

afterEach(() => {
  document.body.replaceChildren();
  disconnect();
  setWords({});
  vi.useRealTimers();
});

type Name = "tellwire-uploads" | "tellwire-bell" | "tellwire-toasts" | "tellwire-status";

/** Put an element on the page, whose session has begun. */
async function show<N extends Name>(
  name: N,
  attributes: Record<string, string> = {},
): Promise<HTMLElementTagNameMap[N]> {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  document.body.append(element);
  connect({ client });
  client.open();
  await settle();
  return element;
}

async function settle(milliseconds = 50): Promise<void> {
  await vi.advanceTimersByTimeAsync(milliseconds);
}

async function upload(uploadId: string, data: Record<string, unknown> = {}): Promise<void> {
  const given = { uploadId, fileName: `${uploadId}.csv`, progress: 40, message: "Row 40", status: "running", ...data };
  client.receive({ type: "upload_progress", data: given, key: `upload:${uploadId}`, version: ++offset });
  await settle();
}

async function notify(
  title: string,
  data: Record<string, unknown> = {},
  rest: Record<string, unknown> = {},
): Promise<void> {
  const given = { title, message: "from here", severity: "info", ...data };
  const cursor = `e:${++offset}`;
  client.receive({ type: "notification", id: `n${offset}`, data: given, cursor, ...rest });
  await settle();
}

async function fail(message: string): Promise<void> {
  client.receive({
    type: "error",
    id: `x${++offset}`,
    data: { code: "UPLOAD_FAILED", message },
    cursor: `e:${offset}`,
    timestamp: new Date().toISOString(),
  });
  await settle();
}

function texts(element: HTMLElement, selector: string): string[] {
  return [...(element.shadowRoot?.querySelectorAll(selector) ?? [])].map(
    (each) => each.textContent?.replace(/\s+/g, " ").trim() ?? "",
  );
}

function find(element: HTMLElement, selector: string): HTMLElement {
  const found = element.shadowRoot?.querySelector<HTMLElement>(selector);
  if (!found) throw new Error(`there is no ${selector}`);
  return found;
}

async function press(element: HTMLElement, selector: string): Promise<void> {
  find(element, selector).click();
  await settle();
}

describe("uploads", () => {
  test("each has its bar, its words and a button", async () => {
    const element = await show("tellwire-uploads");
    expect(texts(element, "[part=empty]")).toEqual(["No uploads yet."]);
    await upload("u1", { fileName: "a-rather-long-name-of-a-file.csv" });
    expect(texts(element, "[part=name]")).toEqual(["a-rather-long-name-of-a-file.csv"]);
    expect(texts(element, ".tail")).toEqual(["f-a-file.csv"]);
    expect(texts(element, "[part=status]")).toEqual(["Running"]);
    const bar = find(element, "[role=progressbar]");
    expect([bar.getAttribute("aria-valuenow"), bar.getAttribute("aria-valuetext")]).toEqual(["40", "40% Row 40"]);
    await press(element, "[part=cancel]");
    expect(client.requests).toEqual([{ type: "cancel", what: "u1" }]);
  });

  test("a name is shown whole, whatever is in it", async () => {
    const element = await show("tellwire-uploads");
    await upload("u1", { fileName: "<b>exe\u202evsc.csv" });
    expect(find(element, "[part=name]").textContent).toBe("<b>exe\u202evsc.csv");
    expect(element.shadowRoot?.querySelector("[part=name] b")).toBe(null);
  });

  test("one tone for each outcome", async () => {
    const element = await show("tellwire-uploads");
    const rowErrors = (total: number) => ({
      total,
      causes: [{ code: "X", message: "no quantity", count: total, rows: [7] }],
    });
    await upload("all", { status: "complete", progress: 100 });
    await upload("some", { status: "complete", progress: 100, totalRows: 9, rowErrors: rowErrors(2) });
    await upload("none", { status: "complete", progress: 100, totalRows: 9, rowErrors: rowErrors(9) });
    await upload("lost", { status: "failed" });
    const tones = [...(element.shadowRoot?.querySelectorAll("[part=upload]") ?? [])].map((each) =>
      each.getAttribute("data-tone"),
    );
    expect(tones).toEqual(["bad", "bad", "warn", "good"]);
    expect(texts(element, "details li")[1]).toBe("2 no quantity (rows 7 …)");
  });

  test("one that has failed says why, and one that cannot be cancelled", async () => {
    const element = await show("tellwire-uploads");
    await upload("u1", { status: "failed", message: "Failed after 0 rows" });
    client.receive({
      type: "error",
      id: "x1",
      data: { code: "BAD_HEADER", message: "No row names the columns.", details: { uploadId: "u1" } },
      timestamp: new Date().toISOString(),
    });
    await upload("u2", { status: "stalled", message: "No word for 30 seconds", leaseSeconds: 30 });
    client.cancel = () => Promise.reject(Object.assign(new Error("unknown"), { code: "UPLOAD_UNKNOWN" }));
    await press(element, "[part=cancel]");
    expect(texts(element, "[part=message]")).toEqual([
      "No word for 30 seconds. If it stays silent for another 30 sec, it has failed.",
      "No row names the columns.",
    ]);
    expect(texts(element, "[role=alert]")).toEqual(["Not cancelled: the server does not know it any more."]);
    expect(texts(element, "[role=status]")[1]).toBe("u2.csv: Stalled");
  });

  test("a page adds to a line what it knows of it", async () => {
    const element = await show("tellwire-uploads");
    await upload("u1");
    const picture = Object.assign(document.createElement("img"), { slot: "u1" });
    element.append(picture);
    expect((find(element, "[data-id=u1] slot") as HTMLSlotElement).name).toBe("u1");
  });

  test("ended ones are removed, one by one or together", async () => {
    const element = await show("tellwire-uploads");
    for (const id of ["u1", "u2", "u3"]) await upload(id, { status: "complete", progress: 100 });
    await press(element, "[data-id=u2] [part=remove]");
    expect(texts(element, "[part=name]")).toEqual(["u3.csv", "u1.csv"]);
    expect(element.shadowRoot?.activeElement?.textContent?.trim()).toBe("u1.csv");
    await press(element, "[part=clear]");
    expect(texts(element, "[part=name]")).toEqual([]);
  });

  test("many are lines, and are spoken of now and then", async () => {
    const element = await show("tellwire-uploads");
    for (let number = 0; number < 6; number++) await upload(`u${number}`);
    expect(find(element, "ol").className).toBe("small");
    const spoken = texts(element, "[role=status]");
    for (let progress = 41; progress < 50; progress++) await upload("u1", { progress });
    expect(texts(element, "[role=status]")).toEqual(spoken);
  });

  test("without a connection the bars are stale, and nothing can be cancelled", async () => {
    const element = await show("tellwire-uploads");
    await upload("u1");
    client.lose();
    await settle();
    expect(texts(element, "[part=stale]")[0]).toContain("Not connected");
    expect(find(element, "[part=cancel]").hasAttribute("disabled")).toBe(true);
  });
});

describe("what the page is sending", () => {
  const unsent = (uploadId: string, status: UnsentUpload["status"], progress = 0): UnsentUpload => ({
    uploadId,
    fileName: `${uploadId}.csv`,
    status,
    progress,
    message: "1 of 2 MB",
  });

  test("it is above the others until the server knows it, and counts", async () => {
    const element = await show("tellwire-uploads");
    await upload("u1", { status: "complete", progress: 100 });
    await upload("u2");
    element.unsent = [unsent("s2", "queued"), unsent("s1", "sending", 50)];
    await settle();
    expect(texts(element, "[part=name]")).toEqual(["s2.csv", "s1.csv", "u2.csv", "u1.csv"]);
    expect(texts(element, "[part=status]").slice(0, 2)).toEqual(["Waiting", "Sending"]);
    expect(texts(element, "[part=summary] .quiet")).toEqual(["0 of 3 uploads"]);
    await upload("u2", { status: "complete", progress: 100 });
    expect(texts(element, "[part=summary] .quiet")).toEqual(["1 of 3 uploads"]);
    await upload("s1", { status: "queued", progress: 0 });
    expect(texts(element, "[part=name]")).toEqual(["s2.csv", "s1.csv", "u2.csv", "u1.csv"]);
    expect(texts(element, "[part=status]")[1]).toBe("Waiting");
    await upload("s1", { status: "complete", progress: 100 });
    await upload("s2", { status: "complete", progress: 100 });
    for (let times = 0; times < 2; times++) element.unsent = [];
    await settle();
    expect(texts(element, "[part=summary] .quiet")).toEqual(["3 of 3 uploads"]);
  });

  test("the page hears what its user wants", async () => {
    const element = await show("tellwire-uploads");
    const heard: unknown[] = [];
    for (const name of ["tellwire-cancel", "tellwire-retry"])
      element.addEventListener(name, (event) => heard.push(name, (event as CustomEvent).detail.uploadId));
    client.lose();
    element.unsent = [unsent("s2", "unsent"), unsent("s1", "sending", 50)];
    await settle();
    await press(element, "[data-id=s1] [part=cancel]");
    await press(element, "[data-id=s2] [part=retry]");
    await press(element, "[data-id=s2] [part=remove]");
    expect(heard).toEqual(["tellwire-cancel", "s1", "tellwire-retry", "s2", "tellwire-cancel", "s2"]);
  });
});

describe("bell", () => {
  test("it counts, lists by day, and marks what the user says", async () => {
    const element = await show("tellwire-bell");
    expect(find(element, "[part=button]").getAttribute("aria-label")).toBe("Notifications");
    vi.setSystemTime(Date.UTC(2026, 10, 30, 12));
    await notify("Old", {}, { timestamp: "2026-11-29T11:00:00.000Z" });
    await notify("New", {}, { timestamp: "2026-11-30T11:00:00.000Z" });
    await fail("It was lost");
    expect(find(element, "[part=button]").getAttribute("aria-label")).toBe("Notifications, 3 unread");
    await press(element, "[part=button]");
    expect(texts(element, ".day")).toEqual(["Today", "Yesterday"]);
    expect(texts(element, ".texts b")).toEqual(["Something went wrong", "New", "Old"]);
    expect(find(element, "[part=button]").getAttribute("aria-label")).toBe("Notifications, 3 unread");
    await press(element, "header button");
    expect(find(element, "[part=button]").getAttribute("aria-label")).toBe("Notifications");
    await press(element, "[part=notification] .icon");
    expect(texts(element, ".texts b")).toEqual(["New", "Old"]);
    element.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    await settle();
    expect(element.open).toBe(false);
  });

  test("an action is a link to a page, and never a script", async () => {
    const element = await show("tellwire-bell");
    await notify("Good", { actionUrl: "/mocs/1", actionLabel: "View MOC" });
    await notify("Bad", { actionUrl: "javascript:alert(1)", actionLabel: "Free money" });
    await notify("Broken", { actionUrl: "http://[" });
    await press(element, "[part=button]");
    expect(texts(element, "a")).toEqual(["View MOC"]);
    expect(find(element, "a").getAttribute("href")).toBe("/mocs/1");
  });
});

describe("toasts", () => {
  test("what was seen in the bell, on any device, is in the corner no more", async () => {
    const element = await show("tellwire-toasts");
    const bell = document.createElement("tellwire-bell");
    document.body.append(bell);
    await notify("Hello");
    expect(texts(element, "[part=toast] b")).toEqual(["Hello"]);
    bell.open = true;
    await settle();
    expect(texts(element, "[part=toast] b")).toEqual([]);
  });

  test("what arrives is shown for a while; an error stays until it is closed", async () => {
    const element = await show("tellwire-toasts");
    await notify("Hello");
    await fail("It was lost");
    expect(texts(element, "[part=toast] b")).toEqual(["Something went wrong", "Hello"]);
    await settle(7_000);
    expect(texts(element, "[part=toast] b")).toEqual(["Something went wrong"]);
    await press(element, "[part=toast] .icon");
    expect(texts(element, "[part=toast]")).toEqual([]);
  });

  test("at most three at once, and those that made room do not come again", async () => {
    const element = await show("tellwire-toasts");
    for (let number = 1; number <= 200; number++) await notify(`N${number}`);
    expect(texts(element, "[part=toast] b")).toEqual(["N200", "N199", "N198"]);
    expect(texts(element, "[part=more] span")).toEqual([expect.stringMatching(/^and \d+ more$/)]);
    await settle(7_000);
    expect(texts(element, "[part=toast]")).toEqual([]);
  });

  test("what was there before the session is no toast, and of what was missed meanwhile three are", async () => {
    const element = await show("tellwire-toasts");
    await notify("Before", {}, { replayed: true, timestamp: new Date(Date.now() - 1000).toISOString() });
    expect(texts(element, "[part=toast]")).toEqual([]);
    const timestamp = new Date().toISOString();
    for (let number = 1; number <= 20; number++) await notify(`N${number}`, {}, { replayed: true, timestamp });
    expect(texts(element, "[part=toast] b")).toHaveLength(3);
    expect(texts(element, "[part=more] span")).toEqual(["and 17 more"]);
  });
});

describe("status", () => {
  test("it says how the connection is, and connects now", async () => {
    const element = await show("tellwire-status");
    expect(texts(element, "[part=pill]")).toEqual(["Connection: Live"]);
    client.lose();
    await settle(0);
    expect(texts(element, "[part=pill]")).toEqual(["Connection: Retry in 1 sec"]);
    const before = client.calls.length;
    await press(element, "[part=connect]");
    expect(client.calls.slice(before)).toEqual(["connect"]);
    client.open({ recovered: false });
    await settle();
    expect(find(element, "[part=missing]").hidden).toBe(false);
  });
});

describe("words", () => {
  test.each([
    ["en", "Notifications, 1 unread"],
    ["de-CH", "Benachrichtigungen, 1 ungelesen"],
    ["fr", "Notifications, 1 non lue"],
    ["es-MX", "Notificaciones, 1 sin leer"],
    ["ja", "通知、未読 1 件"],
    ["no such language", "Notifications, 1 unread"],
    ["ar", "Notifications, 1 unread"],
  ])("in %s", async (lang, expected) => {
    const element = await show("tellwire-bell", { lang });
    await notify("Hello");
    expect(find(element, "[part=button]").getAttribute("aria-label")).toBe(expected);
  });

  test("a page has its own", async () => {
    const element = await show("tellwire-uploads");
    setWords({ noUploads: "Drop your parts list." });
    await settle();
    expect(texts(element, "[part=empty]")).toEqual(["Drop your parts list."]);
    element.words = { noUploads: "Yours?" };
    await settle();
    expect(texts(element, "[part=empty]")).toEqual(["Yours?"]);
  });
});

describe("session", () => {
  test("elements share it, and it ends with the last of them", async () => {
    connect({ client });
    const [bell, toasts] = [document.createElement("tellwire-bell"), document.createElement("tellwire-toasts")];
    await settle();
    expect(client.calls).toEqual([]);
    document.body.append(bell, toasts);
    await settle();
    expect(client.calls).toEqual(["connect"]);
    bell.remove();
    await settle();
    expect(client.calls).toEqual(["connect"]);
    document.body.append(bell);
    toasts.remove();
    document.body.append(toasts);
    await settle();
    expect(client.calls).toEqual(["connect"]);
    bell.remove();
    toasts.remove();
    await settle();
    expect(client.calls).toEqual(["connect", "close"]);
  });

  test("another user's session leaves nothing of the one before", async () => {
    const element = await show("tellwire-uploads");
    await upload("u1");
    client = new FakeClient({ user: "bob" });
    connect({ client });
    client.open();
    await settle();
    expect(texts(element, "[part=name]")).toEqual([]);
  });

  test("without a way to a token it is refused", () => {
    expect(() => connect({})).toThrow("there is no way to a token; give token-url, or getToken");
  });
});
