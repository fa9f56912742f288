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

/** Every request that a server of this version does, beside custom ones. */
export type ClientRequest = PingRequest | AuthRequest | HelloRequest | AckRequest | CancelRequest;

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

/** Remove a message (`id`) or a state (`key`) for the user. Only one of the two is allowed. Reserved. */
export interface DismissRequest {
  readonly id?: string;
  readonly key?: string;
  readonly type: "dismiss";
}

/** An error for the user. `code` is for programs, `message` for people, `details` any JSON. */
export interface ErrorData {
  readonly code: string;
  readonly details?: unknown;
  readonly message: string;
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
 * the topic's name. Only one of the two is allowed. A client that sends neither has nothing yet, and missed nothing.
 */
export interface HelloRequest {
  readonly cursor?: string | null;
  readonly cursors?: { readonly [name: string]: string } | null;
  readonly id?: string;
  readonly type: "hello";
}

/** Ask for at most `limit` messages of a stream from before a cursor, newest first. Reserved. */
export interface HistoryRequest {
  readonly before?: string;
  readonly id?: string;
  readonly limit: number;
  readonly stream: string;
  readonly type: "history";
}

/** Bounds that a client should keep to. Reserved: no server sends them yet. */
export interface LimitsData {
  readonly maxMessageBytes?: number;
  readonly maxRequestsInFlight?: number;
  readonly maxRequestsPerSecond?: number;
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

/** The request with this `id` was done. Reserved. */
export interface OkData {
  readonly id: string;
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

/** The answer to a `ping`. */
export type PongData = { readonly [name: string]: never };

export interface PongMessage {
  readonly data: PongData;
  readonly timestamp: string;
  readonly type: "pong";
}

/**
 * The position of a message in its stream. A message to a connection or to everybody has none.
 *
 * In the log lane `cursor` is the stream's epoch, a colon and the message's offset. In the state lane `key` names the
 * subject of a state, and of two versions of a key the higher one is the newer. `topic` names the stream of a topic.
 */
export interface Positioned {
  readonly cursor?: string;
  readonly key?: string;
  readonly topic?: string;
  readonly version?: number;
}

/** A message that somebody published. */
export type PublishedMessage = UploadProgressMessage | NotificationMessage | ErrorMessage | CustomMessage;

/** Record that the user has read one message. `id` is that of the message. Reserved. */
export interface ReadRequest {
  readonly id: string;
  readonly type: "read";
}

/** Requests of later versions. Their shape may change. */
export type ReservedRequest = SubscribeRequest | UnsubscribeRequest | ReadRequest | DismissRequest | HistoryRequest;

/** Messages of later versions. Their shape may change. */
export type ReservedServerMessage = OkMessage | SubscribedMessage | UnsubscribedMessage;

/** The types of the protocol itself, those of later versions included. */
export type ReservedType =
  | "ack"
  | "auth"
  | "auth_ok"
  | "cancel"
  | "dismiss"
  | "hello"
  | "history"
  | "join"
  | "leave"
  | "ok"
  | "ping"
  | "pong"
  | "presence"
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
  | SeenMessage
  | AuthOkMessage
  | PongMessage;

/** Ask for the messages of a topic, and for those after a cursor. Reserved. */
export interface SubscribeRequest {
  readonly cursor?: string;
  readonly id?: string;
  readonly topic: string;
  readonly type: "subscribe";
}

/** The client gets the messages of `topic` from here on. Reserved. */
export interface SubscribedData {
  readonly cursor?: string;
  readonly recovered?: boolean;
  readonly topic: string;
}

export interface SubscribedMessage {
  readonly data: SubscribedData;
  readonly timestamp: string;
  readonly type: "subscribed";
}

/** Ask for no more messages of a topic. Reserved. */
export interface UnsubscribeRequest {
  readonly id?: string;
  readonly topic: string;
  readonly type: "unsubscribe";
}

/** The client gets no more messages of `topic`. Reserved. */
export interface UnsubscribedData {
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
 * `track_upload` adds more fields. `status`: complete, failed and cancelled end a run of the upload. `startedAt`
 * (RFC 3339) tells one run from another. `leaseSeconds` is the silence after which the upload counts as stalled.
 * `rowErrors` are the rows that were left out, by cause.
 */
export interface UploadProgressData {
  readonly currentRow?: number | null;
  readonly fileName: string;
  readonly leaseSeconds?: number | null;
  readonly message: string;
  readonly progress: number;
  readonly rowErrors?: RowErrorsData | null;
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
  readonly state: readonly (UploadProgressMessage | SeenMessage)[];
  readonly userId: string;
}

export interface WelcomeMessage {
  readonly data: WelcomeData;
  readonly timestamp: string;
  readonly type: "welcome";
}

/** The messages that listeners get, by type. */
export interface MessageTypes {
  error: ErrorMessage;
  notification: NotificationMessage;
  seen: SeenMessage;
  upload_progress: UploadProgressMessage;
}

/** The messages that a server sends, by type. */
export interface ServerMessages {
  auth_ok: AuthOkMessage;
  error: ErrorMessage;
  notification: NotificationMessage;
  ok: OkMessage;
  pong: PongMessage;
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
  read: ReadRequest;
  subscribe: SubscribeRequest;
  unsubscribe: UnsubscribeRequest;
}
