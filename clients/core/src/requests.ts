// The requests of the application, as pure code. Each is sent in its turn, again on every connection that follows, and
// again later after an error that allows it. It is settled once: by the server's answer, or when its time is over.
//
// The server knows a repeated request by its id, so whatever was not answered can be repeated.

import { RETRYABLE } from "./errorCodes.js";
import { MAX_REQUEST_CHARACTERS, MAX_REQUESTS } from "./limits.js";
import { type Pacing, takeTurn } from "./pacing.js";
import type { Message } from "./types.js";

export interface Request {
  readonly id: string;
  readonly text: string;
  /** Time at which it is given up. All times are in milliseconds since 1970. */
  readonly until: number;
  /** The connection that it was sent on; 0 if it is to be sent. */
  readonly sentOn: number;
  /** Time at which it was sent, or from which on it may be. */
  readonly at: number;
  /** Errors after which it was to be repeated. */
  readonly failures: number;
}

/** The time of a request that the client makes for itself: it waits until it is answered or withdrawn. */
export const OWN = Infinity;

/** The outcome of a request. */
export type Outcome = { readonly id: string; readonly result?: unknown; readonly error?: Failure };

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly details?: unknown;
}

/** The reason why a request was not done: a code of the server, or TIMEOUT, QUEUE_FULL, CLOSED or USER. */
export class RequestError extends Error {
  readonly code: string;
  readonly details: unknown;

  constructor({ code, message, details }: Failure) {
    super(message);
    this.name = "RequestError";
    this.code = code;
    this.details = details;
  }
}

/** The part of the model that requests change. */
export interface Queue extends Pacing {
  /** Requests without an answer, in the order of their calls. */
  requests: readonly Request[];
}

/** Settles requests. */
export type Settle = (outcome: Outcome) => unknown;

const TIMEOUT = { code: "TIMEOUT", message: "the server did not answer in time" };
const QUEUE_FULL = { code: "QUEUE_FULL", message: "too many requests wait for an answer" };

/** Add a request, if there is room for it. */
export function addRequest(
  queue: Queue,
  { id, text, until }: Pick<Request, "id" | "text" | "until">,
  settle: Settle,
): void {
  const waiting = queue.requests.filter((each) => each.until < OWN);
  const characters = waiting.reduce((sum, each) => sum + each.text.length, text.length);
  if (waiting.length >= MAX_REQUESTS || characters > MAX_REQUEST_CHARACTERS) settle({ id, error: QUEUE_FULL });
  else queue.requests = [...queue.requests, { id, text, until, sentOn: 0, at: 0, failures: 0 }];
}

/** Settle all requests with an error. */
export function rejectAll(queue: Queue, error: Failure, settle: Settle): void {
  for (const { id, until } of queue.requests) if (until < OWN) settle({ id, error });
  queue.requests = [];
}

/**
 * Take in an `ok` or an `error`: settle its request, or repeat it later. An error without an id that asks for patience may
 * be about any of those that were sent. Return true if the message has an id: it is for nobody else.
 */
export function takeAnswer(queue: Queue, { type, data }: Message, later: (failures: number) => number, settle: Settle) {
  const { id, result, ...error } = (data ?? {}) as { id?: unknown; result?: unknown } & Failure;
  const isError = type === "error";
  const isAboutAny = id === undefined && error.code === "TOO_MANY_REQUESTS";
  if (isError && RETRYABLE.includes(error.code)) {
    const isAbout = (each: Request): boolean => each.id === id || (isAboutAny && each.sentOn > 0);
    queue.requests = queue.requests.map((each) =>
      isAbout(each) ? { ...each, sentOn: 0, at: later(each.failures), failures: each.failures + 1 } : each,
    );
  } else if (queue.requests.some((each) => each.id === id)) {
    queue.requests = queue.requests.filter((each) => each.id !== id);
    settle({ id: id as string, ...(isError ? { error } : { result }) });
  }
  return id !== undefined;
}

/**
 * Give up requests whose time is over, and send those that may go on a connection, if there is one. Return
 * the time at which there is more to do.
 */
export function proceed(
  queue: Queue,
  now: number,
  connection: number,
  send: (text: string) => void,
  settle: Settle,
): number {
  const isOver = ({ until }: Request): boolean => until <= now;
  for (const { id } of queue.requests.filter(isOver)) settle({ id, error: TIMEOUT });
  let next = Infinity;
  queue.requests = queue.requests
    .filter((each) => !isOver(each))
    .map((each) => {
      next = Math.min(next, each.until);
      if (!connection || each.sentOn === connection) return each;
      const at = each.at > now && !each.sentOn ? each.at : takeTurn(queue, now);
      if (at <= now) {
        send(each.text);
        return { ...each, sentOn: connection, at: now };
      }
      next = Math.min(next, at);
      return each;
    });
  return next;
}

/** Return the time since which an answer on a connection is awaited; Infinity if none is. */
export function awaitedSince({ requests }: Queue, connection: number): number {
  return Math.min(...requests.filter(({ sentOn }) => sentOn === connection).map(({ at }) => at));
}
