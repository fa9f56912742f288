// React hooks for tellwire. Begin with `TellwireProvider`. The guide's `useWebSocket` is in `@tellwire/react/guide`.

"use client";

export type {
  ErrorsState,
  NotificationsState,
  ReceivedError,
  ReceivedNotification,
  Upload,
  UploadGroups,
  UploadStatus,
  UploadsSummary,
} from "@tellwire/client/feed";
export {
  createHooks,
  type UsedTopic,
  type UseTopicOptions,
  useClient,
  useConnection,
  useErrors,
  useMessages,
  useMissed,
  useNotifications,
  usePresence,
  useTopic,
  useTopicUploads,
  useUpload,
  useUploadActions,
  useUploadGroups,
  useUploads,
  useUploadsSummary,
} from "./hooks.js";
export { type ProviderClient, TellwireProvider, type TellwireProviderProps, useFeed } from "./provider.js";
