// Bounds of the memory of a client.

/** How many messages wait for a welcome. What is left out is asked for again. */
export const MAX_BUFFERED = 1_000;
/** For how many keys the newest version is remembered: more than a server keeps states of. */
export const MAX_KEYS = 1_000;
/** How many ids are remembered: more than can arrive while two connections overlap. */
export const MAX_IDS = 1_000;
