// Messages of a user's stream, made by hand.

import type { Message } from "../src/types.js";

/** A message of the log. */
export const note = (offset: number, epoch = "e"): Message => ({
  type: "note",
  data: null,
  timestamp: "",
  id: `${epoch}:${offset}`,
  cursor: `${epoch}:${offset}`,
});

/** A state of an upload. Only its id has the epoch: a client does not get it. */
export const state = (version: number, key = "upload:a", epoch = "e"): Message => ({
  type: "upload_progress",
  data: { uploadId: key.slice(7), fileName: "a.csv", progress: version, message: "" },
  timestamp: "",
  id: `${epoch}:${key}:${version}`,
  key,
  version,
});

/** A page of a welcome; by itself, it is the last one. */
export const page = (cursor: string, more: object = {}): Message => ({
  type: "welcome",
  data: { cursor, recovered: true, messages: [], state: [], last: true, ...more },
  timestamp: "",
});
