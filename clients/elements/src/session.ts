// The session of a page: one client and one feed, which all elements share.
//
//     an element with a token-url, or connect() ─▶ the session ─▶ every element of the page
//
// The session is connected while an element is on the page.

import { type Client, type ClientOptions, TellwireClient } from "@tellwire/client";
import { createFeed, type Feed } from "@tellwire/client/feed";

/** The options of a page's session: those of a client, where `url` and `getToken` have defaults. */
export interface SessionOptions extends Partial<ClientOptions> {
  /**
   * The address that gives a token to the user of the page: an answer of JSON with `token`, or the token as text. It is
   * asked with the page's cookies. In place of `getToken`.
   */
  tokenUrl?: string;
  /** A client that is there already, in place of all other options. */
  client?: Client;
}

let feed: Feed | undefined;
let stop: (() => void) | undefined;
/** The elements on the page, each with its listener. */
const elements = new Set<(feed: Feed) => void>();

/**
 * Begin the session of the page, in place of the one before, and return its feed.
 *
 * @throws TypeError if there is no way to a token.
 */
export function connect(options: SessionOptions): Feed {
  const client = options.client ?? new TellwireClient(clientOptions(options));
  stop?.();
  stop = undefined;
  feed = createFeed(client);
  follow();
  return feed;
}

/** Call with the session's feed, now or when it begins, until the returned function is called. */
export function onSession(listener: (feed: Feed) => void): () => void {
  elements.add(listener);
  follow();
  return () => {
    elements.delete(listener);
    // An element that is moved on the page leaves it and comes back at once.
    queueMicrotask(() => {
      if (elements.size > 0) return;
      stop?.();
      stop = undefined;
    });
  };
}

/** Return true if the page has a session. */
export function hasSession(): boolean {
  return feed !== undefined;
}

/** End the session, and forget it. For tests. */
export function disconnect(): void {
  stop?.();
  feed = stop = undefined;
}

function follow(): void {
  if (feed === undefined || elements.size === 0) return;
  stop ??= feed.start();
  for (const listener of elements) listener(feed);
}

function clientOptions({ tokenUrl, client: _, ...given }: SessionOptions): ClientOptions {
  const getToken = given.getToken ?? (tokenUrl === undefined ? undefined : () => fetchToken(tokenUrl));
  // With an address alone the page's cookies say who it is.
  if (getToken === undefined && given.url === undefined)
    throw new TypeError("there is no way to a token; give token-url, or getToken");
  return { ...given, url: given.url ?? defaultUrl(), getToken };
}

/** The gateway that served this script, or the page's own server. */
function defaultUrl(): string {
  const script = new URL(import.meta.url);
  const served =
    script.pathname.endsWith("/client/tellwire.js") || /\/client\/tellwire-[^/]*\.js$/.test(script.pathname);
  const base = served ? new URL("..", script) : new URL("/", location.href);
  return base.href.replace(/^http/, "ws");
}

async function fetchToken(url: string): Promise<string> {
  const answer = await fetch(url, { credentials: "same-origin", cache: "no-store" });
  // Its address may have more in it than others should see.
  if (!answer.ok) throw new Error(`the token's address answered ${answer.status}`);
  const text = (await answer.text()).trim();
  const token: unknown = text.startsWith("{") ? JSON.parse(text).token : text;
  if (typeof token !== "string" || token === "") throw new Error("the token's address gave no token");
  return token;
}
