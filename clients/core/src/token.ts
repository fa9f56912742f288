// When a token expires. The client never checks a token; it only wants to renew it in time.

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

/** Return the expiry that an `auth_ok` tells, in milliseconds since 1970 by a clock that now shows `now`. */
export function expiryTold(expiresAt: unknown, timestamp: unknown, now: number): number | undefined {
  const told = Date.parse(expiresAt as string);
  // Both times are the server's, so what is between them is right even if the clock here is not.
  const remaining = told - Date.parse(timestamp as string);
  const expiry = Number.isNaN(remaining) ? told : now + remaining;
  return Number.isNaN(expiry) ? undefined : expiry;
}
