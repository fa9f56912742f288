// The streams of a client, in a step of its state machine: the messages that pass, as resequencer.ts says for each stream.
// What is not known to be the user's is held until their welcome.

import { MAX_BUFFERED } from "./limits.js";
import type { Model, Stream, Streams } from "./model.js";
import { hasPosition, type Resequenced, resequence, safeCursorOf, startPassingThrough } from "./resequencer.js";
import { become, milliseconds, OPEN, type Step } from "./step.js";
import type { Cursors, Message, TopicState } from "./types.js";

/** The stream of the user. */
export const USER = "user";
/** The beginning of the streams of topics. */
export const PREFIX = "topic:";

const ENDED = ["complete", "failed", "cancelled"];

/** Return the cursors to come back with, by stream. */
export function cursorsOf({ streams }: Pick<Model, "streams">): Cursors {
  const cursors: Record<string, string> = {};
  for (const [name, stream] of streams) {
    const cursor = safeCursorOf(stream);
    if (cursor !== undefined && (stream.state || name === USER)) cursors[name] = cursor;
  }
  return cursors;
}

/** Pass a message on as the resequencer of its stream says. One of a topic that is not followed does not pass. */
export function pass(step: Step, message: Message, isCurrent: boolean): void {
  const stream = streamOf(message);
  const resequencer = step.streams.get(stream);
  if (resequencer === undefined) return;
  if (isCurrent && !hasPosition(message) && !step.isVerified) step.held = [...step.held, message].slice(-MAX_BUFFERED);
  // The current connection brings what a retiring one brings of the streams, too.
  else if (isCurrent || !step.current || resequencer.mode === "PASS_THROUGH" || !hasPosition(message))
    settle(step, stream, resequence(resequencer, message));
}

/** Give a message to the application, and note how soon its upload is to be heard of again. */
export function passOn(step: Step, message: Message): void {
  step.actions.push({ type: "pass", message });
  const { key, data, topic } = message;
  const { leaseSeconds, status } = (data ?? {}) as { leaseSeconds?: number; status?: string };
  const lease = ENDED.includes(status as string) ? undefined : milliseconds(leaseSeconds);
  if (key === undefined || topic !== undefined || !(lease || step.leases.has(key))) return;
  const leases = new Map(step.leases);
  if (lease) leases.set(key, (lease * 2) / 3);
  else leases.delete(key);
  step.leases = leases;
}

/** The messages on the current connection are the user's. */
export function verified(step: Step): void {
  step.isVerified = true;
  for (const message of step.held) passOn(step, message);
  step.held = [];
}

export function streamOf({ topic }: Pick<Message, "topic">): string {
  return topic === undefined ? USER : PREFIX + topic;
}

/** Return a stream that is there. */
export function streamIn({ streams }: Step, stream: string): Stream {
  return streams.get(stream) as Stream;
}

/** Return the streams of topics. */
export function topicsOf(streams: Streams): [string, Stream][] {
  return [...streams].slice(1);
}

/** Change a stream. */
export function put(step: Step, stream: string, changes: Partial<Stream>): void {
  step.streams.set(stream, { ...streamIn(step, stream), ...changes });
}

/** Wait for no welcome any longer. */
export function passThrough(step: Step): void {
  const resequencer = streamIn(step, USER);
  if (resequencer.mode === "BUFFERING") settle(step, USER, startPassingThrough(resequencer));
}

/** Adopt the outcome of a resequencer. */
export function settle(step: Step, stream: string, { resequencer, pass, recovered }: Resequenced): void {
  const { due, now } = step;
  put(step, stream, resequencer);
  for (const message of pass) passOn(step, message);
  if (stream !== USER) {
    if (recovered !== undefined) tellTopic(step, stream, { status: "subscribed", recovered });
    return;
  }
  if (resequencer.mode !== "BUFFERING") delete due[USER];
  // The clock may have been set back since the last hello.
  if (resequencer.mode === "RESYNC" && step.current) due.hello ??= Math.min(step.helloAt, now) + step.helloInterval;
  // The application is told each time that something may be missing.
  if (recovered === false) step.state = OPEN;
  if (recovered !== undefined) become(step, { ...OPEN, recovered });
}

/** Change the state of a topic that is followed: the same object, unless something in it is another, or may be missing. */
export function tellTopic(step: Step, stream: string, state: TopicState): void {
  const known = streamIn(step, stream)?.state;
  if (known && (state.recovered === false || JSON.stringify(state) !== JSON.stringify(known)))
    put(step, stream, { state });
}
