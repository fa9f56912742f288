// The README's examples are code that the type check reads, and what it says of sizes and codes is true.

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

test("every close code of the protocol is in the table, and comes back as it says", () => {
  const protocol = read("../../../spec/protocol.md").split("## Closing")[1] as string;
  const rows = [...protocol.matchAll(/^\| (\d{4}) \| .* \| (.*) \|$/gm)];
  expect(rows).toHaveLength(10);
  for (const [, code, comeBack] of rows) {
    const rule = CLOSE_CODES[Number(code)];
    expect([code, rule?.kind === "final"]).toEqual([code, comeBack === "no"]);
    expect([code, rule?.kind === "token"]).toEqual([code, comeBack === "with a new token"]);
    expect([code, rule?.kind === "server" && rule.atOnce === true]).toEqual([code, comeBack === "yes, at once"]);
  }
});
