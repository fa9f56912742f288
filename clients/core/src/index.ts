// Live messages of a tellwire gateway, or of the same API on AWS. `TellwireClient` is where to begin.

export { TellwireClient } from "./client.js";
export { CLOSE_CODES, type CloseRule } from "./closing.js";
export type {
  CustomMessage,
  ErrorData,
  ErrorMessage,
  MessageTypes,
  NotificationData,
  NotificationMessage,
  Positioned,
  SeenMessage,
  UploadProgressData,
  UploadProgressMessage,
} from "./messages.js";
export type {
  AnyMessage,
  Client,
  ClientOptions,
  CloseKind,
  CloseReason,
  ConnectionState,
  CustomTypes,
  Environment,
  MessageOf,
  MessageType,
  Sign,
  Socket,
  Status,
  TokenReason,
  Unsubscribe,
} from "./types.js";
