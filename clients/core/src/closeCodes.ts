// The close codes and error codes of spec/protocol.md, with the meaning of each for a client.

import { CLOSE_CODE_OF_ERROR } from "./errorCodes.js";
import type { CloseKind, CloseReason } from "./types.js";

/** The meaning of a close code. Kind `final`: never reconnect. */
export interface CloseRule {
  readonly message: string;
  readonly kind: CloseKind;
  /** Reconnect without a wait, if this is the first failure since a connection was stable. */
  readonly atOnce?: true;
}

const server = (message: string, atOnce?: true): CloseRule => ({ message, kind: "server", ...(atOnce && { atOnce }) });

/** The close codes of the protocol. Any other code means: the server closed, reconnect with backoff. */
export const CLOSE_CODES: Readonly<Record<number, CloseRule>> = {
  1000: server("closed by an operator"),
  1001: server("the connection was idle, or too old", true),
  1002: server("a frame was broken"),
  1003: server("a message was binary"),
  1006: { message: "the connection was lost", kind: "lost" },
  1007: server("a message was not UTF-8"),
  1009: server("a message was too large"),
  1012: server("the server restarts"),
  1013: server("this client was too slow"),
  4401: { message: "the token expired, or was refused", kind: "token", atOnce: true },
  4403: { message: "the token is another user's, or shut out", kind: "final" },
  4429: server("there were too many requests"),
};

/** Return the rule for a close code. */
export function closeRule(code: number): CloseRule {
  return CLOSE_CODES[code] ?? server(`the server closed with code ${code}`);
}

/** Return the reason that a client gives for a close. `error` and `words` are the server's, if it gave any. */
export function closeReason(code: number, error?: string, words?: string): CloseReason {
  const { message, kind } = closeRule(code);
  return { code, message: words ?? message, kind, ...(error && { error }) };
}

/**
 * Return the close code that an `error` announces; undefined for an error that closes nothing. API Gateway can close with
 * 1000 only, so the server sends the reason first.
 */
export function closeCodeOf(error: string): number | undefined {
  if (Object.hasOwn(CLOSE_CODE_OF_ERROR, error)) return CLOSE_CODE_OF_ERROR[error];
  return error.startsWith("TOKEN_") ? 4401 : undefined;
}
