// The public types: what a client is, what it is made with, and the state it says it is in.

import type { CustomMessage, MessageTypes } from "./messages.js";

/**
 * Where a client is:
 *
 *     idle ─connect()─▶ connecting ─▶ open
 *                        ▲     │       │
 *                        └─ waiting ◀──┘        close(), or a final close code, from anywhere: closed
 *
 * - `idle`: `connect()` was not called yet
 * - `connecting`: a token or a connection is under way
 * - `open`: messages arrive
 * - `waiting`: for the next attempt, or for the network to come back
 * - `closed`: for good, unless `connect()` is called again
 */
export type Status = "idle" | "connecting" | "open" | "waiting" | "closed";

/**
 * What kind of reason it is that there is no connection:
 *
 * - `lost`: the network or the server did not answer
 * - `server`: the server closed, and takes us back
 * - `token`: there was no token, or it was refused
 * - `offline`: the device says it has no network
 * - `final`: coming back is of no use; the client is closed
 */
export type CloseKind = "lost" | "server" | "token" | "offline" | "final";

/** Why a client is waiting or closed. */
export interface CloseReason {
  /** The close code, or 1006 where the server sent none. */
  readonly code: number;
  /** For people, in English. */
  readonly message: string;
  readonly kind: CloseKind;
}

/** A snapshot: the same object until something in it changes. */
export interface ConnectionState {
  readonly status: Status;
  /** How many attempts there were since the connection was last open, the present one included. */
  readonly attempt: number;
  /** When the next attempt is made, in milliseconds since 1970. Absent unless waiting, and while offline. */
  readonly retryAt?: number;
  /** Why it is waiting or closed; while connecting, why the last attempt failed. Absent after `close()`. */
  readonly reason?: CloseReason;
  /**
   * While open: whether everything was heard that was said while there was no connection. False: something may be
   * missing, so load anew what you show. Absent until the server has said so, and with one that keeps nothing.
   *
   * Each time that something may be missing, there is a new state.
   */
  readonly recovered?: boolean;
}

/**
 * The data of your own types. Declare what you have, and listeners get it typed:
 *
 *     declare module "@tellwire/client" {
 *       interface CustomTypes {
 *         comment_added: { mocId: string; text: string };
 *       }
 *     }
 */
// biome-ignore lint/suspicious/noEmptyInterface: it is for others to add to
export interface CustomTypes {}

/** A type of the specification or one of your own. */
export type MessageType = keyof MessageTypes | keyof CustomTypes | (string & {});

/** The message of a type; its data is unknown if the type was not declared. Any message for `"*"`. */
export type MessageOf<T extends MessageType> = T extends keyof MessageTypes
  ? MessageTypes[T]
  : T extends keyof CustomTypes
    ? CustomMessage & { readonly type: T; readonly data: CustomTypes[T] }
    : T extends "*"
      ? AnyMessage
      : CustomMessage;

/** Any message. */
export type AnyMessage = MessageTypes[keyof MessageTypes] | CustomMessage;

/** Returns what it takes back: the subscription. */
export type Unsubscribe = () => void;

/** What a page talks to: a connection of its own (`TellwireClient`) or one shared by all tabs (`sharedClient`). */
export interface Client {
  readonly state: ConnectionState;
  /** How far this client is in what is said to its user; undefined if it does not know. */
  readonly cursor: string | undefined;
  /** Call with every new state. */
  onState(listener: (state: ConnectionState) => void): Unsubscribe;
  /**
   * Call with every message of a type, or of any type for `"*"`. A message arrives once, also while one connection takes
   * over from another, or after there was none for a while: those of the log in their order, of uploads the newest.
   * `pong`, `auth_ok` and `welcome` stay inside.
   */
  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): Unsubscribe;
  /** Send a message of your own. Returns false if there is no open connection: then nothing was sent. */
  send(type: string, data?: unknown): boolean;
  /**
   * Say that the user has seen everything up to a cursor, by default all that has arrived; all their devices get `seen`.
   * Returns false if there is no open connection, or no cursor.
   */
  ack(cursor?: string): boolean;
  /**
   * Ask that an upload be cancelled. Its state follows, or an `error`. Returns false if there is no open connection.
   */
  cancel(uploadId: string): boolean;
  /** Connect; while waiting, do it now. No message arrives before the present task is over. */
  connect(): void;
  /** Close for good, unless `connect()` is called again. */
  close(): void;
}

/**
 * Why a token is asked for:
 *
 * - `connect`: for an attempt to connect. A token that is in store will do.
 * - `refused`: the last one was refused, or it may have been. Get a new one.
 * - `renew`: the present one is about to expire. Get a new one.
 */
export type TokenReason = "connect" | "refused" | "renew";

/** What a client is made with. All but `url` and `getToken` may be left out. */
export interface ClientOptions {
  /** The gateway: ws:, wss:, http: or https:; in a page it may be relative. */
  url: string;
  /** Return a JWT. Called for every attempt to connect; if it throws or takes too long, the attempt has failed. */
  getToken: (why: TokenReason) => string | Promise<string>;
  /** Where the token goes. `query` is for servers that take `?token=` only. Default: `subprotocol`. */
  tokenIn?: "subprotocol" | "query";
  /** Hear what was missed while there was no connection. False for a server that minds a `hello`. Default: true. */
  recover?: boolean;
  /** Where a client without a cursor begins: `oldest` is with all that the server keeps. Default: `now`. */
  startFrom?: "now" | "oldest";
  /** Where to keep the cursor, such as `sessionStorage`: then a page that is loaded anew hears what it missed. */
  cursorStorage?: Pick<Storage, "getItem" | "setItem"> | undefined;
  /** What tells cursors of one url apart in that storage: the user, where it may be another. Default: none. */
  cursorKey?: string;
  /** After how many seconds without traffic to send a ping; 0 for a server that does not answer any. Default: 240. */
  heartbeatSeconds?: number;
  /** How long the answer to it may take, and each page of what was missed. Default: 5. */
  answerSeconds?: number;
  /** How long a sign of life may take after the device woke up or changed networks. Default: 2. */
  wakeSeconds?: number;
  /** How long it may take to connect, from the token to the handshake's end. Default: 15. */
  connectSeconds?: number;
  /** The first bound of the random wait before another attempt; it doubles with each. Default: 0.5. */
  firstWaitSeconds?: number;
  /** The largest bound. Default: 30. */
  longestWaitSeconds?: number;
  /** How long a connection has to be open before the waits begin anew. Default: 10. */
  settledSeconds?: number;
  /** How long before a token expires a new one is sent; a random part is added, up to as much again. Default: 60. */
  renewSeconds?: number;
  /** The age at which a connection is replaced, give or take 4 %: servers close at two hours. Default: 6,600. */
  replaceSeconds?: number;
  /** What the client uses of its surroundings. Default: what the browser or Node has. */
  environment?: Partial<Environment>;
}

/** What the client needs of a WebSocket: a browser's, Node's, or the `ws` package's. */
export interface Socket {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** Something the page noticed: it woke up, or its network came or went. */
export type Sign = "wake" | "online" | "offline";

/** What a client uses of its surroundings. */
export interface Environment {
  WebSocket: new (url: string, protocols?: string[]) => Socket;
  /** Milliseconds since 1970. */
  now(): number;
  setTimeout(run: () => void, milliseconds: number): unknown;
  clearTimeout(timer: unknown): void;
  /** From 0 to 1, without 1. */
  random(): number;
  /** False if the device is sure that it has no network. */
  online(): boolean;
  /** Call with every sign of the page, until taken back. */
  onSign(listener: (sign: Sign) => void): Unsubscribe;
  /** Call when the page is about to be frozen or left. */
  onLeave(listener: () => void): Unsubscribe;
  /** Report what a listener threw. */
  reportError(error: unknown): void;
}
