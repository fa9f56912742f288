// `<tellwire-uploads>`: the uploads of the user, newest first, each with its bar; above them all together.

import { type Feed, isFinished, newestFirst, type Upload } from "@tellwire/client/feed";
import { type Child, h } from "./dom.js";
import { TellwireElement } from "./element.js";
import { CLOSE, OF_TONE, type Tone } from "./icons.js";

/** Above so many, each upload is a line. */
const ROOMY = 5;
/** Characters at the end of a name that are never cut off: its extension is among them. */
const TAIL = 12;
/** Milliseconds between two words of how far all uploads are, for those who hear the page. */
const SPOKEN_MS = 15_000;

const TONES: Record<Upload["status"], Tone> = {
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
  li { padding: .7em .9em; display: grid; gap: .45em; }
  .row { display: flex; gap: .6em; align-items: center; min-inline-size: 0; }
  .name { flex: 1; min-inline-size: 0; font-weight: 600; }
  bdi { display: inline-flex; max-inline-size: 100%; }
  li bdi { vertical-align: bottom; }
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
  .small li { display: flex; flex-wrap: wrap; align-items: center; gap: .1em .7em; border-radius: 0; border-block-start-width: 0; padding: .45em .8em; }
  .small > :first-child { border-block-start-width: 1px; border-start-start-radius: var(--radius); border-start-end-radius: var(--radius); }
  .small > :last-child { border-end-start-radius: var(--radius); border-end-end-radius: var(--radius); }
  .small .row { display: contents; }
  .small .name { flex: 1 1 10em; }
  .small .track { flex: 0 1 6em; }
  .small button { order: 1; }
  .small .message { order: 2; flex: 1 1 100%; }
  .small [data-tone="good"] .message, .small [data-tone="busy"] .message { display: none; }
  .small details { order: 3; flex: 1 1 100%; }
  .empty { padding: 1.5em; text-align: center; }
  @media (forced-colors: active) { .fill { forced-color-adjust: none; background: Highlight; } }
`;

  #spokenAt = Number.NEGATIVE_INFINITY;
  #spoken = "";

  protected override stores(feed: Feed) {
    return [feed.uploads, feed.uploads.summary, feed.connection];
  }

  protected override view(): Child[] {
    const { speaker } = this;
    const uploads = this.feed?.uploads.get() ?? [];
    if (uploads.length === 0) return [h("p", { class: "card empty quiet", part: "empty" }, speaker.say("noUploads"))];
    const isOpen = this.feed?.connection.get().status === "open";
    const list = {
      class: uploads.length > ROOMY && "small",
      part: "list",
      tabindex: -1,
      "aria-label": speaker.say("uploads"),
    };
    return [
      !isOpen &&
        !uploads.every(isFinished) &&
        h("p", { key: "stale", class: "stale", part: "stale" }, speaker.say("stale")),
      this.#together(uploads),
      h("ol", list, ...newestFirst(uploads).map((upload) => this.#line(upload, isOpen))),
      h("p", { key: "spoken", class: "hidden", role: "status" }, this.#speak(uploads)),
    ];
  }

  #together(uploads: readonly Upload[]): Child {
    const { total = 0, finished = 0, progress = 0, secondsLeft } = this.feed?.uploads.summary.get() ?? {};
    const isSome = uploads.some(isFinished);
    if (uploads.length < 2 && !isSome) return;
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

  #line(upload: Upload, isOpen: boolean): Child {
    const { uploadId, fileName, progress, message, status } = upload;
    const { speaker } = this;
    const tone = toneOf(upload);
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
        isFinished(upload)
          ? h(
              "button",
              {
                key: "remove",
                class: "icon",
                part: "remove",
                "aria-label": speaker.say("remove", { name: fileName }),
                onclick: () => this.#remove(uploadId),
              },
              CLOSE,
            )
          : h(
              "button",
              {
                part: "cancel",
                disabled: !isOpen,
                "aria-label": speaker.say("cancelOne", { name: fileName }),
                onclick: () => this.#cancel(uploadId),
              },
              speaker.say("cancel"),
            ),
      ),
      this.#leftOut(upload),
    );
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

  #leftOut({ rowErrors }: Upload): Child {
    if (!rowErrors?.total) return;
    const { speaker } = this;
    const causes = rowErrors.causes.map(({ message, count, rows }) => {
      const some = rows.map((row) => speaker.number(row)).join(", ") + (count > rows.length ? " …" : "");
      const where = ` (${speaker.count("rows", count, { rows: some })})`;
      return h("li", { class: "quiet" }, h("b", {}, speaker.number(count)), " ", h("bdi", {}, message), where);
    });
    const summary = h("summary", {}, speaker.count("leftOut", rowErrors.total));
    return h("details", { part: "left-out" }, summary, h("ul", {}, ...causes));
  }

  /** The progress of all uploads, now and then: a page with thirty of them must not speak without an end. */
  #speak(uploads: readonly Upload[]): string {
    const now = performance.now();
    if (now - this.#spokenAt < SPOKEN_MS && !uploads.every(isFinished)) return this.#spoken;
    this.#spokenAt = now;
    const { total = 0, finished = 0, progress = 0 } = this.feed?.uploads.summary.get() ?? {};
    const words = this.speaker.say("overall", { done: finished, total });
    this.#spoken = total === 0 ? "" : `${words}, ${this.speaker.percent(progress)}`;
    return this.#spoken;
  }

  #cancel(uploadId: string): void {
    this.feed?.uploads.cancel(uploadId).catch(() => {});
    // Its button is removed when it has ended.
    this.focusOn(`${lineOf(uploadId)} .name`);
  }

  #remove(uploadId: string): void {
    const line = this.root.querySelector(lineOf(uploadId));
    const next = (line?.nextElementSibling ?? line?.previousElementSibling)?.getAttribute("data-id");
    this.feed?.uploads.dismiss(uploadId);
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
function toneOf({ status, rowErrors, totalRows }: Upload): Tone {
  if (status !== "complete" || !rowErrors?.total) return TONES[status];
  return rowErrors.total === totalRows ? "bad" : "warn";
}
