// The storage of cursors, which outlives a page. It is written a little late on purpose: a page that is loaded anew may
// get a message again, while one whose cursor was stored before its listeners were called would be lost.

import { START } from "./resequencer.js";
import type { ClientOptions, Cursors, Environment, Unsubscribe } from "./types.js";

const WRITE_MS = 500;

export interface CursorStore {
  /** The cursors that a client begins with. */
  readonly start: Cursors;
  /** Store cursors: before long, or when the page is left. */
  put(cursors: Cursors): void;
  /** Write now. */
  flush(): void;
}

/** Return the store of a client's cursors. Without a storage it stores nothing. */
export function cursorStore(options: ClientOptions, environment: Environment): CursorStore {
  const { cursorStorage, cursorKey = "", url, startFrom, cursors } = options;
  const { setTimeout, clearTimeout, onPageHide } = environment;
  const key = `tellwire:cursors:${url}:${cursorKey}`;
  let newest = orUndefined(() => cursorStorage?.getItem(key)) || undefined;
  let stopWaiting: Unsubscribe | undefined;

  const flush = (): void => {
    if (stopWaiting === undefined) return;
    stopWaiting();
    stopWaiting = undefined;
    orUndefined(() => cursorStorage?.setItem(key, newest as string));
  };

  const wait = (): Unsubscribe => {
    const timer = setTimeout(flush, WRITE_MS);
    const ignorePage = onPageHide(flush);
    return () => {
      clearTimeout(timer);
      ignorePage();
    };
  };

  const put = (next: Cursors): void => {
    const text = JSON.stringify(next);
    if (text === (newest ?? "{}")) return;
    newest = text;
    if (cursorStorage !== undefined) stopWaiting ??= wait();
  };

  const oldest = startFrom === "oldest" ? { user: START } : {};
  return { start: { ...oldest, ...(newest === undefined ? cursors : parse(newest)) }, put, flush };
}

/** Return the stored cursors. Text that is not ours goes to the server, which then says that messages may be missing. */
function parse(text: string): Cursors {
  const cursors = orUndefined(() => JSON.parse(text));
  const isMap = typeof cursors === "object" && Object.values(cursors ?? {}).every((each) => typeof each === "string");
  return isMap ? cursors : { user: text };
}

/** A storage may throw: it is full, or the page may not use it. Then nothing is stored. */
function orUndefined<T>(use: () => T): T | undefined {
  try {
    return use();
  } catch {
    return undefined;
  }
}
