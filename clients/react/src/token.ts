// Whose a token is, as far as it can be read. Nothing is verified: the server does that.

/** Return whom a JWT is of. Tokens that are something else are users of their own. */
export function userOf(token: string): string {
  try {
    const [, payload = ""] = token.split(".");
    const { iss, sub } = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
    return typeof sub === "string" ? JSON.stringify([iss, sub]) : token;
  } catch {
    return token;
  }
}
