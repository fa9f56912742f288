// The types. The type check of `make check` is the test; vitest runs the rest of it.

import { readFileSync } from "node:fs";
import { expect, expectTypeOf, test } from "vitest";
import { WebSocket as WsSocket } from "ws";
import {
  type AnswerOf,
  type AnyClient,
  type AnyMessage,
  type Client,
  type ErrorMessage,
  type MessageOf,
  type NotificationMessage,
  type OwnMessage,
  type Received,
  TellwireClient,
  type UploadProgressMessage,
} from "../src/index.js";
import { sharedClient } from "../src/shared.js";

interface MyEvents {
  moc_renamed: { name: string };
  rename_moc: (moc: { mocId: string; name: string }) => { isNew: boolean };
  leave: () => void;
}

const options = { url: "ws://gateway.test", getToken: () => "a-token" };
const client: Client = new TellwireClient(options);
const mine: Client<MyEvents> = new TellwireClient<MyEvents>(options);

test("a listener gets the message of its type", () => {
  client.on("upload_progress", (message) => {
    expectTypeOf(message).toEqualTypeOf<Received<UploadProgressMessage>>();
    expectTypeOf(message.data.currentRow).toEqualTypeOf<number | null | undefined>();
    type Status = "queued" | "running" | "retrying" | "stalled" | "complete" | "failed" | "cancelled";
    expectTypeOf(message.data.status).toEqualTypeOf<Status | null | undefined>();
    expectTypeOf(message.version).toEqualTypeOf<number | undefined>();
  });
  client.on("notification", (message) => {
    expectTypeOf(message).toEqualTypeOf<Received<NotificationMessage>>();
    expectTypeOf(message.data.severity).toEqualTypeOf<"info" | "success" | "warning" | "error">();
  });
  client.on("seen", ({ data }) => expectTypeOf(data.cursor).toEqualTypeOf<string>());
  client.on("error", (message) => expectTypeOf(message).toEqualTypeOf<Received<ErrorMessage>>());
  client.on("undeclared", (message) => expectTypeOf(message).toEqualTypeOf<Received<OwnMessage<"undeclared">>>());
  mine.on("moc_renamed", (message) => {
    expectTypeOf(message.type).toEqualTypeOf<"moc_renamed">();
    expectTypeOf(message.data).toEqualTypeOf<{ name: string }>();
    expectTypeOf(message.id).toEqualTypeOf<string | undefined>();
    expectTypeOf(message.replayed).toEqualTypeOf<boolean>();
  });
  client.on("*", (message) => expectTypeOf(message).toEqualTypeOf<AnyMessage>());
});

test("the data of a type that nobody declared is unknown", () => {
  expectTypeOf<MessageOf<"undeclared">["data"]>().toBeUnknown();
  // @ts-expect-error: it has to be looked at first
  client.on("undeclared", (message) => message.data.text);
});

test("the types of the specification tell any message apart, and so do one's own", () => {
  client.on("*", (message) => {
    switch (message.type) {
      case "upload_progress":
        return expectTypeOf(message.data.progress).toEqualTypeOf<number>();
      case "notification":
        return expectTypeOf(message.data.title).toEqualTypeOf<string>();
      case "error":
        return expectTypeOf(message.data.code).toEqualTypeOf<string>();
      default:
        return expectTypeOf(message.type).toExtend<string>();
    }
  });
  mine.on("*", (message) => {
    if (message.type === "moc_renamed") expectTypeOf(message.data).toEqualTypeOf<{ name: string }>();
    if (message.type === "error") expectTypeOf(message.data.code).toEqualTypeOf<string>();
  });
});

test("with one's own events, others are errors, heard or sent", () => {
  // @ts-expect-error: nobody sends it
  mine.on("moc_rename", () => {});
  // @ts-expect-error: it is sent, and not heard
  mine.on("rename_moc", () => {});
  // @ts-expect-error: misspelt
  mine.send("rename_mok", { mocId: "1", name: "" });
  // @ts-expect-error: without data
  mine.send("rename_moc");
  // @ts-expect-error: without a name
  mine.send("rename_moc", { mocId: "1" });
  mine.send("rename_moc", { mocId: "1", name: "" });
  mine.send("moc_renamed", { name: "" });
  mine.send("leave");
  client.send("anything");
  client.send("anything", { at: 1 });
  expectTypeOf<AnswerOf<"rename_moc", MyEvents>>().toEqualTypeOf<OwnMessage<string, { isNew: boolean }> | undefined>();
  expectTypeOf<AnswerOf<"leave", MyEvents>>().toEqualTypeOf<undefined>();
  expectTypeOf<AnswerOf<"anything">>().toEqualTypeOf<OwnMessage | undefined>();
});

test("any client will do where its events do not matter", () => {
  const takes = (given: AnyClient): AnyClient => given;
  expect([takes(client), takes(mine)]).toEqual([client, mine]);
  expectTypeOf(sharedClient<MyEvents>).returns.toEqualTypeOf<Client<MyEvents>>();
});

test("misspelt fields and options are errors", () => {
  // @ts-expect-error: the field is uploadId
  client.on("upload_progress", (message) => message.data.uploadID);
  // @ts-expect-error: the reasons are connect, refused and renew
  new TellwireClient({ ...options, getToken: (why) => (why === "expired" ? "" : "") });
  // @ts-expect-error: subprotocol or query
  new TellwireClient({ ...options, tokenIn: "header" });
  // @ts-expect-error: url is required
  expect(() => new TellwireClient({ getToken: () => "" })).toThrow();
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

test("a topic publishes the types that are heard, with their data", () => {
  const topic = mine.topic("moc:1");
  expectTypeOf(topic.publish<"moc_renamed">).parameters.toEqualTypeOf<[type: "moc_renamed", data: { name: string }]>();
  // @ts-expect-error: it is a request
  expectTypeOf(topic.publish<"rename_moc">).toBeFunction();
  expectTypeOf(client.topic("moc:1").publish).toBeCallableWith("undeclared", { any: "data" });
  expectTypeOf(client.topic("moc:1").publish).toBeCallableWith("undeclared");
});
