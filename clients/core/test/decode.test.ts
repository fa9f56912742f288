// The golden messages of spec/, which the Python tests read, too.

import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { decode } from "../src/decode.js";

const GOLDEN = new URL("../../../spec/messages/", import.meta.url);

const golden = (name: string): string => readFileSync(new URL(name, GOLDEN), "utf8");

test.each(readdirSync(GOLDEN))("%s is read as the message it is", (name) => {
  const text = golden(name);
  expect(JSON.stringify(decode(text))).toBe(text);
});

test.each([
  ["not JSON", "hello"],
  ["an array", "[]"],
  ["null", "null"],
  ["without a type", '{"message": "Internal server error", "connectionId": "a="}'],
  ["with a type that is no text", '{"type": 1}'],
])("what is %s is no message", (_, text) => {
  expect(decode(text)).toBeUndefined();
});

test("a message of the guide's server needs neither id nor data", () => {
  expect(decode('{"type":"hey"}')).toEqual({ type: "hey" });
});

test("binary data is no message", () => {
  expect(decode(new ArrayBuffer(2))).toBeUndefined();
});
