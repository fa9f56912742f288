// Decoding of received data.

import type { Message } from "./types.js";

/** Return the message in received data; undefined if it is not JSON, or has no type. */
export function decode(data: unknown): Message | undefined {
  try {
    const message = JSON.parse(data as string);
    return typeof message?.type === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
