// Messages as servers send them.

import type {
  NotificationData,
  NotificationMessage,
  Received,
  UploadProgressData,
  UploadProgressMessage,
} from "@tellwire/client";

let count = 0;

/** When a message is sent unless a test says otherwise: each later than the one before. */
function next(): string {
  count += 1;
  return new Date(Date.UTC(2026, 0, 1) + count).toISOString();
}

export function progress(data: Partial<UploadProgressData> = {}, timestamp = next()): Received<UploadProgressMessage> {
  const given = { uploadId: "moc-1", fileName: "parts.csv", progress: 50, message: "Parsing", ...data };
  return { type: "upload_progress", data: given, timestamp, replayed: false };
}

export function notification(data: Partial<NotificationData> = {}, id?: string): Received<NotificationMessage> {
  const given: NotificationData = { title: "Done", message: "Your list is here", severity: "success", ...data };
  return { type: "notification", data: given, timestamp: next(), replayed: false, ...(id === undefined ? {} : { id }) };
}

/** A token with these claims. Nobody here looks at its signature. */
export function jwt(claims: unknown): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "RS256" })}.${part(claims)}.c2lnbmVk`;
}
