// Which messages were passed on already. Two connections bring some of them twice while one takes over from the other.

import type { AnyMessage } from "./types.js";

/** More than can arrive in the seconds that two connections are both open, and little to keep. */
const REMEMBERED = 1_000;

/** Return what tells whether a message is new, and remembers it. One without an id always is. */
export function newcomers(): (message: AnyMessage) => boolean {
  const ids = new Set<string>();
  return ({ id }) => {
    if (id === undefined) return true;
    if (ids.has(id)) return false;
    ids.add(id);
    if (ids.size > REMEMBERED) ids.delete(ids.values().next().value as string);
    return true;
  };
}
