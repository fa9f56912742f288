// `<tellwire-uploads>`: the uploads of the user, newest first, each with its bar; above them all together.

import { type Feed, isFinished, newestFirst, type Upload } from "@tellwire/client/feed";
import { type Child, h } from "./dom.js";
import { TellwireElement } from "./element.js";
import { uploadIn } from "./entries.js";
import { CLOSE, OF_TONE, type Tone } from "./icons.js";

/** Above so many, each upload is a line. */
const ROOMY = 5;
/** Characters at the end of a name that are never cut off: its extension is among them. */
const TAIL = 12;
/** Milliseconds between two words of how far all uploads are, for those who hear the page. */
const SPOKEN_MS = 15_000;

/** An upload whose files the page is still sending: the server does not know it yet. */
export interface UnsentUpload {
  readonly uploadId: string;
  readonly fileName: string;
  /** `queued`: it waits for others; `unsent`: it could not be sent, and the user may try again. */
  readonly status: "queued" | "sending" | "unsent";
  /** 0–100, of its bytes. */
  readonly progress: number;
  /** The rate and the time that is left, or the reason. */
  readonly message?: string;
}

interface Summary {
  readonly total: number;
  readonly finished: number;
  readonly progress: number;
  readonly secondsLeft?: number;
}

type Line = Pick<Upload, "uploadId" | "fileName" | "progress"> &
  Partial<Pick<Upload, "leaseSeconds" | "rowErrors" | "totalRows" | "currentRow" | "message">> & {
    readonly status: Upload["status"] | UnsentUpload["status"];
  };

const TONES: Record<Line["status"], Tone> = {
  sending: "busy",
  unsent: "bad",
  queued: "busy",
  running: "busy",
  retrying: "warn",
  stalled: "warn",
  complete: "good",
  failed: "bad",
  cancelled: "warn",
};

export class TellwireUploads extends TellwireElement {
  static override readonly look = `
  header { display: flex; gap: .8em; align-items: center; margin-block-end: .6em; }
  header .track { flex: 1; }
  ol { display: grid; grid-template-columns: minmax(0, 1fr); gap: .6em; }
  ol > li { padding: .7em .9em; display: grid; gap: .45em; }
  .row { display: flex; gap: .6em; align-items: center; min-inline-size: 0; }
  .name { flex: 1; min-inline-size: 0; font-weight: 600; }
  .name bdi { display: inline-flex; max-inline-size: 100%; vertical-align: bottom; }
  .name:focus { outline: none; }
  .head { overflow: hidden; text-overflow: ellipsis; white-space: pre; }
  .tail { white-space: pre; }
  .chip { display: flex; gap: .3em; align-items: center; color: var(--tone); font-size: .85em; white-space: nowrap; }
  .track { flex: 1; block-size: .5em; border: 1px solid var(--line); border-radius: 1em; overflow: hidden; background: color-mix(in srgb, var(--line) 40%, transparent); }
  .fill { block-size: 100%; background: var(--tone, var(--accent)); transition: inline-size .2s linear; }
  .percent { min-inline-size: 3.2em; text-align: end; font-variant-numeric: tabular-nums; font-size: .9em; }
  .message { flex: 1; min-inline-size: 0; overflow-wrap: anywhere; }
  .stale { color: var(--warn); margin-block-end: .6em; }
  details { font-size: .9em; color: var(--warn); }
  details ul { padding-inline-start: 1em; color: var(--text); }
  .small { gap: 0; }
  .small > li { display: flex; flex-wrap: wrap; align-items: center; gap: .1em .7em; border-radius: 0; border-block-start-width: 0; padding: .45em .8em; }
  .small > :first-child { border-block-start-width: 1px; border-radius: var(--radius) var(--radius) 0 0; }
  .small > :last-child { border-radius: 0 0 var(--radius) var(--radius); }
  .small .row { display: contents; }
  .small .name { flex: 1 1 10em; }
  .small .track { flex: 0 1 6em; }
  .small button { order: 1; margin-inline-start: auto; }
  .small [data-tone="good"] .message, .small [data-tone="busy"] .message { display: none; }
  .small :is(.message, details, [role="alert"]), .small ::slotted(*) { order: 2; flex: 1 1 100%; }
  [role="alert"] { color: var(--bad); font-size: .9em; }
  .empty { padding: 1.5em; text-align: center; }
  @media (forced-colors: active) { .fill { forced-color-adjust: none; background: Highlight; } }
`;

  #unsent: readonly UnsentUpload[] = [];
  /** The ids of those that were sent in one go, and of those that went on meanwhile. */
  #together = new Set<string>();
  /** The uploads that could not be cancelled, with the words for it. */
  readonly #refusals = new Map<string, string>();
  #spokenAt = Number.NEGATIVE_INFINITY;
  #spoken = "";

  /** The uploads that the page is sending, newest first: shown above the others, until the server knows them. */
  get unsent(): readonly UnsentUpload[] {
    return this.#unsent;
  }

  set unsent(unsent: readonly UnsentUpload[]) {
    if (unsent.length > 0 && this.#unsent.length === 0) this.#together.clear();
    this.#unsent = unsent;
    this.update();
  }

  protected override stores(feed: Feed) {
    return [feed.uploads, feed.uploads.summary, feed.errors, feed.connection];
  }

  protected override view(): Child[] {
    const { speaker } = this;
    const uploads = this.feed?.uploads.get() ?? [];
    const unsent = this.#unsent.filter(({ uploadId }) => !this.feed?.uploads.find(uploadId));
    const lines: Line[] = [...unsent, ...newestFirst(uploads)];
    if (lines.length === 0)
      return [
        h("div", { class: "card empty quiet", part: "empty" }, h("slot", { name: "empty" }, speaker.say("noUploads"))),
      ];
    const summary = this.#summary(lines);
    const isOpen = this.feed?.connection.get().status === "open";
    const list = {
      class: lines.length > ROOMY && "small",
      part: "list",
      tabindex: -1,
      "aria-label": speaker.say("uploads"),
    };
    return [
      !isOpen &&
        !uploads.every(isFinished) &&
        h("p", { key: "stale", class: "stale", part: "stale" }, speaker.say("stale")),
      lines.length > 1 || uploads.some(isFinished) ? this.#header(uploads, summary) : null,
      h("ol", list, ...lines.map((line) => this.#line(line, isOpen))),
      h(
        "p",
        { key: "spoken", class: "hidden", role: "status" },
        this.#speak(summary, unsent.length === 0 && uploads.every(isFinished)),
      ),
      h("p", { key: "trouble", class: "hidden", role: "status" }, this.#troubleOf(uploads)),
    ];
  }

  /** The sum of those that go on; while the page is sending, of all since it began. */
  #summary(lines: readonly Line[]): Summary {
    const ids = this.#together;
    if (this.#unsent.length === 0 && ids.size === 0) return (this.feed as Feed).uploads.summary.get();
    const all = lines.filter((line) => ids.has(line.uploadId) || !isEnded(line));
    for (const { uploadId } of all) ids.add(uploadId);
    const done = all.map((line) => (isEnded(line) ? 100 : line.status === "sending" ? 0 : line.progress));
    const [total, finished] = [all.length, all.filter(isEnded).length];
    return { total, finished, progress: done.reduce((sum, each) => sum + each, 0) / total };
  }

  #header(uploads: readonly Upload[], { total, finished, progress, secondsLeft }: Summary): Child {
    const isSome = uploads.some(isFinished);
    const { speaker } = this;
    const words = speaker.say("overall", { done: finished, total });
    const left = secondsLeft === undefined ? "" : ` · ${speaker.say("left", { time: speaker.span(secondsLeft) })}`;
    return h(
      "header",
      { part: "summary" },
      total > 1 && h("span", { class: "quiet" }, words + left),
      total > 1 ? this.#bar(words, progress) : h("span", { class: "message" }),
      h("button", { part: "clear", hidden: !isSome, onclick: this.#clear }, speaker.say("clearFinished")),
    );
  }

  #line(upload: Line, isOpen: boolean): Child {
    const { uploadId, fileName, progress, status } = upload;
    const { speaker } = this;
    // An error about it: why it has failed, or that something was left out.
    const told = this.feed?.errors.get().errors.find(({ details }) => uploadIn(details) === uploadId);
    const tone = status === "complete" && told ? "warn" : toneOf(upload);
    const message = (status === "failed" && told?.message) || this.#messageOf(upload);
    const refusal = isEnded(upload) ? undefined : this.#refusals.get(uploadId);
    const characters = [...fileName];
    return h(
      "li",
      { key: uploadId, class: "card", part: "upload", "data-status": status, "data-tone": tone, "data-id": uploadId },
      h(
        "div",
        { class: "row" },
        h(
          "div",
          { class: "name", part: "name", tabindex: -1, title: fileName },
          h(
            "bdi",
            { dir: "auto" },
            h("span", { class: "head" }, characters.slice(0, -TAIL).join("")),
            h("span", { class: "tail" }, characters.slice(-TAIL).join("")),
          ),
        ),
        h("span", { class: "chip", part: "status" }, tone !== "busy" && OF_TONE[tone], speaker.say(status)),
      ),
      h(
        "div",
        { class: "row" },
        this.#bar(fileName, progress, message),
        h("span", { class: "percent", "aria-hidden": "true" }, speaker.percent(progress)),
      ),
      h(
        "div",
        { class: "row" },
        h("span", { class: "message quiet", part: "message", dir: "auto" }, message),
        ...this.#buttons(upload, isOpen),
      ),
      refusal !== undefined && h("p", { key: "refusal", role: "alert" }, refusal),
      this.#leftOut(upload),
      h("slot", { name: uploadId }),
    );
  }

  #buttons({ uploadId, fileName, status }: Line, isOpen: boolean): Child[] {
    const { speaker } = this;
    const isOurs = status === "sending" || status === "unsent" || !this.feed?.uploads.find(uploadId);
    const remove = isOurs ? () => this.#stopSending(uploadId) : () => this.#remove(uploadId);
    const close = speaker.say("remove", { name: fileName });
    if (isEnded({ status }))
      return [
        status === "unsent" &&
          h("button", { part: "retry", onclick: () => this.#retry(uploadId) }, speaker.say("tryAgain")),
        h("button", { key: "remove", class: "icon", part: "remove", "aria-label": close, onclick: remove }, CLOSE),
      ];
    const cancel = {
      key: "cancel",
      part: "cancel",
      disabled: !isOpen && !isOurs,
      "aria-label": speaker.say("cancelOne", { name: fileName }),
      onclick: isOurs ? remove : () => this.#cancel(uploadId),
    };
    return [h("button", cancel, speaker.say("cancel"))];
  }

  #messageOf({ status, message, leaseSeconds }: Line): string | undefined {
    if (status !== "stalled" || !leaseSeconds) return message;
    const rest = this.speaker.say("silent", { time: this.speaker.span(leaseSeconds) });
    return `${message}. ${rest}`;
  }

  #bar(name: string, progress: number, message = ""): Child {
    const spoken = `${this.speaker.percent(progress)} ${message}`;
    const value = Math.floor(progress);
    return h(
      "div",
      {
        class: "track",
        part: "bar",
        role: "progressbar",
        "aria-label": name,
        "aria-valuenow": value,
        "aria-valuetext": spoken,
      },
      h("div", { class: "fill", part: "fill", css: { "inline-size": `${progress}%` } }),
    );
  }

  #leftOut({ rowErrors, currentRow, totalRows }: Line): Child {
    if (!rowErrors?.total) return;
    const { speaker } = this;
    const causes = rowErrors.causes.map(({ message, count, rows }) => {
      const some = rows.map((row) => speaker.number(row)).join(", ") + (count > rows.length ? " …" : "");
      const where = ` (${speaker.count("rows", count, { rows: some })})`;
      return h("li", { class: "quiet" }, h("b", {}, speaker.number(count)), " ", h("bdi", {}, message), where);
    });
    const total = Math.max(rowErrors.total, currentRow ?? totalRows ?? 0);
    const summary = h("summary", {}, speaker.count("leftOut", rowErrors.total, { total }));
    return h("details", { part: "left-out" }, summary, h("ul", {}, ...causes));
  }

  /** The progress of all uploads, now and then: a page with thirty of them must not speak without an end. */
  #speak({ total, finished, progress }: Summary, isEnd: boolean): string {
    const now = performance.now();
    if (now - this.#spokenAt < SPOKEN_MS && !isEnd) return this.#spoken;
    this.#spokenAt = now;
    const words = this.speaker.say("overall", { done: finished, total });
    this.#spoken = total === 0 ? "" : `${words}, ${this.speaker.percent(progress)}`;
    return this.#spoken;
  }

  /** The newest one that has failed or stalled: once, for those who hear the page. */
  #troubleOf(uploads: readonly Upload[]): string {
    const [newest] = uploads
      .filter(({ status }) => status === "failed" || status === "stalled")
      .sort((one, other) => (one.timestamp < other.timestamp ? 1 : -1));
    return newest ? `${newest.fileName}: ${this.speaker.say(newest.status)}` : "";
  }

  #cancel(uploadId: string): void {
    this.#refusals.delete(uploadId);
    this.feed?.uploads.cancel(uploadId).catch((error: Error & { code?: string }) => {
      const isKnown = error.code !== "UPLOAD_UNKNOWN";
      this.#refusals.set(uploadId, isKnown ? error.message : this.speaker.say("unknown"));
      this.update();
    });
    // Its button is removed when it has ended.
    this.focusOn(`${lineOf(uploadId)} .name`);
  }

  #remove(uploadId: string): void {
    this.#without(uploadId, () => this.feed?.uploads.dismiss(uploadId));
  }

  #stopSending(uploadId: string): void {
    this.#without(uploadId, () => this.#tell("tellwire-cancel", uploadId));
  }

  #retry(uploadId: string): void {
    this.#tell("tellwire-retry", uploadId);
    this.focusOn(`${lineOf(uploadId)} .name`);
  }

  #tell(name: string, uploadId: string): void {
    this.dispatchEvent(new CustomEvent(name, { detail: { uploadId } }));
  }

  /** Remove a line, and put the focus on the next one. */
  #without(uploadId: string, remove: () => void): void {
    const line = this.root.querySelector(lineOf(uploadId));
    const next = (line?.nextElementSibling ?? line?.previousElementSibling)?.getAttribute("data-id");
    remove();
    this.focusOn(next ? `${lineOf(next)} .name` : "ol", "ol");
  }

  readonly #clear = (): void => {
    this.feed?.uploads.clearFinished();
    this.focusOn("ol");
  };
}

function lineOf(uploadId: string): string {
  return `[data-id="${CSS.escape(uploadId)}"]`;
}

/** One tone for each outcome: an upload that left rows out is not all good. */
function toneOf({ status, rowErrors, totalRows }: Line): Tone {
  if (status !== "complete" || !rowErrors?.total) return TONES[status];
  return rowErrors.total === totalRows ? "bad" : "warn";
}

/** There is nothing to wait for. */
function isEnded({ status }: Pick<Line, "status">): boolean {
  return status === "unsent" || isFinished({ status } as Upload);
}
