// A list of the user's log: its messages of one type, newest first, each once, whether they come live, were missed, or are
// in a page of the history.

import { parseCursor } from "../resequencer.js";
import type { Marks } from "./marks.js";

/** Largest number of ids of dismissed messages without a position that are remembered. */
const MAX_IDS = 1_000;

/** A message of the log, as it was received. */
export interface LogMessage<D> {
  readonly id?: string;
  readonly data: D;
  readonly timestamp: string;
  readonly cursor?: string;
  readonly topic?: string;
  readonly replayed?: boolean;
}

/** The fields that every message of a list has beside its data. */
export interface Logged {
  /** The server's id, or one made here if it gave none. */
  readonly id: string;
  /** Time of publication: RFC 3339, UTC. */
  readonly timestamp: string;
  /** False if it arrived live; true if it was missed, or was there before the page. */
  readonly replayed: boolean;
  readonly isRead: boolean;
  /** The user has seen it in a list, on some device. If it is read, it was seen. */
  readonly isSeen: boolean;
  /** Its position in the user's stream, if the server keeps a history. */
  readonly cursor?: string;
}

interface Entry<D> {
  shown: D & Logged;
  /** Its place in the log. Absent for a message to a connection or to everybody. */
  readonly offset: number | undefined;
}

export class LogList<D extends object> {
  readonly #marks: Marks;
  readonly #ids = new Set<string>();
  #entries: Entry<D>[] = [];
  #shown: readonly (D & Logged)[] = [];
  #unnamed = 0;
  /** Those up to this offset are dismissed as soon as they are heard of. */
  #clearedUpTo = 0;

  constructor(marks: Marks) {
    this.#marks = marks;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** True if messages that were not heard of yet are to be dismissed. */
  get isClearing(): boolean {
    return this.#clearedUpTo > 0;
  }

  /** Return the messages, with the marks of now: the same list as before if it is equal. */
  shown(): readonly (D & Logged)[] {
    this.#entries = this.#entries.filter(({ offset }) => offset === undefined || !this.#marks.isDismissed(offset));
    const shown = this.#entries.map((entry) => {
      const { shown, offset } = entry;
      const isRead = shown.isRead || (offset !== undefined && this.#marks.isRead(offset));
      const isSeen = shown.isSeen || isRead || (offset !== undefined && this.#marks.isSeen(offset));
      if (isRead !== shown.isRead || isSeen !== shown.isSeen) entry.shown = { ...shown, isRead, isSeen };
      return entry.shown;
    });
    const isSame = shown.length === this.#shown.length && shown.every((each, index) => each === this.#shown[index]);
    if (!isSame) this.#shown = shown;
    return this.#shown;
  }

  /** Take a message in; return true if it is in the list then. */
  add({ id, data, timestamp, cursor, topic, replayed = false }: LogMessage<D>): boolean {
    const offset = topic === undefined ? parseCursor(cursor)?.offset : undefined;
    const isHere = (each: Entry<D>): boolean =>
      offset === undefined ? each.shown.id === id : each.offset === offset || each.shown.id === id;
    if (this.#ids.has(id as string) || this.#entries.some(isHere)) return false;
    if (offset !== undefined && this.#marks.isDismissed(offset)) return false;
    if (offset !== undefined && offset <= this.#clearedUpTo) {
      this.#marks.mark("dismissed", offset);
      return false;
    }
    const name = id ?? `unnamed-${++this.#unnamed}`;
    const shown = { ...data, id: name, timestamp, replayed, isRead: false, isSeen: false, ...(cursor && { cursor }) };
    this.#entries.splice(this.#placeOf(offset, timestamp), 0, { shown, offset });
    return true;
  }

  /** Remove the oldest beyond a number; return the cursor of the oldest that is left if any was removed. */
  trim(count: number): string | undefined {
    if (this.#entries.length <= count) return undefined;
    this.#entries.length = count;
    return this.oldest;
  }

  /** The cursor of the oldest. */
  get oldest(): string | undefined {
    return this.#entries.findLast(({ offset }) => offset !== undefined)?.shown.cursor;
  }

  mark(kind: "read" | "dismissed", id: string): void {
    const entry = this.#entries.find(({ shown }) => shown.id === id);
    if (entry === undefined) return;
    if (entry.offset !== undefined) this.#marks.mark(kind, entry.offset);
    else if (kind === "read") entry.shown = { ...entry.shown, isRead: true };
    else {
      this.#entries = this.#entries.filter((each) => each !== entry);
      this.#ids.add(id);
      if (this.#ids.size > MAX_IDS) this.#ids.delete(this.#ids.values().next().value as string);
    }
  }

  markAll(kind: "seen" | "read"): void {
    const newest = this.#entries.find(({ offset }) => offset !== undefined)?.offset;
    if (newest !== undefined) this.#marks.markUpTo(kind, newest);
    for (const entry of this.#entries) {
      const { shown, offset } = entry;
      const isRead = shown.isRead || kind === "read";
      if (offset === undefined && !(shown.isSeen && shown.isRead === isRead))
        entry.shown = { ...shown, isSeen: true, isRead };
    }
  }

  /** Dismiss all, also those that were not heard of yet. */
  dismissAll(): void {
    for (const { shown } of [...this.#entries]) this.mark("dismissed", shown.id);
    this.#clearedUpTo = Math.max(this.#clearedUpTo, ...this.#entries.map(({ offset }) => offset ?? 0));
  }

  /** There are none that were not heard of. */
  cleared(): void {
    this.#clearedUpTo = 0;
  }

  /** Return a function that removes the messages of now that have a position. */
  outdated(): () => void {
    const before = new Set(this.#entries);
    return () => {
      this.#entries = this.#entries.filter((each) => each.offset === undefined || !before.has(each));
    };
  }

  /** Another log begins: only messages without a position stay. */
  begin(): void {
    this.#entries = this.#entries.filter(({ offset }) => offset === undefined);
    this.#clearedUpTo = 0;
  }

  clear(): void {
    this.#entries = [];
    this.#ids.clear();
    this.#clearedUpTo = 0;
  }

  /** Return the place of a message: by its position, and among those without one by time. */
  #placeOf(offset: number | undefined, timestamp: string): number {
    if (offset === undefined) return 0;
    let place = this.#entries.findLastIndex((each) => (each.offset ?? 0) > offset) + 1;
    const isNewer = ({ offset, shown }: Entry<D>): boolean => offset === undefined && shown.timestamp > timestamp;
    while (place < this.#entries.length && isNewer(this.#entries[place] as Entry<D>)) place += 1;
    return place;
  }
}
