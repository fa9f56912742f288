// The connection that is open, in a step of the state machine: its signs of life, its token, its age, and its requests.

import { awaitedSince, proceed } from "./requests.js";
import { type Step, send, settled } from "./step.js";
import { goOnWithTopics } from "./topics.js";

/** Shortest time to the next renewal of a token, in milliseconds. */
const RENEW_AGAIN_MS = 1_000;

/** The current connection is alive. */
export function heard(step: Step): void {
  delete step.due.answer;
  step.heardAt = step.now;
}

/** Ask for a sign of life within some time. */
export function probe(step: Step, milliseconds: number): void {
  const { due, now, heartbeat } = step;
  if (!heartbeat) return;
  if (!due.answer) send(step, { type: "ping" });
  due.answer = Math.min(now + milliseconds, due.answer ?? Infinity);
}

/** Schedule the renewal of the token before it expires. It is tried again until a new one was accepted. */
export function scheduleRenewal({ due, now, random, expiresAt = now, options }: Step): void {
  const remaining = expiresAt - now;
  // A token that expired and was accepted all the same says that the clock here is wrong.
  if (remaining <= 0) delete due.renew;
  else due.renew = now + Math.max(remaining - options.renewBefore * (1 + random()), remaining / 2, RENEW_AGAIN_MS);
}

/** Schedule a successor for this connection. Jitter spreads the successors of connections that opened together. */
export function scheduleRotation({ due, openedAt, rotateAfter, random }: Step): void {
  if (rotateAfter) due.rotate = openedAt + rotateAfter * (0.96 + 0.08 * random());
}

/** Go on after any event: send requests or give them up, and see that a silent connection is sent a ping in time. */
export function goOn(step: Step): void {
  const { now, due, heardAt, heartbeat, options, actions, current = 0, isVerified, leases } = step;
  const send = (text: string): void => void actions.push({ type: "send text", connection: current, text });
  goOnWithTopics(step);
  due.requests = proceed(step, now, isVerified ? current : 0, send, settled(step));
  delete due.heartbeat;
  if (!current || !heartbeat || due.answer) return;
  const awaited = Math.max(heardAt, awaitedSince(step, current)) + options.answerTimeout / 2;
  due.heartbeat = Math.min(heardAt + Math.min(heartbeat, ...leases.values()), awaited);
}
