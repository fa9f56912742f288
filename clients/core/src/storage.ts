// Where a cursor outlives its page. A little late on purpose: what a reload hears twice does no harm to a page that has
// forgotten everything, while what was stored before it was heard would be lost.

import type { ClientOptions, Environment, Unsubscribe } from "./types.js";

const WRITE_MS = 500;

export class CursorStore {
  readonly #storage: ClientOptions["cursorStorage"];
  readonly #key: string;
  readonly #environment: Environment;
  #cursor: string | undefined;
  #timer: unknown;
  #unsubscribe: Unsubscribe | undefined;

  constructor({ cursorStorage, cursorKey, url }: ClientOptions, environment: Environment) {
    this.#storage = cursorStorage;
    this.#key = `tellwire:cursor:${url}:${cursorKey ?? ""}`;
    this.#environment = environment;
    this.#cursor = this.#undisturbed(() => cursorStorage?.getItem(this.#key)) ?? undefined;
  }

  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** Keep a cursor whose messages were heard. It is written before long, or when the page is left. */
  keep(cursor: string | undefined): void {
    if (cursor === this.#cursor) return;
    this.#cursor = cursor;
    if (this.#storage === undefined) return;
    this.#timer ??= this.#environment.setTimeout(() => this.write(), WRITE_MS);
    this.#unsubscribe ??= this.#environment.onLeave(() => this.write());
  }

  /** Write what was not written yet. */
  write(): void {
    if (this.#timer === undefined) return;
    this.#environment.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#undisturbed(() => this.#storage?.setItem(this.#key, this.#cursor ?? ""));
  }

  /** A storage may throw: it is full, or the page may not use it. Then a reload hears less. */
  #undisturbed<T>(use: () => T): T | undefined {
    try {
      return use();
    } catch {
      return undefined;
    }
  }
}
