// Requests of shared tabs: each is answered to the tab that made it, once, whichever tab leads.

import { expect, test } from "vitest";
import { Browser, type BrowserTab, connected } from "./browser.js";
import { page } from "./stream.js";
import { advance, useFakeTime } from "./world.js";

useFakeTime();

type Sent = { type: string; id?: string; [field: string]: unknown };

/** The requests that a tab's newest connection was sent. */
const requests = (tab: BrowserTab | undefined): Sent[] =>
  ((tab as BrowserTab).world.socket.sent as Sent[]).filter(({ id }) => id !== undefined);

async function says(tab: BrowserTab | undefined, ...messages: object[]): Promise<void> {
  for (const message of messages) tab?.world.socket.says(message);
  await advance(0);
}

/** Connect tabs, and give each its welcome. */
async function welcomed(count: number): Promise<BrowserTab[]> {
  const tabs = await connected(count, new Browser());
  tabs.forEach(({ world }, index) => {
    world.random = (index + 1) / (count + 1);
  });
  for (let answered = 0; answered < count; answered++) await says(tabs[0], page("e:5"));
  return tabs;
}

/** Note how often a request was settled, and how. */
function settled(request: Promise<unknown>): unknown[] {
  const outcomes: unknown[] = [];
  request.then(
    () => outcomes.push("done"),
    (error) => outcomes.push(error.code),
  );
  return outcomes;
}

const ok = (id: unknown): object => ({ type: "ok", data: { id }, timestamp: "" });

test("the answer reaches the tab that asked", async () => {
  const tabs = await welcomed(3);
  const [done, over] = [1, 2].map((index) => settled((tabs[index] as BrowserTab).world.client.cancel(`moc-${index}`)));
  await advance(0);
  const [first, second] = requests(tabs[0]);
  expect([first?.uploadId, second?.uploadId]).toEqual(["moc-1", "moc-2"]);
  const refusal = { id: second?.id, code: "UPLOAD_OVER", message: "" };
  await says(tabs[0], { type: "error", data: refusal, timestamp: "" }, ok(first?.id));
  expect([done, over]).toEqual([["done"], ["UPLOAD_OVER"]]);
  for (const { world } of tabs) expect(world.messages).toEqual([]);
});

test("what a leader that hangs did not send on is sent by the next one, with the same id, and settled once", async () => {
  const tabs = await welcomed(3);
  tabs[0]?.hangs();
  const outcomes = settled((tabs[2] as BrowserTab).world.client.cancel("moc-1"));
  await advance(10_000);
  tabs[1]?.world.socket.opens();
  await advance(0);
  await says(tabs[1], page("e:5"), page("e:5"));
  const [request] = requests(tabs[1]);
  expect(request?.uploadId).toBe("moc-1");
  await says(tabs[1], ok(request?.id));
  expect(outcomes).toEqual(["done"]);
  // The former leader goes on, sends what it was given, and hears its answer.
  tabs[0]?.goesOn();
  await advance(0);
  await says(tabs[0], ok(request?.id));
  expect(outcomes).toEqual(["done"]);
});

test("what is asked while there is no connection waits for one", async () => {
  const tabs = await welcomed(2);
  await says(tabs[0]);
  tabs[0]?.world.socket.ends(1012);
  await advance(0);
  const outcomes = settled((tabs[1] as BrowserTab).world.client.cancel("moc-1"));
  await advance((tabs[0] as BrowserTab).world.wait);
  tabs[0]?.world.socket.opens();
  await advance(0);
  await says(tabs[0], page("e:5"), page("e:5"));
  const [request] = requests(tabs[0]);
  expect(request?.uploadId).toBe("moc-1");
  await says(tabs[0], ok(request?.id));
  expect(outcomes).toEqual(["done"]);
});

test("what is asked before there is a leader waits for one", async () => {
  const tab = new Browser().tab();
  tab.world.client.connect();
  const outcomes = settled(tab.world.client.cancel("moc-1"));
  await advance(0);
  tab.world.socket.opens();
  await says(tab, page("e:5"));
  await says(tab, ok(requests(tab)[0]?.id));
  expect(outcomes).toEqual(["done"]);
});

test("a tab that closes gives its requests up, and no other tab's", async () => {
  const tabs = await welcomed(2);
  const given = tabs.map(({ world }) => settled(world.client.cancel("moc-1")));
  await advance(0);
  tabs[1]?.world.client.close();
  await advance(0);
  expect(given).toEqual([[], ["CLOSED"]]);
});
