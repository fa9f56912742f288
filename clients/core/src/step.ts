// One step of the state machine: the model as it becomes, and the actions so far.

import type { Action, Context, Due, Model, Stream } from "./model.js";
import type { Options } from "./options.js";
import type { Outcome } from "./requests.js";
import type { CloseReason, ConnectionState } from "./types.js";

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** One step: the model as it becomes, the context of the event, and the actions so far. */
export type Step = Writable<Model> & Context & { due: Due; streams: Map<string, Stream>; actions: Action[] };

export const OPEN: ConnectionState = { status: "open", attempt: 0 };

/** Change the state: the same object as before, unless something in it is another. */
export function become(step: Step, state: ConnectionState, reason?: CloseReason): void {
  const user = step.userId ?? step.claim;
  const next = { ...state, ...(reason && { reason }), ...(user !== undefined && { user }) };
  if (JSON.stringify(next) !== JSON.stringify(step.state)) step.state = next;
}

export function send({ actions, current }: Step, message: { type: string; [field: string]: unknown }): void {
  actions.push({ type: "send", connection: current as number, message });
}

export function settled({ actions }: Step): (outcome: Outcome) => void {
  return (outcome) => actions.push({ type: "settle", ...outcome });
}

export function bound({ backoffFirst, backoffMax }: Options, failures: number): number {
  return Math.min(backoffMax, backoffFirst * 2 ** failures);
}

export function milliseconds(seconds: unknown): number | undefined {
  return typeof seconds === "number" && seconds > 0 ? seconds * 1000 : undefined;
}
