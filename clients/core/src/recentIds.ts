// Deduplication by id. A message may arrive twice: by two connections while one replaces the other, or in a welcome after
// it had passed without one.

import { MAX_IDS } from "./limits.js";
import type { Message } from "./types.js";

export class RecentIds {
  readonly #ids = new Set<string>();

  /** Return true unless a message with this id was added before. A message without an id is always new. */
  add({ id }: Message): boolean {
    if (id === undefined) return true;
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > MAX_IDS) this.#ids.delete(this.#ids.values().next().value as string);
    return true;
  }
}
