// The provider: one client and its feed for the components below it, connected while it is mounted.

import { type AnyClient, type Client, type ClientOptions, TellwireClient } from "@tellwire/client";
import { createFeed, type Feed, type FeedOptions } from "@tellwire/client/feed";
import { type SharedOptions, sharedClient } from "@tellwire/client/shared";
import { createContext, type ReactElement, type ReactNode, useContext, useEffect, useRef, useState } from "react";
import { disabledClient } from "./disabled.js";
import { userOf } from "./token.js";
import { useLatest } from "./useSource.js";

const FeedContext = createContext<Feed | undefined>(undefined);

/** A client that exists: of `sharedClient`, or of a test. */
export type ProviderClient = Client | AnyClient;

type Identity =
  | {
      /** Share one connection with the other tabs of this browser. */
      shared: true;
      /** The user's id, as the server knows it. Null: nobody is signed in, and there is no connection. */
      user: string | null;
    }
  | {
      shared?: false | undefined;
      /** The user's id, as the server knows it: nothing of another one is shown. Null: nobody is signed in. */
      user?: string | null | undefined;
    };

type Access =
  | { getToken: NonNullable<ClientOptions["getToken"]>; token?: undefined }
  | {
      /** The token. Null, undefined or "": nobody is signed in, and there is no connection. */
      token: string | null | undefined;
      getToken?: undefined;
    };

type NewClient = Omit<ClientOptions, "getToken" | "user"> & Identity & Access & { client?: undefined };

type GivenClient = { [Option in keyof ClientOptions | "token" | "shared" | "user"]?: undefined } & {
  /** An existing client. Make it outside of components, or in a `useState`; better say `shared`. */
  client: ProviderClient;
};

interface Common {
  /** False: there is no connection, and the hooks return the same as before the first one. Default: true. */
  enabled?: boolean;
  /** `{ kept: false }`: only the notifications that arrive. Default: also those that the server keeps. */
  notifications?: FeedOptions["notifications"];
  children?: ReactNode;
}

/** The options of a client, or a client. */
export type TellwireProviderProps = (GivenClient | NewClient) & Common;

/**
 * Connect while mounted, and provide the hooks of the components below.
 *
 * With another `url`, `user`, `client` or user's `token` it starts anew: with a new connection, and nothing of what was
 * before. The `getToken` of the last render is called; all other options are those of the first. A client that was
 * connected before is left open when the provider is unmounted.
 */
export function TellwireProvider(props: TellwireProviderProps): ReactElement {
  const feed = useFeedOf(props);
  useEffect(() => feed.start(), [feed]);
  useRenewal(feed, props.token);
  useWarning(props.client);
  return <FeedContext.Provider value={feed}>{props.children}</FeedContext.Provider>;
}

/** Return the feed of the provider above. Throws if there is none. */
export function useFeed(hook = "useFeed"): Feed {
  const feed = useContext(FeedContext);
  if (feed === undefined) {
    throw new Error(
      `${hook}: got no provider above this component; allowed: components inside a <TellwireProvider url=… getToken=…>.` +
        " While nobody is signed in, keep it and say enabled={false}; in a test, client={fakeClient()}.",
    );
  }
  return feed;
}

interface Kept {
  /** The client or the options that the feed was made for. */
  readonly of: readonly unknown[];
  readonly feed: Feed;
}

function useFeedOf(props: TellwireProviderProps): Feed {
  const latest = useLatest(props);
  const of = identityOf(props);
  const make = (): Kept => {
    const { notifications } = props;
    return { of, feed: createFeed(clientOf(props, latest), { ...(notifications && { notifications }) }) };
  };
  const [kept, keep] = useState(make);
  if (kept.of.every((each, index) => each === of[index])) return kept.feed;
  const next = make();
  keep(next);
  return next.feed;
}

/** Return all that makes a connection another one. */
function identityOf(props: TellwireProviderProps): readonly unknown[] {
  const { client, url, user, shared, token } = props;
  return [isEnabled(props), client, url, user, shared === true, token && userOf(token)];
}

function isEnabled({ enabled = true, user, getToken, token, client }: TellwireProviderProps): boolean {
  return enabled && user !== null && (client !== undefined || getToken !== undefined || Boolean(token));
}

function clientOf(props: TellwireProviderProps, latest: { readonly current: TellwireProviderProps }): Client {
  if (!isEnabled(props)) return disabledClient();
  if (props.client !== undefined) return props.client as Client;
  const { children: _, client: __, enabled: ___, notifications: ____, token: _____, shared, user, ...options } = props;
  const getToken: ClientOptions["getToken"] = (why) => {
    const { token, getToken } = latest.current;
    return getToken === undefined ? (token ?? "") : getToken(why);
  };
  const all = { ...options, ...(user != null && { user }), getToken } as SharedOptions;
  return (shared ? sharedClient(all) : new TellwireClient(all)) as unknown as Client;
}

/** Connect at once with a new token: the old one may be the reason why there is no connection. */
function useRenewal({ client }: Feed, token: string | null | undefined): void {
  const before = useRef(token);
  useEffect(() => {
    if (token && token !== before.current && client.state.status === "waiting") client.connect();
    before.current = token;
  }, [client, token]);
}

declare const process: { readonly env: { readonly NODE_ENV?: string } };

/** In development, say that a client is made in each render. */
function useWarning(client: ProviderClient | undefined): void {
  const seen = useRef({ client, changes: 0 });
  useEffect(() => {
    try {
      if (process.env.NODE_ENV !== "production") {
        const before = seen.current;
        const changes = client === undefined || client === before.client ? 0 : before.changes + 1;
        seen.current = { client, changes };
        const user = client?.state.user;
        const isSameUser = user !== undefined && user === before.client?.state.user;
        if (changes > 1 || (changes === 1 && isSameUser)) console.warn(NEW_CLIENTS);
      }
    } catch {
      // There is no `process`, so nobody has said that this is development.
    }
  });
}

const NEW_CLIENTS =
  "TellwireProvider: got another client in each render, so that each render connects anew and forgets everything; " +
  "allowed: <TellwireProvider shared url=… user=… getToken=…>, or a client that is made once, outside of the component";
