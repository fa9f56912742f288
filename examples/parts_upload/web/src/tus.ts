// A file that is sent in parts: the tus protocol, version 1.0.0, as much of it as one kind of server needs. (tus-js-client
// has all of it, and would weigh 16 kB compressed: more than all elements of this page.)
//
// Rules:
// - The address of a file is known before it is sent, so it goes on after a reload as after a lost connection: the server
//   is asked how much it has.
// - It is tried again until it has arrived or was refused. A network that comes back is used at once.

import { type Api, Refusal } from "./api.ts";
import { patch, request } from "./network.ts";

const WAITS_MS = [500, 1000, 2000, 4000];
/** A server that answers so many times with errors is believed. */
const MAX_REFUSED = 8;
const VERSION = { "tus-resumable": "1.0.0" };
const BYTES = { "content-type": "application/offset+octet-stream" };
/** Refusals of a file that the server has lost, that another connection wrote to, or that is too much at the moment. */
const REPEATABLE = [404, 409, 423, 429];

export interface Attempts {
  /** The server may have a part of it. */
  readonly isBegun: boolean;
  readonly signal: AbortSignal;
  /** So many bytes of the file have gone out. */
  sent(bytes: number): void;
  /** An attempt failed, and another one follows. */
  waiting(): void;
}

/** Send a file, or the rest of it. */
export function sendFile(api: Api, files: string, number: number, file: File, attempts: Attempts): Promise<void> {
  let { isBegun } = attempts;
  return persistently(attempts, async () => {
    // A file that was changed cannot be read; its sending would look as if the connection were lost.
    await file.slice(0, 1).arrayBuffer();
    const headers = { ...VERSION, ...(await api.authorization()) };
    const offset = (isBegun && (await offsetOf(`${files}/${number}`, headers))) || 0;
    if (offset === 0) await begin(files, number, file, headers);
    isBegun = true;
    attempts.sent(offset);
    if (offset === file.size) return;
    const all = { ...headers, ...BYTES, "upload-offset": String(offset) };
    const sent = (bytes: number): void => attempts.sent(offset + bytes);
    const answer = await patch(`${files}/${number}`, all, file.slice(offset), sent, attempts.signal);
    if (!answer.ok) throw await Refusal.of(answer);
  });
}

/** Return the number of bytes that the server has of a file. */
async function offsetOf(url: string, headers: Record<string, string>): Promise<number> {
  const known = await request(url, { method: "HEAD", headers });
  if (!known.ok && known.status !== 404) throw await Refusal.of(known);
  return Number(known.headers.get("upload-offset"));
}

async function begin(files: string, number: number, file: File, headers: Record<string, string>): Promise<void> {
  const metadata = `filename ${base64(file.name)},number ${base64(String(number))}`;
  const more = { "upload-length": String(file.size), "upload-metadata": metadata };
  const begun = await request(files, { method: "POST", headers: { ...headers, ...more } });
  if (!begun.ok) throw await Refusal.of(begun);
}

/** Repeat an attempt until it succeeds or is refused. */
export async function persistently(attempts: Attempts, attempt: () => Promise<unknown>): Promise<void> {
  let refused = 0;
  for (let wait = 0; ; wait = Math.min(wait + 1, WAITS_MS.length - 1)) {
    try {
      await attempt();
      return;
    } catch (error) {
      attempts.signal.throwIfAborted();
      const isLost = error instanceof TypeError;
      const isRepeatable = error instanceof Refusal && (error.status >= 500 || REPEATABLE.includes(error.status));
      if (!isLost && (!isRepeatable || ++refused >= MAX_REFUSED)) throw error;
    }
    attempts.waiting();
    await pause(WAITS_MS[wait] as number);
    attempts.signal.throwIfAborted();
  }
}

/** Wait, but no longer than until there is a network. */
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    window.addEventListener("online", () => resolve(), { once: true });
  });
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
