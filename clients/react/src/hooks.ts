// The hooks. Each renders its component again only for the fields that it reads.

"use client";

import type { Client, ConnectionState, MessageOf, MessageType } from "@tellwire/client";
import { useEffect, useSyncExternalStore } from "react";
import type { NotificationsState } from "./notifications.js";
import { useSession } from "./provider.js";
import type { Upload } from "./uploads.js";
import { useLatest, useSelected, useTracked } from "./useSource.js";

const CONNECTION_FIELDS = ["status", "attempt", "retryAt", "reason", "recovered"] as const;
const NOTIFICATIONS_FIELDS = ["notifications", "unread", "dismiss", "markAllRead"] as const;

const all = (uploads: readonly Upload[]): readonly Upload[] => uploads;
const nothing = (): undefined => undefined;

/** Return the state of the connection. */
export function useConnection(): ConnectionState {
  return useTracked(useSession("useConnection").connection, CONNECTION_FIELDS);
}

/**
 * Return all uploads, in the order of their first messages, or the value that a function selects from them:
 *
 *     const running = useUploads((uploads) => uploads.filter((each) => each.status === "running").length);
 */
export function useUploads(): readonly Upload[];
export function useUploads<T>(select: (uploads: readonly Upload[]) => T): T;
export function useUploads(select: (uploads: readonly Upload[]) => unknown = all): unknown {
  return useSelected(useSession("useUploads").uploads, select);
}

/** Return one upload; undefined before its first message. */
export function useUpload(uploadId: string): Upload | undefined {
  const { uploads } = useSession("useUpload");
  return useSyncExternalStore(uploads.subscribe, () => uploads.find(uploadId), nothing);
}

/** Return the notifications, newest first, with the number of unread ones and the actions on them. */
export function useNotifications(): NotificationsState {
  return useTracked(useSession("useNotifications").notifications, NOTIFICATIONS_FIELDS);
}

/**
 * Call with every message of a type, or of any type for `"*"`, while the component is mounted. The component does not
 * render again for it. The handler may be another one with every render.
 */
export function useMessages<T extends MessageType>(type: T, handler: (message: MessageOf<T>) => void): void {
  const { client } = useSession("useMessages");
  const latest = useLatest(handler);
  useEffect(() => client.on(type, (message) => latest.current(message)), [client, type, latest]);
}

/**
 * Call whenever messages may be missing after an interruption: load your data anew then. The handler may be another one
 * with every render.
 */
export function useMissed(handler: () => void): void {
  const { client } = useSession("useMissed");
  const latest = useLatest(handler);
  useEffect(() => client.onState(({ recovered }) => void (recovered === false && latest.current())), [client, latest]);
}

/** Return the client, to cancel an upload, send messages of your own, or connect at once while it waits. */
export function useClient(): Client {
  return useSession("useClient").client;
}
