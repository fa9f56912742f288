// The notifications of a user: newest first, each once, until they are dismissed. Those that the user has seen on one
// device are read on all of them: a `seen` message has the cursor up to which everything was seen.

import type { NotificationData, NotificationMessage } from "@tellwire/client";
import { covers } from "./cursor.js";
import { Changes, type Source } from "./source.js";

/** Largest number of notifications that are kept. The oldest is removed first. */
export const MAX_NOTIFICATIONS = 200;

/** Largest number of ids that are remembered for deduplication, also of dismissed notifications. */
const MAX_IDS = 1000;

/** A received notification. */
export interface ReceivedNotification extends NotificationData {
  /** The server's id, or one made here if it gave none. */
  readonly id: string;
  /** Time of publication: RFC 3339, UTC. */
  readonly timestamp: string;
  readonly isRead: boolean;
  /** Its position in the user's stream, if the server keeps a history. */
  readonly cursor?: string;
}

export interface NotificationsState {
  /** Newest first. */
  readonly notifications: readonly ReceivedNotification[];
  /** The number of those that are not read. */
  readonly unread: number;
  /** Remove one. An unknown id is ignored. */
  readonly dismiss: (id: string) => void;
  /** Mark all of them as read, on every device of the user. */
  readonly markAllRead: () => void;
}

export class Notifications implements Source<NotificationsState> {
  #changes = new Changes();
  #ids = new Set<string>();
  #unnamed = 0;
  #seen: string | undefined;
  readonly #ack: () => void;

  /** `ack` tells the other devices that all of them were read. */
  constructor(ack: () => void = () => {}) {
    this.#ack = ack;
  }

  readonly subscribe = this.#changes.subscribe;

  readonly initial: NotificationsState = {
    notifications: [],
    unread: 0,
    dismiss: (id) => this.#dismiss(id),
    markAllRead: () => this.#markAllRead(),
  };

  #state = this.initial;

  readonly get = (): NotificationsState => this.#state;

  receive({ id = this.#makeId(), data, timestamp, cursor }: NotificationMessage): void {
    if (this.#ids.has(id)) return;
    this.#remember(id);
    const newest = { ...data, id, timestamp, isRead: covers(this.#seen, cursor), ...(cursor && { cursor }) };
    this.#keep([newest, ...this.#state.notifications.slice(0, MAX_NOTIFICATIONS - 1)]);
    this.#changes.announce();
  }

  /** The user has seen everything up to a cursor, on some device. */
  see(cursor: string): void {
    this.#seen = cursor;
    if (this.#markRead((each) => covers(cursor, each.cursor))) this.#changes.announce();
  }

  #dismiss(id: string): void {
    const { notifications } = this.#state;
    const others = notifications.filter((each) => each.id !== id);
    if (others.length === notifications.length) return;
    this.#keep(others);
    this.#changes.announceNow();
  }

  #markAllRead(): void {
    if (!this.#markRead(() => true)) return;
    this.#ack();
    this.#changes.announceNow();
  }

  /** Mark some as read; return whether any was not. */
  #markRead(isSelected: (one: ReceivedNotification) => boolean): boolean {
    const { notifications } = this.#state;
    const isNewlyRead = (one: ReceivedNotification): boolean => !one.isRead && isSelected(one);
    if (!notifications.some(isNewlyRead)) return false;
    this.#keep(notifications.map((each) => (isNewlyRead(each) ? { ...each, isRead: true } : each)));
    return true;
  }

  #keep(notifications: readonly ReceivedNotification[]): void {
    const unread = notifications.filter((each) => !each.isRead).length;
    this.#state = { ...this.#state, notifications, unread };
  }

  #remember(id: string): void {
    this.#ids.add(id);
    const [oldest] = this.#ids;
    if (this.#ids.size > MAX_IDS && oldest !== undefined) this.#ids.delete(oldest);
  }

  #makeId(): string {
    this.#unnamed += 1;
    return `unnamed-${this.#unnamed}`;
  }
}
