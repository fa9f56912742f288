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
  hasPosition,
  isUnknownType,
  newResequencer,
  type Page,
  pageOf,
  type Resequenced,
  type Resequencer,
  resequence,
  safeCursorOf,
  startBuffering,
  startPassingThrough,
  takePage,
} from "./resequencer.js";
import { expiryOf, expiryTold } from "./token.js";
import type { AnyMessage, CloseReason, ConnectionState, Cursors } from "./types.js";

/** The stream of the user. */
export const USER = "user";

/** How early a timer has to be to mean that the clock was set back. */
const CLOCK_MS = 1_000;
/** How often to try while the device says that it is offline. It may be wrong. */
const OFFLINE_MS = 60_000;
/** How soon after an `error` a close with 1000 has to come to be explained by it. */
const ANNOUNCED_MS = 10_000;
/** A token is renewed no more often than this. */
const RENEW_AGAIN_MS = 1_000;
/** On one connection, hello is said no more often than this. */
const HELLO_AGAIN_MS = 1_000;
/** Browsers do not say why a handshake failed. So after so many in a row, the token is taken to be the reason. */
const REFUSALS_TO_A_NEW_TOKEN = 4;

/** A name for an error, as the reason of a close. */
const ERROR = /^[A-Z][A-Z_]*$/;

const OFFLINE: CloseReason = { message: "the device is offline", kind: "offline" };
const OPEN: ConnectionState = { status: "open", attempt: 0 };
const UNREACHABLE: CloseReason = { message: "the connection could not be made", kind: "lost" };
const SILENT: CloseReason = { code: 1006, message: "the server did not answer", kind: "lost" };

/** Return the model of a new client that begins at these cursors. */
export function newModel(options: Options, cursors: Cursors = {}): Model {
  return {
    options,
    state: { status: "idle", attempt: 0 },
    streams: { [USER]: newResequencer(cursors[USER]) },
    due: {},
    connections: 0,
    pendingToken: "",
    token: "",
    offeredToken: "",
    openedAt: 0,
    failures: 0,
    refusals: 0,
    isRefused: false,
    heartbeat: options.heartbeat ?? HEARTBEAT_MS,
    rotateAfter: options.rotateAfter ?? ROTATE_AFTER_MS,
  };
}

/** Return the cursors to come back with, by stream. */
export function cursorsOf(model: Model, cursorOf = safeCursorOf): Cursors {
  const cursors: Record<string, string> = {};
  for (const [stream, resequencer] of Object.entries(model.streams)) {
    const cursor = cursorOf(resequencer);
    if (cursor !== undefined) cursors[stream] = cursor;
  }
  return cursors;
}

/** Return when the next timer is due. */
export function nextDue(model: Model): number {
  return Math.min(...Object.values(model.due));
}

/** Return true if a client is neither idle nor closed. */
export function isActive({ state }: Model): boolean {
  return state.status !== "idle" && state.status !== "closed";
}

/** Return the next model, and what is to be done. */
export function reduce(model: Model, event: Event, context: Context): [Model, Action[]] {
  const step: Step = { ...context, model: { ...model, due: { ...model.due } }, actions: [] };
  handle(step, event);
  return [step.model, step.actions];
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** One step: the context, the model as it becomes, and the actions so far. */
interface Step extends Context {
  model: Writable<Model> & { due: Due };
  actions: Action[];
}

function handle(step: Step, event: Event): void {
  switch (event.type) {
    case "connect":
      connect(step);
      break;
    case "close":
      close(step);
      break;
    case "token":
      useToken(step, event.connection, event.token);
      break;
    case "token failed":
      if (event.connection === step.model.pending) {
        fail(step, { message: event.message, kind: "token" });
      }
      break;
    case "opened":
      opened(step, event.connection);
      break;
    case "received":
      received(step, event.connection, event.data);
      break;
    case "closed":
      closed(step, event.connection, event.code, event.reason);
      break;
    case "wake":
      wake(step);
      break;
    case "online":
      online(step);
      break;
    case "offline":
      offline(step);
      break;
    case "tick":
      tick(step, event.wanted);
      break;
  }
}

// --- connecting ------------------------------------------------------------------------------------------------------

function connect(step: Step): void {
  const { status, reason } = step.model.state;
  if (isActive(step.model) && status !== "waiting") return;
  step.model.failures = 0;
  if (status === "waiting") attempt(step, reason);
  else reconnect(step);
}

/** Make an attempt now, if there is a network. */
function reconnect(step: Step, reason?: CloseReason): void {
  if (step.online) attempt(step, reason);
  else wait(step, OFFLINE, 0);
}

function attempt(step: Step, reason?: CloseReason): void {
  beginConnection(step);
  delete step.model.due.retry;
  become(step, { status: "connecting", attempt: step.model.state.attempt + 1 }, reason);
}

/** Begin a connection with its token. */
function beginConnection(step: Step): void {
  const { model } = step;
  dropPending(step);
  model.pending = ++model.connections;
  model.due.token = step.now + model.options.connectTimeout;
  step.actions.push({ type: "get token", connection: model.pending, why: model.isRefused ? "refused" : "connect" });
}

function useToken(step: Step, connection: number, token: string): void {
  const { model } = step;
  if (connection === model.current && token !== model.token) {
    model.offeredToken = token;
    send(step, { type: "auth", token });
  }
  if (connection !== model.pending) return;
  model.isRefused = false;
  model.pendingToken = token;
  delete model.due.token;
  model.due.handshake = step.now + model.options.connectTimeout;
  step.actions.push({ type: "open", connection, token });
}

function opened(step: Step, connection: number): void {
  const { model } = step;
  if (connection !== model.pending) return;
  const isSeamless = model.current !== undefined;
  if (isSeamless) retire(step);
  delete model.due.handshake;
  delete model.announced;
  model.current = connection;
  model.pending = undefined;
  model.token = model.pendingToken;
  model.expiresAt = expiryOf(model.token);
  model.refusals = 0;
  model.openedAt = step.now;
  scheduleRotation(step);
  scheduleRenewal(step);
  heard(step);
  // While one connection replaces another the state does not change.
  if (model.state.status !== "open") become(step, OPEN);
  if (model.options.recover) sayHello(step, isSeamless);
}

/** The attempt failed. */
function fail(step: Step, reason: CloseReason): void {
  const { model } = step;
  dropPending(step);
  if (model.current === undefined) wait(step, reason);
  else model.due.rotate = step.now + backoff(step);
}

// --- waiting ---------------------------------------------------------------------------------------------------------

/** Wait for the next attempt, or for the network. */
function wait(step: Step, reason: CloseReason, milliseconds = backoff(step)): void {
  const { model, now, online } = step;
  const { attempt } = model.state;
  model.due.retry = now + (online ? milliseconds : OFFLINE_MS);
  if (online) become(step, { status: "waiting", attempt, retryAt: model.due.retry }, reason);
  else become(step, { status: "waiting", attempt }, OFFLINE);
}

/** Count a failure, and return how long to wait after it. */
function backoff({ model, random }: Step): number {
  const { backoffFirst, backoffMax } = model.options;
  return Math.round(random() * Math.min(backoffMax, backoffFirst * 2 ** model.failures++));
}

// --- open ------------------------------------------------------------------------------------------------------------

function received(step: Step, connection: number, data: unknown): void {
  const { model } = step;
  const isCurrent = connection === model.current;
  if (!isCurrent && connection !== model.retiring) return;
  if (isCurrent) heard(step);
  const message = decode(data);
  switch (message?.type) {
    case undefined:
    case "pong":
      break;
    case "auth_ok":
      if (isCurrent) renewed(step, message as AnyMessage);
      break;
    case "welcome":
      if (isCurrent) welcomed(step, message as AnyMessage);
      break;
    default:
      if (!isCurrent || !isAnswer(step, message as AnyMessage)) pass(step, message as AnyMessage, isCurrent);
  }
}

/** Note an error that announces a close. Return true for one that answers the hello. */
function isAnswer(step: Step, message: AnyMessage): boolean {
  const { code: error } = (message.data ?? {}) as { code?: unknown };
  if (message.type !== "error" || typeof error !== "string") return false;
  const { model, now } = step;
  const code = closeCodeOf(error);
  if (code !== undefined) model.announced = { code, error, at: now };
  const isUnknown =
    isUnknownType(message) && model.streams[USER]?.mode === "BUFFERING" && !model.streams[USER].isWelcomed;
  if (isUnknown) passThrough(step);
  return isUnknown;
}

function renewed(step: Step, { data, timestamp }: AnyMessage): void {
  const { model, now } = step;
  const { expiresAt } = (data ?? {}) as { expiresAt?: unknown };
  model.token = model.offeredToken || model.token;
  model.expiresAt = expiryTold(expiresAt, timestamp, now) ?? expiryOf(model.token);
  scheduleRenewal(step);
}

function welcomed(step: Step, message: AnyMessage): void {
  const { model, now } = step;
  const stream = streamOf(message);
  const resequencer = model.streams[stream];
  const page = pageOf(message);
  if (page === undefined || !resequencer?.isAwaited) return;
  if (page.last) {
    model.expiresAt = expiryTold(page.expiresAt, message.timestamp, now) ?? model.expiresAt;
    scheduleRenewal(step);
  }
  obey(step, page);
  model.due.welcome &&= now + model.options.answerTimeout;
  settle(step, stream, takePage(resequencer, page));
}

/** Adopt the heartbeat and the rotation that a welcome asks for, unless the application has set them. */
function obey(step: Step, { heartbeatSeconds, rotateAfterSeconds }: Page): void {
  const { model } = step;
  const { heartbeat, rotateAfter } = model.options;
  if (heartbeat === undefined && isPositive(heartbeatSeconds)) {
    model.heartbeat = heartbeatSeconds * 1000;
    heard(step);
  }
  if (rotateAfter === undefined && isPositive(rotateAfterSeconds) && model.rotateAfter !== rotateAfterSeconds * 1000) {
    model.rotateAfter = rotateAfterSeconds * 1000;
    if (model.pending === undefined) scheduleRotation(step);
  }
}

function isPositive(seconds: unknown): seconds is number {
  return typeof seconds === "number" && seconds > 0;
}

// --- streams ---------------------------------------------------------------------------------------------------------

/** Ask for what was missed. */
function sayHello(step: Step, isSeamless?: boolean): void {
  const { model, now } = step;
  const streams: Record<string, Resequencer> = {};
  for (const [stream, resequencer] of Object.entries(model.streams)) {
    streams[stream] = startBuffering(resequencer, isSeamless);
  }
  model.streams = streams;
  delete model.due.hello;
  model.due.helloAllowed = now + HELLO_AGAIN_MS;
  model.due.welcome = now + model.options.answerTimeout;
  const cursors = cursorsOf(model, cursorOf);
  send(step, { type: "hello", ...(Object.keys(cursors).length > 0 && { cursors }) });
}

/** Pass a message on as the resequencer of its stream says; at once if the client does not follow its stream. */
function pass(step: Step, message: AnyMessage, isCurrent: boolean): void {
  const { current, streams } = step.model;
  const stream = streamOf(message);
  const resequencer = streams[stream];
  if (resequencer === undefined) {
    step.actions.push({ type: "pass", message });
    return;
  }
  // The current connection brings what a retiring one brings of the streams, too.
  const comesAgain = !isCurrent && current !== undefined && resequencer.mode !== "PASS_THROUGH" && hasPosition(message);
  if (!comesAgain) settle(step, stream, resequence(resequencer, message));
}

function streamOf(message: AnyMessage): string {
  const { topic } = message as { topic?: unknown };
  return topic === undefined ? USER : `topic:${topic}`;
}

/** Wait for no welcome any longer. */
function passThrough(step: Step): void {
  for (const [stream, resequencer] of Object.entries(step.model.streams)) {
    if (resequencer.mode === "BUFFERING") settle(step, stream, startPassingThrough(resequencer));
  }
}

/** Adopt the outcome of a resequencer. */
function settle(step: Step, stream: string, { resequencer, pass, recovered }: Resequenced): void {
  const { model } = step;
  model.streams = { ...model.streams, [stream]: resequencer };
  for (const message of pass) step.actions.push({ type: "pass", message });
  if (Object.values(model.streams).every(({ mode }) => mode !== "BUFFERING")) delete model.due.welcome;
  if (resequencer.mode === "RESYNC" && model.current !== undefined) {
    // The clock may have been set back since.
    model.due.hello ??= Math.min(model.due.helloAllowed ?? step.now, step.now + HELLO_AGAIN_MS);
  }
  // The application is told each time that something may be missing.
  if (recovered === false) model.state = OPEN;
  if (recovered !== undefined) become(step, { ...OPEN, recovered });
}

// --- the connection that is open -------------------------------------------------------------------------------------

/** The current connection is alive. */
function heard({ model, now }: Step): void {
  delete model.due.answer;
  if (model.heartbeat > 0) model.due.heartbeat = now + model.heartbeat;
}

/** Ask for a sign of life within some time. */
function probe(step: Step, milliseconds: number): void {
  const { due, heartbeat } = step.model;
  if (heartbeat === 0) return;
  if (due.answer === undefined) send(step, { type: "ping" });
  due.answer = Math.min(step.now + milliseconds, due.answer ?? Number.POSITIVE_INFINITY);
}

/** Schedule the renewal of the token before it expires. It is tried again until a new one was accepted. */
function scheduleRenewal({ model, now, random }: Step): void {
  const remaining = (model.expiresAt ?? now) - now;
  // A token that expired and was accepted all the same says that the clock here is wrong.
  if (remaining <= 0) delete model.due.renew;
  else {
    const early = remaining - model.options.renewBefore * (1 + random());
    model.due.renew = now + Math.max(early, remaining / 2, RENEW_AGAIN_MS);
  }
}

/** Schedule a successor for this connection. Jitter spreads the successors of connections that opened together. */
function scheduleRotation({ model, random }: Step): void {
  const { rotateAfter } = model;
  if (rotateAfter > 0) model.due.rotate = model.openedAt + rotateAfter * (0.96 + 0.08 * random());
}

function send({ model, actions }: Step, message: { type: string; [field: string]: unknown }): void {
  actions.push({ type: "send", connection: model.current as number, message });
}

// --- the end of a connection -----------------------------------------------------------------------------------------

function closed(step: Step, connection: number, code: number, reason: string): void {
  const { model } = step;
  if (connection === model.retiring) model.retiring = undefined;
  if (connection === model.pending) refused(step);
  if (connection === model.current) lost(step, code, reason);
}

/** The handshake failed, perhaps for the token. */
function refused(step: Step): void {
  const { model } = step;
  const hasExpired = (expiryOf(model.pendingToken) ?? step.now) < step.now;
  model.isRefused = hasExpired || ++model.refusals % REFUSALS_TO_A_NEW_TOKEN === 0;
  fail(step, UNREACHABLE);
}

/** The current connection was closed. */
function lost(step: Step, code: number, text: string): void {
  const { announced } = step.model;
  const isAnnounced = code === 1000 && announced !== undefined && step.now - announced.at <= ANNOUNCED_MS;
  const meant = isAnnounced ? announced.code : code;
  const reason = closeReason(meant, isAnnounced ? announced.error : ERROR.exec(text)?.[0]);
  step.model.isRefused ||= reason.kind === "token";
  if (reason.kind === "final") close(step, reason);
  else replaceCurrent(step, reason, closeRule(meant).atOnce);
}

/** The current connection did not answer. */
function abandon(step: Step): void {
  retire(step);
  replaceCurrent(step, SILENT, true);
}

/** Go on without the current connection: with its successor if that is under way, or with another attempt. */
function replaceCurrent(step: Step, reason: CloseReason, atOnce?: boolean): void {
  const { model } = step;
  const { retire, token, handshake } = model.due;
  model.current = undefined;
  model.due = { ...(retire && { retire }), ...(token && { token }), ...(handshake && { handshake }) };
  if (step.now - model.openedAt >= model.options.stableAfter) model.failures = 0;
  if (model.pending !== undefined) become(step, { status: "connecting", attempt: 1 }, reason);
  else if (atOnce && model.failures === 0) {
    model.failures = 1;
    reconnect(step, reason);
  } else wait(step, reason);
}

/** Listen to the current connection for a little longer. */
function retire(step: Step): void {
  const { model } = step;
  drop(step, model.retiring);
  model.retiring = model.current;
  model.due.retire = step.now + model.options.overlap;
}

function close(step: Step, reason?: CloseReason): void {
  const { model } = step;
  for (const connection of [model.pending, model.current, model.retiring]) drop(step, connection);
  model.pending = model.current = model.retiring = undefined;
  model.due = {};
  become(step, { status: "closed", attempt: 0 }, reason);
}

function dropPending(step: Step): void {
  drop(step, step.model.pending);
  step.model.pending = undefined;
  delete step.model.due.token;
  delete step.model.due.handshake;
}

function drop(step: Step, connection: number | undefined): void {
  if (connection !== undefined) step.actions.push({ type: "drop", connection });
}

// --- time and the page -----------------------------------------------------------------------------------------------

/** The device slept, or the page was hidden: nothing that was under way can be relied on. */
function wake(step: Step): void {
  const { model, now } = step;
  const { due, options } = model;
  model.failures = 0;
  // An answer that was due while the device slept may be there, unread.
  if ((due.answer ?? now) < now) delete due.answer;
  if ((due.welcome ?? now) < now) due.welcome = now + options.answerTimeout;
  if (model.state.status === "open") probe(step, options.wakeTimeout);
  else if (model.state.status === "waiting" && step.online) attempt(step, model.state.reason);
}

function online(step: Step): void {
  // An attempt was made on another network, or on none.
  if (step.model.state.status === "connecting") attempt(step, step.model.state.reason);
  else wake(step);
}

function offline(step: Step): void {
  const { status, retryAt } = step.model.state;
  if (status === "open") probe(step, step.model.options.wakeTimeout);
  else if (retryAt !== undefined && !step.online) wait(step, OFFLINE, 0);
}

/** What to do about each timer, in this order. */
const TIMERS: { [timer in Timer]: (step: Step) => void } = {
  retire: (step) => {
    drop(step, step.model.retiring);
    step.model.retiring = undefined;
  },
  answer: abandon,
  heartbeat: (step) => probe(step, step.model.options.answerTimeout),
  renew: (step) => {
    step.actions.push({ type: "get token", connection: step.model.current as number, why: "renew" });
    scheduleRenewal(step);
  },
  rotate: beginConnection,
  helloAllowed: () => {},
  hello: (step) => sayHello(step),
  welcome: passThrough,
  token: (step) => fail(step, { message: "getToken took too long", kind: "token" }),
  handshake: (step) => fail(step, UNREACHABLE),
  retry: (step) => attempt(step, step.model.state.reason),
};

function tick(step: Step, wanted: number): void {
  const { model, now } = step;
  if (wanted - now > CLOCK_MS) shift(model.due, now - wanted);
  for (const timer of Object.keys(TIMERS) as Timer[]) {
    if ((model.due[timer] ?? Number.POSITIVE_INFINITY) > now) continue;
    delete model.due[timer];
    TIMERS[timer](step);
  }
}

function shift(due: Due, milliseconds: number): void {
  for (const timer of Object.keys(due) as Timer[]) due[timer] = (due[timer] as number) + milliseconds;
}

/** Change the state: the same object as before, unless something in it is another. */
function become({ model }: Step, state: ConnectionState, reason?: CloseReason): void {
  const next = { ...state, ...(reason && { reason }) };
  if (JSON.stringify(next) !== JSON.stringify(model.state)) model.state = next;
}
