// The public types: the client, its options, its state, and its environment.

import type { CustomMessage, MemberData, MessageTypes } from "./messages.js";

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
 * - `user`: the token or the welcome was another user's; the client is closed
 */
export type CloseKind = "lost" | "server" | "token" | "offline" | "final" | "user";

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
  /** The user of these messages, by the server's word; before that by the option `user`, or by the token. */
  readonly user?: string;
}

/**
 * Your own message types, for the type parameter of a client: the data of those that you hear, and a function for each
 * request that you send, from its data to the data of the answer.
 *
 *     interface MyEvents {
 *       comment_added: { mocId: string; text: string };
 *       add_comment: (comment: { mocId: string; text: string }) => { commentId: string };
 *     }
 *     const client = new TellwireClient<MyEvents>(options);
 *
 * Then other types are errors. A client without it takes every type, with unknown data.
 */
export interface AnyEvents {
  [type: string]: unknown;
}

type IsAny<E> = string extends keyof E ? true : false;
type Handled = (...args: never) => unknown;

/** The events that are heard: those that are no functions. */
type Heard<E> = { [T in keyof E & string as E[T] extends Handled ? never : T]: E[T] };

/** Has the client's note on a received message. */
export type Received<M> = M & {
  /** True if the message was kept and came with a welcome, or with a page of the history; false if it is live. */
  readonly replayed: boolean;
};

/** A message of your own. */
export type OwnMessage<T = string, D = unknown> = Omit<CustomMessage, "type" | "data"> & {
  readonly type: T;
  readonly data: D;
};

/** A message of any type, whose data nobody has looked at yet. */
export type Message = CustomMessage;

/** Stands for all texts but the types of the specification, so that `message.type` tells those apart. */
declare enum OtherType {
  undeclared = "a type that was not declared",
}

/** A type of the specification or one of your own. */
export type MessageType<E extends object = AnyEvents> =
  | keyof MessageTypes
  | "*"
  | (IsAny<E> extends true ? string & {} : keyof Heard<E>);

/** The message of a type. `"*"`: any message. */
export type MessageOf<T, E extends object = AnyEvents> = T extends keyof MessageTypes
  ? Received<MessageTypes[T]>
  : T extends "*"
    ? AnyMessage<E>
    : T extends keyof E
      ? Received<OwnMessage<T, E[T]>>
      : never;

/** Any message: `switch (message.type)` tells them apart. */
export type AnyMessage<E extends object = AnyEvents> = Received<
  | MessageTypes[keyof MessageTypes]
  | (IsAny<E> extends true
      ? OwnMessage<OtherType>
      : { [T in keyof Heard<E>]: OwnMessage<T, Heard<E>[T]> }[keyof Heard<E>])
>;

/** A type that `send` takes. */
export type RequestType<E extends object = AnyEvents> = keyof E & string;

type DataOf<R> = R extends (...args: infer A) => unknown ? (A extends [] ? undefined : A[0]) : R;

/** The options of a request. */
export interface RequestOptions {
  /** The time limit of the answer, from the call on, also while there is no connection: up to 300. Default: 30. */
  timeoutSeconds?: number;
}

/** The data that `send` takes after the type, which may be left out where there is none, and options. */
export type RequestArgs<T extends RequestType<E>, E extends object = AnyEvents> =
  undefined extends DataOf<E[T]>
    ? [data?: DataOf<E[T]>, options?: RequestOptions]
    : [data: DataOf<E[T]>, options?: RequestOptions];

/** A type that `publish` takes: that of a message of your own. */
export type PublishType<E extends object = AnyEvents> = IsAny<E> extends true ? string : keyof Heard<E> & string;

/** The data that `publish` takes after the type, which may be left out where there is none. */
export type PublishArgs<T, E extends object = AnyEvents> = T extends keyof E
  ? undefined extends E[T]
    ? [data?: E[T]]
    : [data: E[T]]
  : [data?: unknown];

/** The message that answers a request, as its handler returned it. */
export type AnswerOf<T extends RequestType<E>, E extends object = AnyEvents> = E[T] extends (...args: never) => infer D
  ? D extends void
    ? undefined
    : OwnMessage<string, D> | undefined
  : OwnMessage | undefined;

/** A page of older messages, newest first. */
export interface HistoryPage<E extends object = AnyEvents> {
  readonly messages: readonly AnyMessage<E>[];
  /** Even older ones are kept. */
  readonly more: boolean;
}

/**
 * The status of a topic:
 *
 * - `subscribing`: it waits for the connection, or for the server's answer
 * - `subscribed`: messages arrive
 * - `refused`: the server does not let the user have it. It is asked for again on the next connection, and after a new token
 * - `closed`: by `close()`
 */
export type TopicStatus = "subscribing" | "subscribed" | "refused" | "closed";

/** The reason why a topic is refused, or is not there yet. */
export interface TopicError {
  /** Of the server: `TOPIC_FORBIDDEN`, `TOO_MANY_SUBSCRIPTIONS`, `TOPIC_RIGHTS_UNAVAILABLE`, … */
  readonly code: string;
  /** For people, in English. */
  readonly message: string;
}

/** The state of a topic: a snapshot, the same object until something in it changes. */
export interface TopicState {
  readonly status: TopicStatus;
  /**
   * While subscribed: true if no message was missed, false if some may be missing; then load your data anew. Each time that
   * messages may be missing there is a new state.
   */
  readonly recovered?: boolean;
  readonly error?: TopicError;
}

/** The members of a topic: a snapshot, the same object until something in it changes. */
export interface PresenceState {
  /** Users, in the order in which they came, each with the `info` of their token. */
  readonly members: readonly MemberData[];
  /** The number of all of them. */
  readonly count: number;
  /** The members are all of them. Otherwise they are some of those who were there: the server names at most 200. */
  readonly isComplete: boolean;
  /** It is kept up to date. False before the first answer, and while there is no connection. */
  readonly isLive: boolean;
  /** The reason why nobody is told: `PRESENCE_OFF`, for one. */
  readonly error?: TopicError;
}

/** The presence of a topic, as a store. The server is asked when it is first subscribed to. */
export interface Presence {
  /** Call with the state at once, and with every new one. Returns a function that ends that. */
  readonly subscribe: (listener: (state: PresenceState) => void) => Unsubscribe;
  readonly getSnapshot: () => PresenceState;
}

/** The options of a topic. */
export interface TopicOptions {
  /** The start without a cursor: `oldest` is with all that the server keeps. Default: that of the client. */
  startFrom?: "now" | "oldest";
}

/**
 * A topic that the client follows until `close()`, over all its connections. Its messages come here, and not to the
 * listeners of the client. All that follow one topic share its subscription.
 */
export interface Topic<E extends object = AnyEvents> {
  readonly name: string;
  readonly state: TopicState;
  /** The users who follow it. */
  readonly presence: Presence;
  /** Call with every new state. */
  onState(listener: (state: TopicState) => void): Unsubscribe;
  /** Call with every message of a type, or of any type for `"*"`: as `on` of the client. */
  on<T extends MessageType<E>>(type: T, listener: (message: MessageOf<T, E>) => void): Unsubscribe;
  /** Publish a message of your own type to all who follow the topic, if the server lets this user. It is a request. */
  publish<T extends PublishType<E>>(type: T, ...args: PublishArgs<T, E>): Promise<void>;
  /** Ask for older messages that the server has kept, newest first: those before a cursor. */
  history(page?: { before?: string; limit?: number }): Promise<HistoryPage<E>>;
  /** Follow it no longer. If nobody else does, its subscription ends with the present task, and its cursor is forgotten. */
  close(): void;
}

/** Ends a subscription. */
export type Unsubscribe = () => void;

/** Cursors by stream: `user` is the user's own. */
export type Cursors = Readonly<Record<string, string>>;

/** The part of a `Storage` that keeps cursors. It answers at once, so React Native's AsyncStorage is none. */
export interface CursorStorage {
  getItem(key: string): string | null | undefined;
  setItem(key: string, value: string): void;
}

/**
 * A client: with a connection of its own (`TellwireClient`), or with one shared by all tabs (`sharedClient`). `E` has your
 * own message types.
 */
export interface Client<E extends object = AnyEvents> {
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
  on<T extends MessageType<E>>(type: T, listener: (message: MessageOf<T, E>) => void): Unsubscribe;
  /**
   * Send a message of your own; resolves with the message that its handler returned, if any.
   *
   * This and the next five are requests. Each resolves when the server has answered. It waits for a connection, is
   * repeated until there is an answer, and rejects with a `RequestError`: with the server's code, or `TIMEOUT` (after 30
   * seconds), `QUEUE_FULL` (100 wait, or 1 MiB), `CLOSED` (the client), or `USER` (it is another user's now). A rejection
   * that nobody handles is no error of the page.
   */
  send<T extends RequestType<E>>(type: T, ...args: RequestArgs<T, E>): Promise<AnswerOf<T, E>>;
  /**
   * Say that the user has seen everything up to a cursor, by default all that has passed; all their devices get `seen`.
   */
  ack(cursor?: string): Promise<void>;
  /** Say that the user has read messages of the log: those with these cursors, or all up to one. */
  read(what: { cursors: readonly string[] } | { upTo: string }): Promise<void>;
  /** Ask that an upload be cancelled. Its state follows. */
  cancel(uploadId: string): Promise<void>;
  /**
   * Ask that something be shown no more, on any device: an ended upload by its id, messages of the log with these cursors
   * or up to one, or all ended uploads up to a version.
   */
  dismiss(what: string | { cursors: readonly string[] } | { upTo: string } | { endedUpTo: number }): Promise<void>;
  /** Ask for older messages of the log that the server has kept, newest first: those before a cursor. */
  history(page?: { before?: string; limit?: number }): Promise<HistoryPage<E>>;
  /**
   * Follow a topic: get its messages, as far as the server lets this user.
   *
   *     const comments = client.topic("moc:1:comments");
   *     comments.on("comment_added", ({ data }) => list.add(data));
   *     comments.onState(({ status, recovered }) => { if (status === "subscribed" && !recovered) list.reload(); });
   */
  topic(name: string, options?: TopicOptions): Topic<E>;
  /** Connect; while waiting, do it now. No message arrives before the present task is over. */
  connect(): void;
  /** Close for good, unless `connect()` is called again. */
  close(): void;
}

/** A client of any events. It has no typed `on` and `send`: make it a `Client` of the events that you know of. */
export type AnyClient = Omit<Client, "on" | "send" | "history" | "topic"> & {
  on(type: never, listener: (message: never) => void): Unsubscribe;
  send(type: never, ...args: never): Promise<unknown>;
  history(page?: { before?: string; limit?: number }): Promise<unknown>;
  topic(name: string, options?: TopicOptions): AnyTopic;
};

/** A topic of any events. */
export type AnyTopic = Omit<Topic, "on" | "history" | "publish"> & {
  on(type: never, listener: (message: never) => void): Unsubscribe;
  publish(type: never, ...args: never): Promise<void>;
  history(page?: { before?: string; limit?: number }): Promise<unknown>;
};

/**
 * The reason for asking for a token:
 *
 * - `connect`: an attempt to connect. A stored token will do.
 * - `refused`: the last one was refused, or may have been. Get a new one.
 * - `renew`: the present one is about to expire. Get a new one.
 */
export type TokenReason = "connect" | "refused" | "renew";

/** The options of a client. All but `url` may be left out; most servers want `getToken`. */
export interface ClientOptions {
  /** The gateway: ws:, wss:, http: or https:; in a page it may be relative. */
  url: string;
  /**
   * Return a JWT. Called for every attempt to connect; if it throws or takes too long, the attempt has failed. Without it
   * the client brings no token, for a server that knows its users in another way, such as by a cookie.
   */
  getToken?: ((why: TokenReason) => string | Promise<string>) | undefined;
  /**
   * The user's id, as the server knows it. A token or a welcome of another one ends the session. Default: the user of the
   * first token, and of the first welcome.
   */
  user?: string | undefined;
  /** The claim of the token that has the user's id. Default: `sub`. */
  userClaim?: string;
  /**
   * The reaction to a token or a welcome of another user than before. `close`: the client is closed, with the kind `user`.
   * `restart`: it begins anew as that user's, with nothing of the one before. Default: `close`.
   */
  onOtherUser?: "close" | "restart";
  /**
   * Write a timeline, to the console or to a function: a line for each event, without tokens and without data of messages.
   * `localStorage.tellwire = "debug"` does so, too. Default: false.
   */
  debug?: boolean | ((line: string) => void);
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
   * The storage of the cursors: a page that is loaded anew goes on from them. They count more than `cursors`. `session`
   * and `local` are those of the page, where it may use them; otherwise, and where a function throws, nothing is stored.
   * Default: none.
   */
  cursorStorage?: "session" | "local" | CursorStorage | (() => CursorStorage | null | undefined) | undefined;
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
