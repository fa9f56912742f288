import { expect, test } from "vitest";
import { MAX_MESSAGES, MessageLog } from "../src/messageLog.js";
import { notification } from "./messages.js";

test("messages are kept in order, in a list that does not change under its reader", () => {
  const received = new MessageLog();
  const [one, two] = [notification(), notification()];
  expect(received.get()).toBe(received.initial);

  received.add(one);
  const list = received.get();
  received.add(two);

  expect(list).toEqual([one]);
  expect(received.get()).toEqual([one, two]);
  expect(received.get()).toBe(received.get());
});

test("of too many messages the newest are kept", () => {
  const received = new MessageLog();
  const [first, second] = [notification(), notification()];

  received.add(first);
  for (let count = 0; count < MAX_MESSAGES; count += 1) received.add(second);

  expect(received.get()).toHaveLength(MAX_MESSAGES);
  expect(received.get()).not.toContain(first);
});
