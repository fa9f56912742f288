// Every message on the wire. Generated from spec/wire.schema.json by scripts/generate-types.mjs; do not edit.

/** Record that the user has seen everything up to a cursor, for all devices. */
export interface AckRequest {
  readonly cursor: string;
  readonly id?: string;
  readonly type: "ack";
}

/** The new token was accepted: the connection lives until it expires. */
export interface AuthOkData {
  readonly expiresAt: string;
}

export interface AuthOkMessage {
  readonly data: AuthOkData;
  readonly timestamp: string;
  readonly type: "auth_ok";
}

/** Replace the connection's token; the connection lives until the new one expires. */
export interface AuthRequest {
  readonly id?: string;
  readonly token: string;
  readonly type: "auth";
}

/** Cancel an upload. */
export interface CancelRequest {
  readonly id?: string;
  readonly type: "cancel";
  readonly uploadId: string;
}

/** A message of a custom type, as a client publishes it. `data` is any JSON. */
export interface ClientMessage {
  readonly data?: unknown;
  readonly type: string;
}

/** Every request that a server of this version does, beside custom ones. */
export type ClientRequest =
  | PingRequest
  | AuthRequest
  | HelloRequest
  | SubscribeRequest
  | UnsubscribeRequest
  | PresenceRequest
  | PublishRequest
  | AckRequest
  | CancelRequest
  | ReadRequest
  | DismissRequest
  | HistoryRequest;

/** A message of your own type. `data` is any JSON. */
export interface CustomMessage extends Positioned {
  readonly data: unknown;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: string;
}

/** A message of a custom type, for a server with a handler of it. `data` is any JSON. */
export interface CustomRequest {
  readonly data?: unknown;
  readonly id?: string;
  readonly type: string;
}

/**
 * Show something no more, on any device of the user. It has exactly one of these:
 *
 * `key`, of an upload that has ended: `upload:` and its id; `endedUpTo`, a version: all uploads that have ended,
 * with a state of at most this version; `cursors`, of messages of the log; `upTo`, a cursor: all up to there.
 */
export interface DismissRequest {
  readonly cursors?: readonly string[];
  readonly endedUpTo?: number;
  readonly id?: string;
  readonly key?: string;
  readonly type: "dismiss";
  readonly upTo?: string;
}

/** The state of this key was dismissed on some device: show it no more. An upload's key is `upload:<uploadId>`. */
export interface DismissedData {
  readonly key: string;
}

export interface DismissedMessage extends Positioned {
  readonly data: DismissedData;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "dismissed";
}

/**
 * An error for the user. `code` is for programs, `message` for people, `details` any JSON.
 *
 * `id` is that of the request that it answers, `topic` the topic that it is about: only servers set them.
 */
export interface ErrorData {
  readonly code: string;
  readonly details?: unknown;
  readonly id?: string;
  readonly message: string;
  readonly topic?: string;
}

export interface ErrorMessage extends Positioned {
  readonly data: ErrorData;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "error";
}

/**
 * Ask for the messages after a cursor, and for the newest states.
 *
 * `cursor` is that of the user's own stream; `cursors` are those of several streams by name: `user`, or `topic:` and
 * the topic's name. Only one of the two is allowed. A client that sends neither has nothing yet, and missed nothing;
 * so has one with an empty cursor in `cursors`. Every topic in `cursors` is subscribed to, after the welcome.
 * `version` is the highest one of a state of the user's own stream that the client has: it is told of all uploads that
 * have ended since. Without it, it is told of those that ended a short time ago. `versions` are those of topics.
 */
export interface HelloRequest {
  readonly cursor?: string | null;
  readonly cursors?: { readonly [name: string]: string } | null;
  readonly id?: string;
  readonly type: "hello";
  readonly version?: number;
  readonly versions?: { readonly [name: string]: number };
}

/**
 * Ask for at most `limit` messages of the log of a stream, the newest first: those before a cursor, or the newest.
 *
 * `stream` is `user`, or `topic:` and the name of a topic that the connection is subscribed to. The answer is an `ok`
 * with this `id`, whose `result` is a `HistoryResult`. It has fewer messages than `limit` if they are long.
 */
export interface HistoryRequest {
  readonly before?: string;
  readonly id: string;
  readonly limit?: number;
  readonly stream?: string;
  readonly type: "history";
}

/** Kept messages of a log, the newest first. `more`: there are older ones. */
export interface HistoryResultData {
  readonly messages: readonly PublishedMessage[];
  readonly more: boolean;
}

/** A user has come into `topic`, or has another `info`. `count` is the number of users then. */
export interface JoinData {
  readonly count: number;
  readonly info?: { readonly [name: string]: unknown };
  readonly topic: string;
  readonly userId: string;
}

export interface JoinMessage {
  readonly data: JoinData;
  readonly timestamp: string;
  readonly type: "join";
}

/**
 * A user has left `topic`: their last connection that was subscribed to it ended some seconds ago. `count` is the
 * number of users then.
 */
export interface LeaveData {
  readonly count: number;
  readonly topic: string;
  readonly userId: string;
}

export interface LeaveMessage {
  readonly data: LeaveData;
  readonly timestamp: string;
  readonly type: "leave";
}

/**
 * Bounds that a client should keep to. A server refuses requests beyond them, and at last closes with 4429.
 *
 * Messages: at most `maxRequestBurst` at once, and on average `maxRequestsPerSecond`; `helloIntervalSeconds`
 * from one `hello` to the next. At most `maxSubscriptions` topics are followed by one connection.
 */
export interface LimitsData {
  readonly helloIntervalSeconds?: number;
  readonly maxMessageBytes?: number;
  readonly maxRequestBurst?: number;
  readonly maxRequestsInFlight?: number;
  readonly maxRequestsPerSecond?: number;
  readonly maxSubscriptions?: number;
}

/**
 * The messages of the log that the user has read, and those that they want to see no more, on some device.
 *
 * Both are ranges of offsets in the log of `epoch`: pairs of the first and the last one, in their order. Whatever is
 * dismissed is read, too. Marks of another epoch than a message's say nothing about it.
 */
export interface MarksData {
  readonly dismissed: readonly (readonly number[])[];
  readonly epoch: string;
  readonly read: readonly (readonly number[])[];
}

export interface MarksMessage extends Positioned {
  readonly data: MarksData;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "marks";
}

/** A user who is in a topic. `info` is the object that their token has for others to see, such as a name. */
export interface MemberData {
  readonly info?: { readonly [name: string]: unknown };
  readonly userId: string;
}

/** A notification for the user. `actionUrl` is http(s) or a path on the page's own site. */
export interface NotificationData {
  readonly actionLabel?: string | null;
  readonly actionUrl?: string | null;
  readonly message: string;
  readonly severity: "error" | "info" | "success" | "warning";
  readonly title: string;
}

export interface NotificationMessage extends Positioned {
  readonly data: NotificationData;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "notification";
}

/**
 * The request with this `id` was done. Some have a `result`: `history` a `HistoryResult`, and a request of an own
 * type the message of its handler.
 */
export interface OkData {
  readonly id: string;
  readonly result?: unknown;
}

export interface OkMessage {
  readonly data: OkData;
  readonly timestamp: string;
  readonly type: "ok";
}

/** Ask for a `pong`: a sign of life. */
export interface PingRequest {
  readonly id?: string;
  readonly type: "ping";
}

/**
 * The answer to a `ping`: where the user's own stream ends, if the server knows.
 *
 * `cursor` is the end of its log, `version` the highest one of a state. A client that has less a moment later has
 * missed something, and says `hello`. `topics` has the ends of the topics that the connection is subscribed to, as
 * far as the server knows them: a client that has less says `subscribe` with its cursor.
 */
export interface PongData {
  readonly cursor?: string;
  readonly topics?: { readonly [name: string]: TopicEndData };
  readonly version?: number;
}

export interface PongMessage {
  readonly data: PongData;
  readonly timestamp: string;
  readonly type: "pong";
}

/**
 * The position of a message in its stream. A message to a connection or to everybody has none.
 *
 * In the log lane `cursor` is the stream's epoch, a colon and the message's offset. In the state lane `key` names the
 * subject of a state, and of two versions of a key the higher one is the newer. `topic` is that of a message to one,
 * kept or not. `from` is the user who published it, if a client did: only servers set it.
 */
export interface Positioned {
  readonly cursor?: string;
  readonly from?: string;
  readonly key?: string;
  readonly topic?: string;
  readonly version?: number;
}

/**
 * The number of users in `topic`, and their ids and infos, in place of all that was told before.
 *
 * At most 200 of them are in `members`; `count` is all. Without `members` there are more than that, and only their
 * number has changed: it comes once a second at most.
 */
export interface PresenceData {
  readonly count: number;
  readonly members?: readonly MemberData[];
  readonly topic: string;
}

export interface PresenceMessage {
  readonly data: PresenceData;
  readonly timestamp: string;
  readonly type: "presence";
}

/**
 * Ask who is in a topic, and for each change from then on. The connection must be subscribed to it.
 *
 * The answer is a `presence`. It ends with the subscription.
 */
export interface PresenceRequest {
  readonly id?: string;
  readonly topic: string;
  readonly type: "presence";
}

/** Publish a message of a custom type to a topic, if the server lets its clients do so. */
export interface PublishRequest {
  readonly id?: string;
  readonly message: ClientMessage;
  readonly topic: string;
  readonly type: "publish";
}

/** A message that somebody published. */
export type PublishedMessage = UploadProgressMessage | NotificationMessage | ErrorMessage | CustomMessage;

/** Mark messages of the log as read, for all devices: those at `cursors`, and all up to `upTo`. */
export interface ReadRequest {
  readonly cursors?: readonly string[];
  readonly id?: string;
  readonly type: "read";
  readonly upTo?: string;
}

/** The types of the protocol itself, those of later versions included. */
export type ReservedType =
  | "ack"
  | "auth"
  | "auth_ok"
  | "cancel"
  | "dismiss"
  | "dismissed"
  | "hello"
  | "history"
  | "join"
  | "leave"
  | "marks"
  | "ok"
  | "ping"
  | "pong"
  | "presence"
  | "publish"
  | "read"
  | "seen"
  | "subscribe"
  | "subscribed"
  | "topic"
  | "unsubscribe"
  | "unsubscribed"
  | "welcome";

/** A cause of row errors: the number of rows, and the first of them. */
export interface RowErrorCauseData {
  readonly code: string;
  readonly count: number;
  readonly message: string;
  readonly rows: readonly number[];
}

/** The number of rows left out, by cause, the most frequent first. Rare causes may count in `total` alone. */
export interface RowErrorsData {
  readonly causes: readonly RowErrorCauseData[];
  readonly total: number;
}

/** The user has seen everything up to `cursor`, on some device. */
export interface SeenData {
  readonly cursor: string;
}

export interface SeenMessage extends Positioned {
  readonly data: SeenData;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "seen";
}

/** Every message that a server of this version sends. */
export type ServerMessage =
  | UploadProgressMessage
  | NotificationMessage
  | ErrorMessage
  | CustomMessage
  | WelcomeMessage
  | SubscribedMessage
  | UnsubscribedMessage
  | PresenceMessage
  | JoinMessage
  | LeaveMessage
  | SeenMessage
  | MarksMessage
  | DismissedMessage
  | AuthOkMessage
  | PongMessage
  | OkMessage;

/**
 * Ask for the messages of a topic from here on, for those after a cursor, and for the newest states.
 *
 * `cursor` and `version` are as in a `hello`. The answer are pages: `subscribed`. Of a topic that the connection is
 * subscribed to already, only the messages after the cursor are asked for.
 */
export interface SubscribeRequest {
  readonly cursor?: string;
  readonly id?: string;
  readonly topic: string;
  readonly type: "subscribe";
  readonly version?: number;
}

/**
 * One page of the answer to a `subscribe`, as a `welcome` has them: the messages of `topic` that the client missed,
 * and the newest states.
 *
 * `cursor` is the position of a client that has all pages; empty if the topic keeps no history. With `recovered` false
 * something may be missing. Live messages of the topic may come between the pages.
 */
export interface SubscribedData {
  readonly cursor: string;
  readonly last: boolean;
  readonly messages: readonly PublishedMessage[];
  readonly recovered: boolean;
  readonly state: readonly (UploadProgressMessage | SeenMessage | MarksMessage | DismissedMessage | CustomMessage)[];
  readonly topic: string;
}

export interface SubscribedMessage {
  readonly data: SubscribedData;
  readonly timestamp: string;
  readonly type: "subscribed";
}

/** The end of the stream of a topic: that of its log, and the highest version of a state. */
export interface TopicEndData {
  readonly cursor?: string;
  readonly version?: number;
}

/** Ask for no more messages of a topic. The answer is `unsubscribed`, also if the connection had none. */
export interface UnsubscribeRequest {
  readonly id?: string;
  readonly topic: string;
  readonly type: "unsubscribe";
}

/**
 * The client gets no more messages of `topic`. With a `code` the server has decided so: the right to it was
 * withdrawn.
 */
export interface UnsubscribedData {
  readonly code?: string;
  readonly message?: string;
  readonly topic: string;
}

export interface UnsubscribedMessage {
  readonly data: UnsubscribedData;
  readonly timestamp: string;
  readonly type: "unsubscribed";
}

/**
 * The progress of an upload. `progress` is 0–100; rows are counted from 1.
 *
 * `track_upload` adds more fields. `status`: complete, failed and cancelled end a run of the upload. Another `run`
 * begins a new one; without it, another `startedAt` (RFC 3339) does. `part` (3/8) is that of a worker that shares the
 * upload with others, under one `run`: the server adds the parts up. `leaseSeconds` is the silence after which the
 * upload counts as stalled. `rowErrors` are the rows that were left out, by cause.
 */
export interface UploadProgressData {
  readonly currentRow?: number | null;
  readonly fileName: string;
  readonly leaseSeconds?: number | null;
  readonly message: string;
  readonly part?: string | null;
  readonly progress: number;
  readonly rowErrors?: RowErrorsData | null;
  readonly run?: string | null;
  readonly startedAt?: string | null;
  readonly status?: "cancelled" | "complete" | "failed" | "queued" | "retrying" | "running" | "stalled" | null;
  readonly totalRows?: number | null;
  readonly uploadId: string;
}

export interface UploadProgressMessage extends Positioned {
  readonly data: UploadProgressData;
  readonly id?: string;
  readonly timestamp: string;
  readonly type: "upload_progress";
}

/**
 * One page of the answer to a `hello`: the messages that the client missed, and the newest states.
 *
 * `messages` are those of the log lane, oldest first; `state` is the newest of each key; `last` is true on the final
 * page. `cursor` is the position of a client that has all pages; empty if the server keeps no history. With
 * `recovered` false something may be missing. A client sends a `ping` after `heartbeatSeconds` without anything
 * received, and moves to a new connection after `rotateAfterSeconds`. The connection ends at `expiresAt`.
 */
export interface WelcomeData {
  readonly connectionId: string;
  readonly cursor: string;
  readonly expiresAt: string;
  readonly heartbeatSeconds: number;
  readonly last: boolean;
  readonly limits?: LimitsData;
  readonly messages: readonly PublishedMessage[];
  readonly recovered: boolean;
  readonly rotateAfterSeconds: number;
  readonly state: readonly (UploadProgressMessage | SeenMessage | MarksMessage | DismissedMessage | CustomMessage)[];
  readonly userId: string;
}

export interface WelcomeMessage {
  readonly data: WelcomeData;
  readonly timestamp: string;
  readonly type: "welcome";
}

/** The messages that listeners get, by type. */
export interface MessageTypes {
  dismissed: DismissedMessage;
  error: ErrorMessage;
  marks: MarksMessage;
  notification: NotificationMessage;
  seen: SeenMessage;
  upload_progress: UploadProgressMessage;
}

/** The messages that a server sends, by type. */
export interface ServerMessages {
  auth_ok: AuthOkMessage;
  dismissed: DismissedMessage;
  error: ErrorMessage;
  join: JoinMessage;
  leave: LeaveMessage;
  marks: MarksMessage;
  notification: NotificationMessage;
  ok: OkMessage;
  pong: PongMessage;
  presence: PresenceMessage;
  seen: SeenMessage;
  subscribed: SubscribedMessage;
  unsubscribed: UnsubscribedMessage;
  upload_progress: UploadProgressMessage;
  welcome: WelcomeMessage;
}

/** The messages that a client sends, by type. */
export interface Requests {
  ack: AckRequest;
  auth: AuthRequest;
  cancel: CancelRequest;
  dismiss: DismissRequest;
  hello: HelloRequest;
  history: HistoryRequest;
  ping: PingRequest;
  presence: PresenceRequest;
  publish: PublishRequest;
  read: ReadRequest;
  subscribe: SubscribeRequest;
  unsubscribe: UnsubscribeRequest;
}
