// What arrives on a socket, as a message, if it is one.

import type { AnyMessage } from "./types.js";

/** Return the message in what a socket received; undefined if it is none: not JSON, or without a type. */
export function readMessage(data: unknown): AnyMessage | undefined {
  try {
    const message = JSON.parse(data as string);
    return typeof message?.type === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
