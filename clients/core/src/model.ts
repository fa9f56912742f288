// The vocabulary of the state machine: its events, its actions, and its model.

import type { Options } from "./options.js";
import type { Resequencer } from "./resequencer.js";
import type { AnyMessage, ConnectionState, PageEvent, TokenReason } from "./types.js";

/** Something that happened. Connections are numbered, so that a late event finds its own. */
export type Event =
  | { type: "connect" }
  | { type: "close" }
  | { type: "token"; connection: number; token: string }
  | { type: "token failed"; connection: number; message: string }
  | { type: "opened"; connection: number }
  | { type: "received"; connection: number; data: unknown }
  | { type: "closed"; connection: number; code: number; reason: string }
  /** The page woke up, or its network came or went; the device slept. */
  | { type: PageEvent }
  /** The timer fired that was set for `wanted`. */
  | { type: "tick"; wanted: number };

/** An action of the shell. They are done in their order. */
export type Action =
  | { type: "get token"; connection: number; why: TokenReason }
  | { type: "open"; connection: number; token: string }
  | { type: "send"; connection: number; message: { type: string; [field: string]: unknown } }
  | { type: "drop"; connection: number }
  | { type: "pass"; message: AnyMessage };

/** The surroundings of an event. */
export interface Context {
  now: number;
  online: boolean;
  /** From 0 to 1, without 1. */
  random(): number;
}

export type Timer = "retire" | "answer" | "heartbeat" | "renew" | "rotate" | "hello" | "welcome" | "connect" | "retry";

/** Time at which each timer is due, in milliseconds since 1970. */
export type Due = { [timer in Timer]?: number };

export interface Model {
  readonly options: Options;
  readonly state: ConnectionState;
  /** The resequencer of each stream that the client follows. */
  readonly streams: ReadonlyMap<string, Resequencer>;
  readonly due: Readonly<Due>;
  /** The number of the last connection. They begin with 1; 0 stands for none. */
  readonly connections: number;
  readonly pending?: number;
  readonly current?: number;
  readonly retiring?: number;
  /** The token that `pending` is opened with; empty until there is one. */
  readonly pendingToken: string;
  /** The token that the server has, and one that it was offered since. */
  readonly token: string;
  readonly offeredToken: string;
  /** Expiry of the token of `current`, in milliseconds since 1970, if it is known. */
  readonly expiresAt?: number | undefined;
  readonly openedAt: number;
  /** Time of the last hello, in milliseconds since 1970. */
  readonly helloAt: number;
  /** Failures since a connection was stable. */
  readonly failures: number;
  /** Handshakes that failed in a row. */
  readonly refusals: number;
  /** The last token was refused, so a new one has to be asked for. */
  readonly isRefused: boolean;
  /** The last `error` on `current` that announced a close. */
  readonly announced?: { readonly code: number; readonly error: string; readonly at: number } | undefined;
  /** In milliseconds: the application's, or else those of the last welcome. 0: never. */
  readonly heartbeat: number;
  readonly rotateAfter: number;
}
