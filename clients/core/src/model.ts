// What the state machine works on: what happens, what is to be done, and what a client knows of itself.

import type { Place } from "./place.js";
import type { Settings } from "./settings.js";
import type { AnyMessage, ConnectionState, Sign, TokenReason } from "./types.js";

/** What happened. `link` says to which link. */
export type Happening =
  | { is: "connect" }
  | { is: "close" }
  | { is: "token"; link: number; token: string }
  | { is: "no token"; link: number; message: string }
  | { is: "opened"; link: number }
  | { is: "received"; link: number; data: unknown }
  | { is: "ended"; link: number; code: number }
  | { is: "sign"; sign: Sign }
  /** The timer fired that was set for `wanted`. */
  | { is: "tick"; wanted: number };

/** What is to be done, in this order. */
export type Action =
  | { do: "get token"; link: number; why: TokenReason }
  | { do: "open"; link: number; token: string }
  | { do: "send"; link: number; message: { type: string; [field: string]: unknown } }
  | { do: "drop"; link: number }
  | { do: "pass"; message: AnyMessage };

/** What is true while something happens. */
export interface Moment {
  now: number;
  online: boolean;
  /** From 0 to 1, without 1. */
  random(): number;
}

/** What a client waits for. */
export type Timer =
  | "settle"
  | "retire"
  | "answer"
  | "ping"
  | "renew"
  | "replace"
  | "calm"
  | "hello"
  | "welcome"
  | "token"
  | "connect"
  | "retry";

/** What is due, and when, in milliseconds since 1970. */
export type Due = { [timer in Timer]?: number };

export interface Model {
  readonly settings: Settings;
  readonly state: ConnectionState;
  readonly place: Place;
  readonly due: Readonly<Due>;
  /** How many links there were; each has its number. */
  readonly links: number;
  readonly next?: number | undefined;
  readonly current?: number | undefined;
  readonly last?: number | undefined;
  /** When the tokens of `next` and `current` expire, if that is known. */
  readonly nextExpiresAt?: number | undefined;
  readonly expiresAt?: number | undefined;
  /** Waits since a connection was open for a while. */
  readonly waits: number;
  /** Handshakes that failed in a row. */
  readonly refusals: number;
  /** The next token has to be a new one. */
  readonly isRefused: boolean;
  /** The last `error` on the current link. */
  readonly error?: { readonly code: string; readonly at: number };
}
