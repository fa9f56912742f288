// The texts of the page: on the connection, on uploads, and on left-out rows. Pure.

import type { ConnectionState } from "@tellwire/client";
import type { ReceivedError, Upload } from "@tellwire/react";

/** The colour of a text. The words say the same. */
export type Tone = "good" | "busy" | "bad";

export interface Words {
  readonly tone: Tone;
  /** One or two words, for a corner. */
  readonly label: string;
  /** One or two words, above the detail. */
  readonly headline: string;
  /** One or two sentences. */
  readonly detail: string;
}

const DETAILS = {
  connecting: "Finding the server.",
  open: "You see everything as it happens.",
  offline: "This device says that it has no network. It connects as soon as there is one.",
  closed: "Nothing arrives until you connect again.",
};

/** Return the texts for the state of a connection. */
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

/** The text for `recovered: false`. */
export const MISSED =
  "Some messages may be missing: the server no longer has all that it said while this page was away.";

/** The text for screen readers. It changes only with important events. */
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

/** Return true if an upload has ended. */
export function isOver({ status }: Upload): boolean {
  return status === "complete" || status === "failed" || status === "cancelled";
}

/** Return the reason why an upload was not cancelled. */
export function refusalOf(error: Error & { code?: string }): string {
  if (error.code === "UPLOAD_UNKNOWN") return "It cannot be cancelled: the server does not know it any more.";
  return `It was not cancelled: ${error.message}.`;
}

/** Return the text for a stalled upload. */
export function silenceOf({ leaseSeconds }: Upload): string {
  const wait = leaseSeconds ? ` for another ${leaseSeconds} s` : "";
  return `The upload goes on if the worker comes back. If it stays silent${wait}, it has failed.`;
}

/** The items that were left out of an upload for one reason. */
export interface Cause {
  readonly code: string;
  readonly reason: string;
  readonly count: number;
  /** The first items: numbers of rows, or names of images. */
  readonly items: readonly (string | number)[];
  readonly more: boolean;
}

/** The failure of an upload, or of some of its items. */
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
  /** True if the upload has ended, so there will be no more. */
  readonly isWhole: boolean;
}

/** Return the rows that were left out so far; undefined if there are none. */
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

/** Return the problem in an `error` that examples/parts_upload/report.py made; undefined in any other. */
export function problemIn({ message, details: given }: ReceivedError): Problem | undefined {
  const details = given as { uploadId?: unknown; causes?: RawCause[] } | undefined;
  if (typeof details?.uploadId !== "string") return undefined;
  const causes = (details.causes ?? []).map(({ cause, reason, count, more, rows, images }) => ({
    code: cause,
    reason,
    count,
    more,
    items: rows ?? images ?? [],
  }));
  return { uploadId: details.uploadId, message, causes };
}

interface RawCause {
  readonly cause: string;
  readonly reason: string;
  readonly count: number;
  readonly more: boolean;
  readonly rows?: readonly number[];
  readonly images?: readonly string[];
}
