// The scenario traces of spec/client, which the Python client runs, too: spec/README.md describes them.

import { readdirSync, readFileSync } from "node:fs";
import { afterEach, expect, test, vi } from "vitest";
import { isRunnable, type Prologue, runTrace, type Trace } from "./trace-runner.js";

const limits = vi.hoisted(() => ({
  buffered_messages: 1_000,
  recent_ids: 1_000,
  state_keys: 1_000,
  requests: 100,
  request_bytes: 1 << 20,
  hello_topics: 40,
}));

vi.mock("../src/limits.js", () => ({
  get MAX_REQUESTS() {
    return limits.requests;
  },
  get MAX_REQUEST_CHARACTERS() {
    return limits.request_bytes;
  },
  get MAX_HELLO_TOPICS() {
    return limits.hello_topics;
  },
  get MAX_BUFFERED() {
    return limits.buffered_messages;
  },
  get MAX_IDS() {
    return limits.recent_ids;
  },
  get MAX_KEYS() {
    return limits.state_keys;
  },
}));

const SPEC = new URL("../../../spec/client/", import.meta.url);
const read = (name: string) => JSON.parse(readFileSync(new URL(name, SPEC), "utf8"));

const prologues: Record<string, Prologue> = read("prologues.json");
const files = readdirSync(SPEC).filter((name) => !["prologues.json", "mutations.json"].includes(name));
const traces: Trace[] = files.flatMap((name) => {
  const { traces, ...others } = read(name);
  expect(others, name).toEqual({});
  return traces;
});
const defaults = { ...limits };

afterEach(() => {
  Object.assign(limits, defaults);
});

test.each(traces.filter(isRunnable).map((trace) => [trace.name, trace] as const))("%s", async (_, trace) => {
  expect(Object.keys(limits)).toEqual(expect.arrayContaining(Object.keys(trace.limits ?? {})));
  Object.assign(limits, trace.limits);
  await runTrace(trace, prologues);
});

test("the names of traces are unique", () => {
  expect(new Set(traces.map(({ name }) => name)).size).toBe(traces.length);
});
