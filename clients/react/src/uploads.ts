// The newest state of each upload.
//
// A state with a version was ordered by the server, and the client passes only newer ones. Other states are ordered here,
// by the rule of the server (`is_late` in src/tellwire): of two runs the later one counts; within a run a terminal status
// outranks all others, whatever the clocks say, and only another terminal status may follow it.

import type { UploadProgressData, UploadProgressMessage } from "@tellwire/client";
import { Changes, type Source } from "./source.js";

/** Largest number of uploads that are kept. The oldest that has ended is removed first, or else the oldest. */
export const MAX_UPLOADS = 200;

/** After `complete`, `failed` and `cancelled` nothing follows until the upload begins anew. */
export type UploadStatus = NonNullable<UploadProgressData["status"]>;

/** The newest state of an upload. */
export interface Upload extends Omit<UploadProgressData, "status"> {
  /**
   * The status that the server gives. If it gives none, as the guide's server: `complete` at a progress of 100,
   * `running` before.
   */
  readonly status: UploadStatus;
  /** Time of publication: RFC 3339, UTC. */
  readonly timestamp: string;
}

const TERMINAL_STATUSES: ReadonlySet<unknown> = new Set<UploadStatus>(["complete", "failed", "cancelled"]);

interface Entry {
  readonly upload: Upload;
  /** The server gave it a terminal status. */
  readonly isTerminal: boolean;
}

const NONE: readonly Upload[] = [];

/** All uploads, in the order of their first messages. */
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
    const isTerminal = TERMINAL_STATUSES.has(data.status);
    const status = data.status ?? (data.progress >= 100 ? "complete" : "running");
    const next = { upload: { ...data, status, timestamp }, isTerminal };
    const present = this.#entries.get(data.uploadId);
    if (present !== undefined && version === undefined && isLate(present, next)) return;
    this.#entries.set(data.uploadId, next);
    if (this.#entries.size > MAX_UPLOADS) this.#entries.delete(this.#leastUseful());
    this.#list = undefined;
    this.#changes.announce();
  }

  #leastUseful(): string {
    const uploads = [...this.#entries.values()].map(({ upload }) => upload);
    const one = uploads.find(({ status }) => TERMINAL_STATUSES.has(status)) ?? uploads[0];
    return one?.uploadId ?? "";
  }
}

/** Return true if a state is out of date. */
function isLate(known: Entry, next: Entry): boolean {
  const [knownRun, run] = [known.upload.startedAt, next.upload.startedAt];
  if (knownRun && run && knownRun !== run) return Date.parse(run) < Date.parse(knownRun);
  // A server that gives no timestamps is believed to keep the order.
  const isOlder = Date.parse(next.upload.timestamp) < Date.parse(known.upload.timestamp);
  if (known.isTerminal && !next.isTerminal) {
    const beginsAnew = next.upload.progress === 0 && !(knownRun && run);
    return isOlder || !beginsAnew;
  }
  return isOlder && (known.isTerminal || !next.isTerminal);
}
