// The golden messages, as the Python tests read them.

import { readFileSync } from "node:fs";

/** A message of spec/messages. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../../spec/messages/${name}.json`, import.meta.url), "utf8"));
}
