// The hooks: a thin reading of the feed. Each renders its component again only for the fields that it reads.

import type {
  AnyEvents,
  AnyMessage,
  Client,
  ConnectionState,
  MessageOf,
  MessageType,
  PresenceState,
  Topic,
  TopicOptions,
  TopicState,
} from "@tellwire/client";
import type {
  ErrorsState,
  NotificationsState,
  Upload,
  UploadGroups,
  UploadsStore,
  UploadsSummary,
} from "@tellwire/client/feed";
import { topicUploads } from "@tellwire/client/feed";
import { useEffect, useState, useSyncExternalStore } from "react";
import { useFeed } from "./provider.js";
import { useLatest, useSelected, useTracked } from "./useSource.js";

// Fields that the first state of a store need not have.
const CONNECTION = ["status", "user", "attempt", "retryAt", "reason", "recovered"] as const;
const SUMMARY = ["total", "finished", "failed", "progress", "rowsPerSecond", "secondsLeft"] as const;

const all = (uploads: readonly Upload[]): readonly Upload[] => uploads;
const nothing = (): undefined => undefined;

/** Return the state of the connection. */
export function useConnection(): ConnectionState {
  return useTracked(useFeed("useConnection").connection, CONNECTION);
}

/**
 * Return all uploads, in the order of their first messages, or the value that a function selects from them:
 *
 *     const running = useUploads((uploads) => uploads.filter((each) => each.status === "running").length);
 */
export function useUploads(): readonly Upload[];
export function useUploads<T>(select: (uploads: readonly Upload[]) => T): T;
export function useUploads(select: (uploads: readonly Upload[]) => unknown = all): unknown {
  return useSelected(useFeed("useUploads").uploads, select);
}

/** Return one upload; undefined before its first message. */
export function useUpload(uploadId: string): Upload | undefined {
  const { uploads } = useFeed("useUpload");
  return useSyncExternalStore(uploads.subscribe, () => uploads.find(uploadId), nothing);
}

/** Return the uploads in groups: running, queued, retrying, stalled, finished. */
export function useUploadGroups(): UploadGroups {
  return useTracked(useFeed("useUploadGroups").uploads.groups);
}

/** Return the sum of the uploads of now: their number, their progress, their pace, and the time that is left. */
export function useUploadsSummary(): UploadsSummary {
  return useTracked(useFeed("useUploadsSummary").uploads.summary, SUMMARY);
}

/** Return functions: `cancel` an upload, `dismiss` an ended one, `clearFinished`. They stay the same. */
export function useUploadActions(): Pick<UploadsStore, "cancel" | "dismiss" | "clearFinished"> {
  return useFeed("useUploadActions").uploads;
}

/** Return the notifications, newest first, how many of them are news, and the actions on them. */
export function useNotifications(): NotificationsState {
  return useTracked(useFeed("useNotifications").notifications);
}

/** Return the errors, newest first, and the actions on them. */
export function useErrors(): ErrorsState {
  return useTracked(useFeed("useErrors").errors);
}

/**
 * Call with every message of a type, or of any type for `"*"`, while the component is mounted. Its `replayed` says
 * whether it is live. The component does not render again for it. The handler may be another one with every render.
 */
export function useMessages<T extends MessageType<E>, E extends object = AnyEvents>(
  type: T,
  handler: (message: MessageOf<T, E>) => void,
): void {
  const client = useFeed("useMessages").client as unknown as Client<E>;
  const latest = useLatest(handler);
  useEffect(() => client.on(type, (message) => latest.current(message)), [client, type, latest]);
}

/**
 * Call whenever messages may be missing after an interruption: load your data anew then. The handler may be another one
 * with every render.
 */
export function useMissed(handler: () => void): void {
  const { client } = useFeed("useMissed");
  const latest = useLatest(handler);
  useEffect(() => client.onState(({ recovered }) => void (recovered === false && latest.current())), [client, latest]);
}

/** The options of `useTopic`. */
export interface UseTopicOptions<E extends object = AnyEvents> extends TopicOptions {
  /** Called with every message of the topic. It may be another one with every render. */
  onMessage?: (message: AnyMessage<E>) => void;
}

/** A topic in a component: its state, and the topic itself while there is one. */
export interface UsedTopic<E extends object = AnyEvents> extends TopicState {
  /** To publish to it, or to load older messages. Absent before the first effect, and without a name. */
  readonly topic?: Topic<E>;
}

const SUBSCRIBING: TopicState = { status: "subscribing" };
const CLOSED: TopicState = { status: "closed" };

/**
 * Follow a topic while the component is mounted; null or undefined: none. Components that follow the same topic share its
 * subscription.
 *
 *     const { status, recovered, error } = useTopic(`moc:${id}:comments`, { onMessage: add });
 */
export function useTopic<E extends object = AnyEvents>(
  name: string | null | undefined,
  options: UseTopicOptions<E> = {},
): UsedTopic<E> {
  const client = useFeed("useTopic").client as unknown as Client<E>;
  const latest = useLatest(options);
  const [used, use] = useState<UsedTopic<E> & { readonly of?: readonly unknown[] }>(SUBSCRIBING);
  useEffect(() => {
    if (name === null || name === undefined) return undefined;
    const { startFrom } = latest.current;
    const topic = client.topic(name, startFrom && { startFrom });
    const show = (state: TopicState): void => use({ ...state, topic, of: [client, name] });
    topic.on("*", (message) => latest.current.onMessage?.(message));
    const unsubscribe = topic.onState(show);
    show(topic.state);
    return () => {
      unsubscribe();
      topic.close();
    };
  }, [client, name, latest]);
  if (name === null || name === undefined) return CLOSED;
  // After a change, until the effect has run, the state is that of another topic.
  if (used.of?.[0] !== client || used.of[1] !== name) return SUBSCRIBING;
  const { of: _, ...state } = used;
  return state as UsedTopic<E>;
}

const NOBODY: PresenceState = { members: [], count: 0, isComplete: false, isLive: false };

/**
 * Return the members of a topic, which is followed while the component is mounted; null or undefined: none.
 *
 *     const { members, count } = usePresence(`moc:${id}:comments`);
 */
export function usePresence(name: string | null | undefined): PresenceState {
  return useOfTopic("usePresence", name, NOBODY, ({ presence }, show) => presence.subscribe(show));
}

/**
 * Return the uploads that are published to a topic, as `useUploads` those of the user, in the order of their first messages. The
 * topic is followed while the component is mounted; null or undefined: none.
 */
export function useTopicUploads(name: string | null | undefined): readonly Upload[] {
  return useOfTopic("useTopicUploads", name, NO_UPLOADS, (topic, show) => {
    const uploads = topicUploads(topic);
    uploads.subscribe(show);
    return uploads.stop;
  });
}

const NO_UPLOADS: readonly Upload[] = [];

/** Follow a topic, and return the last value that is shown of it. */
function useOfTopic<S>(
  hook: string,
  name: string | null | undefined,
  initial: S,
  watch: (topic: Topic, show: (value: S) => void) => () => void,
): S {
  const { client } = useFeed(hook);
  const latest = useLatest(watch);
  const [shown, show] = useState<{ readonly of: readonly unknown[]; readonly value: S }>();
  useEffect(() => {
    if (name === null || name === undefined) return undefined;
    const topic = client.topic(name);
    const stop = latest.current(topic, (value) => show({ of: [client, name], value }));
    return () => {
      stop();
      topic.close();
    };
  }, [client, name, latest]);
  // After a change, until the effect has run, the value is that of another topic.
  return shown?.of[0] === client && shown.of[1] === name ? shown.value : initial;
}

/** Return the client, to send messages of your own, or connect at once while it waits. */
export function useClient<E extends object = AnyEvents>(): Client<E> {
  return useFeed("useClient").client as unknown as Client<E>;
}

/** Return `useMessages`, `useTopic` and `useClient` for the types of your own messages. */
export function createHooks<E extends object>(): {
  useMessages: <T extends MessageType<E>>(type: T, handler: (message: MessageOf<T, E>) => void) => void;
  useTopic: (name: string | null | undefined, options?: UseTopicOptions<E>) => UsedTopic<E>;
  useClient: () => Client<E>;
} {
  return { useMessages, useTopic, useClient };
}
