// The log of a user: notifications and errors, with the marks on them, and pages of older ones.
//
// Rules:
// - What is kept is loaded after the first welcome, back to the newest 200 notifications, so that counts are the same on
//   every device; and anew after a welcome that may have missed something. Then it takes the place of what was there.
// - What the user has read, seen or dismissed counts here at once, whether the server was told or not.
// - A message of another epoch begins the log anew, and with it all marks.

import type { ErrorData, NotificationData } from "../messages.js";
import { parseCursor } from "../resequencer.js";
import type { Client } from "../types.js";
import { type Logged, LogList, type LogMessage } from "./logList.js";
import { Marks } from "./marks.js";
import { Computed } from "./store.js";
import { isFinal, type Untold } from "./teller.js";

/** Number of the newest notifications that are kept, and counted. */
export const MAX_COUNTED = 200;
/** Largest number of notifications that are kept when older ones were asked for. */
export const MAX_NOTIFICATIONS = 1_000;
/** Largest number of errors that are kept. */
export const MAX_ERRORS = 100;
/** Number of messages in a page of the history. */
const PAGE = 100;
/** Largest number of pages that are read for one purpose: a log may have few notifications among many messages. */
const MAX_PAGES = 10;

/** A received notification. */
export interface ReceivedNotification extends NotificationData, Logged {}

/** A received error. */
export interface ReceivedError extends Omit<ErrorData, "id">, Logged {}

export interface NotificationsState {
  /** Newest first. */
  readonly notifications: readonly ReceivedNotification[];
  /** Of the newest 200, the number of those that are not read on any device. */
  readonly unread: number;
  /** Of the newest 200, the number of those that were not seen on any device. */
  readonly unseen: number;
  /** There are older ones, which `loadMore` brings. */
  readonly hasMore: boolean;
  readonly isLoading: boolean;
  /** Mark one as read, on every device of the user. An unknown id is ignored. */
  readonly markRead: (id: string) => void;
  /** Mark all as read, on every device, also older ones. */
  readonly markAllRead: () => void;
  /** Mark all as seen, on every device: they are no news any more, but not read. */
  readonly markAllSeen: () => void;
  /** Remove one for good, on every device. An unknown id is ignored. */
  readonly dismiss: (id: string) => void;
  /** Remove all for good, on every device, also older ones. */
  readonly dismissAll: () => void;
  /** Load older ones. Ends when there are some or no more; if they could not be had, `hasMore` is still true. */
  readonly loadMore: () => Promise<void>;
}

export interface ErrorsState {
  /** Newest first: the newest 100. */
  readonly errors: readonly ReceivedError[];
  /** Mark one as read, on every device of the user. An unknown id is ignored. */
  readonly markRead: (id: string) => void;
  /** Mark all as read, on every device. */
  readonly markAllRead: () => void;
  /** Remove one for good, on every device. An unknown id is ignored. */
  readonly dismiss: (id: string) => void;
  /** Remove all of them for good, on every device. */
  readonly dismissAll: () => void;
}

/** The part of the feed that the log needs. */
interface Around {
  readonly client: Client;
  /** Called before a store is read. */
  readonly prepare: () => void;
  /** There is a connection, and its welcome has ended. */
  readonly isReady: () => boolean;
  /** There is something that the server was not told. */
  readonly tell: () => void;
  /** Another log has begun. */
  readonly begun: () => void;
}

type Message =
  | (LogMessage<NotificationData> & { readonly type: "notification" })
  | (LogMessage<ErrorData> & { readonly type: "error" });

export class UserLog {
  readonly notifications: Computed<NotificationsState>;
  readonly errors: Computed<ErrorsState>;
  readonly #around: Around;
  readonly #marks = new Marks();
  readonly #bell = new LogList<NotificationData>(this.#marks);
  readonly #faults = new LogList<ErrorData>(this.#marks);
  /** The loading under way, and an object that tells it from those before. */
  #loading: Promise<void> | undefined;
  #run: object | undefined;
  /** Removes the messages that were there when loading began anew. */
  #removeOutdated: (() => void) | undefined;
  /** As many were loaded as are counted, or all. */
  #isLoaded = false;
  #hasMore = false;
  /** The history was read back to here. */
  #before: string | undefined;
  #bound = MAX_COUNTED;

  constructor(around: Around) {
    this.#around = around;
    const nothing: NotificationsState = {
      notifications: [],
      unread: 0,
      unseen: 0,
      hasMore: false,
      isLoading: false,
      markRead: (id) => this.#act(() => this.#bell.mark("read", id)),
      markAllRead: () => this.#act(() => this.#bell.markAll("read")),
      markAllSeen: () => this.#act(() => this.#bell.markAll("seen")),
      dismiss: (id) => this.#act(() => this.#bell.mark("dismissed", id)),
      dismissAll: () => {
        this.#act(() => this.#bell.dismissAll());
        if (this.#hasMore) void this.#load(() => false);
        else if (this.#isLoaded) this.#bell.cleared();
      },
      loadMore: () => {
        const { size } = this.#bell;
        return this.#load(() => this.#bell.size > size);
      },
    };
    const noErrors: ErrorsState = {
      errors: [],
      markRead: (id) => this.#act(() => this.#faults.mark("read", id)),
      markAllRead: () => this.#act(() => this.#faults.markAll("read")),
      dismiss: (id) => this.#act(() => this.#faults.mark("dismissed", id)),
      dismissAll: () => this.#act(() => this.#faults.dismissAll()),
    };
    this.notifications = new Computed(nothing, (before) => this.#notificationsAfter(before), around.prepare);
    this.errors = new Computed(noErrors, (before) => this.#errorsAfter(before), around.prepare);
  }

  receive(message: Message): void {
    const list = this.#listOf(message);
    if (this.#add(message, this.#bound)) (list === this.#bell ? this.notifications : this.errors).changed();
  }

  /** The user has seen everything up to a cursor, on some device. */
  see(cursor: string): void {
    this.#marks.see(cursor);
    this.notifications.changed();
  }

  /** Take the marks of the server. */
  take(marks: unknown): void {
    this.#marks.take(marks);
    this.#changed();
  }

  /** A welcome has ended, in this epoch. If it is not recovered something may be missing. */
  welcome(epoch: string | undefined, isRecovered: boolean, isKept: boolean): void {
    this.#adopt(epoch);
    if (!isKept) this.#hasMore ||= !this.#isLoaded;
    else if (!isRecovered) this.#loadAnew();
    else if (!this.#isLoaded) void this.#load(() => this.#isLoaded);
    this.notifications.changed();
  }

  /** Return something that the server was not told. */
  untold(): Untold | undefined {
    const { client } = this.#around;
    const found = this.#marks.untold();
    if (found === undefined) return undefined;
    const { kind, upTo, cursors = [], done } = found;
    const say = (): unknown => {
      if (kind === "dismissed") return client.dismiss({ cursors });
      if (kind === "seen") return client.ack(upTo);
      return client.read(upTo === undefined ? { cursors } : { upTo });
    };
    return { say, done };
  }

  /** Forget everything, and tell it later. */
  clear(): void {
    this.#begin(undefined);
    this.#marks.clear();
    this.#bell.clear();
    this.#faults.clear();
    this.notifications.outdate();
    this.errors.outdate();
  }

  changedNow(): void {
    this.notifications.changedNow();
    this.errors.changedNow();
  }

  #changed(): void {
    this.notifications.changed();
    this.errors.changed();
  }

  /** Do an action of the user, and show it at once. */
  #act(act: () => void): void {
    act();
    this.changedNow();
    this.#around.tell();
  }

  #notificationsAfter(before: NotificationsState): NotificationsState {
    const notifications = this.#bell.shown();
    const counted = notifications.slice(0, MAX_COUNTED);
    const next = {
      notifications,
      unread: counted.filter(({ isRead }) => !isRead).length,
      unseen: counted.filter(({ isSeen }) => !isSeen).length,
      hasMore: this.#hasMore,
      isLoading: this.#loading !== undefined,
    };
    const isSame = Object.entries(next).every(([field, value]) => before[field as keyof typeof next] === value);
    return isSame ? before : { ...before, ...next };
  }

  #errorsAfter(before: ErrorsState): ErrorsState {
    const errors = this.#faults.shown();
    return errors === before.errors ? before : { ...before, errors };
  }

  #listOf({ type }: Message): LogList<NotificationData> | LogList<ErrorData> {
    return type === "notification" ? this.#bell : this.#faults;
  }

  #add(message: Message, bound: number): boolean {
    const { cursor, topic } = message;
    if (topic === undefined) this.#adopt(parseCursor(cursor)?.epoch);
    const isAdded = (this.#listOf(message) as LogList<object>).add(message);
    this.#faults.trim(MAX_ERRORS);
    const oldest = this.#bell.trim(bound);
    if (oldest !== undefined) {
      this.#before = oldest;
      this.#hasMore = true;
    }
    return isAdded;
  }

  // --- another log -----------------------------------------------------------------------------------------------------

  #adopt(epoch: string | undefined): void {
    const { epoch: known } = this.#marks;
    if (epoch === undefined || epoch === known) return;
    if (known === undefined) this.#marks.begin(epoch);
    else this.#begin(epoch);
  }

  #begin(epoch: string | undefined): void {
    this.#forgetPages();
    this.#bound = MAX_COUNTED;
    this.#marks.begin(epoch);
    this.#bell.begin();
    this.#faults.begin();
    this.#around.begun();
  }

  // --- pages -----------------------------------------------------------------------------------------------------------

  #forgetPages(): void {
    this.#run = this.#loading = this.#before = this.#removeOutdated = undefined;
    this.#isLoaded = this.#hasMore = false;
  }

  #loadAnew(): void {
    this.#forgetPages();
    const removals = [this.#bell.outdated(), this.#faults.outdated()];
    this.#removeOutdated = () => {
      for (const remove of removals) remove();
    };
    void this.#load(() => this.#isLoaded);
  }

  /** Load pages until there are enough; return the loading under way, if there is one. */
  #load(isEnough: () => boolean): Promise<void> {
    this.#loading ??= this.#loadPages(isEnough);
    this.notifications.changedNow();
    return this.#loading;
  }

  async #loadPages(isEnough: () => boolean): Promise<void> {
    const { client, isReady } = this.#around;
    const run = {};
    this.#run = run;
    // Not within the present task: whoever began this has to note it first.
    await undefined;
    try {
      for (let page = 1; this.#run === run && isReady(); page += 1) {
        const before = this.#before;
        const { messages, more } = await client.history({ ...(before && { before }), limit: PAGE });
        if (this.#run !== run) return;
        this.#takePage(messages as readonly Message[], more);
        this.#isLoaded ||= page === MAX_PAGES;
        if (!this.#hasMore || (!this.#bell.isClearing && (isEnough() || page === MAX_PAGES))) break;
        this.#changed();
      }
    } catch (error) {
      if (this.#run === run) this.#hasMore = !isFinal(error);
    }
    if (this.#run !== run) return;
    this.#run = this.#loading = undefined;
    this.#around.tell();
    this.#changed();
  }

  #takePage(messages: readonly Message[], more: boolean): void {
    const run = this.#run;
    this.#removeOutdated?.();
    this.#removeOutdated = undefined;
    for (const message of messages) {
      if (message.type === "notification" || message.type === "error")
        this.#add({ ...message, replayed: true }, MAX_NOTIFICATIONS);
    }
    // A page of another log: what it is about begins with the next welcome.
    if (this.#run !== run) return;
    const { size } = this.#bell;
    this.#bound = Math.max(this.#bound, size);
    this.#before = messages.at(-1)?.cursor;
    this.#hasMore = more && this.#before !== undefined && size < MAX_NOTIFICATIONS;
    this.#isLoaded ||= size >= MAX_COUNTED || !this.#hasMore;
    if (!this.#hasMore) this.#bell.cleared();
  }
}
