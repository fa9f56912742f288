// The expiry of tokens. The client does not verify a token; it only has to renew it in time.

import type { Message } from "./types.js";

/** Return a claim of a JWT; undefined if it is none, or does not have it. */
export function claimOf(token: string, name: string): unknown {
  try {
    const payload = (token.split(".")[1] as string).replaceAll("-", "+").replaceAll("_", "/");
    const bytes = [...atob(payload)].map((each) => `%${each.charCodeAt(0).toString(16).padStart(2, "0")}`);
    return JSON.parse(decodeURIComponent(bytes.join("")))[name];
  } catch {
    return undefined;
  }
}

/** Return the expiry of a JWT in milliseconds since 1970; undefined if it is no JWT, or never expires. */
export function expiryOf(token: string): number | undefined {
  const exp = claimOf(token, "exp") as number;
  return Number.isFinite(exp) ? exp * 1000 : undefined;
}

/** Return the expiry that a message tells, in milliseconds since 1970 by a clock that now shows `now`. */
export function expiryTold({ data, timestamp }: Message, now: number): number | undefined {
  const told = Date.parse((data as { expiresAt?: string } | null | undefined)?.expiresAt as string);
  // Both times are the server's, so the difference is right even if the clock here is not.
  const remaining = told - Date.parse(timestamp);
  const expiry = Number.isNaN(remaining) ? told : now + remaining;
  return Number.isNaN(expiry) ? undefined : expiry;
}
