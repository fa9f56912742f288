// The presence of a topic, in a step of the state machine: who is there. It is asked for by a request of the client's own, as soon
// as the topic is subscribed to, and again after every answer about it; until then what was told before is not live.

import type { MemberData } from "./messages.js";
import { type Outcome, OWN } from "./requests.js";
import type { Step } from "./step.js";
import { PREFIX, put, streamIn, topicsOf } from "./streams.js";
import type { Message, PresenceState } from "./types.js";

export const NOBODY: PresenceState = { members: [], count: 0, isComplete: false, isLive: false };

/** The application wants to know who is in a topic. */
export function watch(step: Step, { stream }: { stream: string }): void {
  const { state, mode, presence } = step.streams.get(stream) ?? {};
  if (!state || presence) return;
  put(step, stream, { presence: NOBODY });
  // Otherwise an answer is due.
  if (state.status === "subscribed" && !/^(RES|BUF)/.test(mode as string)) askPresence(step, stream);
}

/** Ask who is in a topic, if that is wanted, and the server has not said that nobody is told. */
export function askPresence(step: Step, stream: string): void {
  const { presence } = streamIn(step, stream);
  if (!presence || presence.error?.code === "PRESENCE_OFF") return;
  forgetAsking(step, stream);
  const id = `${step.random().toString(36).slice(2)}p${++step.asked}`;
  put(step, stream, { asking: id });
  const text = JSON.stringify({ type: "presence", topic: stream.slice(PREFIX.length), id });
  step.requests = [...step.requests, { id, text, until: OWN, sentOn: 0, at: 0, failures: 0 }];
}

/** Wait for no answer: the connection has ended, or the subscription. */
export function forgetAsking(step: Step, stream: string): void {
  const { asking } = streamIn(step, stream);
  step.requests = step.requests.filter(({ id }) => id !== asking);
}

/** Take the outcome of a request; return true if it was the client's own. */
export function isPresenceAnswer(step: Step, { id, error }: Outcome): boolean {
  const [stream] = topicsOf(step.streams).find(([, { asking }]) => asking === id) ?? [];
  if (stream && error) put(step, stream, { presence: { ...NOBODY, error } });
  return !!stream;
}

/** Take in a `presence`, a `join` or a `leave`. */
export function told(step: Step, { type, data }: Message): void {
  const { topic, count, members, userId, info } = (data ?? {}) as Told;
  const stream = PREFIX + topic;
  const { presence: before } = step.streams.get(stream) ?? {};
  if (!before || typeof count !== "number") return;
  const isSnapshot = type === "presence";
  if (!isSnapshot && !before.isLive) return;
  const isOther = (each: MemberData): boolean => each.userId !== userId;
  const member = { userId, ...(info && { info }) };
  let next = before.members;
  if (isSnapshot) next = members ?? next;
  else if (type === "leave") next = next.filter(isOther);
  else next = next.every(isOther) ? [...next, member] : next.map((each) => (isOther(each) ? each : member));
  const isKnown = isSnapshot ? members : before.isComplete;
  put(step, stream, {
    presence: { members: next, count, isComplete: !!isKnown && next.length === count, isLive: true },
  });
}

/** The data of each of the three messages. */
interface Told extends MemberData {
  readonly topic: string;
  readonly count: number;
  readonly members?: readonly MemberData[];
}
