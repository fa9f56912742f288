// The uploads a client has heard of, each as it is now.
//
// A message with a version was judged by the server, and the client passes on only newer ones, so it counts. Of others
// the newest counts, by timestamp: connections and workers may overtake each other. That it has ended is always heard,
// since clocks of workers differ, and is the last word until it begins anew: with another start, or where nobody says
// when it started, with a progress of 0.

import type { UploadProgressData, UploadProgressMessage } from "@tellwire/client";
import { Changes, type Source } from "./source.js";

/** How many uploads are remembered. The oldest that has ended makes place, or else the oldest. */
export const MAX_UPLOADS = 200;

/** After `complete`, `failed` and `cancelled` nothing follows until the upload begins anew. */
export type UploadStatus = NonNullable<UploadProgressData["status"]>;

/** An upload as it is now. */
export interface Upload extends Omit<UploadProgressData, "status"> {
  /** Servers that say nothing of it, like the guide's, are done at a progress of 100. */
  readonly status: UploadStatus;
  /** When the server said so: RFC 3339, UTC. */
  readonly timestamp: string;
}

const OVER: ReadonlySet<unknown> = new Set<UploadStatus>(["complete", "failed", "cancelled"]);

interface Entry {
  readonly upload: Upload;
  /** The server said that this was the last word. */
  readonly isFinal: boolean;
}

const NONE: readonly Upload[] = [];

/** All uploads, in the order in which they were first heard of. */
export class Uploads implements Source<readonly Upload[]> {
  readonly initial = NONE;
  #changes = new Changes();
  #entries = new Map<string, Entry>();
  #list: readonly Upload[] | undefined = NONE;

  readonly subscribe = this.#changes.subscribe;

  readonly get = (): readonly Upload[] => {
    this.#list ??= [...this.#entries.values()].map(({ upload }) => upload);
    return this.#list;
  };

  /** The upload of this id: the same object until it changes. */
  find(uploadId: string): Upload | undefined {
    return this.#entries.get(uploadId)?.upload;
  }

  receive({ data, timestamp, version }: UploadProgressMessage): void {
    const isFinal = OVER.has(data.status);
    const status = data.status ?? (data.progress >= 100 ? "complete" : "running");
    const next = { upload: { ...data, status, timestamp }, isFinal };
    const present = this.#entries.get(data.uploadId);
    if (present !== undefined && version === undefined && !follows(present, next)) return;
    this.#entries.set(data.uploadId, next);
    if (this.#entries.size > MAX_UPLOADS) this.#entries.delete(this.#dispensable());
    this.#list = undefined;
    this.#changes.tell();
  }

  #dispensable(): string {
    const uploads = [...this.#entries.values()].map(({ upload }) => upload);
    const one = uploads.find(({ status }) => OVER.has(status)) ?? uploads[0];
    return one?.uploadId ?? "";
  }
}

function follows(present: Entry, next: Entry): boolean {
  // A server that gives no timestamps is believed to keep the order.
  const isOlder = Date.parse(next.upload.timestamp) < Date.parse(present.upload.timestamp);
  if (present.isFinal) return beginsAnew(present.upload, next.upload) && !isOlder;
  return OVER.has(next.upload.status) || !isOlder;
}

function beginsAnew(present: Upload, next: Upload): boolean {
  return present.startedAt && next.startedAt ? present.startedAt !== next.startedAt : next.progress === 0;
}
