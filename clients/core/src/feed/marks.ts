// The marks on the user's log: messages that were seen, read and dismissed, on any device. Those that were made here count at once,
// and are kept until the server was told.

import { parseCursor } from "../resequencer.js";

/** Offsets of the log, from and to, both included. */
export type Range = readonly [from: number, to: number];

/** Largest number of cursors in one request. */
const MAX_CURSORS = 100;
/** Largest number of marks that are kept here until a server has them. The oldest are removed first. */
const MAX_MARKS = 1_000;

/** The marks of one kind that were made here: up to an offset, and single ones. True: the server was told. */
interface Own {
  upTo: number;
  isToldUpTo: boolean;
  readonly offsets: Map<number, boolean>;
}

/** The marks of the server. */
interface Theirs {
  readonly epoch?: string;
  readonly read?: readonly Range[];
  readonly dismissed?: readonly Range[];
}

type Kind = "seen" | "read" | "dismissed";
const KINDS = ["seen", "read", "dismissed"] as const;

/** Marks that the server was not told of, in the form of its requests. */
export interface UntoldMarks {
  readonly kind: Kind;
  readonly upTo?: string;
  readonly cursors?: readonly string[];
  /** The server was told, or will never take them. */
  done(): void;
}

export class Marks {
  /** The epoch of the log, as heard last. */
  epoch: string | undefined;
  #theirs: Theirs = {};
  #seen: string | undefined;
  readonly #own: Record<Kind, Own> = { seen: none(), read: none(), dismissed: none() };

  /** Another log begins: marks that were made in the former one mean nothing here. */
  begin(epoch: string | undefined): void {
    this.epoch = epoch;
    for (const kind of KINDS) this.#own[kind] = none();
  }

  /** Forget everything. */
  clear(): void {
    this.begin(undefined);
    this.#theirs = {};
    this.#seen = undefined;
  }

  /** Take the marks of the server. */
  take(marks: unknown): void {
    this.#theirs = (marks ?? {}) as Theirs;
    for (const kind of ["read", "dismissed"] as const) {
      const { offsets } = this.#own[kind];
      for (const offset of offsets.keys()) if (this.#isTheirs(kind, offset)) offsets.delete(offset);
    }
  }

  /** The user has seen everything up to a cursor, on some device. */
  see(cursor: string): void {
    this.#seen = cursor;
  }

  isRead(offset: number): boolean {
    return this.#has("read", offset) || this.isDismissed(offset);
  }

  isSeen(offset: number): boolean {
    return offset <= this.#seenUpTo || this.#has("seen", offset) || this.isRead(offset);
  }

  isDismissed(offset: number): boolean {
    return this.#has("dismissed", offset);
  }

  /** Mark one. */
  mark(kind: "read" | "dismissed", offset: number): void {
    const { offsets } = this.#own[kind];
    if (this.#has(kind, offset)) return;
    offsets.set(offset, false);
    if (offsets.size > MAX_MARKS) offsets.delete(offsets.keys().next().value as number);
  }

  /** Mark everything up to an offset. */
  markUpTo(kind: "seen" | "read", upTo: number): void {
    const own = this.#own[kind];
    if (upTo <= own.upTo || (kind === "seen" && upTo <= this.#seenUpTo)) return;
    own.upTo = upTo;
    own.isToldUpTo = false;
    for (const offset of own.offsets.keys()) if (offset <= upTo) own.offsets.delete(offset);
  }

  /** Return some marks that the server was not told of; undefined if it knows all. */
  untold(): UntoldMarks | undefined {
    const cursor = (offset: number): string => `${this.epoch}:${offset}`;
    for (const kind of KINDS) {
      const own = this.#own[kind];
      const { upTo, offsets } = own;
      if (upTo && !own.isToldUpTo) {
        const done = (): void => {
          own.isToldUpTo = own.upTo === upTo;
        };
        return { kind, upTo: cursor(upTo), done };
      }
      const some = [...offsets].filter(([, isTold]) => !isTold).slice(0, MAX_CURSORS);
      if (some.length > 0) {
        const done = (): void => {
          for (const [offset] of some) if (offsets.has(offset)) offsets.set(offset, true);
        };
        return { kind, cursors: some.map(([offset]) => cursor(offset)), done };
      }
    }
    return undefined;
  }

  get #seenUpTo(): number {
    const seen = parseCursor(this.#seen);
    return seen !== undefined && seen.epoch === this.epoch ? seen.offset : 0;
  }

  #has(kind: Kind, offset: number): boolean {
    const { upTo, offsets } = this.#own[kind];
    return offset <= upTo || offsets.has(offset) || this.#isTheirs(kind, offset);
  }

  #isTheirs(kind: Kind, offset: number): boolean {
    const { epoch, ...ranges } = this.#theirs;
    const isIn = ([from, to]: Range): boolean => from <= offset && offset <= to;
    return kind !== "seen" && epoch === this.epoch && ranges[kind]?.some(isIn) === true;
  }
}

function none(): Own {
  return { upTo: 0, isToldUpTo: false, offsets: new Map() };
}
