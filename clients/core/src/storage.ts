// Where a cursor outlives its page. A little late on purpose: what a reload hears twice does no harm to a page that has
// forgotten everything, while what was stored before it was heard would be lost.

import type { ClientOptions, Environment, Unsubscribe } from "./types.js";

const WRITE_MS = 500;

export interface CursorStore {
  /** The cursor that was there at first. */
  readonly stored: string | undefined;
  /** Keep a cursor whose messages were heard. It is written before long, or when the page is left. */
  keep(cursor: string | undefined): void;
  /** Write what was not written yet. */
  write(): void;
}

/** Return what keeps the cursor of a client, in its storage if it has one. */
export function cursorStore(
  { cursorStorage, cursorKey = "", url }: ClientOptions,
  { setTimeout, clearTimeout, onLeave }: Environment,
): CursorStore {
  const key = `tellwire:cursor:${url}:${cursorKey}`;
  const stored = undisturbed(() => cursorStorage?.getItem(key)) ?? undefined;
  let newest = stored;
  /** Ends the wait to write. */
  let cancel: Unsubscribe | undefined;

  const write = (): void => {
    if (cancel === undefined) return;
    cancel();
    cancel = undefined;
    undisturbed(() => cursorStorage?.setItem(key, newest ?? ""));
  };

  const wait = (): Unsubscribe => {
    const timer = setTimeout(write, WRITE_MS);
    const stop = onLeave(write);
    return () => {
      clearTimeout(timer);
      stop();
    };
  };

  const keep = (cursor: string | undefined): void => {
    if (cursor === newest) return;
    newest = cursor;
    if (cursorStorage !== undefined) cancel ??= wait();
  };

  return { stored, keep, write };
}

/** A storage may throw: it is full, or the page may not use it. Then a reload hears less. */
function undisturbed<T>(use: () => T): T | undefined {
  try {
    return use();
  } catch {
    return undefined;
  }
}
