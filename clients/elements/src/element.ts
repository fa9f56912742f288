// The base of all elements: the feed of the page's session, the words of the element's language, and its look.

import type { Feed } from "@tellwire/client/feed";
import { type Child, draw } from "./dom.js";
import { LOOK } from "./look.js";
import { connect, hasSession, onSession } from "./session.js";
import { onWords, Speaker, type Words } from "./words.js";

/** A store of a feed, whatever is in it. */
interface Observed {
  readonly subscribe: (listener: () => void) => () => void;
}

const ATTRIBUTES = ["url", "token-url", "user", "lang"];

/**
 * An element of the page's session. The attributes `token-url`, `url` and `user` begin it, where there is none yet.
 */
export abstract class TellwireElement extends HTMLElement {
  static readonly observedAttributes: readonly string[] = ATTRIBUTES;
  /** The rules of an element beside those that all have. */
  static readonly look: string = "";

  protected feed: Feed | undefined;
  readonly root: ShadowRoot;
  #words: Partial<Words> = {};
  #speaker: Speaker | undefined;
  #isOutdated = false;
  #leave: (() => void)[] = [];
  #stops: (() => void)[] = [];

  constructor() {
    super();
    this.root = this.attachShadow({ mode: "open" });
    this.root.adoptedStyleSheets = [sheet(LOOK), sheet((this.constructor as typeof TellwireElement).look)];
  }

  /** Words in place of those of the language. */
  get words(): Partial<Words> {
    return this.#words;
  }

  set words(words: Partial<Words>) {
    this.#words = words;
    this.#respeak();
  }

  /** The stores that the element shows. */
  protected abstract stores(feed: Feed): readonly Observed[];

  /** The tree that is shown now. */
  protected abstract view(): readonly Child[];

  /** Called with every new session, before its first state is shown. */
  protected begin(): void {}

  /** The words of the element's language. */
  protected get speaker(): Speaker {
    this.#speaker ??= new Speaker(languageOf(this), this.#words);
    return this.#speaker;
  }

  connectedCallback(): void {
    this.#speaker = undefined;
    this.#leave = [onSession((feed) => this.#follow(feed)), onWords(() => this.#respeak())];
    this.#connect();
    this.update();
  }

  disconnectedCallback(): void {
    for (const leave of this.#leave) leave();
    this.#unfollow();
  }

  attributeChangedCallback(): void {
    if (!this.isConnected) return;
    this.#connect();
    this.#respeak();
  }

  /** Draw anew, once for all that happens in this task. */
  protected update(): void {
    if (this.#isOutdated) return;
    this.#isOutdated = true;
    queueMicrotask(() => this.redraw());
  }

  protected redraw(): void {
    this.#isOutdated = false;
    if (this.isConnected) draw(this.root, this.view());
  }

  /** Draw, and put the focus on the first of these that is there: the button that had it was removed. */
  protected focusOn(...selectors: string[]): void {
    this.redraw();
    const found = selectors.map((selector) => this.root.querySelector<HTMLElement>(selector));
    found.find((each) => each !== null)?.focus();
  }

  #connect(): void {
    const [url, tokenUrl, user] = ATTRIBUTES.map((name) => this.getAttribute(name));
    if (!(tokenUrl || url) || hasSession()) return;
    connect({
      ...(tokenUrl && { tokenUrl }),
      ...(url && { url: new URL(url, document.baseURI).href.replace(/^http/, "ws") }),
      ...(user && { user }),
    });
  }

  #follow(feed: Feed): void {
    if (feed === this.feed) return;
    this.#unfollow();
    this.feed = feed;
    this.begin();
    this.#stops = this.stores(feed).map((store) => store.subscribe(() => this.update()));
  }

  #unfollow(): void {
    for (const stop of this.#stops) stop();
    this.#stops = [];
    this.feed = undefined;
  }

  #respeak(): void {
    this.#speaker = undefined;
    this.update();
  }
}

const sheets = new Map<string, CSSStyleSheet>();

function sheet(rules: string): CSSStyleSheet {
  const found = sheets.get(rules) ?? new CSSStyleSheet();
  if (!sheets.has(rules)) found.replaceSync(rules);
  sheets.set(rules, found);
  return found;
}

function languageOf(element: HTMLElement): string {
  return element.closest<HTMLElement>("[lang]")?.lang || navigator.language || "en";
}
