// The user of a client, as pure code: whose tokens and whose welcomes are taken. Another user's end the session.
//
// A claim is compared with claims, and the id of a welcome with ids, since a server may take the id from elsewhere. An
// application that says who the user is says both.

import type { Options } from "./options.js";
import { claimOf } from "./token.js";
import type { CloseReason } from "./types.js";

export const OTHER_USER: CloseReason = {
  code: 4403,
  error: "TOKEN_OF_ANOTHER_USER",
  message: "the token is another user's",
  kind: "user",
};

/** Return the user that a token names; undefined if it names none. */
export function claimedUser(token: string, { userClaim }: Options): string | undefined {
  const user = claimOf(token, userClaim);
  return typeof user === "string" || typeof user === "number" ? `${user}` : undefined;
}

/** Return true if two users are known, and are not the same. */
export function isOther(known: string | undefined, user: unknown): boolean {
  return known !== undefined && user !== undefined && known !== user;
}
