// The notifications a client has received: newest first, each once, until they are dismissed.

import type { NotificationData, NotificationMessage } from "@tellwire/client";
import { Changes, type Source } from "./source.js";

/** How many notifications are kept. The oldest makes place. */
export const MAX_NOTIFICATIONS = 200;

/** How many ids are remembered, so that a notification that comes twice is there once, and none comes back. */
const MAX_IDS = 1000;

/** A notification that was received. */
export interface ReceivedNotification extends NotificationData {
  /** The server's id, or one made here if it gave none. */
  readonly id: string;
  /** When it was sent: RFC 3339, UTC. */
  readonly timestamp: string;
  readonly isRead: boolean;
}

export interface NotificationsState {
  /** Newest first. */
  readonly notifications: readonly ReceivedNotification[];
  /** How many of them are not read. */
  readonly unread: number;
  /** Remove one; one that is not there is ignored. */
  readonly dismiss: (id: string) => void;
  /** Mark all of them as read. */
  readonly markAllRead: () => void;
}

export class Notifications implements Source<NotificationsState> {
  #changes = new Changes();
  #ids = new Set<string>();
  #unnamed = 0;

  readonly subscribe = this.#changes.subscribe;

  readonly initial: NotificationsState = {
    notifications: [],
    unread: 0,
    dismiss: (id) => this.#dismiss(id),
    markAllRead: () => this.#markAllRead(),
  };

  #state = this.initial;

  readonly get = (): NotificationsState => this.#state;

  receive({ id = this.#makeId(), data, timestamp }: NotificationMessage): void {
    if (this.#ids.has(id)) return;
    this.#remember(id);
    const newest = { ...data, id, timestamp, isRead: false };
    this.#keep([newest, ...this.#state.notifications.slice(0, MAX_NOTIFICATIONS - 1)]);
    this.#changes.tell();
  }

  #dismiss(id: string): void {
    const { notifications } = this.#state;
    const others = notifications.filter((each) => each.id !== id);
    if (others.length === notifications.length) return;
    this.#keep(others);
    this.#changes.tellNow();
  }

  #markAllRead(): void {
    const { notifications, unread } = this.#state;
    if (unread === 0) return;
    this.#keep(notifications.map((each) => (each.isRead ? each : { ...each, isRead: true })));
    this.#changes.tellNow();
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
