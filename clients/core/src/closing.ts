// What a close code means: the table of spec/protocol.md, as code.

import type { CloseKind, CloseReason } from "./types.js";

/** What a client makes of a close code. Kind `final` means never to come back. */
export interface CloseRule {
  readonly message: string;
  readonly kind: CloseKind;
  /** Come back without a wait, if the connection was a settled one. */
  readonly atOnce?: true;
}

/** The close codes of the protocol. Any other one means: the server closed, come back after a wait. */
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
  4400: { message: "the server does not understand this client", kind: "final" },
  4401: { message: "the token expired, or was refused", kind: "token", atOnce: true },
  4403: { message: "the token is another user's", kind: "final" },
};

/** Return the rule for a code. */
export function closeRule(code: number): CloseRule {
  return CLOSE_CODES[code] ?? { message: `the server closed with code ${code}`, kind: "server" };
}

/** Return the reason that a client gives for a code. */
export function closeReason(code: number): CloseReason {
  const { message, kind } = closeRule(code);
  return { code, message, kind };
}

/** Return what 1000 stands for after an `error`. API Gateway can close with nothing else, so the reason goes first. */
export function meantBy(errorCode: string): number {
  if (errorCode === "TOKEN_OF_ANOTHER_USER") return 4403;
  return errorCode.startsWith("TOKEN_") ? 4401 : 1000;
}
