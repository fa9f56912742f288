// The client as a pure state machine: an event and its context go in, the next model and the actions come out.
//
// A client has up to three connections:
//
//     pending    an attempt: its token, then its handshake
//     current    open; the client's state is `open` while there is one
//     retiring   was current until `pending` opened, or until it did not answer. What still arrives there is passed on
//
// Rules:
// - An event of any other connection is ignored, also its late token.
// - All times are in `due`; the shell has one timer and sends `tick`.
// - A current connection that does not answer retires, and an attempt begins at once. One that is to be rotated stays
//   current until its successor is open. So neither loses a message.
// - Backoff has full jitter. Its bound doubles with each failure, and starts anew after a connection that was stable, so
//   that a server which accepts everybody and closes again is not hammered. What calls for reconnecting at once does so
//   only as the first failure.
// - A connection that becomes current says hello, and its messages wait for the welcome (resequencer.ts). What `retiring`
//   brings of the streams counts only until then: the welcome brings it again.
//
//     step.ts        one step: the model as it becomes, and its actions
//     streams.ts     the messages that pass: resequencer.ts for each stream
//     topics.ts      the topics that are followed on the current connection
//     presence.ts    who is in them
//     hello.ts       hello, for the user's stream and topics
//     link.ts        the open connection: signs of life, token, age, and the requests of requests.ts
//     guard.ts       whose session it is

import { closeCodeOf, closeReason, closeRule } from "./closeCodes.js";
import { decode } from "./decode.js";
import { claimedUser, isOther, OTHER_USER } from "./guard.js";
import { sayHello } from "./hello.js";
import { goOn, heard, probe, scheduleRenewal, scheduleRotation } from "./link.js";
import type { PongData, WelcomeData } from "./messages.js";
import type { Action, Context, Event, Model, Timer } from "./model.js";
import { HEARTBEAT_MS, type Options, ROTATE_AFTER_MS } from "./options.js";
import { limit, UNLIMITED } from "./pacing.js";
import { isPresenceAnswer, told, watch } from "./presence.js";
import { addRequest, awaitedSince, type Outcome, rejectAll, takeAnswer } from "./requests.js";
import { catchUp, errorOf, newResequencer, pageOf, takePage, UNKNOWN_TYPE } from "./resequencer.js";
import { become, bound, milliseconds, OPEN, type Step, send, settled } from "./step.js";
import { PREFIX, pass, passThrough, settle, streamIn, topicsOf, USER, verified } from "./streams.js";
import { expiryOf, expiryTold } from "./token.js";
import { askRefused, beginTopics, follow, isRefusal, leave, paged, subscribed } from "./topics.js";
import type { CloseReason, Cursors, Message } from "./types.js";

/** Earliness of a timer beyond which the clock was set back, in milliseconds. */
const CLOCK_MS = 1_000;
/** Wait between attempts while the device says that it is offline, in milliseconds. It may be wrong. */
const OFFLINE_MS = 60_000;
/** Longest time from an `error` to a close with 1000 that it explains, in milliseconds. */
const ANNOUNCED_MS = 10_000;
/** Time in which a server that has opened a connection only to refuse it closes it, in milliseconds. */
const REFUSAL_MS = 10;
/** Time after a pong in which messages that it knows of already may still arrive, in milliseconds. */
const BEHIND_MS = 2_000;
/** Shortest time between two hellos on one connection, in milliseconds, until a welcome names a longer one. */
const HELLO_AGAIN_MS = 1_000;
/** Browsers do not say why a handshake failed. So after so many in a row, the token is taken to be the reason. */
const REFUSALS_TO_A_NEW_TOKEN = 4;

/** The reason of a close: a name for an error, perhaps with words for people. */
const ERROR = /^([A-Z][A-Z\d_]*)(?:: (.*))?$/s;

const CLOSED = { code: "CLOSED", message: "the client is closed" };

const OTHER = { code: "USER", message: "the client is another user's now" };

const OFFLINE: CloseReason = { message: "the device is offline", kind: "offline" };
const UNREACHABLE: CloseReason = { message: "the connection could not be made", kind: "lost" };
const LATE_TOKEN: CloseReason = { message: "getToken took too long", kind: "token" };
const SILENT: CloseReason = { code: 1006, message: "the server did not answer", kind: "lost" };

/** Return the model of a new client that begins at these cursors, which are those of a user if that is known. */
export function newModel(options: Options, cursors: Cursors = {}, cursorsOf?: string): Model {
  const { user } = options;
  return {
    options,
    state: { status: "idle", attempt: 0, ...(user !== undefined && { user }) },
    streams: new Map([[USER, newResequencer(cursors[USER])]]),
    ...newSession(user, user),
    cursorsOf,
    isVerified: false,
    due: {},
    connections: 0,
    pendingToken: "",
    token: "",
    offeredToken: "",
    openedAt: 0,
    heardAt: 0,
    helloAt: 0,
    asked: 0,
    end: {},
    failures: 0,
    refusals: 0,
    isRefused: false,
    heartbeat: options.heartbeat ?? HEARTBEAT_MS,
    rotateAfter: options.rotateAfter ?? ROTATE_AFTER_MS,
    helloInterval: HELLO_AGAIN_MS,
    ...UNLIMITED,
  };
}

/** Return the part of a model that is one user's alone, but for the streams. */
function newSession(claim?: string, userId?: string) {
  return { claim, userId, cursorsOf: undefined, held: [], leases: new Map(), requests: [] };
}

/** Return the time at which the next timer is due, in milliseconds since 1970; Infinity without a timer. */
export function nextDue({ due }: Model): number {
  return Math.min(...Object.values(due));
}

/** Return true if a client is neither idle nor closed. */
export function isActive({ state }: Pick<Model, "state">): boolean {
  return state.status !== "idle" && state.status !== "closed";
}

/** Return the next model and the actions. */
export function reduce(before: Model, event: Event, context: Context): [Model, Action[]] {
  const { due, streams } = before;
  const step: Step = { ...before, ...context, due: { ...due }, streams: new Map(streams), actions: [] };
  const handler = HANDLERS[event.type] as (step: Step, event: Event) => void;
  handler(step, event);
  goOn(step);
  const { actions, now: _, online: __, random: ___, ...model } = step;
  return [model, actions];
}

type Handlers = { [T in Event["type"]]: (step: Step, event: Extract<Event, { type: T }>) => void };

const HANDLERS: Handlers = {
  connect,
  close: (step) => close(step),
  token: useToken,
  "token failed": (step, { connection, message }) => {
    if (connection === step.pending) fail(step, { message, kind: "token" });
  },
  opened: (step, { connection }) => {
    if (connection === step.pending) step.due.opened = step.now + REFUSAL_MS;
  },
  received,
  closed,
  request: (step, { timeout, ...request }) => {
    if (step.state.status === "closed") settled(step)({ id: request.id, error: CLOSED });
    else addRequest(step, { ...request, until: step.now + timeout }, settled(step));
  },
  follow,
  leave,
  watch,
  wake,
  online,
  offline,
  tick,
};

// --- connecting ------------------------------------------------------------------------------------------------------

function connect(step: Step): void {
  const { status, reason } = step.state;
  if (isActive(step) && status !== "waiting") return;
  step.failures = 0;
  if (status === "waiting") attempt(step, reason);
  else reconnect(step);
}

/** Make an attempt now, if there is a network. */
function reconnect(step: Step, reason?: CloseReason): void {
  if (step.online) attempt(step, reason);
  else wait(step, OFFLINE, 0);
}

function attempt(step: Step, reason: CloseReason | undefined): void {
  beginConnection(step);
  delete step.due.retry;
  become(step, { status: "connecting", attempt: step.state.attempt + 1 }, reason);
}

/** Begin a connection with its token. */
function beginConnection(step: Step): void {
  dropPending(step);
  const connection = ++step.connections;
  step.pending = connection;
  step.pendingToken = "";
  step.due.connect = step.now + step.options.connectTimeout;
  step.actions.push({ type: "get token", connection, why: step.isRefused ? "refused" : "connect" });
}

function useToken(step: Step, { connection, token }: { connection: number; token: string }): void {
  if (connection !== step.current && connection !== step.pending) return;
  const user = claimedUser(token, step.options);
  if (isOther(step.claim, user)) {
    otherUser(step, user);
    return;
  }
  step.claim ??= user;
  if (connection === step.current && token !== step.token) {
    step.offeredToken = token;
    send(step, { type: "auth", token });
  }
  if (connection !== step.pending) return;
  step.isRefused = false;
  step.pendingToken = token;
  step.due.connect = step.now + step.options.connectTimeout;
  step.actions.push({ type: "open", connection, token });
}

/** The connection under way becomes the current one. */
function opened(step: Step, at = step.now): void {
  const isSeamless = !!step.current;
  if (isSeamless) retire(step);
  delete step.due.connect;
  delete step.due.opened;
  delete step.announced;
  step.current = step.pending as number;
  step.pending = 0;
  step.token = step.pendingToken;
  step.offeredToken = "";
  step.expiresAt = expiryOf(step.token);
  step.refusals = 0;
  step.held = [];
  const isUnknown = (step.userId ?? step.claim ?? step.cursorsOf) === undefined;
  step.isVerified = isUnknown || !step.options.recover || claimedUser(step.token, step.options) !== undefined;
  step.openedAt = step.heardAt = at;
  scheduleRotation(step);
  scheduleRenewal(step);
  delete step.due.answer;
  // While one connection replaces another the state does not change.
  if (step.state.status !== "open") become(step, OPEN);
  beginTopics(step);
  if (step.options.recover) sayHello(step, isSeamless);
}

/** The attempt failed. */
function fail(step: Step, reason: CloseReason, atOnce?: boolean): void {
  dropPending(step);
  if (step.current) step.due.rotate = step.now + backoff(step);
  else again(step, reason, atOnce);
}

/** Make another attempt: at once only as the first failure. */
function again(step: Step, reason: CloseReason | undefined, atOnce?: boolean): void {
  if (atOnce && !step.failures) {
    step.failures = 1;
    reconnect(step, reason);
  } else wait(step, reason);
}

/** Wait for the next attempt, or for the network. */
function wait(step: Step, reason: CloseReason | undefined, milliseconds = backoff(step)): void {
  const { now, online } = step;
  const retryAt = now + (online ? milliseconds : OFFLINE_MS);
  step.due.retry = retryAt;
  const { attempt } = step.state;
  become(step, { status: "waiting", attempt, ...(online && { retryAt }) }, online ? reason : OFFLINE);
}

/** Count a failure, and return how long to wait after it. */
function backoff(step: Step): number {
  return Math.round(step.random() * bound(step.options, step.failures++));
}

// --- open ------------------------------------------------------------------------------------------------------------

function received(step: Step, { connection, data }: { connection: number; data: unknown }): void {
  if (connection === step.pending) opened(step);
  const isCurrent = connection === step.current;
  if (!isCurrent && connection !== step.retiring) return;
  if (isCurrent) heard(step);
  const message = decode(data);
  if (message === undefined) return;
  if (message.type === "pong") {
    step.end = (message.data as PongData | null) ?? {};
    // What the server knew of then has a moment to arrive.
    step.due.behind ??= step.now + BEHIND_MS;
    return;
  }
  const answered = ANSWERS.get(message.type);
  if (answered) {
    if (isCurrent) answered(step, message);
  } else if (!(isCurrent && isAnswer(step, message)) && !isSettled(step, message)) pass(step, message, isCurrent);
}

/** Return the words for people of an `error`, if it has any. */
function wordsOf({ data }: Message): string | undefined {
  const words = (data as { message?: unknown } | null | undefined)?.message;
  return typeof words === "string" && words ? words : undefined;
}

/** Note an error that announces a close. Return true for one that answers the hello, or is about a topic. */
function isAnswer(step: Step, message: Message): boolean {
  const error = errorOf(message);
  if (error === undefined) return false;
  const { mode, isWelcomed } = streamIn(step, USER);
  // After the first page the server evidently knows hello, so the error is about something else.
  const isNoHello = error === UNKNOWN_TYPE && mode === "BUFFERING" && !isWelcomed;
  if (isNoHello) {
    verified(step);
    passThrough(step);
  }
  if (isNoHello || isRefusal(step, message)) return true;
  const code = closeCodeOf(error);
  if (code !== undefined) step.announced = { code, error, at: step.now, words: wordsOf(message) };
  return false;
}

/** The messages that answer the client itself, and do not pass. */
const ANSWERS = new Map<string, (step: Step, message: Message) => unknown>([
  ["auth_ok", renewed],
  ["welcome", welcomed],
  ["subscribed", subscribed],
  ["unsubscribed", isRefusal],
  ["presence", told],
  ["join", told],
  ["leave", told],
]);

function renewed(step: Step, message: Message): void {
  step.token = step.offeredToken || step.token;
  step.expiresAt = expiryTold(message, step.now) ?? expiryOf(step.token);
  scheduleRenewal(step);
  askRefused(step);
}

function welcomed(step: Step, message: Message): void {
  const resequencer = streamIn(step, USER);
  const page = pageOf(message);
  if (page === undefined || !resequencer.isAwaited) return;
  const { userId, cursorsOf, options } = step;
  if (isOther(userId ?? cursorsOf, page.userId)) {
    otherUser(step, undefined, page.userId, userId === undefined);
    return;
  }
  step.userId = userId ?? page.userId;
  become(step, step.state);
  verified(step);
  if (page.last) {
    step.expiresAt = expiryTold(message, step.now) ?? step.expiresAt;
    scheduleRenewal(step);
  }
  step.heartbeat = options.heartbeat ?? milliseconds(page.heartbeatSeconds) ?? step.heartbeat;
  const rotateAfter = options.rotateAfter ?? milliseconds(page.rotateAfterSeconds) ?? step.rotateAfter;
  if (rotateAfter !== step.rotateAfter) {
    step.rotateAfter = rotateAfter;
    if (!step.pending) scheduleRotation(step);
  }
  obey(step, page);
  paged(step);
  settle(step, USER, takePage(resequencer, page));
}

/** Take the limits of a welcome. */
function obey(step: Step, { limits }: WelcomeData): void {
  limit(step, limits ?? {});
  step.helloInterval = Math.max(HELLO_AGAIN_MS, milliseconds(limits?.helloIntervalSeconds) ?? step.helloInterval);
}

/** Return true for the answer to a request, whether it still waits or not. */
function isSettled(step: Step, message: Message): boolean {
  const { now, options, random } = step;
  if (message.type !== "ok" && message.type !== "error") return false;
  const later = (failures: number): number => now + random() * bound(options, failures);
  const settle = (outcome: Outcome): unknown => isPresenceAnswer(step, outcome) || settled(step)(outcome);
  return takeAnswer(step, message, later, settle) || message.type === "ok";
}

// --- the end of a connection -----------------------------------------------------------------------------------------

function closed(step: Step, event: { connection: number; code: number; reason: string }): void {
  if (event.connection === step.retiring) step.retiring = 0;
  if (event.connection === step.pending) refused(step, event);
  if (event.connection === step.current) lost(step, event.code, event.reason);
}

/** The handshake failed: for the token perhaps, where nobody says why. */
function refused(step: Step, { code, reason: text }: { code: number; reason: string }): void {
  if (code !== 1006) {
    const [, error, words] = ERROR.exec(text) ?? [];
    const reason = judge(step, code, error, words);
    if (reason) fail(step, reason, closeRule(code).atOnce);
    return;
  }
  const hasExpired = (expiryOf(step.pendingToken) ?? step.now) < step.now;
  step.isRefused = hasExpired || ++step.refusals % REFUSALS_TO_A_NEW_TOKEN === 0;
  fail(step, UNREACHABLE);
}

/** The current connection was closed. */
function lost(step: Step, code: number, text: string): void {
  const { announced, now } = step;
  const isAnnounced = announced && now - announced.at <= ANNOUNCED_MS && (code === 1000 || code === announced.code);
  const [, named, namedWords] = ERROR.exec(text) ?? [];
  const [meant, error, words] = isAnnounced
    ? [announced.code, announced.error, announced.words]
    : [code, named, namedWords];
  const reason = judge(step, meant, error, words);
  if (reason) replaceCurrent(step, reason, closeRule(meant).atOnce);
}

/** Return the reason of a close, unless the client is closed or another user's for it. */
function judge(step: Step, code: number, error?: string, words?: string): CloseReason | undefined {
  const reason = closeReason(code, error, words);
  step.isRefused ||= reason.kind === "token";
  if (error === OTHER_USER.error) otherUser(step);
  else if (reason.kind === "final") close(step, reason);
  else return reason;
  return undefined;
}

/** Go on without the current connection: with its successor if that is under way, or with another attempt. */
function replaceCurrent(step: Step, reason: CloseReason, atOnce?: boolean): void {
  const { retire, connect, opened } = step.due;
  step.current = 0;
  beginTopics(step, true);
  step.due = { ...(retire && { retire }), ...(connect && { connect }), ...(opened && { opened }) };
  if (step.now - step.openedAt >= step.options.stableAfter) step.failures = 0;
  if (step.pending) become(step, { status: "connecting", attempt: 1 }, reason);
  else again(step, reason, atOnce);
}

/** Listen to the current connection for a little longer. */
function retire(step: Step): void {
  drop(step, step.retiring);
  step.retiring = step.current as number;
  if (!step.isVerified) {
    drop(step, step.retiring);
    step.retiring = 0;
    return;
  }
  step.due.retire = step.now + step.options.overlap;
}

/** The session of this user is over: close, or begin that of another one. `isFirst`: it had not begun. */
function otherUser(step: Step, claim?: string, userId?: string, isFirst?: boolean): void {
  const { requests, options } = step;
  if (!isFirst) rejectAll(step, OTHER, settled(step));
  if (!isFirst && !options.restarts) {
    close(step, OTHER_USER);
    return;
  }
  end(step);
  Object.assign(step, newSession(claim, userId), isFirst && { claim: step.claim, requests });
  step.streams.set(USER, newResequencer(options.start[USER]));
  for (const [stream, { from }] of topicsOf(step.streams)) follow(step, { stream, cursor: from, from });
  step.actions.push({ type: "forget" });
  again(step, isFirst ? undefined : OTHER_USER, true);
}

/** End all connections. */
function end(step: Step): void {
  drop(step, step.retiring);
  drop(step, step.current);
  dropPending(step);
  step.current = step.retiring = 0;
  beginTopics(step, true);
  step.due = {};
}

function close(step: Step, reason?: CloseReason): void {
  end(step);
  rejectAll(step, CLOSED, settled(step));
  become(step, { status: "closed", attempt: 0 }, reason);
}

function dropPending(step: Step): void {
  drop(step, step.pending);
  step.pending = 0;
  delete step.due.connect;
  delete step.due.opened;
}

function drop({ actions }: Step, connection: number | undefined): void {
  if (connection) actions.push({ type: "drop", connection });
}

// --- time and the page -----------------------------------------------------------------------------------------------

/** The device slept, or the page was hidden: nothing that was under way can be relied on. */
function wake(step: Step): void {
  const { due, now, options, state } = step;
  step.failures = 0;
  // An answer that was due while the device slept may be there, unread.
  if ((due.answer ?? now) < now) delete due.answer;
  if ((due[USER] ?? now) < now) due[USER] = now + options.answerTimeout;
  if (state.status === "open") probe(step, options.wakeTimeout);
  else if (state.status === "waiting" && step.online) attempt(step, step.state.reason);
}

function online(step: Step): void {
  // An attempt was made on another network, or on none.
  if (step.state.status === "connecting") attempt(step, step.state.reason);
  else wake(step);
}

function offline(step: Step): void {
  const { status, retryAt } = step.state;
  if (status === "open") probe(step, step.options.wakeTimeout);
  else if (retryAt && !step.online) wait(step, OFFLINE, 0);
}

/** The action of each timer, in this order. */
const TIMERS: { [timer in Timer]: (step: Step) => void } = {
  retire: (step) => {
    drop(step, step.retiring);
    step.retiring = 0;
  },
  answer: (step) => {
    retire(step);
    replaceCurrent(step, SILENT, true);
  },
  heartbeat: (step) => {
    const isAwaited = awaitedSince(step, step.current as number) < Infinity;
    probe(step, step.options.answerTimeout / (isAwaited ? 2 : 1));
  },
  renew: (step) => {
    step.actions.push({ type: "get token", connection: step.current as number, why: "renew" });
    scheduleRenewal(step);
  },
  rotate: beginConnection,
  opened: (step) => opened(step, step.now - REFUSAL_MS),
  hello: (step) => sayHello(step),
  [USER]: (step) => {
    if (step.isVerified) return passThrough(step);
    // Nothing passes of which nobody has said that it is this user's.
    drop(step, step.current);
    replaceCurrent(step, SILENT);
  },
  connect: (step) => fail(step, step.pendingToken ? UNREACHABLE : LATE_TOKEN),
  retry: (step) => attempt(step, step.state.reason),
  requests: () => {},
  behind: (step) => {
    const { topics = {} } = step.end;
    for (const [stream, resequencer] of step.streams) {
      const end = stream === USER ? step.end : topics[stream.slice(PREFIX.length)];
      if (end) settle(step, stream, { resequencer: catchUp(resequencer, end), pass: [] });
    }
  },
};

function tick(step: Step, { wanted }: { wanted: number }): void {
  const { now } = step;
  const shift = wanted - now > CLOCK_MS ? now - wanted : 0;
  for (const timer of Object.keys(step.due) as Timer[]) (step.due[timer] as number) += shift;
  step.heardAt += shift;
  step.sendFullAt += shift;
  step.requests = step.requests.map((each) => ({ ...each, at: each.at + shift, until: each.until + shift }));
  for (const timer of Object.keys(TIMERS) as Timer[]) {
    if (!((step.due[timer] as number) <= now)) continue;
    delete step.due[timer];
    TIMERS[timer](step);
  }
}
