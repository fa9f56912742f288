// Bounds of the memory of a client.

/** Largest number of messages that wait for a welcome. Those that are left out are asked for again. */
export const MAX_BUFFERED = 1_000;
/** Largest number of requests without an answer, and of the characters in them. */
export const MAX_REQUESTS = 100;
export const MAX_REQUEST_CHARACTERS = 1 << 20;
/** Largest number of topics in a hello, which is one frame. */
export const MAX_HELLO_TOPICS = 40;
/** Largest number of keys whose newest version is remembered: more than a server keeps states of. */
export const MAX_KEYS = 1_000;
/** Largest number of ids that are remembered: more than can arrive while two connections overlap. */
export const MAX_IDS = 1_000;
