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

import { closeCodeOf, closeReason, closeRule } from "./closeCodes.js";
import { decode } from "./decode.js";
import type { Action, Context, Due, Event, Model, Timer } from "./model.js";
import { HEARTBEAT_MS, type Options, ROTATE_AFTER_MS } from "./options.js";
import {
  cursorOf,
  errorOf,
  hasPosition,
  newResequencer,
  pageOf,
  type Resequenced,
  type Resequencer,
  resequence,
  safeCursorOf,
  startBuffering,
  startPassingThrough,
  takePage,
  UNKNOWN_TYPE,
} from "./resequencer.js";
import { expiryOf, expiryTold } from "./token.js";
import type { AnyMessage, CloseReason, ConnectionState, Cursors } from "./types.js";

/** The stream of the user. */
export const USER = "user";

/** Earliness of a timer beyond which the clock was set back, in milliseconds. */
const CLOCK_MS = 1_000;
/** Wait between attempts while the device says that it is offline, in milliseconds. It may be wrong. */
const OFFLINE_MS = 60_000;
/** Longest time from an `error` to a close with 1000 that it explains, in milliseconds. */
const ANNOUNCED_MS = 10_000;
/** Shortest time to the next renewal of a token, in milliseconds. */
const RENEW_AGAIN_MS = 1_000;
/** Shortest time between two hellos on one connection, in milliseconds. */
const HELLO_AGAIN_MS = 1_000;
/** Browsers do not say why a handshake failed. So after so many in a row, the token is taken to be the reason. */
const REFUSALS_TO_A_NEW_TOKEN = 4;

/** A name for an error, as the reason of a close. */
const ERROR = /^[A-Z][A-Z_]*$/;

const OFFLINE: CloseReason = { message: "the device is offline", kind: "offline" };
const OPEN: ConnectionState = { status: "open", attempt: 0 };
const UNREACHABLE: CloseReason = { message: "the connection could not be made", kind: "lost" };
const LATE_TOKEN: CloseReason = { message: "getToken took too long", kind: "token" };
const SILENT: CloseReason = { code: 1006, message: "the server did not answer", kind: "lost" };

/** Return the model of a new client that begins at these cursors. */
export function newModel(options: Options, cursors: Cursors = {}): Model {
  return {
    options,
    state: { status: "idle", attempt: 0 },
    streams: new Map([[USER, newResequencer(cursors[USER])]]),
    due: {},
    connections: 0,
    pendingToken: "",
    token: "",
    offeredToken: "",
    openedAt: 0,
    helloAt: 0,
    failures: 0,
    refusals: 0,
    isRefused: false,
    heartbeat: options.heartbeat ?? HEARTBEAT_MS,
    rotateAfter: options.rotateAfter ?? ROTATE_AFTER_MS,
  };
}

/** Return the cursors to come back with, by stream. */
export function cursorsOf({ streams }: Pick<Model, "streams">, cursorOf = safeCursorOf): Cursors {
  const cursors: Record<string, string> = {};
  for (const [stream, resequencer] of streams) {
    const cursor = cursorOf(resequencer);
    if (cursor !== undefined) cursors[stream] = cursor;
  }
  return cursors;
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
  const step: Step = { ...before, ...context, due: { ...before.due }, actions: [] };
  const handler = HANDLERS[event.type] as (step: Step, event: Event) => void;
  handler(step, event);
  const { actions, now: _, online: __, random: ___, ...model } = step;
  return [model, actions];
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** One step: the model as it becomes, the context of the event, and the actions so far. */
type Step = Writable<Model> & Context & { due: Due; actions: Action[] };

type Handlers = { [T in Event["type"]]: (step: Step, event: Extract<Event, { type: T }>) => void };

const HANDLERS: Handlers = {
  connect,
  close: (step) => close(step),
  token: useToken,
  "token failed": (step, { connection, message }) => {
    if (connection === step.pending) fail(step, { message, kind: "token" });
  },
  opened,
  received,
  closed,
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

function opened(step: Step, { connection }: { connection: number }): void {
  if (connection !== step.pending) return;
  const isSeamless = !!step.current;
  if (isSeamless) retire(step);
  delete step.due.connect;
  delete step.announced;
  step.current = connection;
  step.pending = 0;
  step.token = step.pendingToken;
  step.offeredToken = "";
  step.expiresAt = expiryOf(step.token);
  step.refusals = 0;
  step.openedAt = step.now;
  scheduleRotation(step);
  scheduleRenewal(step);
  heard(step);
  // While one connection replaces another the state does not change.
  if (step.state.status !== "open") become(step, OPEN);
  if (step.options.recover) sayHello(step, isSeamless);
}

/** The attempt failed. */
function fail(step: Step, reason: CloseReason): void {
  dropPending(step);
  if (step.current) step.due.rotate = step.now + backoff(step);
  else wait(step, reason);
}

/** Wait for the next attempt, or for the network. */
function wait(step: Step, reason: CloseReason, milliseconds = backoff(step)): void {
  const { now, online } = step;
  const retryAt = now + (online ? milliseconds : OFFLINE_MS);
  step.due.retry = retryAt;
  const { attempt } = step.state;
  become(step, { status: "waiting", attempt, ...(online && { retryAt }) }, online ? reason : OFFLINE);
}

/** Count a failure, and return how long to wait after it. */
function backoff(step: Step): number {
  const { backoffFirst, backoffMax } = step.options;
  return Math.round(step.random() * Math.min(backoffMax, backoffFirst * 2 ** step.failures++));
}

// --- open ------------------------------------------------------------------------------------------------------------

function received(step: Step, { connection, data }: { connection: number; data: unknown }): void {
  const isCurrent = connection === step.current;
  if (!isCurrent && connection !== step.retiring) return;
  if (isCurrent) heard(step);
  const message = decode(data);
  if (message === undefined || message.type === "pong") return;
  if (message.type === "auth_ok" || message.type === "welcome") {
    if (isCurrent) (message.type === "welcome" ? welcomed : renewed)(step, message);
  } else if (!isCurrent || !isAnswer(step, message)) pass(step, message, isCurrent);
}

/** Note an error that announces a close. Return true for one that answers the hello. */
function isAnswer(step: Step, message: AnyMessage): boolean {
  const error = errorOf(message);
  if (error === undefined) return false;
  const code = closeCodeOf(error);
  if (code !== undefined) step.announced = { code, error, at: step.now };
  const { mode, isWelcomed } = step.streams.get(USER) as Resequencer;
  // After the first page the server evidently knows hello, so the error is about something else.
  const isNoHello = error === UNKNOWN_TYPE && mode === "BUFFERING" && !isWelcomed;
  if (isNoHello) passThrough(step);
  return isNoHello;
}

function renewed(step: Step, message: AnyMessage): void {
  step.token = step.offeredToken || step.token;
  step.expiresAt = expiryTold(message, step.now) ?? expiryOf(step.token);
  scheduleRenewal(step);
}

function welcomed(step: Step, message: AnyMessage): void {
  const stream = streamOf(message);
  const resequencer = step.streams.get(stream);
  const page = pageOf(message);
  if (page === undefined || !resequencer?.isAwaited) return;
  if (page.last) {
    step.expiresAt = expiryTold(message, step.now) ?? step.expiresAt;
    scheduleRenewal(step);
  }
  const { options } = step;
  step.heartbeat = options.heartbeat ?? milliseconds(page.heartbeatSeconds) ?? step.heartbeat;
  heard(step);
  const rotateAfter = options.rotateAfter ?? milliseconds(page.rotateAfterSeconds) ?? step.rotateAfter;
  if (rotateAfter !== step.rotateAfter) {
    step.rotateAfter = rotateAfter;
    if (!step.pending) scheduleRotation(step);
  }
  step.due.welcome &&= step.now + options.answerTimeout;
  settle(step, stream, takePage(resequencer, page));
}

function milliseconds(seconds: unknown): number | undefined {
  return typeof seconds === "number" && seconds > 0 ? seconds * 1000 : undefined;
}

// --- streams ---------------------------------------------------------------------------------------------------------

/** Say hello on the current connection, to recover missed messages. */
function sayHello(step: Step, isSeamless?: boolean): void {
  const { now, due } = step;
  step.streams = new Map(
    [...step.streams].map(([stream, resequencer]) => [stream, startBuffering(resequencer, isSeamless)]),
  );
  step.helloAt = now;
  due.welcome = now + step.options.answerTimeout;
  const cursors = cursorsOf(step, cursorOf);
  send(step, { type: "hello", ...(Object.keys(cursors).length > 0 && { cursors }) });
}

/** Pass a message on as the resequencer of its stream says; at once if the client does not follow its stream. */
function pass(step: Step, message: AnyMessage, isCurrent: boolean): void {
  const stream = streamOf(message);
  const resequencer = step.streams.get(stream);
  if (resequencer === undefined) step.actions.push({ type: "pass", message });
  // The current connection brings what a retiring one brings of the streams, too.
  else if (isCurrent || !step.current || resequencer.mode === "PASS_THROUGH" || !hasPosition(message))
    settle(step, stream, resequence(resequencer, message));
}

function streamOf({ topic }: AnyMessage): string {
  return topic === undefined ? USER : `topic:${topic}`;
}

/** Wait for no welcome any longer. */
function passThrough(step: Step): void {
  for (const [stream, resequencer] of step.streams) {
    if (resequencer.mode === "BUFFERING") settle(step, stream, startPassingThrough(resequencer));
  }
}

/** Adopt the outcome of a resequencer. */
function settle(step: Step, stream: string, { resequencer, pass, recovered }: Resequenced): void {
  const { due, now } = step;
  step.streams = new Map(step.streams).set(stream, resequencer);
  for (const message of pass) step.actions.push({ type: "pass", message });
  if ([...step.streams.values()].every(({ mode }) => mode !== "BUFFERING")) delete due.welcome;
  // The clock may have been set back since the last hello.
  if (resequencer.mode === "RESYNC" && step.current) due.hello ??= Math.min(step.helloAt, now) + HELLO_AGAIN_MS;
  // The application is told each time that something may be missing.
  if (recovered === false) step.state = OPEN;
  if (recovered !== undefined) become(step, { ...OPEN, recovered });
}

// --- the connection that is open -------------------------------------------------------------------------------------

/** The current connection is alive. */
function heard({ due, now, heartbeat }: Step): void {
  delete due.answer;
  if (heartbeat) due.heartbeat = now + heartbeat;
}

/** Ask for a sign of life within some time. */
function probe(step: Step, milliseconds: number): void {
  const { due, now, heartbeat } = step;
  if (!heartbeat) return;
  if (!due.answer) send(step, { type: "ping" });
  due.answer = Math.min(now + milliseconds, due.answer ?? Infinity);
}

/** Schedule the renewal of the token before it expires. It is tried again until a new one was accepted. */
function scheduleRenewal({ due, now, random, expiresAt = now, options }: Step): void {
  const remaining = expiresAt - now;
  // A token that expired and was accepted all the same says that the clock here is wrong.
  if (remaining <= 0) delete due.renew;
  else due.renew = now + Math.max(remaining - options.renewBefore * (1 + random()), remaining / 2, RENEW_AGAIN_MS);
}

/** Schedule a successor for this connection. Jitter spreads the successors of connections that opened together. */
function scheduleRotation({ due, openedAt, rotateAfter, random }: Step): void {
  if (rotateAfter) due.rotate = openedAt + rotateAfter * (0.96 + 0.08 * random());
}

function send({ actions, current }: Step, message: { type: string; [field: string]: unknown }): void {
  actions.push({ type: "send", connection: current as number, message });
}

// --- the end of a connection -----------------------------------------------------------------------------------------

function closed(step: Step, event: { connection: number; code: number; reason: string }): void {
  if (event.connection === step.retiring) step.retiring = 0;
  if (event.connection === step.pending) refused(step);
  if (event.connection === step.current) lost(step, event.code, event.reason);
}

/** The handshake failed, perhaps for the token. */
function refused(step: Step): void {
  const hasExpired = (expiryOf(step.pendingToken) ?? step.now) < step.now;
  step.isRefused = hasExpired || ++step.refusals % REFUSALS_TO_A_NEW_TOKEN === 0;
  fail(step, UNREACHABLE);
}

/** The current connection was closed. */
function lost(step: Step, code: number, text: string): void {
  const { announced, now } = step;
  const isAnnounced = code === 1000 && announced && now - announced.at <= ANNOUNCED_MS;
  const [meant, error] = isAnnounced ? [announced.code, announced.error] : [code, ERROR.exec(text)?.[0]];
  const reason = closeReason(meant, error);
  step.isRefused ||= reason.kind === "token";
  if (reason.kind === "final") close(step, reason);
  else replaceCurrent(step, reason, closeRule(meant).atOnce);
}

/** Go on without the current connection: with its successor if that is under way, or with another attempt. */
function replaceCurrent(step: Step, reason: CloseReason, atOnce?: boolean): void {
  const { retire, connect } = step.due;
  step.current = 0;
  step.due = { ...(retire && { retire }), ...(connect && { connect }) };
  if (step.now - step.openedAt >= step.options.stableAfter) step.failures = 0;
  if (step.pending) become(step, { status: "connecting", attempt: 1 }, reason);
  else if (atOnce && !step.failures) {
    step.failures = 1;
    reconnect(step, reason);
  } else wait(step, reason);
}

/** Listen to the current connection for a little longer. */
function retire(step: Step): void {
  drop(step, step.retiring);
  step.retiring = step.current as number;
  step.due.retire = step.now + step.options.overlap;
}

function close(step: Step, reason?: CloseReason): void {
  drop(step, step.retiring);
  drop(step, step.current);
  dropPending(step);
  step.current = step.retiring = 0;
  step.due = {};
  become(step, { status: "closed", attempt: 0 }, reason);
}

function dropPending(step: Step): void {
  drop(step, step.pending);
  step.pending = 0;
  delete step.due.connect;
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
  if ((due.welcome ?? now) < now) due.welcome = now + options.answerTimeout;
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
  heartbeat: (step) => probe(step, step.options.answerTimeout),
  renew: (step) => {
    step.actions.push({ type: "get token", connection: step.current as number, why: "renew" });
    scheduleRenewal(step);
  },
  rotate: beginConnection,
  hello: (step) => sayHello(step),
  welcome: passThrough,
  connect: (step) => fail(step, step.pendingToken ? UNREACHABLE : LATE_TOKEN),
  retry: (step) => attempt(step, step.state.reason),
};

function tick(step: Step, { wanted }: { wanted: number }): void {
  const { now } = step;
  const shift = wanted - now > CLOCK_MS ? now - wanted : 0;
  for (const timer of Object.keys(step.due) as Timer[]) (step.due[timer] as number) += shift;
  for (const timer of Object.keys(TIMERS) as Timer[]) {
    if (!((step.due[timer] as number) <= now)) continue;
    delete step.due[timer];
    TIMERS[timer](step);
  }
}

/** Change the state: the same object as before, unless something in it is another. */
function become(step: Step, state: ConnectionState, reason?: CloseReason): void {
  const next = { ...state, ...(reason && { reason }) };
  if (JSON.stringify(next) !== JSON.stringify(step.state)) step.state = next;
}
