// The public types: the client, its options, its state, and its environment.

import type { CustomMessage, MessageTypes } from "./messages.js";

/**
 * The status of a client:
 *
 *     idle ─connect()─▶ connecting ─▶ open
 *                        ▲     │       │
 *                        └─ waiting ◀──┘        close(), or a final close code, from anywhere: closed
 *
 * - `idle`: `connect()` was not called yet
 * - `connecting`: a token or a connection is under way
 * - `open`: messages arrive
 * - `waiting`: for the next attempt, or for the network
 * - `closed`: for good, unless `connect()` is called again
 */
export type Status = "idle" | "connecting" | "open" | "waiting" | "closed";

/**
 * The kind of a reason:
 *
 * - `lost`: the network or the server did not answer
 * - `server`: the server closed, and can be connected to again
 * - `token`: there was no token, or it was refused
 * - `offline`: the device says that it has no network
 * - `final`: the server will not accept this client; it is closed
 */
export type CloseKind = "lost" | "server" | "token" | "offline" | "final";

/** The reason why a client is waiting or closed. */
export interface CloseReason {
  /** The close code: 1006 for a connection that was lost. Absent if there was no connection. */
  readonly code?: number;
  /** The server's name for the error, such as `TOKEN_EXPIRED`, if it gave one. */
  readonly error?: string;
  /** For people, in English. */
  readonly message: string;
  readonly kind: CloseKind;
}

/** The state of a client: a snapshot, the same object until something in it changes. */
export interface ConnectionState {
  readonly status: Status;
  /** Attempts since the connection was last open, the present one included. */
  readonly attempt: number;
  /** The time of the next attempt, in milliseconds since 1970. Absent unless waiting, and while offline. */
  readonly retryAt?: number;
  /** The reason for waiting or being closed; while connecting, that of the last failure. Absent after `close()`. */
  readonly reason?: CloseReason;
  /**
   * While open: true if no message was missed, false if some may be missing; then load your data anew. Absent until the
   * welcome has ended, and with a server that does not know `hello`.
   *
   * Each time that messages may be missing there is a new state.
   */
  readonly recovered?: boolean;
}

/**
 * The data of your own types. Declare them, and listeners get typed data:
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

/** The message of a type; its data is unknown if the type was not declared. `"*"`: any message. */
export type MessageOf<T extends MessageType> = T extends keyof MessageTypes
  ? MessageTypes[T]
  : T extends keyof CustomTypes
    ? CustomMessage & { readonly type: T; readonly data: CustomTypes[T] }
    : T extends "*"
      ? AnyMessage
      : CustomMessage;

/** Any message. */
export type AnyMessage = MessageTypes[keyof MessageTypes] | CustomMessage;

/** Ends a subscription. */
export type Unsubscribe = () => void;

/** Cursors by stream: `user` is the user's own. */
export type Cursors = Readonly<Record<string, string>>;

/** A client: with a connection of its own (`TellwireClient`), or with one shared by all tabs (`sharedClient`). */
export interface Client {
  readonly state: ConnectionState;
  /**
   * The positions that all passed messages are up to, by stream; the option `cursors` of another client goes on from
   * there. Empty before the first welcome. While a loss was not told, they are those from before it.
   */
  readonly cursors: Cursors;
  /** Call with every new state. */
  onState(listener: (state: ConnectionState) => void): Unsubscribe;
  /**
   * Call with every message of a type, or of any type for `"*"`. Each message passes once, also while one connection
   * replaces another, or after there was none: log messages in their order, of uploads the newest state. `pong`,
   * `auth_ok` and `welcome` do not pass.
   */
  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): Unsubscribe;
  /** Send a message of your own. Returns false if there is no open connection: then nothing was sent. */
  send(type: string, data?: unknown): boolean;
  /**
   * Say that the user has seen everything up to a cursor, by default all that has passed; all their devices get `seen`.
   * Returns false if there is no open connection, or the cursor is no position.
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
 * The reason for asking for a token:
 *
 * - `connect`: an attempt to connect. A stored token will do.
 * - `refused`: the last one was refused, or may have been. Get a new one.
 * - `renew`: the present one is about to expire. Get a new one.
 */
export type TokenReason = "connect" | "refused" | "renew";

/** The options of a client. All but `url` and `getToken` may be left out. */
export interface ClientOptions {
  /** The gateway: ws:, wss:, http: or https:; in a page it may be relative. */
  url: string;
  /** Return a JWT. Called for every attempt to connect; if it throws or takes too long, the attempt has failed. */
  getToken: (why: TokenReason) => string | Promise<string>;
  /** The place of the token. `query` is for servers that know only `?token=`. Default: `subprotocol`. */
  tokenIn?: "subprotocol" | "query";
  /**
   * Recover messages that were missed while there was no connection. False for a server that fails at a `hello`.
   * Default: true.
   */
  recover?: boolean;
  /** The `cursors` of an earlier client, to go on from. Default: none. */
  cursors?: Cursors;
  /** The start of a client without a cursor: `oldest` is with all that the server keeps. Default: `now`. */
  startFrom?: "now" | "oldest";
  /**
   * The storage of the cursors, such as `sessionStorage`: a page that is loaded anew goes on from them. They count more
   * than `cursors`. Default: none.
   */
  cursorStorage?: Pick<Storage, "getItem" | "setItem"> | undefined;
  /** Keeps apart cursors of one url in that storage, such as those of several users. Default: none. */
  cursorKey?: string;
  /** The bound of the first random wait before another attempt; it doubles with each failure. Default: 0.5. */
  backoffFirstSeconds?: number;
  /** The largest bound. Default: 30. */
  backoffMaxSeconds?: number;
  /** The time that a connection has to be open before the backoff starts anew. Default: 10. */
  stableAfterSeconds?: number;
  /** The time limit of `getToken`, and then of the handshake. Default: 15. */
  connectTimeoutSeconds?: number;
  /** The time limit of the answer to a ping, and of each page of a welcome. Default: 5. */
  answerTimeoutSeconds?: number;
  /** The time limit of the answer to a ping after the device woke up or changed networks. Default: 2. */
  wakeTimeoutSeconds?: number;
  /** The time from the renewal of a token to its expiry; a random part is added, up to as much again. Default: 60. */
  renewBeforeSeconds?: number;
  /** The time that an old connection is listened to beside the new one. Default: 5. */
  overlapSeconds?: number;
  /**
   * The time without a received message after which a ping is sent; 0: never, for a server that does not answer any.
   * Default: the value of the server's welcome, and 240 before there is one.
   */
  heartbeatSeconds?: number;
  /**
   * The age at which a connection is replaced, give or take 4 %; 0: never. Default: the value of the server's welcome,
   * and 6,600 before there is one.
   */
  rotateAfterSeconds?: number;
  /** The surroundings of the client. Default: those of the browser or Node. */
  environment?: Partial<Environment>;
}

/** The part of a WebSocket that the client needs: a browser's, Node's, or the `ws` package's. */
export interface Socket {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** An event of the page: it woke up, or its network came or went. */
export type PageEvent = "wake" | "online" | "offline";

/** The surroundings of a client: sockets, time, chance, the network and the page. */
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
  /** Call with every event of the page. */
  onPageEvent(listener: (event: PageEvent) => void): Unsubscribe;
  /** Call when the page is about to be frozen or left. */
  onPageHide(listener: () => void): Unsubscribe;
  /** Report an error that a listener threw. */
  reportError(error: unknown): void;
}
