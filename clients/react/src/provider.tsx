// The provider: one client for the components below it, connected while it is mounted.

"use client";

import { type Client, type ClientOptions, TellwireClient } from "@tellwire/client";
import { createContext, type ReactElement, type ReactNode, useContext, useEffect, useState } from "react";
import { Session } from "./session.js";
import { useLatest } from "./useSource.js";

const SessionContext = createContext<Session | undefined>(undefined);

type GivenClient = { [Option in keyof ClientOptions]?: undefined } & {
  /** An existing client: one of `sharedClient`, or that of a test. */
  client: Client;
};

interface NewClient extends ClientOptions {
  client?: undefined;
}

/** The options of a client, or a client. */
export type TellwireProviderProps = (GivenClient | NewClient) & { children?: ReactNode };

/**
 * Connect while mounted, and provide the hooks of the components below.
 *
 * With another `url` or `client` it starts anew: with a new connection, without uploads and notifications. The `getToken`
 * of the last render is called; all other options are those of the first. A client that was connected before is left
 * open when the provider is unmounted.
 */
export function TellwireProvider(props: TellwireProviderProps): ReactElement {
  const session = useSessionOf(props);
  useEffect(() => session.start(), [session]);
  return <SessionContext.Provider value={session}>{props.children}</SessionContext.Provider>;
}

function useSessionOf(props: TellwireProviderProps): Session {
  const latest = useLatest(props);
  const getToken: ClientOptions["getToken"] = (why) => {
    const { current } = latest;
    if (current.client !== undefined) throw new Error("getToken: called for a client that is gone");
    return current.getToken(why);
  };
  const make = (): Kept => {
    if (props.client !== undefined) return { of: props.client, session: new Session(props.client) };
    const { children: _, client: __, ...options } = props;
    return { of: props.url, session: new Session(new TellwireClient({ ...options, getToken })) };
  };
  const [kept, keep] = useState(make);
  if (kept.of === (props.client ?? props.url)) return kept.session;
  const next = make();
  keep(next);
  return next.session;
}

interface Kept {
  /** The client or the url that the session was made for. */
  readonly of: Client | string;
  readonly session: Session;
}

/** Return the session of the provider above. Throws if there is none. */
export function useSession(hook: string): Session {
  const session = useContext(SessionContext);
  if (session === undefined)
    throw new Error(`${hook}: got no provider; allowed: components inside a <TellwireProvider>`);
  return session;
}
