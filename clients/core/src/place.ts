// Where a client is in its user's stream: what "Coming back" of spec/protocol.md asks of a client, as pure code. A message
// goes in; what is to be passed on comes out. A place is one of these:
//
//     behind   a hello is to be said. What comes of the stream is dropped: it was kept before it was sent, so the welcome
//              brings it
//     held     a hello was said. What comes of the stream waits for the last page
//     told     the first page was heard
//     along    each message of the log is the next one, and each state newer than the last of its key
//     live     the server keeps nothing, or does not say what: everything is passed on
//
// Messages to a connection or to everybody have no place in the stream, and are always passed on.

import type { AnyMessage } from "./types.js";

/** How many messages wait at most. What is left out then is asked for again. */
export const MAX_HELD = 1_000;
/** Of how many keys the newest version is known: more than a server keeps states of. */
export const MAX_KEYS = 1_000;

const NO_VERSIONS: ReadonlyMap<string, number> = new Map();
const LIVE = { is: "live", versions: NO_VERSIONS, held: [] } as const;

export interface Place {
  readonly is: "behind" | "held" | "told" | "along" | "live";
  /** Of the cursor; without one it is empty. */
  readonly epoch: string;
  readonly offset: number;
  /** It came without a cursor, and has heard nothing of the log yet. */
  readonly isFresh: boolean;
  /** Something may be missing that the application was not told of. */
  readonly isLossy: boolean;
  /** The newest version of each key. */
  readonly versions: ReadonlyMap<string, number>;
  /** What waits: of the log by offset, then the states as they came. */
  readonly held: readonly AnyMessage[];
  /** Something that came meanwhile was left out. */
  readonly isCut: boolean;
}

/** What becomes of a message. */
export interface Taken {
  readonly place: Place;
  readonly pass: readonly AnyMessage[];
  /** A welcome has ended: whether the application has heard everything. */
  readonly recovered?: boolean;
}

/** A place as it becomes, and what was passed on so far. */
interface Turn {
  place: { -readonly [K in keyof Place]: Place[K] };
  pass: AnyMessage[];
  recovered?: boolean;
}

/** A cursor. A state's is after the whole log, and of an epoch that it does not say. */
interface Spot {
  readonly epoch: string;
  readonly offset: number;
}

const SPOT_OF_STATES: Spot = { epoch: "", offset: Number.POSITIVE_INFINITY };

/** A page of a welcome. */
export interface Page {
  readonly cursor: string;
  readonly recovered: boolean;
  readonly messages: readonly AnyMessage[];
  readonly state: readonly AnyMessage[];
  readonly last: boolean;
}

/** Return the place of a client that comes with a cursor; without one, it wants what is said from now on. */
export function newPlace(cursor?: string): Place {
  const spot = readCursor(cursor);
  return {
    is: "behind",
    ...(spot ?? { epoch: "", offset: 0 }),
    isFresh: spot === undefined && cursor !== "0",
    isLossy: false,
    versions: NO_VERSIONS,
    held: [],
    isCut: false,
  };
}

/** Return the cursor; undefined as long as there is none. */
export function cursorOf({ epoch, offset }: Place): string | undefined {
  return epoch ? `${epoch}:${offset}` : undefined;
}

/** Return what to say hello with. */
export function helloOf(place: Place): { type: string; cursor: string | undefined } {
  return { type: "hello", cursor: cursorOf(place) ?? (place.isFresh ? undefined : "0") };
}

/** Tell whether a message has a place in the stream. */
export function isPlaced(message: AnyMessage): boolean {
  return spotOf(message) !== undefined;
}

/** Tell whether a message is a page of a welcome. */
export function isWelcome({ type, data }: AnyMessage): boolean {
  return type === "welcome" && Array.isArray((data as Page | null)?.state);
}

/** Tell whether a message says that a server does not know hello, if it comes after one. */
export function isNoHello({ type, data }: AnyMessage): boolean {
  return type === "error" && (data as { code?: unknown } | undefined)?.code === "UNKNOWN_TYPE";
}

/** A hello is being said: hold what comes. */
export function hold(place: Place): Place {
  return { ...place, is: "held", isFresh: place.isFresh && !place.epoch, held: [], isCut: false };
}

/** There will be no welcome: pass on what was held, and everything from now on. A later hello asks from the same cursor. */
export function goLive(place: Place): Taken {
  return { place: { ...place, ...LIVE, isLossy: place.isLossy || !place.epoch }, pass: place.held };
}

/** Take a message in. */
export function take(before: Place, message: AnyMessage): Taken {
  if (before.is === "held" && isNoHello(message)) return goLive(before);
  const turn: Turn = { place: { ...before }, pass: [] };
  if (isWelcome(message)) turnPage(turn, message.data as Page);
  else if (!isPlaced(message)) turn.pass.push(message);
  else if (before.is === "held" || before.is === "told") keep(turn.place, message);
  else follow(turn, message);
  return turn;
}

/** Let a message wait. Of too many the newest is left out. */
function keep(place: Turn["place"], message: AnyMessage): void {
  const { epoch, offset } = spotOf(message) as Spot;
  if (place.is === "told" && epoch && epoch !== place.epoch) {
    place.isCut = true;
    return;
  }
  const after = place.held.findLastIndex((each) => offsetOf(each) <= offset) + 1;
  const held = [...place.held.slice(0, after), message, ...place.held.slice(after)];
  place.held = held.slice(0, MAX_HELD);
  place.isCut ||= held.length > MAX_HELD;
}

/** Pass on what comes next. If something is left out before it, that has to be asked for. */
function follow({ place, pass }: Turn, message: AnyMessage): void {
  if (place.is === "behind") return;
  const { epoch, offset } = spotOf(message) as Spot;
  if (!epoch) {
    if (!isNewer(place, message)) return;
  } else if (place.is !== "live") {
    if (epoch !== place.epoch || offset > place.offset + 1) place.is = "behind";
    if (place.is === "behind" || (offset <= place.offset && !place.isFresh)) return;
    place.offset = offset;
    place.isFresh = false;
  }
  pass.push(message);
}

/** Tell whether a state is newer than the last of its key, and remember it if so. */
function isNewer(place: Turn["place"], { key = "", version = 0 }: AnyMessage): boolean {
  if (version <= (place.versions.get(key) ?? 0)) return false;
  const versions = new Map(place.versions);
  // Those that have not changed for long come first.
  versions.delete(key);
  versions.set(key, version);
  if (versions.size > MAX_KEYS) versions.delete(versions.keys().next().value as string);
  place.versions = versions;
  return true;
}

/** Pass on what a page brings, and after the last one what was held. */
function turnPage(turn: Turn, { cursor, recovered, messages, state, last }: Page): void {
  const { place, pass } = turn;
  const end = readCursor(cursor);
  if (end === undefined) {
    // The server keeps nothing. So what is said between this connection and the next one will be missing.
    pass.push(...messages, ...state, ...place.held);
    turn.recovered = recovered && !place.isLossy;
    Object.assign(place, LIVE, { isLossy: true });
    return;
  }
  if (place.is !== "told") begin(place, end, recovered);
  const until = last ? end.offset : offsetOf(messages.at(-1));
  const due = place.held.filter((each) => offsetOf(each) <= until);
  for (const message of [...due, ...messages].sort((one, other) => offsetOf(one) - offsetOf(other))) {
    if (offsetOf(message) <= place.offset) continue;
    place.offset = offsetOf(message);
    pass.push(message);
  }
  for (const message of state) follow(turn, message);
  if (!last) return;
  const { held } = place;
  turn.recovered = !place.isLossy;
  Object.assign(place, { is: "along", offset: end.offset, held: [], isLossy: false });
  for (const message of held) follow(turn, message);
  if (place.isCut) place.is = "behind";
}

/** The first page: where the server has another history, or not all of it, the log begins anew. */
function begin(place: Turn["place"], { epoch, offset }: Spot, recovered: boolean): void {
  const isOther = epoch !== place.epoch;
  // A held state may be of the epoch before, where there was one.
  const held = place.held.filter((each) => ((spotOf(each) as Spot).epoch || place.epoch || epoch) === epoch);
  place.isCut ||= held.length < place.held.length;
  place.isLossy ||= !recovered;
  if (isOther) place.versions = NO_VERSIONS;
  if (place.isFresh) place.offset = offset;
  else if (isOther || !recovered) place.offset = 0;
  Object.assign(place, { is: "told", epoch, held });
}

function spotOf({ cursor, key, version }: AnyMessage): Spot | undefined {
  return key && version ? SPOT_OF_STATES : readCursor(cursor);
}

function readCursor(cursor: string | undefined): Spot | undefined {
  const [, epoch, digits] = /^(.+):(\d{1,15})$/.exec(cursor ?? "") ?? [];
  return epoch ? { epoch, offset: Number(digits) } : undefined;
}

function offsetOf(message: AnyMessage | undefined): number {
  return (message && spotOf(message)?.offset) ?? 0;
}
