// The errors that end a connection, or allow another try. Generated from spec/errors.json by scripts/generate-types.mjs; do not edit.

/** The close code that an `error` stands for where the server cannot close with it, as on AWS. */
export const CLOSE_CODE_OF_ERROR: { readonly [code: string]: number } = {
  CONNECTION_UNKNOWN: 1012,
  HISTORY_UNAVAILABLE: 1013,
  IDENTITY_UNAVAILABLE: 1013,
  KEYS_UNAVAILABLE: 1013,
  NOT_ALLOWED: 4403,
  NOT_SIGNED_IN: 4401,
  TOKEN_EXPIRED: 4401,
  TOKEN_INVALID: 4401,
  TOKEN_MISSING: 4401,
  TOKEN_OF_ANOTHER_USER: 4403,
  TOKEN_REFUSED: 4401,
  TOO_MANY_REQUESTS: 4429,
  USER_SHUT_OUT: 4403,
};

/** The errors after which the same request may succeed. */
export const RETRYABLE: readonly string[] = [
  "CONNECTION_UNKNOWN",
  "HISTORY_UNAVAILABLE",
  "IDENTITY_UNAVAILABLE",
  "KEYS_UNAVAILABLE",
  "REQUEST_RUNNING",
  "TOO_MANY_REQUESTS",
  "TOPIC_RIGHTS_UNAVAILABLE",
];
