// The close codes and error codes of spec/protocol.md, and what each means for a client.

import type { CloseKind, CloseReason } from "./types.js";

/** The meaning of a close code. Kind `final`: never reconnect. */
export interface CloseRule {
  readonly message: string;
  readonly kind: CloseKind;
  /** Reconnect without a wait, if this is the first failure since a connection was stable. */
  readonly atOnce?: true;
}

/** The close codes of the protocol. Any other code means: the server closed, reconnect with backoff. */
export const CLOSE_CODES: Readonly<Record<number, CloseRule>> = {
  1000: { message: "closed by an operator", kind: "server" },
  1001: { message: "idle for too long, or too old", kind: "server", atOnce: true },
  1002: { message: "the server did not understand a frame", kind: "server" },
  1003: { message: "the server takes no binary messages", kind: "server" },
  1006: { message: "the connection was lost, or could not be made", kind: "lost" },
  1007: { message: "the server was sent text that is not UTF-8", kind: "server" },
  1009: { message: "the server was sent too large a message", kind: "server" },
  1012: { message: "the server restarts", kind: "server" },
  1013: { message: "this client was too slow", kind: "server" },
  4401: { message: "the token expired, or was refused", kind: "token", atOnce: true },
  4403: { message: "the token is another user's", kind: "final" },
  4429: { message: "too many requests", kind: "server" },
};

// All other codes of tokens mean 4401.
const ERRORS: ReadonlyMap<unknown, number> = new Map([
  ["TOKEN_OF_ANOTHER_USER", 4403],
  ["CONNECTION_UNKNOWN", 1012],
  ["HISTORY_UNAVAILABLE", 1013],
  ["KEYS_UNAVAILABLE", 1013],
  ["TOO_MANY_REQUESTS", 4429],
]);

/** Return the rule for a close code. */
export function closeRule(code: number): CloseRule {
  return CLOSE_CODES[code] ?? { message: `the server closed with code ${code}`, kind: "server" };
}

/** Return the reason that a client gives for a close. `error` is the server's name for it, if it gave one. */
export function closeReason(code: number, error?: string): CloseReason {
  const { message, kind } = closeRule(code);
  return { code, message, kind, ...(error && { error }) };
}

/**
 * Return the close code that an `error` announces; undefined for an error that closes nothing. API Gateway can close with
 * 1000 only, so the server sends the reason first.
 */
export function closeCodeOf(error: string): number | undefined {
  return ERRORS.get(error) ?? (error.startsWith("TOKEN_") ? 4401 : undefined);
}
