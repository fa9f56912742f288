// What a client does and when; times in milliseconds. `ClientOptions` explains them.

import type { ClientOptions } from "./types.js";

const DEFAULT_SECONDS = {
  heartbeat: 240,
  answer: 5,
  wake: 2,
  connect: 15,
  firstWait: 0.5,
  longestWait: 30,
  settled: 10,
  renew: 60,
  replace: 6600,
};

type Name = keyof typeof DEFAULT_SECONDS;

export type Settings = Readonly<Record<Name, number>> & {
  /** Say hello, and so miss nothing. */
  readonly recover: boolean;
};

/**
 * Return the settings of a client.
 *
 * @throws RangeError if one of them is not a number of seconds.
 */
export function settingsOf(options: Partial<ClientOptions>): Settings {
  const settings: Record<Name, number> = { ...DEFAULT_SECONDS };
  for (const name of Object.keys(settings) as Name[]) {
    const seconds = options[`${name}Seconds`] ?? settings[name];
    if (!(seconds >= 0 && seconds < Number.POSITIVE_INFINITY)) {
      throw new RangeError(`${name}Seconds: got ${seconds}; allowed: a number from 0`);
    }
    settings[name] = seconds * 1000;
  }
  return { ...settings, recover: options.recover ?? true };
}
