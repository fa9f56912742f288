// The resequencer of one stream, as pure code: the rules of "Coming back" in spec/protocol.md. Messages go in, in any
// order; out come each log message once and in order, and of each state only newer versions. Its modes:
//
//     BUFFERING      a hello was said: messages of the stream wait for the last page of the welcome
//     IN_ORDER       each log message is the next one, each state is newer than the last of its key
//     PASS_THROUGH   there is no welcome, or the server keeps nothing: everything passes in the order of arrival
//     RESYNC         something is missing, so a hello is to be said. Messages of the stream are dropped: the server kept
//                    them before it sent them, so the welcome brings them again
//
// A message without a position in the stream (to a connection, or to everybody) always passes at once.

import { MAX_BUFFERED, MAX_KEYS } from "./limits.js";
import type { AnyMessage } from "./types.js";

/** The cursor of a client that begins with all that the server keeps. */
export const START = "0";
/** The cursor of a client whose server keeps nothing. */
const NOTHING_KEPT = "";

/** A position in the log. */
interface Position {
  readonly epoch: string;
  readonly offset: number;
}

export interface Resequencer {
  readonly mode: "BUFFERING" | "IN_ORDER" | "PASS_THROUGH" | "RESYNC";
  /** The last log message that passed. */
  readonly position?: Position | undefined;
  /** The cursor while there is no position: none, `START`, `NOTHING_KEPT`, or text that the server has to judge. */
  readonly start: string | undefined;
  /** It began without a cursor: log messages as old as its first welcome may still arrive, and pass. */
  readonly isFresh: boolean;
  /** A hello was said, and the last page of its welcome has not arrived. */
  readonly isAwaited: boolean;
  /** The first page of that welcome has arrived. */
  readonly isWelcomed: boolean;
  /** The epoch of the versions. */
  readonly epoch?: string;
  /** The newest version of each key. */
  readonly versions: ReadonlyMap<string, number>;
  /** The messages that wait. */
  readonly buffer: readonly AnyMessage[];
  /** Something was left out of the buffer, so another hello has to follow. */
  readonly isTruncated: boolean;
  /** The first log message that was left out. */
  readonly leftOut?: Position | undefined;
  /** Something may be missing that the application was not told of yet, and the cursor from before. */
  readonly isLossy: boolean;
  readonly lostAt?: string | undefined;
}

/** The outcome of a message. */
export interface Resequenced {
  readonly resequencer: Resequencer;
  readonly pass: readonly AnyMessage[];
  /** Present when a welcome has ended: false if something may be missing. */
  readonly recovered?: boolean;
}

type Draft = { -readonly [K in keyof Resequencer]: Resequencer[K] };

/** A page of a welcome. */
export interface Page {
  readonly cursor: string;
  readonly recovered: boolean;
  readonly messages: readonly AnyMessage[];
  readonly state: readonly AnyMessage[];
  readonly last: boolean;
  readonly expiresAt?: unknown;
  readonly heartbeatSeconds?: unknown;
  readonly rotateAfterSeconds?: unknown;
}

/** Return a resequencer that begins at a cursor; without one, with what is published from now on. */
export function newResequencer(start?: string): Resequencer {
  return {
    mode: "PASS_THROUGH",
    position: parseCursor(start),
    start,
    isFresh: false,
    isAwaited: false,
    isWelcomed: false,
    versions: new Map(),
    buffer: [],
    isTruncated: false,
    isLossy: false,
  };
}

/** Return the cursor that a hello says; undefined for a hello without one. */
export function cursorOf({ position, start }: Resequencer): string | undefined {
  return position ? `${position.epoch}:${position.offset}` : start;
}

/** Return the cursor to come back with: while a loss was not told, the one from before it. */
export function safeCursorOf(resequencer: Resequencer): string | undefined {
  return resequencer.isLossy ? resequencer.lostAt : cursorOf(resequencer);
}

/** Return the position that a cursor names; undefined if it names none. */
export function parseCursor(cursor: unknown): Position | undefined {
  const [, epoch, digits] = (typeof cursor === "string" && /^(.+):(\d{1,15})$/.exec(cursor)) || [];
  return epoch ? { epoch, offset: Number(digits) } : undefined;
}

/** Return true if a message has a position in a stream: of its log, or as a state. */
export function hasPosition(message: AnyMessage): boolean {
  return isState(message) || positionOf(message) !== undefined;
}

/** Return the page of a welcome in a message; undefined if there is none. */
export function pageOf({ type, data }: AnyMessage): Page | undefined {
  const page = data as Page | null;
  return type === "welcome" && typeof page?.cursor === "string" && Array.isArray(page.state) ? page : undefined;
}

/** Return true if a message, as the answer to a hello, says that the server does not know hello. */
export function isUnknownType({ type, data }: AnyMessage): boolean {
  return type === "error" && (data as { code?: unknown } | undefined)?.code === "UNKNOWN_TYPE";
}

/**
 * Wait for the welcome of a hello that is being said. `isSeamless`: the connection replaces one that still lives, so
 * nothing was missed, even if the server keeps nothing.
 */
export function startBuffering(before: Resequencer, isSeamless = false): Resequencer {
  const start = isSeamless && before.start === NOTHING_KEPT ? undefined : before.start;
  const position = before.position ?? (start === undefined ? beforeFirst(before.buffer) : undefined);
  return {
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
}

/** Wait for the welcome no longer: pass what waits, and everything from now on. A welcome that is late still counts. */
export function startPassingThrough(before: Resequencer): Resequenced {
  const after: Draft = { ...before };
  return { resequencer: after, pass: passThrough(after) };
}

/** Take in a message that is no page of a welcome. */
export function resequence(before: Resequencer, message: AnyMessage): Resequenced {
  const after: Draft = { ...before };
  return { pass: takeLive(after, message), resequencer: after };
}

// --- a welcome -------------------------------------------------------------------------------------------------------

/** Take in the next page of the welcome that is awaited. */
export function takePage(before: Resequencer, page: Page): Resequenced {
  const after: Draft = { ...before };
  const { messages, state, last } = page;
  const end = parseCursor(page.cursor);
  if (last) after.isAwaited = false;
  if (end === undefined) {
    if (!last) return { resequencer: after, pass: [] };
    after.position = undefined;
    after.start = NOTHING_KEPT;
    after.isLossy = false;
    return { pass: passThrough(after), recovered: page.recovered, resequencer: after };
  }
  if (!after.isWelcomed) takeFirstPage(after, end, page.recovered);
  const missed = [...takeOversized(after, page, end), ...messages].sort(byOffset);
  const pass = missed.filter((message) => isNewer(after, message));
  for (const each of state) if (isNewState(after, each)) pass.push(each);
  if (!last) return { resequencer: after, pass };
  pass.push(...endWelcome(after, end));
  const recovered = !after.isLossy;
  after.isLossy = false;
  return { resequencer: after, pass, recovered };
}

/** Adopt the server's epoch, and begin the log anew if the server could not go on from the position. */
function takeFirstPage(after: Draft, end: Position, recovered: boolean): void {
  const { position, buffer, epoch } = after;
  after.isWelcomed = true;
  if (end.epoch !== epoch) {
    after.versions = new Map();
    if (epoch !== undefined) {
      // A state does not say its epoch: the high version of an old one would shut out newer ones.
      after.buffer = buffer.filter((message) => !isState(message));
      after.isTruncated ||= after.buffer.length < buffer.length;
    }
    after.epoch = end.epoch;
  }
  if (recovered) return;
  noteLoss(after);
  if (position?.epoch !== end.epoch || position.offset > end.offset) {
    // If this connection ends before a message has passed, the next hello asks for all that is kept.
    after.position = undefined;
    after.start = START;
    after.isFresh = false;
  }
}

/** Take the messages out of the buffer that were too big for a page: those up to the end of this page. */
function takeOversized(after: Draft, { messages, last }: Page, end: Position): AnyMessage[] {
  if (after.isFresh) return [];
  const until = { epoch: end.epoch, offset: last ? end.offset : Math.max(0, ...messages.map(offsetOf)) };
  const oversized = after.buffer.filter((message) => isWithin(message, until));
  after.buffer = after.buffer.filter((message) => !isWithin(message, until));
  return oversized;
}

/** Return true for a message of a welcome that has not passed. A gap between them is the server's decision. */
function isNewer(after: Draft, message: AnyMessage): boolean {
  const position = positionOf(message);
  if (position === undefined) return true;
  const { leftOut } = after;
  if (leftOut?.epoch === position.epoch && position.offset >= leftOut.offset) return false;
  if (isOld(after, message)) return false;
  move(after, position);
  return true;
}

/** Go on live, with the messages that waited. */
function endWelcome(after: Draft, end: Position): AnyMessage[] {
  const { position, leftOut, buffer } = after;
  let { offset } = end;
  if (leftOut?.epoch === end.epoch) offset = Math.min(offset, leftOut.offset - 1);
  if (position?.epoch === end.epoch) offset = Math.max(offset, position.offset);
  Object.assign(after, { position: { ...end, offset }, start: undefined, mode: "IN_ORDER", buffer: [] });
  const pass = inOrder(buffer).flatMap((message) => takeLive(after, message));
  if (after.isTruncated) after.mode = "RESYNC";
  return pass;
}

/** Pass everything, with the messages that waited first. */
function passThrough(after: Draft): AnyMessage[] {
  const { buffer } = after;
  Object.assign(after, { mode: "PASS_THROUGH", buffer: [] });
  return inOrder(buffer).flatMap((message) => (isOld(after, message) ? [] : takeLive(after, message)));
}

// --- a message -------------------------------------------------------------------------------------------------------

function takeLive(after: Draft, message: AnyMessage): AnyMessage[] {
  if (!hasPosition(message)) return [message];
  switch (after.mode) {
    case "BUFFERING":
      bufferMessage(after, message);
      return [];
    case "PASS_THROUGH":
      follow(after, message);
      return [message];
    case "IN_ORDER":
      return isNext(after, message) ? [message] : [];
    case "RESYNC":
      return [];
  }
}

function bufferMessage(after: Draft, message: AnyMessage): void {
  if (after.buffer.length < MAX_BUFFERED) {
    after.buffer = [...after.buffer, message];
    return;
  }
  after.isTruncated = true;
  const position = positionOf(message);
  const { leftOut } = after;
  if (position && (leftOut?.epoch !== position.epoch || position.offset < leftOut.offset)) after.leftOut = position;
}

/** Return true for the next message of its log, or a newer state. A gap calls for a hello. */
function isNext(after: Draft, message: AnyMessage): boolean {
  const position = positionOf(message);
  if (position === undefined) return isNewState(after, message);
  if (isOld(after, message)) return false;
  if (!comesNext(after, position)) {
    after.mode = "RESYNC";
    return false;
  }
  move(after, position);
  return true;
}

/** Move along with a message that passes in any case, and note if it leaves something out. */
function follow(after: Draft, message: AnyMessage): void {
  const position = positionOf(message);
  if (position === undefined) remember(after, message);
  else if (!isOld(after, message)) {
    if (!comesNext(after, position)) noteLoss(after);
    if (after.position?.epoch !== position.epoch || position.offset > after.position.offset) move(after, position);
    after.isFresh = false;
  }
}

function comesNext({ position, start, isFresh }: Draft, { epoch, offset }: Position): boolean {
  if (position === undefined) return start === undefined;
  return epoch === position.epoch && (offset === position.offset + 1 || (isFresh && offset <= position.offset));
}

/** Return true for a log message that has passed. */
function isOld({ isFresh, position }: Draft, message: AnyMessage): boolean {
  return !isFresh && position !== undefined && isWithin(message, position);
}

function move(after: Draft, position: Position): void {
  after.position = position;
  after.isFresh = false;
}

function noteLoss(after: Draft): void {
  if (!after.isLossy) after.lostAt = cursorOf(after);
  after.isLossy = true;
}

/** Return true for a state that is newer than the last of its key. */
function isNewState(after: Draft, message: AnyMessage): boolean {
  const { key, version } = message;
  if (!isState(message)) return true;
  if ((version as number) <= (after.versions.get(key as string) ?? 0)) return false;
  remember(after, message);
  return true;
}

function remember(after: Draft, { key, version }: AnyMessage): void {
  const versions = new Map(after.versions);
  // The order of the map is that of the last change, so the first key is the one to forget.
  versions.delete(key as string);
  versions.set(key as string, version as number);
  if (versions.size > MAX_KEYS) versions.delete(versions.keys().next().value as string);
  after.versions = versions;
}

// --- positions -------------------------------------------------------------------------------------------------------

function positionOf({ cursor }: AnyMessage): Position | undefined {
  return parseCursor(cursor);
}

function isState({ key, version }: AnyMessage): boolean {
  return typeof key === "string" && typeof version === "number";
}

function offsetOf(message: AnyMessage): number {
  return positionOf(message)?.offset ?? 0;
}

function byOffset(one: AnyMessage, other: AnyMessage): number {
  return offsetOf(one) - offsetOf(other);
}

function isWithin(message: AnyMessage, { epoch, offset }: Position): boolean {
  const position = positionOf(message);
  return position?.epoch === epoch && position.offset <= offset;
}

/** Sort the log messages among themselves. */
function inOrder(messages: readonly AnyMessage[]): AnyMessage[] {
  const log = messages.filter(positionOf).sort(byOffset);
  return messages.map((message) => (positionOf(message) ? (log.shift() as AnyMessage) : message));
}

/** Return the position before the first of these log messages, of the epoch of the last one; undefined without any. */
function beforeFirst(messages: readonly AnyMessage[]): Position | undefined {
  const positions = messages.flatMap((message) => positionOf(message) ?? []);
  const epoch = positions.at(-1)?.epoch;
  const offsets = positions.flatMap((position) => (position.epoch === epoch ? position.offset : []));
  return epoch === undefined ? undefined : { epoch, offset: Math.min(...offsets) - 1 };
}
