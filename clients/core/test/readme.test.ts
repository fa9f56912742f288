// The README: its examples are checked code, and its codes are those of the client.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CLOSE_CODES } from "../src/index.js";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

const README = read("../README.md");
const EXAMPLES = read("./readme/examples.ts");
const blocks = [...README.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code as string);

test.each(blocks)("an example is checked code: %s", (code) => {
  expect(EXAMPLES).toContain(code.trim());
});

test("final codes are the ones that the README names", () => {
  const final = Object.entries(CLOSE_CODES).filter(([, { kind }]) => kind === "final");
  expect(README).toContain(`\`final\` | ${final.map(([code]) => code).join(", ")}:`);
});
