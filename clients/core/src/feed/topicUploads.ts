// The uploads of a topic: the newest state of each upload that is published to it, as in the feed of a user.
//
// A topic says its states once, and the newest ones to whoever follows it later. So they are here whenever it is made.

import type { AnyTopic, Topic, Unsubscribe } from "../types.js";
import type { Store } from "./store.js";
import { type Upload, type UploadGroups, Uploads, type UploadsSummary } from "./uploads.js";

/** The uploads in the order of their first messages. */
export interface TopicUploads extends Store<readonly Upload[]> {
  /** Return one; undefined before its first message. The same object until it changes. */
  readonly find: (uploadId: string) => Upload | undefined;
  readonly groups: Store<UploadGroups>;
  readonly summary: Store<UploadsSummary>;
  /** Listen no longer. The topic stays open. */
  readonly stop: Unsubscribe;
}

/**
 * Return the uploads of a topic, from now on.
 *
 *     const uploads = topicUploads(client.topic("moc:1:uploads"));
 *     uploads.subscribe((all) => list.show(all));
 */
export function topicUploads(topic: Topic | AnyTopic, now = () => performance.now()): TopicUploads {
  const { on, onState, state } = topic as Topic;
  const uploads = new Uploads(now, () => {});
  let isLive = state.status === "subscribed";
  const stops = [
    on.call(topic, "upload_progress", (message) => uploads.receive(message as never)),
    on.call(topic, "dismissed", ({ data }) => uploads.forget((data as { key: string }).key)),
    onState.call(topic, ({ status }) => {
      if (isLive && status !== "subscribed") uploads.disconnected();
      isLive = status === "subscribed";
      if (status !== "refused" && status !== "closed") return;
      uploads.clear();
      uploads.changedNow();
    }),
  ];
  return {
    ...uploads.list,
    groups: uploads.groups,
    summary: uploads.summary,
    find: (uploadId) => uploads.find(uploadId),
    stop: () => {
      uploads.stop();
      for (const each of stops) each();
    },
  };
}
