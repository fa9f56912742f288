// The topics of a client, in a step of its state machine: each is a stream (streams.ts) that is asked for on the current
// connection, and again until there is an answer. The mode of its resequencer says how far it is:
//
//     RESYNC     to be asked for, but not before it is due
//     BUFFERING  `subscribe` was said, by itself or in a hello: a page of the answer is due
//     REFUSED    by an error, or by an `unsubscribed` of the server. It is asked for on the next connection, and after a new
//                token
//     LEAVING    `unsubscribe` was said, and its answer is due; or it was left and followed again while it was BUFFERING:
//                what it was asked for is another follower's, so it is asked for anew after the answer
//
// Of one topic there is one request at a time, for a server may be many that answer in any order. So a topic that was left
// stays, without a state, until that was answered; and one that is followed again waits for it.

import { RETRYABLE } from "./errorCodes.js";
import type { Stream } from "./model.js";
import { takeTurn } from "./pacing.js";
import { askPresence, forgetAsking, NOBODY } from "./presence.js";
import {
  cursorOf,
  newResequencer,
  pageOf,
  type Resequencer,
  startBuffering,
  takePage,
  UNKNOWN_TYPE,
  versionOf,
} from "./resequencer.js";
import { bound, type Step, send } from "./step.js";
import { PREFIX, put, settle, streamIn, tellTopic, topicsOf, USER } from "./streams.js";
import type { Message, TopicError, TopicState } from "./types.js";

const SUBSCRIBING: TopicState = { status: "subscribing" };
const NO_ROOM: TopicError = { code: "TOO_MANY_SUBSCRIPTIONS", message: "too many topics are followed" };

/** Follow a topic from a cursor on. `from` is that of a session which has none yet. */
export function follow(
  step: Step,
  event: { stream: string; cursor: string | undefined; from: string | undefined },
): void {
  const { stream, cursor, from } = event;
  const { mode = "RESYNC", isAwaited, presence } = step.streams.get(stream) ?? {};
  const begun = isWaiting(mode) ? { mode: "LEAVING" as const, isAwaited: !!isAwaited } : { mode: "RESYNC" as const };
  step.streams.set(stream, {
    ...newResequencer(cursor),
    ...begun,
    from,
    state: SUBSCRIBING,
    presence: presence && NOBODY,
  });
}

/** Follow a topic no longer. */
export function leave(step: Step, { stream }: { stream: string }): void {
  if (!isWaiting(streamIn(step, stream).mode)) delete step.due[stream];
  forgetAsking(step, stream);
  put(step, stream, { state: undefined, presence: undefined });
}

/** Nothing was said of any topic on the connection that is current from now on. `isLost`: there is none. */
export function beginTopics(step: Step, isLost?: boolean): void {
  for (const [stream, { state, presence }] of topicsOf(step.streams)) {
    askAnew(step, stream);
    if (isLost && presence?.isLive) put(step, stream, { presence: { ...presence, isLive: false } });
    if (isLost && state?.status === "subscribed") put(step, stream, { state: SUBSCRIBING });
  }
}

/** Ask again for topics that were refused: for all, or with this error. */
export function askRefused(step: Step, code?: string): void {
  for (const [stream, { mode, state }] of topicsOf(step.streams))
    if (mode === "REFUSED" && (!code || state?.error?.code === code)) askAnew(step, stream);
}

/** Buffer a stream that is being asked for; return the position to ask for. */
export function ask(step: Step, stream: string, isSeamless?: boolean) {
  const asked = startBuffering(streamIn(step, stream), isSeamless);
  step.streams.set(stream, asked);
  waitFor(step, stream);
  return { cursor: cursorOf(asked), version: versionOf(asked) || undefined };
}

/** Subscribe to the topics that are due, and unsubscribe from those that were left. */
export function goOnWithTopics(step: Step): void {
  const { due, streams } = step;
  const isSilent = !step.current || !step.isVerified || streamIn(step, USER).mode === "BUFFERING";
  let room = step.maxSubscriptions;
  for (const [stream, { mode, state }] of topicsOf(streams)) {
    if (state && mode === "REFUSED") continue;
    room -= 1;
    if (isWaiting(mode) && !isLater(step, stream)) again(step, stream);
    if (isLater(step, stream)) continue;
    delete due[stream];
    if (isSilent || (state && streamIn(step, stream).mode !== "RESYNC")) continue;
    if (state && room < 0) {
      tellTopic(step, stream, { status: "refused", error: NO_ROOM });
      continue;
    }
    due[stream] = takeTurn(step, step.now);
    if (isLater(step, stream)) continue;
    const topic = stream.slice(PREFIX.length);
    if (state) send(step, { type: "subscribe", topic, ...ask(step, stream) });
    else {
      send(step, { type: "unsubscribe", topic });
      put(step, stream, { mode: "LEAVING", isAwaited: false });
      waitFor(step, stream);
    }
  }
}

/** A page has come: all streams that wait for one may wait as long again. */
export function paged(step: Step): void {
  for (const [stream, { mode }] of step.streams) if (isWaiting(mode)) waitFor(step, stream);
}

/** Take in the next page of a topic that is awaited. */
export function subscribed(step: Step, message: Message): void {
  const page = pageOf(message);
  const stream = PREFIX + page?.topic;
  const topic = step.streams.get(stream);
  if (!page || !topic?.isAwaited) return;
  paged(step);
  if (topic.mode === "LEAVING") {
    if (page.last) askAnew(step, stream);
    return;
  }
  settle(step, stream, takePage(topic, page));
  if (!page.last) return;
  put(step, stream, { failures: 0 });
  askPresence(step, stream);
  step.due[stream] = step.now + (topic.state ? step.helloInterval : 0);
}

/**
 * Take in an `error`, or an `unsubscribed`: the server does not let the client have a topic, or has let it go. Return true
 * if it is about topics: then it does not pass.
 */
export function isRefusal(step: Step, message: Message): boolean {
  const { topic, id, code, message: words } = (message.data ?? {}) as { topic?: string; id?: string } & TopicError;
  // A server that knows no topics names none.
  const isAbout = ([stream, { mode }]: [string, Stream]): boolean =>
    topic === undefined ? mode === "BUFFERING" && code === UNKNOWN_TYPE : stream === PREFIX + topic;
  const about = id === undefined ? topicsOf(step.streams).filter(isAbout) : [];
  for (const [stream, { mode, state, presence }] of about) {
    const isLeaving = mode === "LEAVING";
    const isAgain = RETRYABLE.includes(code);
    if (isAgain) again(step, stream);
    else if (isLeaving || (code && !state)) {
      askAnew(step, stream);
      // There is room for another one.
      askRefused(step, NO_ROOM.code);
    } else if (code) {
      forgetAsking(step, stream);
      put(step, stream, { mode: "REFUSED", isAwaited: false, presence: presence && NOBODY });
      delete step.due[stream];
    }
    if (code && !isLeaving)
      tellTopic(step, stream, { status: isAgain ? "subscribing" : "refused", error: { code, message: words } });
  }
  return about.length > 0 || (topic !== undefined && id === undefined);
}

// --- one topic -------------------------------------------------------------------------------------------------------

function isWaiting(mode: Resequencer["mode"]): boolean {
  return mode === "BUFFERING" || mode === "LEAVING";
}

function waitFor({ due, now, options }: Step, stream: string): void {
  due[stream] = now + options.answerTimeout;
}

function isLater({ due, now }: Step, stream: string): boolean {
  return (due[stream] ?? 0) > now;
}

/** Ask again, after a while. */
function again(step: Step, stream: string): void {
  const { failures = 0 } = streamIn(step, stream);
  put(step, stream, { mode: "RESYNC", failures: failures + 1 });
  step.due[stream] = step.now + step.random() * bound(step.options, failures);
}

/** Ask for a topic as if nothing was said of it. One that was left is forgotten. */
function askAnew(step: Step, stream: string): void {
  forgetAsking(step, stream);
  if (streamIn(step, stream).state) put(step, stream, { mode: "RESYNC", failures: 0 });
  else step.streams.delete(stream);
  delete step.due[stream];
}
