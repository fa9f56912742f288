import type { NotificationMessage } from "@tellwire/client";
import { beforeEach, describe, expect, test, vi } from "vitest";
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

describe("what was seen on some device", () => {
  const at = (cursor: string, id = cursor) => ({ ...notification({ title: id }, id), cursor });
  const read = (): boolean[] => notifications.get().notifications.map(({ isRead }) => isRead);

  test("is read here, up to the cursor", () => {
    for (const cursor of ["e:8", "e:9", "e:10"]) notifications.receive(at(cursor));
    notifications.see("e:9");

    expect([read(), notifications.get().unread]).toEqual([[false, true, true], 1]);
  });

  test("is read also if it comes later, as what was missed may", () => {
    notifications.see("e:9");
    notifications.receive(at("e:9"));
    notifications.receive(at("e:10"));

    expect(read()).toEqual([false, true]);
  });

  test("is of its epoch only, and of what has a place", () => {
    notifications.receive(at("a:b:8"));
    notifications.receive(at("a:c:8"));
    notifications.receive(notification({}, "without"));
    notifications.see("a:b:9");

    expect(read()).toEqual([false, false, true]);
  });

  test("is told to those who listen, if it changes something", () => {
    vi.useFakeTimers();
    const listener = vi.fn();
    notifications.receive(at("e:8"));
    vi.runAllTimers();
    notifications.subscribe(listener);
    notifications.see("e:7");
    expect(listener).not.toHaveBeenCalled();

    notifications.see("e:8");
    notifications.see("e:8");
    vi.runAllTimers();
    vi.useRealTimers();
    expect(listener).toHaveBeenCalledTimes(1);
  });

  test("keeps each one's cursor", () => {
    notifications.receive(at("e:8"));

    expect(notifications.get().notifications[0]?.cursor).toBe("e:8");
  });
});

test("that all were read is told to the other devices, once", () => {
  const ack = vi.fn();
  notifications = new Notifications(ack);
  notifications.receive(notification());
  notifications.get().markAllRead();
  notifications.get().markAllRead();

  expect(ack).toHaveBeenCalledTimes(1);
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
