// `<tellwire-bell>`: the number of unread notifications and errors, and a panel with all of them.

import type { Feed } from "@tellwire/client/feed";
import { type Child, h } from "./dom.js";
import { TellwireElement } from "./element.js";
import { bodyOf, dismiss, type Entry, entriesOf, titleOf } from "./entries.js";
import { BELL, CLOSE } from "./icons.js";

export class TellwireBell extends TellwireElement {
  static override readonly look = `
  :host { display: inline-block; position: relative; }
  .bell { position: relative; font-size: 1.1em; }
  .badge { position: absolute; inset-block-start: -.2em; inset-inline-end: -.3em; min-inline-size: 1.5em; padding-inline: .35em; border-radius: 1em; background: var(--bad); color: var(--surface); border: 1px solid var(--surface); font-size: .65em; font-weight: 700; text-align: center; }
  .panel { position: absolute; z-index: var(--tellwire-layer, 1000); inset-block-start: calc(100% + .5em); inset-inline-end: 0; inline-size: min(24em, 92vw); max-block-size: min(32em, 75vh); overflow: auto; overscroll-behavior: contain; box-shadow: 0 8px 30px rgb(0 0 0 / .2); }
  header { position: sticky; inset-block-start: 0; display: flex; flex-wrap: wrap; gap: .5em; align-items: center; padding: .7em .9em; background: var(--surface); border-block-end: 1px solid var(--line); }
  header b { flex: 1; }
  .day { padding: .6em .9em .2em; font-size: .8em; color: var(--muted); }
  li { display: flex; gap: .7em; padding: .6em .9em; scroll-margin-block: 4em; }
  .end { display: grid; justify-items: end; align-content: start; }
  .unread { border-inline-start: 3px solid var(--accent); padding-inline-start: calc(.9em - 3px); background: color-mix(in srgb, var(--accent) 7%, transparent); }
  .empty { padding: 1.5em; text-align: center; }
  .older { padding: .7em; text-align: center; }
`;

  #isOpen = false;

  /** The panel is shown. */
  get open(): boolean {
    return this.#isOpen;
  }

  set open(isOpen: boolean) {
    this.#isOpen = isOpen;
    this.toggleAttribute("open", isOpen);
    this.update();
  }

  protected override stores(feed: Feed) {
    return [feed.notifications, feed.errors];
  }

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("pointerdown", this.#pressed);
    this.onkeydown = this.#typed;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    document.removeEventListener("pointerdown", this.#pressed);
  }

  protected override view(): Child[] {
    const { speaker } = this;
    const entries = entriesOf(this.feed);
    const unread = entries.filter(({ isRead }) => !isRead).length;
    const { unseen = 0, markAllSeen } = this.feed?.notifications.get() ?? {};
    // One that arrives while the panel is shown is seen there; it is read when the user says so.
    if (this.open && unseen > 0) markAllSeen?.();
    return [
      h(
        "button",
        {
          class: "icon bell",
          part: "button",
          "aria-expanded": String(this.open),
          "aria-controls": "panel",
          "aria-label": unread === 0 ? speaker.say("bell") : speaker.count("bellUnread", unread),
          onclick: this.#toggle,
        },
        BELL,
        unread > 0 &&
          h(
            "span",
            { class: "badge", part: "badge", "aria-hidden": "true" },
            unread > 99 ? "99+" : speaker.number(unread),
          ),
      ),
      h(
        "section",
        {
          id: "panel",
          tabindex: -1,
          class: "card panel",
          part: "panel",
          hidden: !this.open,
          "aria-label": speaker.say("bell"),
        },
        ...(this.open ? this.#panel(entries, unread) : []),
      ),
    ];
  }

  #panel(entries: readonly Entry[], unread: number): Child[] {
    const { speaker } = this;
    const { hasMore, isLoading, loadMore } = this.feed?.notifications.get() ?? {};
    return [
      h(
        "header",
        {},
        h("b", {}, speaker.say("bell")),
        h("button", { key: "read", disabled: unread === 0, onclick: this.#read }, speaker.say("markAllRead")),
        h("button", { key: "clear", disabled: entries.length === 0, onclick: this.#clear }, speaker.say("clearAll")),
      ),
      ...this.#days(entries),
      entries.length === 0 && h("p", { key: "none", class: "empty quiet" }, speaker.say("noNotifications")),
      hasMore &&
        h(
          "p",
          { key: "older", class: "older" },
          h("button", { disabled: isLoading, onclick: () => void loadMore?.() }, speaker.say("older")),
        ),
    ];
  }

  /** A list for each day, newest first. */
  #days(entries: readonly Entry[]): Child[] {
    const { speaker } = this;
    const days = new Map<string, Child[]>();
    for (const entry of entries) {
      const day = speaker.day(entry.time, Date.now());
      days.set(day, [...(days.get(day) ?? []), this.#line(entry)]);
    }
    return [...days].flatMap(([day, lines]) => [
      h("p", { key: day, class: "day", "aria-hidden": "true" }, day),
      h("ol", { key: day, "aria-label": day }, ...lines),
    ]);
  }

  #line(entry: Entry): Child {
    const { speaker } = this;
    const { id, time, isRead } = entry;
    const name = speaker.say("remove", { name: titleOf(entry, speaker) });
    return h(
      "li",
      { key: id, part: "notification", class: !isRead && "unread" },
      ...bodyOf(entry, speaker, () => this.feed?.notifications.get().markRead(id)),
      h(
        "div",
        { class: "end" },
        h("button", { class: "icon", "aria-label": name, onclick: () => this.#dismiss(id) }, CLOSE),
        h("time", { class: "quiet", datetime: new Date(time).toISOString() }, speaker.clock(time)),
        !isRead && h("span", { class: "hidden" }, speaker.say("unread")),
      ),
    );
  }

  #dismiss(id: string): void {
    dismiss(this.feed, id);
    // Its button is gone.
    this.focusOn("#panel");
  }

  readonly #read = (): void => {
    this.feed?.notifications.get().markAllRead();
    this.feed?.errors.get().markAllRead();
    // Its button is disabled.
    this.focusOn("#panel");
  };

  readonly #clear = (): void => {
    this.feed?.notifications.get().dismissAll();
    this.feed?.errors.get().dismissAll();
    this.focusOn("#panel");
  };

  readonly #toggle = (): void => {
    this.open = !this.open;
  };

  readonly #pressed = (event: PointerEvent): void => {
    if (this.open && !event.composedPath().includes(this)) this.open = false;
  };

  readonly #typed = ({ key }: KeyboardEvent): void => {
    if (key !== "Escape" || !this.open) return;
    this.open = false;
    this.focusOn(".bell");
  };
}
