// Which messages were passed on already. Two connections bring some of them twice while one takes over from the other.

import type { AnyMessage } from "./types.js";

/** More than can arrive in the seconds that two connections are both open, and little to keep. */
const REMEMBERED = 1_000;

export class Seen {
  readonly #ids = new Set<string>();

  /** Tell whether a message is new, and remember it. One without an id always is. */
  isNew({ id }: AnyMessage): boolean {
    if (id === undefined) return true;
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > REMEMBERED) this.#ids.delete(this.#ids.values().next().value as string);
    return true;
  }
}
