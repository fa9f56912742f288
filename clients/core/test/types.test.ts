// The types. The type check of `make check` is the test; vitest runs the rest of it.

import { readFileSync } from "node:fs";
import { expect, expectTypeOf, test } from "vitest";
import { WebSocket as WsSocket } from "ws";
import {
  type AnyMessage,
  type Client,
  type CustomMessage,
  type ErrorMessage,
  type MessageOf,
  type NotificationMessage,
  TellwireClient,
  type UploadProgressMessage,
} from "../src/index.js";

declare module "../src/index.js" {
  interface CustomTypes {
    moc_renamed: { name: string };
  }
}

const options = { url: "ws://gateway.test", getToken: () => "a-token" };
const client: Client = new TellwireClient(options);

test("a listener gets the message of its type", () => {
  client.on("upload_progress", (message) => {
    expectTypeOf(message).toEqualTypeOf<UploadProgressMessage>();
    expectTypeOf(message.data.currentRow).toEqualTypeOf<number | null | undefined>();
    type Status = "queued" | "running" | "retrying" | "stalled" | "complete" | "failed" | "cancelled";
    expectTypeOf(message.data.status).toEqualTypeOf<Status | null | undefined>();
    expectTypeOf(message.version).toEqualTypeOf<number | undefined>();
  });
  client.on("notification", (message) => {
    expectTypeOf(message).toEqualTypeOf<NotificationMessage>();
    expectTypeOf(message.data.severity).toEqualTypeOf<"info" | "success" | "warning" | "error">();
  });
  client.on("seen", ({ data }) => expectTypeOf(data.cursor).toEqualTypeOf<string>());
  client.on("error", (message) => expectTypeOf(message).toEqualTypeOf<ErrorMessage>());
  client.on("undeclared", (message) => expectTypeOf(message).toEqualTypeOf<CustomMessage>());
  client.on("moc_renamed", (message) => {
    expectTypeOf(message.data).toEqualTypeOf<{ name: string }>();
    expectTypeOf(message.id).toEqualTypeOf<string | undefined>();
  });
  client.on("*", (message) => expectTypeOf(message).toEqualTypeOf<AnyMessage>());
});

test("the data of a type that nobody declared is unknown", () => {
  expectTypeOf<MessageOf<"undeclared">["data"]>().toBeUnknown();
  // @ts-expect-error: it has to be looked at first
  client.on("undeclared", (message) => message.data.text);
});

test("misspelt fields and options are errors", () => {
  // @ts-expect-error: the field is uploadId
  client.on("upload_progress", (message) => message.data.uploadID);
  // @ts-expect-error: the reasons are connect, refused and renew
  new TellwireClient({ ...options, getToken: (why) => (why === "expired" ? "" : "") });
  // @ts-expect-error: subprotocol or query
  new TellwireClient({ ...options, tokenIn: "header" });
  // @ts-expect-error: getToken is required
  expect(() => new TellwireClient({ url: "" })).not.toThrow();
});

test("what messages and states say cannot be written to", () => {
  // @ts-expect-error: states are snapshots
  client.onState((state) => (state.attempt = 0));
  // @ts-expect-error: all listeners get the same message
  client.on("error", (message) => (message.data.code = ""));
});

test("golden messages are what the types say", () => {
  const golden = <T extends string>(name: string, _type: T): MessageOf<T> =>
    JSON.parse(readFileSync(new URL(`../../../spec/messages/${name}.json`, import.meta.url), "utf8"));
  expect(golden("upload_progress", "upload_progress").data.totalRows).toBe(10_000);
  expect(golden("upload_progress_minimal", "upload_progress").data.status).toBeUndefined();
  expect(golden("notification", "notification").data.actionUrl).toBe("/mocs/moc-1");
  expect(golden("error", "error").data.details).toEqual({ rows: [3, 99], more: true });
  expect(golden("custom", "comment_added").data).toMatchObject({ mocId: "moc-1", text: "Nice!" });
});

test("a browser's WebSocket and that of the package ws will do", () => {
  new TellwireClient({ ...options, environment: { WebSocket: globalThis.WebSocket } });
  new TellwireClient({ ...options, environment: { WebSocket: WsSocket } });
});
