// The guide's `useWebSocket`, with a connection that reconnects. The README lists the differences.

/// <reference types="vite/client" />

import type { ClientOptions } from "@tellwire/client";
import { useEffect, useState, useSyncExternalStore } from "react";
import { LiveSocket } from "./liveSocket.js";
import { MessageLog } from "./messageLog.js";
import { userOf } from "./token.js";
import { useLatest } from "./useSource.js";

/** The options of a client, without the token. Those of the render that makes the connection count. */
export interface UseWebSocketOptions extends Partial<Omit<ClientOptions, "getToken">> {
  /** Default: VITE_WEBSOCKET_URL in the environment that Vite builds with. */
  url?: string;
  /** Default: `query`, which is where the guide's server looks. Prefer `subprotocol`: addresses end up in logs. */
  tokenIn?: "subprotocol" | "query";
}

/** The result of the guide's hook. */
export interface WebSocketAndMessages {
  /** Null in the first render and without a token. */
  ws: WebSocket | null;
  /** The newest 10,000 messages, oldest first. */
  // biome-ignore lint/suspicious/noExplicitAny: the guide's own type: its components read `message.data.progress`
  messages: any[];
}

interface Shown {
  /** The address and the user that the others are of. */
  readonly of: string | undefined;
  readonly received: MessageLog;
  readonly socket: LiveSocket | null;
}

/**
 * Connect with a token while mounted. Returns a socket, null in the first render, and the received messages.
 *
 * `ws` can be used like any WebSocket and reconnects by itself: each time, `open` follows `close`. A new token of the same
 * user is used for the next attempt, or to renew the connection before the old one expires; a token of another user, or
 * one that names no user, makes a new connection, and forgets the messages of before. Without a token there is none. Throws if it knows no url.
 */
export function useWebSocket(
  token: string | null | undefined,
  options: UseWebSocketOptions = {},
): WebSocketAndMessages {
  const [shown, show] = useState<Shown>(() => ({ of: undefined, received: new MessageLog(), socket: null }));
  const latest = useLatest({ token, options });
  const { url } = options;
  const user = token ? userOf(token) : undefined;
  const of = user && `${url} ${user}`;
  // Nothing of another user is returned, also not in this render.
  const { received, socket } = shown.of === of ? shown : { received: new MessageLog(), socket: null };
  if (shown.of !== of) show({ of, received, socket });

  useEffect(() => {
    if (of === undefined) return;
    const { options } = latest.current;
    const getToken = (): string => latest.current.token ?? "";
    const next = new LiveSocket({ tokenIn: "query", ...options, url: url ?? defaultUrl(), getToken });
    // As the guide has messages: as they are on the wire.
    next.client.on("*", ({ replayed: _, ...message }) => received.add(message));
    show({ of, received, socket: next });
    next.client.connect();
    return () => {
      next.close();
      show((before) => (before.socket === next ? { ...before, socket: null } : before));
    };
  }, [url, of, latest, received]);

  useEffect(() => {
    // The old token may be the reason why there is no connection.
    if (token && socket?.client.state.status === "waiting") socket.client.connect();
  }, [token, socket]);

  const messages = useSyncExternalStore(received.subscribe, received.get, () => received.initial);
  return { ws: socket, messages: messages as WebSocketAndMessages["messages"] };
}

function defaultUrl(): string {
  // Vite replaces exactly this expression by the value. Elsewhere there is no `env`.
  const url: string | undefined = import.meta.env?.VITE_WEBSOCKET_URL;
  if (!url) throw new Error("useWebSocket: got no url; allowed: VITE_WEBSOCKET_URL, or useWebSocket(token, { url })");
  return url;
}
