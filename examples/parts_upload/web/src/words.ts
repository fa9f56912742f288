// What the page says of a connection, of numbers and of what was left out. Pure.

import type { ConnectionState, MessageOf } from "@tellwire/client";
import type { Upload } from "@tellwire/react";

/** How a thing is, for its colour. The words say it, too. */
export type Tone = "good" | "busy" | "bad";

export interface Words {
  readonly tone: Tone;
  /** A word or two, for a corner. */
  readonly label: string;
  /** A word or two, above the detail. */
  readonly headline: string;
  /** A sentence or two. */
  readonly detail: string;
}

const DETAILS = {
  connecting: "Finding the server.",
  open: "You see everything as it happens.",
  offline: "This device says that it has no network. It connects as soon as there is one.",
  closed: "Nothing arrives until you connect again.",
};

/** Put the state of a connection into words. */
export function wordsOf({ status, attempt, retryAt, reason }: ConnectionState, now: number): Words {
  const why = reason === undefined ? "" : sentence(reason.message);
  switch (status) {
    case "open":
      return words("good", "Live", DETAILS.open);
    case "waiting": {
      if (retryAt === undefined) return words("bad", "Offline", DETAILS.offline);
      const wait = `in ${secondsUntil(retryAt, now)} s`;
      return words("bad", `Retry ${wait}`, `${why} Next try ${wait}.`, "Not connected");
    }
    case "closed":
      return words("bad", "Disconnected", `${why} ${DETAILS.closed}`.trim());
    default:
      if (attempt <= 1 && reason === undefined) return words("busy", "Connecting…", DETAILS.connecting);
      return words("busy", "Reconnecting…", why);
  }
}

function words(tone: Tone, label: string, detail: string, headline = label): Words {
  return { tone, label, headline, detail };
}

/** What is said if not everything was heard that was said while there was no connection. */
export const MISSED =
  "Some messages may be missing: the server no longer has all that it said while this page was away.";

/** What a screen reader hears: the same for as long as nothing of importance happens. */
export function spokenOf({ status, retryAt, recovered }: ConnectionState): string {
  if (status === "open") return recovered === false ? `Connected. ${MISSED}` : "Connected.";
  if (status === "waiting" && retryAt === undefined) return "Offline.";
  if (status === "waiting") return "Connection lost. Reconnecting.";
  return status === "closed" ? "Disconnected." : "";
}

export function secondsUntil(then: number, now: number): number {
  return Math.max(0, Math.ceil((then - now) / 1000));
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** Tell whether an upload has ended, one way or another. */
export function isOver({ status }: Upload): boolean {
  return status === "complete" || status === "failed" || status === "cancelled";
}

/** Put into words what follows when the worker of a stalled upload stays silent. */
export function silenceOf({ leaseSeconds }: Upload): string {
  const wait = leaseSeconds ? ` for another ${leaseSeconds} s` : "";
  return `The upload goes on if the worker comes back. If it stays silent${wait}, it has failed.`;
}

/** Items left out of an upload for one reason. */
export interface Cause {
  readonly code: string;
  readonly reason: string;
  readonly count: number;
  /** The first of them: numbers of rows, or names of images. */
  readonly items: readonly (string | number)[];
  readonly more: boolean;
}

/** What went wrong with an upload. */
export interface Problem {
  readonly uploadId: string;
  readonly message: string;
  /** Empty if the upload failed as a whole. */
  readonly causes: readonly Cause[];
}

/** The rows that were left out of an upload. */
export interface LeftOut {
  readonly message: string;
  readonly causes: readonly Cause[];
  /** Whether there will be no more. */
  readonly isWhole: boolean;
}

/** Return which rows were left out so far; undefined if none were. */
export function leftOutOf(upload: Upload): LeftOut | undefined {
  const { rowErrors, currentRow } = upload;
  if (!rowErrors) return undefined;
  const { total } = rowErrors;
  const all = Math.max(total, currentRow ?? 0);
  const message = `${total.toLocaleString("en")} of ${all.toLocaleString("en")} ${all === 1 ? "row" : "rows"} ${total === 1 ? "was" : "were"} left out`;
  const causes = rowErrors.causes.map(({ code, message, count, rows }) => {
    return { code, reason: message, count, items: rows, more: count > rows.length };
  });
  return { message, causes, isWhole: isOver(upload) };
}

/** Return what an `error`, as examples/parts_upload/report.py makes it, says of an upload; undefined if it is about something else. */
export function problemIn({ data }: MessageOf<"error">): Problem | undefined {
  const details = data.details as { uploadId?: unknown; causes?: RawCause[] } | undefined;
  if (typeof details?.uploadId !== "string") return undefined;
  const causes = (details.causes ?? []).map(({ cause, reason, count, more, rows, images }) => ({
    code: cause,
    reason,
    count,
    more,
    items: rows ?? images ?? [],
  }));
  return { uploadId: details.uploadId, message: data.message, causes };
}

interface RawCause {
  readonly cause: string;
  readonly reason: string;
  readonly count: number;
  readonly more: boolean;
  readonly rows?: readonly number[];
  readonly images?: readonly string[];
}
