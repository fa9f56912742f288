import type { NotificationMessage } from "@tellwire/client";
import { beforeEach, expect, test, vi } from "vitest";
import { MAX_NOTIFICATIONS, Notifications } from "../src/notifications.js";
import { golden } from "./golden.js";
import { notification } from "./messages.js";

let notifications: Notifications;

beforeEach(() => {
  notifications = new Notifications();
});

const titles = (): string[] => notifications.get().notifications.map(({ title }) => title);

test("notifications are newest first and unread", () => {
  notifications.receive(notification({ title: "one" }, "1"));
  notifications.receive(notification({ title: "two" }, "2"));

  expect(titles()).toEqual(["two", "one"]);
  expect(notifications.get()).toMatchObject({ unread: 2, notifications: [{ id: "2", isRead: false }, { id: "1" }] });
});

test("a notification that comes twice is there once", () => {
  notifications.receive(notification({ title: "one" }, "1"));
  notifications.receive(notification({ title: "one" }, "1"));

  expect(notifications.get()).toMatchObject({ unread: 1, notifications: [{ id: "1" }] });
});

test("notifications without an id are each one of their own", () => {
  notifications.receive(notification());
  notifications.receive(notification());

  const ids = notifications.get().notifications.map(({ id }) => id);
  expect(new Set(ids).size).toBe(2);
});

test("a dismissed notification is gone, no longer unread, and does not come back", () => {
  notifications.receive(notification({ title: "one" }, "1"));
  notifications.receive(notification({ title: "two" }, "2"));

  notifications.get().dismiss("1");
  notifications.receive(notification({ title: "one" }, "1"));

  expect(titles()).toEqual(["two"]);
  expect(notifications.get().unread).toBe(1);
});

test("all are marked as read, later ones are not", () => {
  notifications.receive(notification({}, "1"));
  notifications.get().markAllRead();
  expect(notifications.get()).toMatchObject({ unread: 0, notifications: [{ isRead: true }] });

  notifications.receive(notification({}, "2"));
  expect(notifications.get()).toMatchObject({ unread: 1, notifications: [{ isRead: false }, { isRead: true }] });
});

test("what changes nothing is told to nobody", () => {
  notifications.receive(notification({}, "1"));
  notifications.get().markAllRead();
  const state = notifications.get();
  const other = new Notifications();
  const listener = vi.fn();
  other.subscribe(listener);

  notifications.get().markAllRead();
  notifications.get().dismiss("not there");
  other.get().markAllRead();
  other.get().dismiss("not there");

  expect(notifications.get()).toBe(state);
  expect(listener).not.toHaveBeenCalled();
});

test("the functions stay the same, and the state until it changes", () => {
  const { dismiss, markAllRead } = notifications.get();
  expect(notifications.get()).toBe(notifications.initial);

  notifications.receive(notification());

  expect(notifications.get()).toMatchObject({ dismiss, markAllRead });
});

test("of too many the oldest makes place", () => {
  for (let count = 0; count <= MAX_NOTIFICATIONS; count += 1) notifications.receive(notification({}, `${count}`));

  const { notifications: kept, unread } = notifications.get();
  expect(kept).toHaveLength(MAX_NOTIFICATIONS);
  expect(unread).toBe(MAX_NOTIFICATIONS);
  expect(kept.at(-1)?.id).toBe("1");
});

test.each(["notification", "notification_minimal"])("the message of spec/messages/%s.json is understood", (name) => {
  const message = golden<NotificationMessage>(name);

  notifications.receive(message);

  const { id, data, timestamp } = message;
  expect(notifications.get().notifications).toEqual([{ ...data, id, timestamp, isRead: false }]);
});
