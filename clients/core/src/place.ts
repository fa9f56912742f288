// Where a client is in its user's stream: what "Coming back" of spec/protocol.md asks of a client, as pure code. A message
// goes in; what is to be passed on comes out. A place is one of these:
//
//     behind   a hello is to be said. What comes of the stream is dropped: it was kept before it was sent, so the welcome
//              brings it
//     held     a hello was said. What comes of the stream waits for the last page
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

export interface Place {
  readonly is: "behind" | "held" | "along" | "live";
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
  /** The first page was heard. */
  readonly isWelcomed: boolean;
  /** Something that came meanwhile was left out. */
  readonly isCut: boolean;
}

/** What becomes of a message. */
export interface Taken {
  readonly place: Place;
  readonly pass: AnyMessage[];
  /** A welcome has ended: whether the application has heard everything. */
  readonly recovered?: boolean;
}

interface Spot {
  readonly epoch: string;
  readonly offset: number;
}

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
    isWelcomed: false,
    isCut: false,
  };
}

/** Return the cursor; undefined as long as there is none. */
export function cursorOf({ epoch, offset }: Place): string | undefined {
  return epoch === "" ? undefined : `${epoch}:${offset}`;
}

/** Return what to say hello with. */
export function helloOf(place: Place): { type: string; cursor?: string } {
  const cursor = cursorOf(place) ?? (place.isFresh ? undefined : "0");
  return { type: "hello", ...(cursor !== undefined && { cursor }) };
}

/** Tell whether who has seen everything up to a cursor has seen what is at another. */
export function covers(seen: string, cursor: string): boolean {
  const [one, other] = [readCursor(seen), readCursor(cursor)];
  return one !== undefined && one.epoch === other?.epoch && other.offset <= one.offset;
}

/** Tell whether a message has a place in the stream. */
export function isPlaced(message: AnyMessage): boolean {
  return spotOf(message) !== undefined || isState(message);
}

/** Tell whether a message is a page of a welcome. */
export function isWelcome({ type, data }: AnyMessage): boolean {
  const { messages, state } = (data ?? {}) as Partial<Page>;
  return type === "welcome" && Array.isArray(messages) && Array.isArray(state);
}

/** Tell whether a message says that a server does not know hello, if it comes after one. */
export function isNoHello({ type, data }: AnyMessage): boolean {
  return type === "error" && (data as { code?: unknown } | undefined)?.code === "UNKNOWN_TYPE";
}

/** A hello is being said: hold what comes. */
export function hold(place: Place): Place {
  const isFresh = place.isFresh && place.epoch === "";
  return { ...place, is: "held", isFresh, held: [], isWelcomed: false, isCut: false };
}

/** There is no welcome: pass on what was held, and everything from now on. A later hello asks from the same cursor. */
export function goLive(place: Place): Taken {
  const isLossy = place.isLossy || place.epoch === "";
  return { place: { ...place, is: "live", versions: NO_VERSIONS, held: [], isLossy }, pass: [...place.held] };
}

/** Take a message in. */
export function take(place: Place, message: AnyMessage): Taken {
  if (isWelcome(message)) return turn(place, message.data as Page);
  if (!isPlaced(message)) return { place, pass: [message] };
  if (place.is === "behind") return { place, pass: [] };
  return place.is === "held" ? { place: keep(place, message), pass: [] } : follow(place, message);
}

/** Let a message wait, unless it was heard. Of too many the newest is left out. */
function keep(place: Place, message: AnyMessage): Place {
  const spot = spotOf(message);
  if (spot !== undefined && !place.isFresh && isHeard(place, spot)) return place;
  if (spot !== undefined && place.isWelcomed && spot.epoch !== place.epoch) return { ...place, isCut: true };
  const after = place.held.findLastIndex((each) => byOffset(each, message) <= 0) + 1;
  const held = [...place.held.slice(0, after), message, ...place.held.slice(after)];
  const isCut = place.isCut || held.length > MAX_HELD;
  return { ...place, held: held.slice(0, MAX_HELD), isCut };
}

/** Pass on what comes next; if something is left out before it, that has to be asked for. */
function follow(place: Place, message: AnyMessage): Taken {
  if (isState(message)) return update(place, message);
  const spot = spotOf(message) as Spot;
  if (place.is === "live") return { place, pass: [message] };
  const isNear = spot.epoch === place.epoch && spot.offset <= place.offset + 1;
  if (!isNear) return { place: { ...place, is: "behind" }, pass: [] };
  if (isHeard(place, spot) && !place.isFresh) return { place, pass: [] };
  return { place: { ...place, offset: spot.offset, isFresh: false }, pass: [message] };
}

/** Pass on a state that is newer than the last of its key. */
function update(place: Place, message: State): Taken {
  if (message.version <= (place.versions.get(message.key) ?? 0)) return { place, pass: [] };
  const versions = new Map(place.versions);
  // Those that have not changed for long come first.
  versions.delete(message.key);
  versions.set(message.key, message.version);
  if (versions.size > MAX_KEYS) versions.delete(versions.keys().next().value as string);
  return { place: { ...place, versions }, pass: [message] };
}

/** Pass on what a page brings, and after the last one what was held. */
function turn(before: Place, page: Page): Taken {
  const end = readCursor(page.cursor);
  if (end === undefined) return liveFrom(before, page);
  let place = before.is === "held" && before.isWelcomed ? before : begin(before, page, end);
  const pass: AnyMessage[] = [];
  const until = page.last ? end.offset : offsetOf(page.messages.at(-1));
  const isDue = (message: AnyMessage): boolean => !place.isFresh && offsetOf(message) <= until;
  const due = [...place.held.filter(isDue), ...page.messages].sort(byOffset);
  place = { ...place, held: place.held.filter((message) => !isDue(message)) };
  for (const message of due) {
    if (offsetOf(message) <= place.offset) continue;
    place = { ...place, offset: offsetOf(message) };
    pass.push(message);
  }
  const next = (message: AnyMessage): void => {
    const taken = place.is === "behind" ? { place, pass: [] } : follow(place, message);
    place = taken.place;
    pass.push(...taken.pass);
  };
  page.state.forEach(next);
  if (!page.last) return { place, pass };
  const { held, isCut, isLossy } = place;
  place = { ...place, is: "along", offset: Math.max(place.offset, end.offset), held: [], isLossy: false };
  held.forEach(next);
  if (isCut) place = { ...place, is: "behind" };
  return { place, pass, recovered: !isLossy };
}

/** The first page: where the server has another history, or not all of it, the log begins anew. */
function begin(place: Place, { recovered }: Page, end: Spot): Place {
  const isOther = end.epoch !== place.epoch;
  // A state does not say of which epoch it is. It may be the one before, where there was one.
  const epochOfStates = place.epoch === "" ? end.epoch : place.epoch;
  const held = place.held.filter((message) => (spotOf(message)?.epoch ?? epochOfStates) === end.epoch);
  return {
    ...place,
    is: "held",
    isWelcomed: true,
    epoch: end.epoch,
    offset: place.isFresh ? end.offset : isOther || !recovered ? 0 : place.offset,
    isLossy: place.isLossy || !recovered,
    versions: isOther ? NO_VERSIONS : place.versions,
    held,
    isCut: place.isCut || held.length < place.held.length,
  };
}

/** The server keeps nothing. So what is said between this connection and the next one will be missing. */
function liveFrom(place: Place, { messages, state, last, recovered }: Page): Taken {
  const live = goLive(place);
  const pass = [...messages, ...state, ...live.pass];
  if (!last) return { ...live, pass };
  return { place: { ...live.place, isLossy: true }, pass, recovered: recovered && !place.isLossy };
}

type State = AnyMessage & { readonly key: string; readonly version: number };

function isState(message: AnyMessage): message is State {
  return typeof message.key === "string" && typeof message.version === "number";
}

function isHeard(place: Place, { epoch, offset }: Spot): boolean {
  return epoch === place.epoch && offset <= place.offset;
}

function spotOf({ cursor }: AnyMessage): Spot | undefined {
  return readCursor(cursor);
}

function readCursor(cursor: string | undefined): Spot | undefined {
  const [, epoch, digits] = /^(.+):(\d{1,15})$/.exec(cursor ?? "") ?? [];
  return epoch === undefined ? undefined : { epoch, offset: Number(digits) };
}

/** States come after the log. */
function offsetOf(message: AnyMessage | undefined): number {
  return message === undefined ? 0 : (spotOf(message)?.offset ?? Number.POSITIVE_INFINITY);
}

function byOffset(one: AnyMessage, other: AnyMessage): number {
  return offsetOf(one) - offsetOf(other) || 0;
}
