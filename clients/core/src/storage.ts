// The storage of cursors, which outlives a page. It is written a little late on purpose: a page that is loaded anew may
// get a message again, while one whose cursor was stored before its listeners were called would be lost.

import { START } from "./resequencer.js";
import type { ClientOptions, CursorStorage, Cursors, Environment, Unsubscribe } from "./types.js";

const WRITE_MS = 500;
/** Largest number of topics whose cursors are read: of those that a page has left without a word, the last ones. */
const MAX_STORED_TOPICS = 100;

export interface CursorStore {
  /** The cursors that a client begins with. */
  readonly start: Cursors;
  /** The user that they are of, if that was stored. */
  readonly of: string | undefined;
  /** Store the cursors of a user: before long, or when the page is left. */
  put(cursors: Cursors, of: string | undefined): void;
  /** Write now. */
  flush(): void;
}

/** Return the store of a client's cursors. Without a storage it stores nothing. */
export function cursorStore(options: ClientOptions, environment: Environment): CursorStore {
  const { cursorKey = "", url, startFrom, cursors, user } = options;
  const cursorStorage = storageOf(options.cursorStorage);
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

  const put = (next: Cursors, of: string | undefined): void => {
    const text = JSON.stringify({ ...next, ...(Object.keys(next).length > 0 && { of }) });
    if (text === (newest ?? "{}")) return;
    newest = text;
    if (cursorStorage !== undefined) stopWaiting ??= wait();
  };

  const oldest = startFrom === "oldest" ? { user: START } : {};
  const { of, user: own, ...others } = newest === undefined ? {} : parse(newest);
  const topics = Object.entries(others).slice(-MAX_STORED_TOPICS);
  const stored = { ...(own !== undefined && { user: own }), ...Object.fromEntries(topics) };
  const isOurs = newest !== undefined && (of ?? user) === (user ?? of);
  return { start: { ...oldest, ...(isOurs ? stored : cursors) }, of: isOurs ? of : undefined, put, flush };
}

/** Looked up when it is used: the page may not use it, and a server has none. */
const STORAGES: Record<string, () => CursorStorage> = {
  session: () => globalThis.sessionStorage,
  local: () => globalThis.localStorage,
};

/** @throws TypeError if it is none of the things that the option takes. */
function storageOf(given: ClientOptions["cursorStorage"]): CursorStorage | undefined {
  if (given === undefined) return undefined;
  const get = typeof given === "string" ? STORAGES[given] : given;
  if (typeof get === "function") return orUndefined(get) ?? undefined;
  if (typeof get?.getItem === "function") return get;
  throw new TypeError(
    `cursorStorage: got ${JSON.stringify(given)}; allowed: "session", "local", a storage, or a function that returns one`,
  );
}

/** Return the stored cursors. Text that is not ours goes to the server, which then says that messages may be missing. */
function parse(text: string): Cursors & { readonly of?: string } {
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
