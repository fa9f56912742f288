// The generated types: every golden file of spec/ is one of them, and every type has a golden file.

import { readdirSync, readFileSync } from "node:fs";
import { expect, expectTypeOf, test } from "vitest";
import { CLOSE_CODE_OF_ERROR } from "../src/errorCodes.js";
import type { ClientRequest, LimitsData, Requests, ServerMessage, ServerMessages } from "../src/messages.js";

const SPEC = new URL("../../../spec/", import.meta.url);

function read(path: string): unknown {
  return JSON.parse(readFileSync(new URL(path, SPEC), "utf8"));
}

function typesIn(folder: string): string[] {
  const files = readdirSync(new URL(`${folder}/`, SPEC));
  return [...new Set(files.map((file) => (read(`${folder}/${file}`) as { type: string }).type))].sort();
}

test("every message of the server has a golden file", () => {
  const types: Record<keyof ServerMessages, true> = {
    auth_ok: true,
    dismissed: true,
    error: true,
    join: true,
    leave: true,
    marks: true,
    notification: true,
    ok: true,
    pong: true,
    presence: true,
    seen: true,
    subscribed: true,
    unsubscribed: true,
    upload_progress: true,
    welcome: true,
  };
  expect(typesIn("messages")).toEqual([...Object.keys(types), "comment_added"].sort());
});

test("every request has a golden file", () => {
  const types: Record<ClientRequest["type"], true> = {
    ack: true,
    auth: true,
    cancel: true,
    dismiss: true,
    hello: true,
    history: true,
    ping: true,
    presence: true,
    publish: true,
    read: true,
    subscribe: true,
    unsubscribe: true,
  };
  expect(typesIn("requests")).toEqual(Object.keys(types));
  expectTypeOf<Requests[keyof Requests]>().toEqualTypeOf<ClientRequest>();
});

test("a welcome has the types of its fields", () => {
  const { data } = read("messages/welcome.json") as ServerMessages["welcome"];
  expectTypeOf(data.heartbeatSeconds).toBeNumber();
  expectTypeOf(data.limits).toEqualTypeOf<LimitsData | undefined>();
  expectTypeOf<ServerMessages["welcome"]>().toExtend<ServerMessage>();
  expect([data.heartbeatSeconds, data.rotateAfterSeconds, data.last]).toEqual([25, 6600, true]);
  expect(data.messages[0]?.cursor).toBe(data.cursor);
  expect(data.state[0]?.key).toBe("upload:moc-1");
});

test("the close codes of errors are those of the table", () => {
  const table = read("errors.json") as { code: string; close_code: number }[];
  for (const { code, close_code } of table) {
    const isClosing = close_code !== 1011 && close_code !== 1009;
    expect(CLOSE_CODE_OF_ERROR[code]).toBe(isClosing ? close_code : undefined);
  }
});
