// The feed: the sum of a user's messages, for any user interface. Begin with `createFeed`.
//
//     store.ts     an observable state
//     userLog.ts   notifications and errors: logList.ts, with the marks of marks.ts
//     uploads.ts   the newest state of each upload, their groups, and all of them together, at the pace of pace.ts
//     teller.ts    tells the server what the user did
//     topicUploads.ts   uploads.ts over a topic

export { createFeed, type Feed, type FeedOptions, type UploadsStore } from "./feed.js";
export type { Logged } from "./logList.js";
export { Computed, type Store } from "./store.js";
export { type TopicUploads, topicUploads } from "./topicUploads.js";
export {
  isFinished,
  newestFirst,
  type Upload,
  type UploadGroups,
  type UploadStatus,
  type UploadsSummary,
} from "./uploads.js";
export type { ErrorsState, NotificationsState, ReceivedError, ReceivedNotification } from "./userLog.js";
