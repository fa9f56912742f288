// The uploads that are on their way to the server: a few at once, the others wait. They are lines of `<tellwire-uploads>`.
//
// Rules:
// - One tab sends an upload, by a lock of its id. If that tab is closed or loaded anew, it or another one goes on.
// - A line stays until the server tells of its upload.

import type { Feed, TellwireUploads, UnsentUpload } from "@tellwire/elements";
import type { Api } from "./api.ts";
import { forget, isKept, keep, keptOf, type Parcel } from "./kept-files.ts";
import { type Attempts, persistently, sendFile } from "./tus.ts";

const AT_ONCE = 3;
const SHOWN_EVERY_MS = 200;
const PACE_MS = 5_000;

interface Outgoing {
  readonly parcel: Parcel;
  readonly stop: AbortController;
  /** Release the lock. */
  readonly release: () => void;
  isBegun: boolean;
  status: UnsentUpload["status"] | "started";
  message: string;
  sentBytes: number;
  /** Times, and the bytes that were sent by then. */
  samples: { readonly at: number; readonly bytes: number }[];
}

export class Sending {
  readonly #api: Api;
  readonly #feed: Feed;
  readonly #element = document.querySelector("tellwire-uploads") as TellwireUploads;
  readonly #signal: AbortSignal;
  #outgoing: Outgoing[] = [];
  #isResumed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** It ends with the signal, and keeps nothing then. */
  constructor(api: Api, feed: Feed, signal: AbortSignal) {
    this.#api = api;
    this.#feed = feed;
    this.#signal = signal;
    const on = (name: string, act: (out: Outgoing) => void): void =>
      this.#element.addEventListener(name, (event) => {
        const { uploadId } = (event as CustomEvent<{ uploadId: string }>).detail;
        this.#outgoing.filter(({ parcel }) => parcel.id === uploadId).forEach(act);
      });
    on("tellwire-cancel", (out) => this.#cancel(out));
    on("tellwire-retry", (out) => this.#begin(Object.assign(out, { isBegun: true }), "queued"));
    const ask = (event: BeforeUnloadEvent): void => {
      if (this.#outgoing.some(({ status }) => status === "sending" || status === "queued")) event.preventDefault();
    };
    window.addEventListener("beforeunload", ask, { signal });
    signal.addEventListener("abort", () => this.#outgoing.forEach((out) => void this.#drop(out)));
    feed.uploads.subscribe(() => this.#dropKnown());
    // By then all uploads of the server are known: what it has begun is not sent again.
    feed.connection.subscribe(({ recovered }) => void (recovered !== undefined && this.#resume()));
  }

  /** Send these. */
  add(parcels: readonly Parcel[]): void {
    for (const parcel of parcels) {
      // Without room for it, it is sent, and not kept for the next page.
      keep(parcel).catch(() => {});
      this.#take(parcel, false);
    }
  }

  async #resume(): Promise<void> {
    if (this.#isResumed) return;
    this.#isResumed = true;
    for (const parcel of await keptOf(this.#api.user).catch(() => [])) this.#take(parcel, true);
  }

  /** Begin when no other tab has it. */
  #take(parcel: Parcel, isBegun: boolean): void {
    const hold = async (): Promise<void> => {
      // Another tab may have sent it meanwhile.
      if (isBegun && !(await isKept(parcel.id))) return;
      await new Promise<void>((release) => {
        const stop = new AbortController();
        const fresh = { status: "queued" as const, message: "", sentBytes: 0, samples: [] };
        this.#outgoing.push({ parcel, stop, release, isBegun, ...fresh });
        this.#dropKnown();
      });
    };
    navigator.locks.request(`partsbook.sending.${parcel.id}`, { signal: this.#signal }, hold).catch(() => {});
  }

  /** Drop those that the server tells of, and begin with the next ones. */
  #dropKnown(): void {
    if (this.#outgoing.length + this.#element.unsent.length === 0) return;
    for (const out of this.#outgoing) if (this.#feed.uploads.find(out.parcel.id)) this.#drop(out);
    const going = this.#outgoing.filter(({ status }) => status === "sending").length;
    const waiting = this.#outgoing.filter(({ status }) => status === "queued");
    for (const out of waiting.slice(0, Math.max(0, AT_ONCE - going))) void this.#send(out);
    this.#timer ??= setTimeout(() => this.#show(), 0);
  }

  #begin(out: Outgoing, status: Outgoing["status"], message = ""): void {
    Object.assign(out, { status, message });
    this.#dropKnown();
  }

  async #send(out: Outgoing): Promise<void> {
    const { id, files, kind, paced } = out.parcel;
    out.status = "sending";
    let before = 0;
    const attempts: Attempts = {
      signal: out.stop.signal,
      isBegun: out.isBegun,
      sent: (bytes) => this.#sent(out, before + bytes),
      waiting: () => this.#tell(out, "Waiting for the server"),
    };
    try {
      for (const [index, file] of files.entries()) {
        await sendFile(this.#api, `/demo/uploads/${id}/tus`, index + 1, file, attempts);
        before += file.size;
      }
      await persistently(attempts, () => this.#api.send("POST", `/demo/uploads/${id}`, { kind, paced }));
      await forget(id).catch(() => {});
      this.#begin(out, "started");
    } catch (error) {
      const { name, message } = error as Error;
      const why = name === "NotReadableError" ? "The file was changed or removed. Choose it again." : message;
      if (!out.stop.signal.aborted) this.#begin(out, "unsent", why);
    }
  }

  #sent(out: Outgoing, bytes: number): void {
    const at = performance.now();
    // A part that the server had already says nothing of the pace.
    const recent = out.samples.filter((each) => each.at > at - PACE_MS && each.bytes <= bytes && each.bytes > 0);
    out.sentBytes = bytes;
    out.samples = [...recent, { at, bytes }];
    this.#tell(out, paceOf(out));
  }

  #tell(out: Outgoing, message: string): void {
    out.message = message;
    this.#timer ??= setTimeout(() => this.#show(), SHOWN_EVERY_MS);
  }

  #show(): void {
    this.#timer = undefined;
    this.#element.unsent = this.#outgoing.map(lineOf).reverse();
  }

  #drop(out: Outgoing): void {
    out.stop.abort();
    this.#outgoing = this.#outgoing.filter((each) => each !== out);
    forget(out.parcel.id).then(out.release, out.release);
  }

  #cancel(out: Outgoing): void {
    this.#drop(out);
    this.#dropKnown();
    // What has arrived is removed at once, otherwise after an hour.
    this.#api.send("DELETE", `/demo/uploads/${out.parcel.id}`).catch(() => {});
  }
}

export function megabytes(bytes: number): string {
  return `${(Math.ceil((bytes / 1024 ** 2) * 10) / 10).toLocaleString("en")} MB`;
}

function lineOf({ parcel, status, message, sentBytes }: Outgoing): UnsentUpload {
  const { id, files } = parcel;
  return {
    uploadId: id,
    fileName: files.length === 1 ? (files[0] as File).name : `${files.length} images`,
    status: status === "started" ? "queued" : status,
    progress: status === "started" ? 0 : (100 * sentBytes) / Math.max(1, sizeOf(parcel)),
    message,
  };
}

function sizeOf({ files }: Parcel): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}

/** The bytes that have gone out, their rate, and the time that is left, if they are known. */
function paceOf({ parcel, samples, sentBytes }: Outgoing): string {
  const size = sizeOf(parcel);
  const [first, last] = [samples[0], samples.at(-1)];
  const much = `${megabytes(sentBytes)} of ${megabytes(size)}`;
  if (!first || !last || last.at < first.at + 500 || last.bytes === first.bytes) return much;
  const perSecond = ((last.bytes - first.bytes) * 1000) / (last.at - first.at);
  const seconds = Math.ceil((size - sentBytes) / perSecond);
  return `${much}, ${megabytes(perSecond)}/s, ${seconds > 90 ? `${Math.ceil(seconds / 60)} min` : `${seconds} s`} left`;
}
