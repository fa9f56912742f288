// The newest state of each upload, and all of them together.
//
// A state with a version was ordered by the server, and the client passes only newer ones. Other states are ordered here,
// by the rule of the server (`upload_states` in src/tellwire): a run that was not heard of begins, and the ones before it
// are late; within a run a terminal status outranks all others, and only another terminal status may follow it.

import type { UploadProgressData, UploadProgressMessage } from "../messages.js";
import { Pace } from "./pace.js";
import { Computed } from "./store.js";

/** Largest number of ended uploads that are kept beside the running ones. The oldest are removed first. */
export const MAX_ENDED = 1000;

/** Number of superseded runs of an upload that are remembered. */
const PAST_RUNS = 8;
const PREFIX = "upload:";

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

/** All uploads, by their status. */
export interface UploadGroups {
  readonly running: readonly Upload[];
  /** Waiting for a worker. */
  readonly queued: readonly Upload[];
  /** An attempt failed, and another one follows. */
  readonly retrying: readonly Upload[];
  /** The worker has been silent for a while. */
  readonly stalled: readonly Upload[];
  /** Complete, failed or cancelled. */
  readonly finished: readonly Upload[];
}

/**
 * The uploads that go on, and those that ended meanwhile: `finished` of `total`. When all have ended they stay until
 * another one begins.
 */
export interface UploadsSummary {
  readonly total: number;
  readonly finished: number;
  /** Of the finished ones, those that failed. */
  readonly failed: number;
  /** 0–100: every upload counts the same, and one that has ended is done. */
  readonly progress: number;
  /** Absent while it is not known: at the beginning, and after a silence. */
  readonly rowsPerSecond?: number;
  /** The time until all have ended, if they go on as in the last half minute. Absent while it is not known. */
  readonly secondsLeft?: number;
}

const TERMINAL_STATUSES: ReadonlySet<unknown> = new Set<UploadStatus>(["complete", "failed", "cancelled"]);

interface Entry {
  readonly upload: Upload;
  /** The server gave it a terminal status. */
  readonly isTerminal: boolean;
  readonly version: number | undefined;
  /** The runs before this one. */
  readonly pastRuns: readonly string[];
  /** The connection that brought it, counted. */
  readonly connection: number;
}

const NONE: readonly Upload[] = [];
const NO_GROUPS: UploadGroups = { running: NONE, queued: NONE, retrying: NONE, stalled: NONE, finished: NONE };
const NO_SUMMARY: UploadsSummary = { total: 0, finished: 0, failed: 0, progress: 0 };

/** Return true if an upload has ended. */
export function isFinished({ status }: Upload): boolean {
  return TERMINAL_STATUSES.has(status);
}

/**
 * Sort uploads by the time of their start, newest first, in the same way on every device and after every reload; those
 * without one by their first message.
 */
export function newestFirst(uploads: readonly Upload[]): Upload[] {
  return [...uploads].reverse().sort((one, other) => {
    const [begin, otherBegin] = [begunAt(one), begunAt(other)];
    // Many begin in the same millisecond.
    return otherBegin - begin || (begin && (one.uploadId < other.uploadId ? 1 : -1));
  });
}

function begunAt({ startedAt }: Upload): number {
  return startedAt ? Date.parse(startedAt) : 0;
}

export class Uploads {
  readonly list: Computed<readonly Upload[]>;
  readonly groups: Computed<UploadGroups>;
  readonly summary: Computed<UploadsSummary>;
  readonly #entries = new Map<string, Entry>();
  readonly #pace: Pace;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #connection = 0;
  /** The ids of those that the summary is about. */
  #together = new Set<string>();
  /** Some of them go on. */
  #goesOn = false;
  /** Ids and a version of ended uploads that the user wants to see no more. True: the server was told. */
  readonly #dismissed = new Map<string, boolean>();
  #cleared: { readonly version: number; isTold: boolean } | undefined;

  constructor(now: () => number, prepare: () => void) {
    this.#pace = new Pace(now);
    this.list = new Computed(NONE, () => [...this.#entries.values()].map(({ upload }) => upload), prepare);
    this.groups = new Computed(NO_GROUPS, (before) => groupsOf(this.list.get(), before), prepare);
    this.summary = new Computed(NO_SUMMARY, (before) => this.#summarize(before), prepare);
  }

  /** The upload of this id: the same object until it changes. */
  find(uploadId: string): Upload | undefined {
    this.list.get();
    return this.#entries.get(uploadId)?.upload;
  }

  receive({ data, timestamp, version, replayed }: UploadProgressMessage & { readonly replayed?: boolean }): void {
    const { uploadId } = data;
    const isTerminal = TERMINAL_STATUSES.has(data.status);
    const status = data.status ?? (data.progress >= 100 ? "complete" : "running");
    const present = this.#entries.get(uploadId);
    const upload = { ...data, status, timestamp };
    const pasts = pastRuns(present, runOf(data));
    const next = { upload, isTerminal, version, pastRuns: pasts, connection: this.#connection };
    if (present !== undefined && version === undefined && isLate(present, next)) return;
    if (isFinished(upload) && this.#isDismissed(uploadId, version)) return;
    this.#dismissed.delete(uploadId);
    this.#entries.set(uploadId, next);
    if (isFinished(upload)) this.#removeOldest();
    if (!replayed) this.#count(present?.upload, upload);
    this.#changed();
  }

  /** Another device has dismissed the upload of a key. */
  forget(key: string): void {
    if (!key.startsWith(PREFIX)) return;
    const uploadId = key.slice(PREFIX.length);
    this.#dismissed.delete(uploadId);
    if (this.#entries.delete(uploadId)) this.#changed();
  }

  /** Show an ended upload no more; return false if it has not ended. */
  dismiss(uploadId: string): boolean {
    const entry = this.#entries.get(uploadId);
    if (entry === undefined || !isFinished(entry.upload)) return false;
    this.#entries.delete(uploadId);
    this.#dismissed.set(uploadId, false);
    if (this.#dismissed.size > MAX_ENDED) this.#dismissed.delete(this.#dismissed.keys().next().value as string);
    this.changedNow();
    return true;
  }

  /** Show all ended uploads no more. */
  clearFinished(): void {
    const ended = [...this.#entries.values()].filter(({ upload }) => isFinished(upload));
    const version = Math.max(0, ...ended.map((each) => each.version ?? 0));
    if (version > (this.#cleared?.version ?? 0)) this.#cleared = { version, isTold: false };
    for (const { upload } of ended) this.#entries.delete(upload.uploadId);
    this.changedNow();
  }

  /** Return the next dismissal that the server was not told of. */
  untold(): { readonly what: string | { readonly endedUpTo: number }; done(): void } | undefined {
    const cleared = this.#cleared;
    if (cleared && !cleared.isTold) {
      const done = (): void => {
        cleared.isTold = true;
      };
      return { what: { endedUpTo: cleared.version }, done };
    }
    for (const [what, isTold] of this.#dismissed) {
      if (!isTold) return { what, done: () => void (this.#dismissed.has(what) && this.#dismissed.set(what, true)) };
    }
    return undefined;
  }

  /** The connection was lost: nothing is heard, so there is no pace. */
  disconnected(): void {
    this.#connection += 1;
    this.#pace.clear();
    this.#changed();
  }

  /** The server has begun anew: uploads that its welcome did not bring are gone, and versions mean something else. */
  begin(): void {
    for (const [uploadId, { connection }] of this.#entries) {
      if (connection < this.#connection) this.#entries.delete(uploadId);
    }
    this.#cleared = undefined;
    this.#dismissed.clear();
    this.#changed();
  }

  clear(): void {
    this.#entries.clear();
    this.#dismissed.clear();
    this.#cleared = undefined;
    this.#together.clear();
    this.#goesOn = false;
    this.#pace.clear();
    for (const each of this.#stores) each.outdate();
  }

  changedNow(): void {
    for (const each of this.#stores) each.changedNow();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #isDismissed(uploadId: string, version: number | undefined): boolean {
    return this.#dismissed.has(uploadId) || (version !== undefined && version <= (this.#cleared?.version ?? 0));
  }

  get #stores(): readonly Computed<unknown>[] {
    return [this.list, this.groups, this.summary] as readonly Computed<unknown>[];
  }

  #changed(): void {
    for (const each of this.#stores) each.changed();
  }

  #removeOldest(): void {
    const ended = [...this.#entries].filter(([, { upload }]) => isFinished(upload));
    for (const [uploadId] of ended.slice(0, Math.max(0, ended.length - MAX_ENDED))) this.#entries.delete(uploadId);
  }

  /** Count the work on an upload since its state before. */
  #count(before: Upload | undefined, { status, progress, currentRow }: Upload): void {
    if (before === undefined || status === "failed" || status === "cancelled") return;
    this.#pace.add(progress - before.progress, (currentRow ?? 0) - (before.currentRow ?? 0));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.summary.changed(), this.#pace.silence);
  }

  #summarize(before: UploadsSummary): UploadsSummary {
    const uploads = this.list.get();
    const active = uploads.filter((each) => !isFinished(each));
    if (active.length > 0) {
      if (!this.#goesOn) this.#together.clear();
      for (const { uploadId } of active) this.#together.add(uploadId);
      // Those that ended while the others went on: a page that is loaded anew has not seen it.
      const began = Math.min(...active.map(({ startedAt }) => Date.parse(startedAt ?? "") || Infinity));
      for (const { uploadId, timestamp } of uploads) if (Date.parse(timestamp) >= began) this.#together.add(uploadId);
    }
    this.#goesOn = active.length > 0;
    for (const uploadId of this.#together) if (!this.#entries.has(uploadId)) this.#together.delete(uploadId);
    const together = uploads.filter(({ uploadId }) => this.#together.has(uploadId));
    const total = together.length;
    const finished = together.filter(isFinished);
    const left = active.reduce((sum, { progress }) => sum + 100 - progress, 0);
    const pace = active.length > 0 ? this.#pace.get() : undefined;
    const next = {
      total,
      finished: finished.length,
      failed: finished.filter(({ status }) => status === "failed").length,
      progress: total && 100 - left / total,
      ...(pace && pace.rows > 0 && { rowsPerSecond: pace.rows }),
      ...(pace && pace.work > 0 && { secondsLeft: left / pace.work }),
    };
    return isSame(before, next) ? before : next;
  }
}

function isSame(before: UploadsSummary, next: UploadsSummary): boolean {
  return JSON.stringify(before) === JSON.stringify(next);
}

/** Sort uploads into groups. A group is the same list as before if nothing in it has changed. */
function groupsOf(uploads: readonly Upload[], before: UploadGroups): UploadGroups {
  const group = (name: keyof UploadGroups): readonly Upload[] => {
    const next = uploads.filter((each) => groupOf(each, before) === name);
    const known = before[name];
    return next.length === known.length && next.every((each, index) => each === known[index]) ? known : next;
  };
  return {
    running: group("running"),
    queued: group("queued"),
    retrying: group("retrying"),
    stalled: group("stalled"),
    finished: group("finished"),
  };
}

/** A status of a later version is one of an upload that goes on. */
function groupOf(upload: Upload, groups: UploadGroups): string {
  if (isFinished(upload)) return "finished";
  return upload.status in groups ? upload.status : "running";
}

function runOf({ run, startedAt }: UploadProgressData): string | undefined {
  return run ?? startedAt ?? undefined;
}

/** Return the runs that are superseded when this one counts. */
function pastRuns(known: Entry | undefined, run: string | undefined): readonly string[] {
  if (known === undefined) return [];
  const before = runOf(known.upload);
  return before === undefined || before === run ? known.pastRuns : [...known.pastRuns, before].slice(-PAST_RUNS);
}

/** Return true if a state is out of date. */
function isLate(known: Entry, next: Pick<Entry, "upload" | "isTerminal">): boolean {
  const [knownRun, run] = [runOf(known.upload), runOf(next.upload)];
  if (run && known.pastRuns.includes(run)) return true;
  if (run && knownRun !== run) return false;
  // A server that gives no timestamps is believed to keep the order.
  const isOlder = Date.parse(next.upload.timestamp) < Date.parse(known.upload.timestamp);
  if (known.isTerminal && !next.isTerminal) {
    if (next.upload.progress > 0) return true;
    return run ? isOlder || known.upload.status !== "failed" : false;
  }
  return isOlder && (known.isTerminal || !next.isTerminal);
}
