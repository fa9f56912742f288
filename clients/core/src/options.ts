// The options of a client with their defaults. `ClientOptions` documents them.

import { START } from "./resequencer.js";
import type { ClientOptions, Cursors } from "./types.js";

/** Default values, in seconds. An undefined one comes from the welcome; only these options may be 0, which is never. */
const DEFAULTS = {
  backoffFirst: 0.5,
  backoffMax: 30,
  stableAfter: 10,
  connectTimeout: 15,
  answerTimeout: 5,
  wakeTimeout: 2,
  renewBefore: 60,
  overlap: 5,
  heartbeat: undefined,
  rotateAfter: undefined,
};

/** In milliseconds, until a welcome says otherwise. */
export const HEARTBEAT_MS = 240_000;
export const ROTATE_AFTER_MS = 6_600_000;

type Defaults = typeof DEFAULTS;
type Name = keyof Defaults;

/** The options that the state machine needs. Times are in milliseconds. */
export type Options = { readonly [N in Name]: Defaults[N] extends number ? number : number | undefined } & {
  /** Say hello, and so recover missed messages. */
  readonly recover: boolean;
  readonly user: string | undefined;
  readonly userClaim: string;
  /** Begin anew as another user, in place of closing. */
  readonly restarts: boolean;
  /** The cursors of a session that has none yet. */
  readonly start: Cursors;
};

/**
 * Return the options of a client.
 *
 * @throws RangeError if one of them is not a number of seconds.
 */
export function resolveOptions(given: Partial<ClientOptions>): Options {
  const options: Record<string, unknown> = {
    recover: given.recover ?? true,
    user: given.user,
    userClaim: given.userClaim ?? "sub",
    restarts: given.onOtherUser === "restart",
    start: given.startFrom === "oldest" ? { user: START } : {},
  };
  for (const [name, fallback] of Object.entries(DEFAULTS)) {
    const seconds = given[`${name as Name}Seconds`] ?? fallback;
    const isAllowed = seconds === fallback || (seconds as number) > 0 || (seconds === 0 && fallback === undefined);
    if (!isAllowed || seconds === Infinity) {
      throw new RangeError(`${name}Seconds: got ${seconds}; allowed: a number ${fallback ? "over" : "from"} 0`);
    }
    options[name] = seconds && seconds * 1000;
  }
  return options as Options;
}
