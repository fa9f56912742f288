// One connection for all tabs of a user in one browser.
//
//     election.ts   which tab leads: a lock and a channel
//     tab.ts        a tab, as the leader or as a follower
//     relay.ts      the sockets of both
//     relayedTopics.ts   which tabs follow a topic
//
//     follower ─▶ leader    ask, send, gone, connect, page: the page woke up, …
//     leader ─▶ followers   state, received

import { TellwireClient } from "./client.js";
import type { Channel, Locks, SharedEnvironment } from "./election.js";
import { environment } from "./environment.js";
import { Tab } from "./tab.js";
import type { AnyEvents, Client, ClientOptions, Environment } from "./types.js";

export type { Channel, Locks, SharedEnvironment };

/** The options of a shared client. */
export interface SharedOptions extends Omit<ClientOptions, "environment" | "onOtherUser"> {
  /**
   * The user of the connection, by any text that is unique to them. Tabs with the same url and user share a connection.
   * It is also the `cursorKey`, unless there is one.
   */
  user: string;
  environment?: Partial<SharedEnvironment>;
}

/**
 * Return a client that shares its connection with the other tabs of this browser. Each tab has its own `getToken`; the
 * leader's is called.
 *
 * Each tab gets every message once, as with a connection of its own, also when another tab takes over. What a tab sends
 * goes by the leader: true means that it was handed on.
 */
export function sharedClient<E extends object = AnyEvents>(options: SharedOptions): Client<E> {
  const { user } = options;
  if (typeof user !== "string" || user === "") {
    throw new TypeError(`user: got ${user}; allowed: a text that names the user, as their id does`);
  }
  const shared = sharedEnvironment(options.environment);
  if (shared.locks === undefined || shared.BroadcastChannel === undefined) return new TellwireClient<E>(options);
  return new Tab<E>(options, shared);
}

function sharedEnvironment(given: Partial<SharedEnvironment> = {}): SharedEnvironment {
  return {
    locks: globalThis.navigator?.locks,
    BroadcastChannel: globalThis.BroadcastChannel,
    isVisible: () => globalThis.document?.visibilityState !== "hidden",
    ...(environment(given) as Partial<SharedEnvironment> & Environment),
  };
}
