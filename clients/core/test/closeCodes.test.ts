// The tables of spec/protocol.md: which close code means what, and which error announces which close code.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CLOSE_CODES, closeCodeOf, closeRule } from "../src/closeCodes.js";

const CLOSING = readFileSync(new URL("../../../spec/protocol.md", import.meta.url), "utf8").split(
  "## Closing",
)[1] as string;
const codes = [...CLOSING.matchAll(/^\| (\d{4}|other) \| .* \| (\w+) \| (.*) \|$/gm)].map(([, ...cells]) => cells);
const errors = [...CLOSING.matchAll(/^\| `([A-Z_]+)` \| (\d{4}) \|$/gm)].map(([, ...cells]) => cells);

test("the close codes are those of the protocol", () => {
  expect(Object.keys(CLOSE_CODES)).toEqual(codes.map(([code]) => code).filter((code) => code !== "other"));
});

test.each(codes)("close code %s: %s, come back %s", (code, kind, comeBack) => {
  const rule = closeRule(code === "other" ? 1011 : Number(code));
  expect(rule.kind).toBe(kind);
  expect(rule.atOnce === true).toBe(/^at once/.test(comeBack as string));
  expect(rule.kind === "final").toBe(comeBack === "never");
});

test("the table of errors is read", () => {
  expect(errors.length).toBeGreaterThan(8);
});

test.each(errors)("the error %s announces %s", (error, code) => {
  expect(closeCodeOf(error as string)).toBe(Number(code));
});

test("any other error of a token announces 4401, and any other error nothing", () => {
  expect([closeCodeOf("TOKEN_NEW"), closeCodeOf("UPLOAD_OVER"), closeCodeOf("constructor")]).toEqual([
    4401,
    undefined,
    undefined,
  ]);
});
