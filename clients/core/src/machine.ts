// The client as a pure state machine: an event and a moment go in, a new model and what is to be done come out.
//
// A client has up to three links, each a socket or one to be:
//
//     next      under way: its token, then its handshake
//     current   open; the client's state is `open` while there is one
//     last      was current until `next` opened or until it did not answer; what still arrives there is passed on
//
// What it hears of its user's stream goes by a place (place.ts), which says what is passed on, and when to say hello.
//
// Rules:
// - Only a link that is one of the three is heard. What a forgotten one says is ignored, also its late token.
// - Everything with a time is in `due`; the shell has one timer, and says `tick`. A tick that comes much too late means
//   that the device slept.
// - A current link that does not answer becomes `last`, and the next one is made at once. One that grew old stays
//   current until the next one is open. So neither loses a message.
// - Waits have full jitter. Their bound doubles, and begins anew when a connection was open for a while, not at once: a
//   server that takes everybody in and closes again should not be hammered.
// - A link that becomes current says hello, and what it brings of the stream is held until it was told what was missed.
//   What `last` brings of the stream counts only until then: the current one is told all of it.

import { closeReason, closeRule, meantBy } from "./closing.js";
import { readMessage } from "./incoming.js";
import type { Action, Due, Happening, Model, Moment, Timer } from "./model.js";
import { goLive, helloOf, hold, isPlaced, isWelcome, newPlace, type Taken, take } from "./place.js";
import type { Settings } from "./settings.js";
import { expiryOf, expiryTold } from "./token.js";
import type { AnyMessage, CloseReason, ConnectionState, Sign } from "./types.js";

/** How long a link that was replaced is listened to. */
const LINGER_MS = 5_000;
/** How late a timer has to be to mean that the device slept. Browsers let those of hidden pages be late by a minute. */
const ASLEEP_MS = 90_000;
/** How early a timer has to be to mean that the clock was set back. */
const CLOCK_MS = 1_000;
/** How often to try while the device says that it is offline. It may be wrong. */
const OFFLINE_MS = 60_000;
/** How often to try to replace a connection that grew old. */
const REPLACE_AGAIN_MS = 60_000;
/** How soon after an `error` a close with 1000 has to come to be meant by it. */
const ERROR_EXPLAINS_MS = 10_000;
/** A token is not renewed more often than this. */
const RENEW_AGAIN_MS = 1_000;
/** Hello is not said again on a link more often than this. */
const HELLO_AGAIN_MS = 1_000;
/** A browser does not say that a handshake failed for its token, so each of so many in a row is taken to have. */
const REFUSALS_TO_A_NEW_TOKEN = 4;

const OFFLINE: CloseReason = { code: 1006, message: "the device is offline", kind: "offline" };
const OPEN: ConnectionState = { status: "open", attempt: 0 };
const SILENT: CloseReason = { code: 1006, message: "the server did not answer", kind: "lost" };

/** Return the model of a client that was just made, at a cursor if it has one. */
export function newModel(settings: Settings, cursor?: string): Model {
  return {
    settings,
    state: { status: "idle", attempt: 0 },
    place: newPlace(cursor),
    due: {},
    links: 0,
    waits: 0,
    refusals: 0,
    isRefused: false,
  };
}

/** Return when something is due next. */
export function nextDue(model: Model): number {
  return Math.min(...Object.values(model.due));
}

/** Tell whether a client is anything but idle or closed. */
export function isActive({ state }: Model): boolean {
  return state.status !== "idle" && state.status !== "closed";
}

/** Return what follows from what happened. */
export function step(model: Model, happening: Happening, moment: Moment): [Model, Action[]] {
  const turn: Turn = { ...moment, model: { ...model, due: { ...model.due } }, actions: [] };
  happen(turn, happening);
  return [turn.model, turn.actions];
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** One step: the moment, the model as it becomes, and what is to be done so far. */
interface Turn extends Moment {
  model: Writable<Model> & { due: Due };
  actions: Action[];
}

function happen(turn: Turn, happening: Happening): void {
  switch (happening.is) {
    case "connect":
      connect(turn);
      break;
    case "close":
      close(turn);
      break;
    case "token":
      useToken(turn, happening.link, happening.token);
      break;
    case "no token":
      doWithoutToken(turn, happening.link, happening.message);
      break;
    case "opened":
      opened(turn, happening.link);
      break;
    case "received":
      received(turn, happening.link, happening.data);
      break;
    case "ended":
      ended(turn, happening.link, happening.code);
      break;
    case "sign":
      noticed(turn, happening.sign);
      break;
    case "tick":
      tick(turn, happening.wanted);
      break;
  }
}

// --- connecting ------------------------------------------------------------------------------------------------------

function connect(turn: Turn): void {
  const { status, reason } = turn.model.state;
  if (status === "waiting") attempt(turn, reason);
  else if (!isActive(turn.model)) {
    turn.model.waits = 0;
    reconnect(turn);
  }
}

/** Make an attempt now, if there is a network. */
function reconnect(turn: Turn, reason?: CloseReason): void {
  if (turn.online) attempt(turn, reason);
  else wait(turn, OFFLINE, 0);
}

function attempt(turn: Turn, reason?: CloseReason): void {
  beginLink(turn);
  delete turn.model.due.retry;
  become(turn, { status: "connecting", attempt: turn.model.state.attempt + 1 }, reason);
}

/** Begin another link. Its token comes first. */
function beginLink(turn: Turn): void {
  const { model } = turn;
  dropNext(turn);
  model.next = ++model.links;
  model.due.token = turn.now + model.settings.connect;
  turn.actions.push({ do: "get token", link: model.next, why: model.isRefused ? "refused" : "connect" });
}

function useToken(turn: Turn, link: number, token: string): void {
  const { model } = turn;
  if (link === model.current) send(turn, { type: "auth", token });
  if (link !== model.next) return;
  model.isRefused = false;
  model.nextExpiresAt = expiryOf(token);
  delete model.due.token;
  model.due.connect = turn.now + model.settings.connect;
  turn.actions.push({ do: "open", link, token });
}

function doWithoutToken(turn: Turn, link: number, message: string): void {
  if (link === turn.model.next) failed(turn, { code: 1006, message, kind: "token" });
}

function opened(turn: Turn, link: number): void {
  const { model } = turn;
  if (link !== model.next) return;
  const { settled, replace } = model.settings;
  if (model.current !== undefined) retire(turn);
  delete model.due.connect;
  delete model.error;
  model.current = link;
  model.next = undefined;
  model.expiresAt = model.nextExpiresAt;
  model.refusals = 0;
  model.due.settle = turn.now + settled;
  model.due.replace = turn.now + replace * (0.96 + 0.08 * turn.random());
  renewInTime(turn);
  heard(turn);
  // While one takes over from another nothing changes, and nobody notices.
  if (model.state.status !== "open") become(turn, OPEN);
  if (model.settings.recover) sayHello(turn);
  else settle(turn, goLive(model.place));
}

/** The attempt failed. */
function failed(turn: Turn, reason: CloseReason): void {
  const { model } = turn;
  dropNext(turn);
  if (model.current === undefined) wait(turn, reason);
  else model.due.replace = turn.now + REPLACE_AGAIN_MS * (0.5 + turn.random());
}

// --- waiting ---------------------------------------------------------------------------------------------------------

/** Wait for the next attempt, or for the network. */
function wait(turn: Turn, reason: CloseReason, milliseconds = nextWait(turn)): void {
  const { model, now, online } = turn;
  const { attempt } = model.state;
  model.due.retry = now + (online ? milliseconds : OFFLINE_MS);
  if (online) become(turn, { status: "waiting", attempt, retryAt: model.due.retry }, reason);
  else become(turn, { status: "waiting", attempt }, OFFLINE);
}

function nextWait(turn: Turn): number {
  const { firstWait, longestWait } = turn.model.settings;
  return Math.round(turn.random() * Math.min(longestWait, firstWait * 2 ** turn.model.waits++));
}

// --- open ------------------------------------------------------------------------------------------------------------

/** Everything that a server says comes through here. */
function received(turn: Turn, link: number, data: unknown): void {
  const { model } = turn;
  const isCurrent = link === model.current;
  if (!isCurrent && link !== model.last) return;
  if (isCurrent) heard(turn);
  const message = readMessage(data);
  if (message === undefined || message.type === "pong") return;
  if (isCurrent) understood(turn, message);
  if (message.type === "auth_ok") return;
  if (isCurrent || !isToldAnew(model, message)) settle(turn, take(model.place, message));
}

/** Draw what conclusions there are for the connection. */
function understood(turn: Turn, message: AnyMessage): void {
  const { model, now } = turn;
  const data = message.data as { code?: unknown; expiresAt?: unknown } | undefined;
  if (message.type === "error" && typeof data?.code === "string") model.error = { code: data.code, at: now };
  if (message.type === "auth_ok" || isWelcome(message)) {
    model.expiresAt = expiryTold(data?.expiresAt, message.timestamp, now) ?? model.expiresAt;
    renewInTime(turn);
  }
}

// --- the stream ------------------------------------------------------------------------------------------------------

/** Ask what was missed. */
function sayHello(turn: Turn): void {
  const { model, now } = turn;
  model.place = hold(model.place);
  delete model.due.hello;
  model.due.calm = now + HELLO_AGAIN_MS;
  model.due.welcome = now + model.settings.answer;
  send(turn, helloOf(model.place));
}

/** Let become what a place says. */
function settle(turn: Turn, { place, pass, recovered }: Taken): void {
  const { model } = turn;
  model.place = place;
  for (const message of pass) turn.actions.push({ do: "pass", message });
  if (place.is === "told") model.due.welcome = turn.now + model.settings.answer;
  else if (place.is !== "held") delete model.due.welcome;
  if (place.is === "behind" && model.current !== undefined) {
    // The clock may have been set back since.
    model.due.hello ??= Math.min(model.due.calm ?? turn.now, turn.now + HELLO_AGAIN_MS);
  }
  // That something may be missing is told each time.
  if (recovered === false) model.state = OPEN;
  if (recovered !== undefined) become(turn, { ...OPEN, recovered });
}

/** Whether the current link brings this, too. */
function isToldAnew({ current, place }: Model, message: AnyMessage): boolean {
  return isWelcome(message) || (current !== undefined && place.is !== "live" && isPlaced(message));
}

// --- signs of life ---------------------------------------------------------------------------------------------------

/** The current link is alive. */
function heard(turn: Turn): void {
  const { due, settings } = turn.model;
  delete due.answer;
  if (settings.heartbeat > 0) due.ping = turn.now + settings.heartbeat;
}

/** See to it that there is a sign of life, or a new connection, before long. */
function probe(turn: Turn, milliseconds: number): void {
  const { due, settings } = turn.model;
  if (settings.heartbeat === 0) return;
  if (due.answer === undefined) send(turn, { type: "ping" });
  due.answer = Math.min(turn.now + milliseconds, due.answer ?? Number.POSITIVE_INFINITY);
}

/** Get a new token when the present one has little time left, and then again and again until one was accepted. */
function renewInTime(turn: Turn): void {
  const { model, now } = turn;
  const remaining = (model.expiresAt ?? now) - now;
  // A token that expired and was accepted all the same says that the clock here is wrong.
  if (remaining <= 0) delete model.due.renew;
  else {
    const early = remaining - model.settings.renew * (1 + turn.random());
    model.due.renew = now + Math.max(early, remaining / 2, RENEW_AGAIN_MS);
  }
}

function send(turn: Turn, message: { type: string; token?: string; cursor?: string | undefined }): void {
  turn.actions.push({ do: "send", link: turn.model.current as number, message });
}

// --- the end of a link -----------------------------------------------------------------------------------------------

function ended(turn: Turn, link: number, code: number): void {
  const { model } = turn;
  if (link === model.last) model.last = undefined;
  if (link === model.next) refused(turn, code);
  if (link === model.current) lost(turn, code);
}

/** The handshake failed. Nobody says why, so it may have been the token. */
function refused(turn: Turn, code: number): void {
  const { model } = turn;
  const hasExpired = (model.nextExpiresAt ?? turn.now) < turn.now;
  model.isRefused = hasExpired || ++model.refusals % REFUSALS_TO_A_NEW_TOKEN === 0;
  failed(turn, closeReason(code));
}

/** The current link ended. */
function lost(turn: Turn, code: number): void {
  const { model } = turn;
  const explained = model.error !== undefined && turn.now - model.error.at <= ERROR_EXPLAINS_MS;
  const meant = code === 1000 && explained ? meantBy((model.error as { code: string }).code) : code;
  const reason = closeReason(meant);
  const isSettled = model.due.settle === undefined;
  model.isRefused ||= reason.kind === "token";
  forgetCurrent(turn);
  if (reason.kind === "final") close(turn, reason);
  else if (isSettled && closeRule(meant).atOnce) reconnect(turn, reason);
  else wait(turn, reason);
}

/** The current link did not answer: make another at once. */
function abandon(turn: Turn): void {
  retire(turn);
  forgetCurrent(turn);
  reconnect(turn, SILENT);
}

/** Keep an ear to the current link for a while. */
function retire(turn: Turn): void {
  const { model } = turn;
  drop(turn, model.last);
  model.last = model.current;
  model.due.retire = turn.now + LINGER_MS;
}

/** Forget what was due on the current link, and a link that was to replace it. */
function forgetCurrent(turn: Turn): void {
  const { model } = turn;
  const { retire } = model.due;
  dropNext(turn);
  model.current = undefined;
  model.due = { ...(retire && { retire }) };
}

function close(turn: Turn, reason?: CloseReason): void {
  const { model } = turn;
  for (const link of [model.next, model.current, model.last]) drop(turn, link);
  model.next = model.current = model.last = undefined;
  model.due = {};
  become(turn, { status: "closed", attempt: 0 }, reason);
}

function dropNext(turn: Turn): void {
  drop(turn, turn.model.next);
  turn.model.next = undefined;
  delete turn.model.due.token;
  delete turn.model.due.connect;
}

function drop(turn: Turn, link: number | undefined): void {
  if (link !== undefined) turn.actions.push({ do: "drop", link });
}

// --- time and the page -----------------------------------------------------------------------------------------------

function noticed(turn: Turn, sign: Sign): void {
  const { status, retryAt } = turn.model.state;
  if (status === "open") probe(turn, turn.model.settings.wake);
  else if (sign === "offline") {
    if (retryAt !== undefined && !turn.online) wait(turn, OFFLINE, 0);
  } else if (status === "waiting" || (sign === "online" && status === "connecting")) wake(turn);
}

/** Begin anew: what went on before was on another network, or in another hour. */
function wake(turn: Turn): void {
  if (!turn.online || !isActive(turn.model)) return;
  turn.model.waits = 0;
  attempt(turn, turn.model.state.reason);
}

/** What to do about each timer, in this order. */
const TIMERS: { [timer in Timer]: (turn: Turn) => void } = {
  settle: (turn: Turn) => {
    turn.model.waits = 0;
  },
  retire: (turn: Turn) => {
    drop(turn, turn.model.last);
    turn.model.last = undefined;
  },
  answer: abandon,
  ping: (turn: Turn) => probe(turn, turn.model.settings.answer),
  renew: (turn: Turn) => {
    turn.actions.push({ do: "get token", link: turn.model.current as number, why: "renew" });
    renewInTime(turn);
  },
  replace: beginLink,
  calm: () => {},
  hello: sayHello,
  welcome: (turn: Turn) => settle(turn, goLive(turn.model.place)),
  token: (turn: Turn) => failed(turn, { code: 1006, message: "getToken took too long", kind: "token" }),
  connect: (turn: Turn) => failed(turn, SILENT),
  retry: (turn: Turn) => attempt(turn, turn.model.state.reason),
};

function tick(turn: Turn, wanted: number): void {
  const { model, now } = turn;
  if (now - wanted > ASLEEP_MS) slept(turn);
  if (wanted - now > CLOCK_MS) shift(model.due, now - wanted);
  for (const timer of Object.keys(TIMERS) as Timer[]) {
    if ((model.due[timer] ?? Number.POSITIVE_INFINITY) > now) continue;
    delete model.due[timer];
    TIMERS[timer](turn);
  }
}

/** The device slept. Whatever was to arrive in that time says nothing, so ask again. */
function slept(turn: Turn): void {
  const { model } = turn;
  delete model.due.answer;
  if (model.due.welcome !== undefined) model.due.welcome = turn.now + model.settings.answer;
  if (model.state.status === "open") probe(turn, model.settings.wake);
  else wake(turn);
}

function shift(due: Due, milliseconds: number): void {
  for (const timer of Object.keys(due) as (keyof Due)[]) due[timer] = (due[timer] as number) + milliseconds;
}

/** Be in a state: the same object as before, unless something in it is another. */
function become({ model }: Turn, state: ConnectionState, reason?: CloseReason): void {
  const next = { ...state, ...(reason && { reason }) };
  if (JSON.stringify(next) !== JSON.stringify(model.state)) model.state = next;
}
