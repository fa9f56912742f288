// The options of a client with their defaults. `ClientOptions` documents them.

import type { ClientOptions } from "./types.js";

/** In seconds. */
const DEFAULTS = {
  backoffFirst: 0.5,
  backoffMax: 30,
  stableAfter: 10,
  connectTimeout: 15,
  answerTimeout: 5,
  wakeTimeout: 2,
  renewBefore: 60,
  overlap: 5,
};

/** In milliseconds, until a welcome says otherwise. */
export const HEARTBEAT_MS = 240_000;
export const ROTATE_AFTER_MS = 6_600_000;

type Name = keyof typeof DEFAULTS;

/** The options that the state machine needs. Times are in milliseconds. */
export type Options = Readonly<Record<Name, number>> & {
  /** Say hello, and so recover what was missed. */
  readonly recover: boolean;
  /** Set by the application, against the welcome. 0: never. */
  readonly heartbeat: number | undefined;
  readonly rotateAfter: number | undefined;
};

/**
 * Return the options of a client.
 *
 * @throws RangeError if one of them is not a number of seconds.
 */
export function resolveOptions(given: Partial<ClientOptions>): Options {
  const options: Record<Name, number> = { ...DEFAULTS };
  for (const name of Object.keys(options) as Name[]) {
    const seconds = given[`${name}Seconds`] ?? options[name];
    options[name] = milliseconds(name, seconds, seconds > 0, "more than 0");
  }
  const orNever = (name: "heartbeat" | "rotateAfter"): number | undefined => {
    const seconds = given[`${name}Seconds`];
    return seconds === undefined ? seconds : milliseconds(name, seconds, seconds >= 0, "a number from 0");
  };
  return {
    ...options,
    recover: given.recover ?? true,
    heartbeat: orNever("heartbeat"),
    rotateAfter: orNever("rotateAfter"),
  };
}

function milliseconds(name: string, seconds: number, isAllowed: boolean, allowed: string): number {
  if (!isAllowed || seconds === Number.POSITIVE_INFINITY) {
    throw new RangeError(`${name}Seconds: got ${seconds}; allowed: ${allowed}`);
  }
  return seconds * 1000;
}
