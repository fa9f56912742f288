// `<tellwire-status>`: the state of the connection in a word or two, and a button that connects now.

import type { ConnectionState } from "@tellwire/client";
import type { Feed } from "@tellwire/client/feed";
import { type Child, h } from "./dom.js";
import { TellwireElement } from "./element.js";
import type { Tone } from "./icons.js";
import type { Speaker } from "./words.js";

export class TellwireStatus extends TellwireElement {
  static override readonly look = `
  :host { display: inline-flex; flex-wrap: wrap; align-items: center; gap: .5em; }
  .pill { display: inline-flex; align-items: center; gap: .45em; white-space: nowrap; font-size: .9em; font-variant-numeric: tabular-nums; }
  .dot { inline-size: .6em; block-size: .6em; border-radius: 50%; background: var(--tone); border: 1px solid var(--tone); }
  [data-tone="busy"] .dot { background: none; }
  @media (forced-colors: active) { .dot { border-color: CanvasText; } [data-tone="good"] .dot { forced-color-adjust: none; background: CanvasText; } }
`;

  #timer: ReturnType<typeof setInterval> | undefined;

  protected override stores(feed: Feed) {
    return [feed.connection];
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#count(false);
  }

  protected override view(): Child[] {
    const { speaker } = this;
    const state = this.feed?.connection.get() ?? { status: "idle", attempt: 0 };
    const isMissing = state.recovered === false;
    this.#count(state.retryAt !== undefined);
    return [
      h(
        "span",
        { class: "pill", part: "pill", "data-tone": isMissing ? "warn" : toneOf(state), title: state.reason?.message },
        h("span", { class: "dot", "aria-hidden": "true" }),
        h("span", { class: "hidden" }, `${speaker.say("status")}: `),
        wordsOf(state, speaker),
      ),
      h("span", { class: "quiet", part: "missing", hidden: !isMissing }, speaker.say("missing")),
      // It stays while an attempt is under way: who has pressed it keeps the focus.
      h(
        "button",
        { part: "connect", hidden: state.status === "open" || state.status === "idle", onclick: this.#press },
        speaker.say("connectNow"),
      ),
      h("span", { class: "hidden", role: "status" }, spokenOf(state, speaker)),
    ];
  }

  /** Draw anew each second while there is a time to wait. */
  #count(isWaiting: boolean): void {
    if (isWaiting === (this.#timer !== undefined)) return;
    clearInterval(this.#timer);
    this.#timer = isWaiting ? setInterval(() => this.update(), 1000) : undefined;
  }

  readonly #press = (): void => {
    const { status } = this.feed?.connection.get() ?? {};
    if (status === "waiting" || status === "closed") this.feed?.client.connect();
  };
}

function toneOf({ status }: ConnectionState): Tone {
  if (status === "open") return "good";
  return status === "waiting" || status === "closed" ? "bad" : "busy";
}

function wordsOf({ status, retryAt, attempt, reason }: ConnectionState, speaker: Speaker): string {
  if (status === "open") return speaker.say("live");
  if (status === "closed") return speaker.say("disconnected");
  if (status !== "waiting") return speaker.say(attempt <= 1 && reason === undefined ? "connecting" : "reconnecting");
  if (retryAt === undefined) return speaker.say("offline");
  return speaker.say("retry", { time: speaker.span(Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))) });
}

/** The words for those who hear the page: they change only with important events, not with each second. */
function spokenOf({ status, retryAt, recovered }: ConnectionState, speaker: Speaker): string {
  if (status === "open")
    return recovered === false ? `${speaker.say("live")}. ${speaker.say("missing")}` : speaker.say("live");
  if (status === "closed") return speaker.say("disconnected");
  if (status === "waiting") return speaker.say(retryAt === undefined ? "offline" : "reconnecting");
  return "";
}
