// React hooks for tellwire. Begin with `TellwireProvider`; with code of the guide, with `useWebSocket`.

export { useClient, useConnection, useMessages, useMissed, useNotifications, useUpload, useUploads } from "./hooks.js";
export type { NotificationsState, ReceivedNotification } from "./notifications.js";
export { TellwireProvider, type TellwireProviderProps } from "./provider.js";
export type { Upload, UploadStatus } from "./uploads.js";
export { type UseWebSocketOptions, useWebSocket } from "./useWebSocket.js";
