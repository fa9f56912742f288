// The vocabulary of the state machine: its events, its actions, and its model.

import type { PongData } from "./messages.js";
import type { Options } from "./options.js";
import type { Outcome, Queue } from "./requests.js";
import type { Resequencer } from "./resequencer.js";
import type { ConnectionState, Message, PageEvent, PresenceState, TokenReason, TopicState } from "./types.js";

/** Something that happened. Connections are numbered, so that a late event finds its own. */
export type Event =
  | { type: "connect" }
  | { type: "close" }
  | { type: "token"; connection: number; token: string }
  | { type: "token failed"; connection: number; message: string }
  | { type: "opened"; connection: number }
  | { type: "received"; connection: number; data: unknown }
  | { type: "closed"; connection: number; code: number; reason: string }
  /** The application makes a request, as JSON, with a time limit in milliseconds. */
  | { type: "request"; id: string; text: string; timeout: number }
  /** The application wants a topic from a cursor on, or no longer. `from` is the cursor of a session without one. */
  | { type: "follow"; stream: string; cursor: string | undefined; from: string | undefined }
  | { type: "leave"; stream: string }
  /** The application wants to know who is in a topic. */
  | { type: "watch"; stream: string }
  /** The page woke up, or its network came or went; the device slept. */
  | { type: PageEvent }
  /** The timer fired that was set for `wanted`. */
  | { type: "tick"; wanted: number };

/** An action of the shell. They are done in their order. */
export type Action =
  | { type: "get token"; connection: number; why: TokenReason }
  | { type: "open"; connection: number; token: string }
  | { type: "send"; connection: number; message: { type: string; [field: string]: unknown } }
  | { type: "send text"; connection: number; text: string }
  | { type: "drop"; connection: number }
  | ({ type: "settle" } & Outcome)
  /** The client is another user's from now on. */
  | { type: "forget" }
  | { type: "pass"; message: Message };

/** The surroundings of an event. */
export interface Context {
  now: number;
  online: boolean;
  /** From 0 to 1, without 1. */
  random(): number;
}

export type Timer =
  | "retire"
  | "answer"
  | "heartbeat"
  | "renew"
  | "rotate"
  | "opened"
  | "hello"
  /** The welcome, or its next page. */
  | "user"
  | "connect"
  | "retry"
  | "requests"
  | "behind";

/** Time at which each timer is due, and the next word about each topic, in milliseconds since 1970. */
export type Due = { [timer in Timer]?: number } & { [stream: string]: number };

/** A stream: the user's, or that of a topic. */
export interface Stream extends Resequencer {
  /** The state of a topic; absent if it was left. */
  readonly state?: TopicState | undefined;
  /** The cursor of a topic in a session that has none yet. */
  readonly from?: string | undefined;
  /** The members of a topic, if the application wants to know them. */
  readonly presence?: PresenceState | undefined;
  /** The id of the request for that. */
  readonly asking?: string;
  /** Failures since the last answer about a topic. */
  readonly failures?: number;
}

/** The streams by name: the user's is the first, and the others are topics. */
export type Streams = ReadonlyMap<string, Stream>;

export interface Model extends Readonly<Queue> {
  readonly options: Options;
  readonly state: ConnectionState;
  readonly streams: Streams;
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
  /** The user of the tokens, and of the welcomes, as far as they are known; and of the cursors that it began with. */
  readonly claim?: string | undefined;
  readonly userId?: string | undefined;
  readonly cursorsOf?: string | undefined;
  /** The messages on `current` are known to be this user's; otherwise those without a position are held. */
  readonly isVerified: boolean;
  readonly held: readonly Message[];
  /** The shortest promise of each running upload to be heard of again, in milliseconds, by key. */
  readonly leases: ReadonlyMap<string, number>;
  /** Time of the last message on `current`, in milliseconds since 1970. */
  readonly heardAt: number;
  /** Time of the last hello, in milliseconds since 1970. */
  readonly helloAt: number;
  /** The number of requests that the client has made for itself. */
  readonly asked: number;
  /** The end of the stream, as the last pong told it that was ahead of the client. */
  readonly end: PongData;
  /** Failures since a connection was stable. */
  readonly failures: number;
  /** Handshakes that failed in a row. */
  readonly refusals: number;
  /** The last token was refused, so a new one has to be asked for. */
  readonly isRefused: boolean;
  /** The last `error` on `current` that announced a close. */
  readonly announced?:
    | { readonly code: number; readonly error: string; readonly at: number; readonly words: string | undefined }
    | undefined;
  /** In milliseconds: the application's, or else those of the last welcome. 0: never. */
  readonly heartbeat: number;
  readonly rotateAfter: number;
  /** Shortest time between two hellos on one connection, in milliseconds. */
  readonly helloInterval: number;
}
