// `<tellwire-toasts>`: notifications and errors that arrive, for some seconds, in a corner.
//
// Rules:
// - At most three are shown. Those that make room are counted, and are in the bell; they do not come again.
// - Their time stands still while one of them is pointed at or has the focus, and while nobody sees the page.
// - An error stays until it is closed. A long text is cut here; the bell has all of it.
// - All that was there before the session is no toast. Of those that were missed meanwhile, three are.

import type { Feed } from "@tellwire/client/feed";
import { type Child, h } from "./dom.js";
import { TellwireElement } from "./element.js";
import { bodyOf, type Entry, entriesOf, titleOf } from "./entries.js";
import { CLOSE } from "./icons.js";

const SHOWN = 3;
const SHOWN_MS = 6_000;
const TICK_MS = 250;

export class TellwireToasts extends TellwireElement {
  static override readonly look = `
  :host { position: fixed; z-index: var(--tellwire-layer, 1000); inset-block-end: 1em; inset-inline-end: 1em; inline-size: min(22em, calc(100vw - 2em)); pointer-events: none; }
  ol { display: grid; grid-template-columns: minmax(0, 1fr); gap: .6em; }
  li { display: flex; gap: .7em; padding: .7em .9em; pointer-events: auto; box-shadow: 0 8px 30px rgb(0 0 0 / .2); animation: come .2s ease-out; }
  .card[data-tone] { border-inline-start: 4px solid var(--tone); }
  .texts p { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 5; overflow: hidden; }
  .icon { align-self: start; }
  footer { display: flex; inline-size: fit-content; margin-inline-start: auto; align-items: center; gap: .6em; margin-block-start: .5em; padding: .3em .6em; pointer-events: auto; }
  @keyframes come { from { opacity: 0; translate: 0 .6em; } }
`;

  /** The ids that were taken up, or were there before. */
  #known = new Set<string>();
  /** The ids of those that are shown with the milliseconds that they have left, newest first. */
  #shown = new Map<string, number>();
  /** The number of those that made room for others. */
  #more = 0;
  #begunAt = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  protected override stores(feed: Feed) {
    return [feed.notifications, feed.errors];
  }

  protected override begin(): void {
    this.#known = new Set();
    this.#shown = new Map();
    this.#more = 0;
    this.#begunAt = Date.now();
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#timer);
  }

  protected override view(): Child[] {
    const { speaker } = this;
    const entries = entriesOf(this.feed);
    this.#take(entries);
    const shown = entries.filter(({ id }) => this.#shown.has(id));
    return [
      h(
        "section",
        { "aria-label": speaker.say("toasts") },
        h("ol", { "aria-live": "polite", tabindex: -1 }, ...shown.map((entry) => this.#toast(entry))),
        h(
          "footer",
          { class: "card", part: "more", hidden: shown.length < 2 && this.#more === 0 },
          this.#more > 0 && h("span", { class: "quiet" }, speaker.count("more", this.#more)),
          h("button", { onclick: this.#closeAll }, speaker.say("closeAll")),
        ),
      ),
    ];
  }

  #toast(entry: Entry): Child {
    const { id, tone } = entry;
    const name = this.speaker.say("close", { name: titleOf(entry, this.speaker) });
    return h(
      "li",
      { key: id, class: "card", part: "toast", "data-tone": tone },
      ...bodyOf(entry, this.speaker, () => this.#acted(id)),
      h("button", { class: "icon", "aria-label": name, onclick: () => this.#close(id) }, CLOSE),
    );
  }

  /** Take up the entries that are new, and let go of those that were seen or removed, here or on another device. */
  #take(entries: readonly Entry[]): void {
    const present = new Map(entries.map((entry) => [entry.id, entry]));
    for (const id of this.#shown.keys()) if (present.get(id)?.isSeen !== false) this.#shown.delete(id);
    if (this.#shown.size === 0) this.#more = 0;
    const fresh = entries.filter(
      ({ id, isSeen, isReplayed, time }) => !this.#known.has(id) && !isSeen && !(isReplayed && time < this.#begunAt),
    );
    this.#known = new Set(present.keys());
    if (fresh.length === 0) return;
    const times = fresh.map(({ id, tone }): [string, number] => [
      id,
      tone === "bad" ? Number.POSITIVE_INFINITY : SHOWN_MS,
    ]);
    const all = [...times, ...this.#shown];
    this.#shown = new Map(all.slice(0, SHOWN));
    this.#more += all.length - this.#shown.size;
  }

  #tick(): void {
    if (this.#shown.size === 0 || document.hidden || this.matches(":hover, :focus-within")) return;
    const before = this.#shown.size;
    this.#shown = new Map(
      [...this.#shown].map(([id, left]): [string, number] => [id, left - TICK_MS]).filter(([, left]) => left > 0),
    );
    if (this.#shown.size < before) this.#changed();
  }

  #close(id: string): void {
    this.#shown.delete(id);
    this.#changed();
    this.focusOn("li .icon", "ol");
  }

  #acted(id: string): void {
    this.feed?.notifications.get().markRead(id);
    this.#close(id);
  }

  readonly #closeAll = (): void => {
    this.#shown.clear();
    this.#changed();
  };

  #changed(): void {
    if (this.#shown.size === 0) this.#more = 0;
    this.update();
  }
}
