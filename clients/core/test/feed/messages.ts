// Messages as servers send them.

import { readFileSync } from "node:fs";
import type {
  ErrorMessage,
  NotificationData,
  NotificationMessage,
  Received,
  UploadProgressData,
  UploadProgressMessage,
} from "../../src/index.js";

let count = 0;

/** The time of a message unless a test says otherwise: each later than the one before. */
function next(): string {
  count += 1;
  return new Date(Date.UTC(2026, 0, 1) + count).toISOString();
}

type Progress = Received<UploadProgressMessage>;

export function progress(data: Partial<UploadProgressData> = {}, timestamp = next()): Progress {
  const given = { uploadId: "moc-1", fileName: "parts.csv", progress: 50, message: "Parsing", ...data };
  return { type: "upload_progress", data: given, timestamp, replayed: false };
}

/** A notification at an offset of the log; without one, to a connection. Its id is its title. */
export function notification(title: string, offset?: number, epoch = "e"): Received<NotificationMessage> {
  const data: NotificationData = { title, message: "Your list is here", severity: "success" };
  const cursor = offset === undefined ? {} : { cursor: `${epoch}:${offset}` };
  return { type: "notification", data, timestamp: next(), id: title, replayed: false, ...cursor };
}

export function error(code: string, offset: number): Received<ErrorMessage> {
  const data = { code, message: "It failed" };
  return { type: "error", data, timestamp: next(), id: code, replayed: false, cursor: `e:${offset}` };
}

/** A log of notifications, oldest first: each has its offset as its title. */
export function logOf(count: number, first = 1): Received<NotificationMessage>[] {
  return Array.from({ length: count }, (_, index) => notification(`${first + index}`, first + index));
}

export function marks(read: number[][], dismissed: number[][] = [], epoch = "e") {
  return { type: "marks", data: { epoch, read, dismissed }, key: "marks", version: 1 };
}

/** A message of spec/messages. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../../../spec/messages/${name}.json`, import.meta.url), "utf8"));
}
