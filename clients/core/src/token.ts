// The expiry of tokens. The client does not verify a token; it only has to renew it in time.

import type { AnyMessage } from "./types.js";

/** Return the expiry of a JWT in milliseconds since 1970; undefined if it is no JWT, or never expires. */
export function expiryOf(token: string): number | undefined {
  try {
    const payload = (token.split(".")[1] as string).replaceAll("-", "+").replaceAll("_", "/");
    const { exp } = JSON.parse(atob(payload));
    return Number.isFinite(exp) ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

/** Return the expiry that a message tells, in milliseconds since 1970 by a clock that now shows `now`. */
export function expiryTold({ data, timestamp }: AnyMessage, now: number): number | undefined {
  const told = Date.parse((data as { expiresAt?: string } | null | undefined)?.expiresAt as string);
  // Both times are the server's, so the difference is right even if the clock here is not.
  const remaining = told - Date.parse(timestamp);
  const expiry = Number.isNaN(remaining) ? told : now + remaining;
  return Number.isNaN(expiry) ? undefined : expiry;
}
