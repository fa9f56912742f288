// The resequencer of one stream, as pure code: the rules of "Coming back" in spec/protocol.md. Messages go in, in any
// order; out come each log message once and in order, and of each state only newer versions. Its modes:
//
//     BUFFERING      a hello was said: messages of the stream wait for the last page of the welcome
//     IN_ORDER       each log message is the next one, each state is newer than the last of its key
//     PASS_THROUGH   there is no welcome, or the server keeps nothing: everything passes in the order of arrival
//     RESYNC         something is missing, so a hello is to be said. Messages of the stream are dropped: the server kept
//                    them before it sent them, so the welcome brings them again
//     REFUSED, LEAVING  of a topic (topics.ts): messages of the stream are dropped
//
// A message without a position in the stream (to a connection, or to everybody) always passes at once.

import { MAX_BUFFERED, MAX_KEYS } from "./limits.js";
import type { PongData, WelcomeData } from "./messages.js";
import type { Message } from "./types.js";

/** The cursor of a client that begins with all that the server keeps. */
export const START = "0";
/** The error of a server that does not know hello, as the answer to one. */
export const UNKNOWN_TYPE = "UNKNOWN_TYPE";
/** The cursor of a client whose server keeps nothing. */
const NOTHING_KEPT = "";

/** A position in the log. */
interface Position {
  readonly epoch: string;
  readonly offset: number;
}

export interface Resequencer {
  readonly mode: "BUFFERING" | "IN_ORDER" | "PASS_THROUGH" | "RESYNC" | "REFUSED" | "LEAVING";
  /** The last log message that passed. */
  readonly position?: Position | undefined;
  /** The cursor while there is no position: none, `START`, `NOTHING_KEPT`, or text that the server has to judge. */
  readonly start?: string | undefined;
  /** It began without a cursor: log messages as old as its first welcome may still arrive, and pass. */
  readonly isFresh?: boolean;
  /** A hello was said, and the last page of its welcome has not arrived. */
  readonly isAwaited?: boolean;
  /** The first page of that welcome has arrived. */
  readonly isWelcomed?: boolean;
  /** The epoch of the versions. */
  readonly epoch?: string;
  /** The newest message of each key: for its version, and for those who follow a topic later. */
  readonly states: ReadonlyMap<string, Message>;
  /** The messages that wait. */
  readonly buffer: readonly Message[];
  /** Something was left out of the buffer, so another hello has to follow. */
  readonly isTruncated?: boolean;
  /** The first log message that was left out. */
  readonly leftOut?: Position | undefined;
  /** Something may be missing that the application was not told of yet, and the cursor from before. */
  readonly isLossy?: boolean;
  /** The version that a pong knew of, and that was asked for: a welcome may have no state of it. */
  readonly asked?: number;
  readonly lostAt?: string | undefined;
}

/** A page of a welcome, or of the answer of a topic. */
export type Page = WelcomeData & { readonly topic?: string };

/** The outcome of a message. */
export interface Resequenced {
  readonly resequencer: Resequencer;
  readonly pass: readonly Message[];
  /** Present when a welcome has ended: false if something may be missing. */
  readonly recovered?: boolean;
}

type Draft = { -readonly [K in keyof Resequencer]: Resequencer[K] };

/** Return a resequencer that begins at a cursor; without one, with the messages that are published from now on. */
export function newResequencer(start?: string): Resequencer {
  return { mode: "PASS_THROUGH", position: parseCursor(start), start, states: new Map(), buffer: [] };
}

/** Return the cursor that a hello says; undefined for a hello without one. */
export function cursorOf({ position, start }: Resequencer): string | undefined {
  return position ? `${position.epoch}:${position.offset}` : start;
}

/** Return the cursor to come back with: while a loss was not told, the one from before it. */
export function safeCursorOf(resequencer: Resequencer): string | undefined {
  return resequencer.isLossy ? resequencer.lostAt : cursorOf(resequencer);
}

/** Return the highest version of the states that have passed; 0 if there is none. */
export function versionOf({ states }: Resequencer): number {
  return Math.max(0, ...[...states.values()].map(({ version }) => version as number));
}

/** Return the position that a cursor names; undefined if it names none. */
export function parseCursor(cursor: unknown): Position | undefined {
  const [, epoch, digits] = /^(.+):(\d{1,15})$/.exec(cursor as string) ?? [];
  return epoch ? { epoch, offset: Number(digits) } : undefined;
}

/** Return true if a message has a position in a stream: in its log, or as a state. */
export function hasPosition(message: Message): boolean {
  return isState(message) || positionOf(message) !== undefined;
}

/** Return the page in a welcome, or in the answer of a topic; undefined if there is none. */
export function pageOf({ data }: Message): Page | undefined {
  const page = data as Page | null;
  const isPage =
    typeof page?.cursor === "string" && typeof page.recovered === "boolean" && typeof page.last === "boolean";
  return isPage ? page : undefined;
}

/** Return the code of an `error`; undefined for any other message. */
export function errorOf({ type, data }: Message): string | undefined {
  const code = (data as { code?: unknown } | null | undefined)?.code;
  return type === "error" && typeof code === "string" ? code : undefined;
}

/**
 * Wait for the welcome of a hello that is being said. `isSeamless`: the connection replaces one that still lives, so
 * nothing was missed, even if the server keeps nothing.
 */
export function startBuffering(before: Resequencer, isSeamless?: boolean): Resequencer {
  const start = isSeamless && before.start === NOTHING_KEPT ? undefined : before.start;
  const position = before.position ?? (start === undefined ? beforeFirst(before.buffer) : undefined);
  const after: Draft = {
    ...before,
    mode: "BUFFERING",
    position,
    start,
    isFresh: position === undefined && start === undefined,
    isAwaited: true,
    isWelcomed: false,
    buffer: [],
    isTruncated: false,
    leftOut: undefined,
  };
  // A server that keeps nothing cannot know what was missed.
  if (start === NOTHING_KEPT) noteLoss(after);
  return after;
}

/**
 * Stop waiting for the welcome: pass the messages that wait, and everything from now on. A welcome that is late still
 * counts.
 */
export function startPassingThrough(before: Resequencer): Resequenced {
  const after: Draft = { ...before };
  const pass = release(after, "PASS_THROUGH", (message) => !isOld(after, message));
  return { resequencer: after, pass };
}

/** Ask for the rest of the stream if it has not arrived up to this end, but for a version once. */
export function catchUp(before: Resequencer, { cursor, version = 0 }: PongData): Resequencer {
  const { mode, position, asked = 0 } = before;
  const end = parseCursor(cursor);
  const isShort = end && position && (end.epoch !== position.epoch || end.offset > position.offset);
  const isBehind = isShort || version > Math.max(asked, versionOf(before));
  return mode === "IN_ORDER" && isBehind ? { ...before, mode: "RESYNC", asked: version } : before;
}

/** Take in a message that is no page of a welcome. */
export function resequence(before: Resequencer, message: Message): Resequenced {
  const after: Draft = { ...before };
  return { pass: [message].filter((each) => accepts(after, each)), resequencer: after };
}

// --- a welcome -------------------------------------------------------------------------------------------------------

/** Take in the next page of the welcome that is awaited. */
export function takePage(
  before: Resequencer,
  { cursor, recovered, messages = [], state = [], last }: WelcomeData,
): Resequenced {
  const end = parseCursor(cursor);
  const after: Draft = { ...before, isAwaited: !last };
  if (end === undefined) {
    if (!last) return { resequencer: after, pass: [] };
    Object.assign(after, { position: undefined, start: NOTHING_KEPT, isLossy: false });
    return { ...startPassingThrough(after), recovered: !before.isLossy && recovered };
  }
  if (!before.isWelcomed) takeFirstPage(after, end, recovered);
  // A message that is too big for a page arrives by itself, before the page that comes after it.
  const until = { ...end, offset: last ? end.offset : Math.max(0, ...messages.map(offsetOf)) };
  const isOversized = (message: Message): boolean => !after.isFresh && isWithin(message, until);
  const missed = [...messages, ...after.buffer.filter(isOversized)].sort(byOffset);
  after.buffer = after.buffer.filter((message) => !isOversized(message));
  const pass = replayed([...missed, ...state].filter((message) => accepts(after, message, true)));
  if (!last) return { resequencer: after, pass };
  endWelcome(after, end);
  pass.push(...release(after, "IN_ORDER"));
  if (after.isTruncated) after.mode = "RESYNC";
  return { pass, recovered: !before.isLossy && recovered, resequencer: { ...after, isLossy: false } };
}

/** Mark messages that were kept. */
export function replayed(messages: readonly Message[] = []): Message[] {
  return messages.map((message) => ({ ...message, replayed: true }));
}

/** Adopt the server's epoch, and begin the log anew if the server could not go on from the position. */
function takeFirstPage(after: Draft, end: Position, recovered: boolean): void {
  const { position, buffer, epoch } = after;
  after.isWelcomed = true;
  after.epoch = end.epoch;
  if (end.epoch !== epoch) Object.assign(after, { states: new Map(), asked: 0 });
  if (epoch !== undefined && end.epoch !== epoch) {
    // A state does not say its epoch: the high version of an old one would shut out newer ones.
    after.buffer = buffer.filter((message) => !isState(message));
    after.isTruncated ||= after.buffer.length < buffer.length;
  }
  if (recovered) return;
  noteLoss(after);
  if (position?.epoch !== end.epoch || position.offset > end.offset) {
    // If this connection ends before a message has passed, the next hello asks for all that is kept.
    Object.assign(after, { position: undefined, start: START, isFresh: false });
  }
}

/** Move to the end of the welcome, but not beyond a message that was left out of the buffer. */
function endWelcome(after: Draft, { epoch, offset }: Position): void {
  const { position, leftOut } = after;
  const end = leftOut?.epoch === epoch ? Math.min(offset, leftOut.offset - 1) : offset;
  after.position = { epoch, offset: position?.epoch === epoch ? Math.max(end, position.offset) : end };
  after.start = undefined;
}

/** Return the messages that waited and pass in a new mode. */
function release(after: Draft, mode: Draft["mode"], isWanted = (_: Message): boolean => true): Message[] {
  const messages = [...after.buffer].sort(byOffset);
  Object.assign(after, { mode, buffer: [] });
  return messages.filter((message) => isWanted(message) && accepts(after, message));
}

// --- a message -------------------------------------------------------------------------------------------------------

/**
 * Return true for a message that passes. `isPaged`: it is of a page, which may leave out messages that the server has
 * judged to be of no use, but may not go beyond a message that was left out of the buffer.
 */
function accepts(after: Draft, message: Message, isPaged?: boolean): boolean {
  const { mode, leftOut } = after;
  const position = positionOf(message);
  const isFree = mode === "PASS_THROUGH";
  if (!hasPosition(message)) return true;
  if (!isPaged) {
    if (mode === "BUFFERING") bufferMessage(after, message);
    if (!isFree && mode !== "IN_ORDER") return false;
  }
  if (position === undefined) return acceptsState(after, message, isFree && !isPaged);
  if (isOld(after, message)) return isFree && !isPaged;
  if (isPaged) {
    if (leftOut?.epoch === position.epoch && position.offset >= leftOut.offset) return false;
  } else if (!isNext(after, position)) {
    if (!isFree) {
      after.mode = "RESYNC";
      return false;
    }
    noteLoss(after);
  }
  after.position = position;
  after.isFresh = false;
  return true;
}

function bufferMessage(after: Draft, message: Message): void {
  const { buffer, leftOut } = after;
  const position = positionOf(message);
  if (buffer.length < MAX_BUFFERED) after.buffer = [...buffer, message];
  else {
    after.isTruncated = true;
    if (position && (leftOut?.epoch !== position.epoch || position.offset < leftOut.offset)) after.leftOut = position;
  }
}

/** Return true for a log message that has passed. */
function isOld({ isFresh, position }: Draft, message: Message): boolean {
  return !isFresh && position !== undefined && isWithin(message, position);
}

function isNext({ position, start, isFresh }: Draft, { epoch, offset }: Position): boolean {
  if (position === undefined) return start === undefined;
  return epoch === position.epoch && (offset === position.offset + 1 || (!!isFresh && offset <= position.offset));
}

function noteLoss(after: Draft): void {
  if (!after.isLossy) after.lostAt = cursorOf(after);
  after.isLossy = true;
}

/** Return true for a state that is newer than the last of its key, or any. */
function acceptsState(after: Draft, message: Message, any: boolean): boolean {
  const key = message.key as string;
  if (!any && (message.version as number) <= (after.states.get(key)?.version ?? 0)) return false;
  const states = new Map(after.states);
  // The order of the map is that of the last change, so the first key is the one to forget.
  states.delete(key);
  states.set(key, message);
  if (states.size > MAX_KEYS) states.delete(states.keys().next().value as string);
  after.states = states;
  return true;
}

// --- positions -------------------------------------------------------------------------------------------------------

function positionOf(message: Message): Position | undefined {
  return isState(message) ? undefined : parseCursor(message.cursor);
}

function isState({ key, version }: Message): boolean {
  return typeof key === "string" && typeof version === "number";
}

function offsetOf(message: Message): number {
  return positionOf(message)?.offset ?? 0;
}

/** Sort the log by offset, and the states after it, as they came. */
function byOffset(one: Message, other: Message): number {
  return Number(isState(one)) - Number(isState(other)) || offsetOf(one) - offsetOf(other);
}

function isWithin(message: Message, { epoch, offset }: Position): boolean {
  const position = positionOf(message);
  return position?.epoch === epoch && position.offset <= offset;
}

/** Return the position before the first of these log messages, of the epoch of the last one; undefined without any. */
function beforeFirst(messages: readonly Message[]): Position | undefined {
  const last = messages.findLast(positionOf);
  if (last === undefined) return undefined;
  const { epoch } = positionOf(last) as Position;
  const isSame = (message: Message): boolean => positionOf(message)?.epoch === epoch;
  return { epoch, offset: Math.min(...messages.filter(isSame).map(offsetOf)) - 1 };
}
