// Live messages of a tellwire gateway, or of the same API on AWS. Start with `TellwireClient`.

export { TellwireClient } from "./client.js";
export { CLOSE_CODES, type CloseRule } from "./closeCodes.js";
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
  Cursors,
  CustomTypes,
  Environment,
  MessageOf,
  MessageType,
  PageEvent,
  Socket,
  Status,
  TokenReason,
  Unsubscribe,
} from "./types.js";
