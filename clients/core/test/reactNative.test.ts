// The environment of React Native, on stand-ins for its modules.

import { expect, test } from "vitest";
import { type AppStateLike, environment, type NetInfoLike } from "../src/reactNative.js";
import type { PageEvent } from "../src/types.js";

type Network = Parameters<Parameters<NetInfoLike["addEventListener"]>[0]>[0];

class Phone {
  readonly states = new Set<(state: string) => void>();
  readonly networks = new Set<(network: Network) => void>();
  network: Network = { type: "wifi", isConnected: true };

  readonly AppState: AppStateLike = {
    addEventListener: (_type, listener) => {
      this.states.add(listener);
      return { remove: () => this.states.delete(listener) };
    },
  };

  readonly NetInfo: NetInfoLike = {
    addEventListener: (listener) => {
      this.networks.add(listener);
      listener(this.network);
      return () => this.networks.delete(listener);
    },
  };

  becomes(state: string): void {
    for (const listener of this.states) listener(state);
  }

  reaches(type: string, isConnected: boolean | null): void {
    for (const listener of this.networks) listener({ type, isConnected });
  }
}

function listening(phone = new Phone()): { phone: Phone; events: PageEvent[]; online(): boolean; leave(): void } {
  const { online, onPageEvent } = environment(phone);
  const events: PageEvent[] = [];
  return { phone, events, online, leave: onPageEvent((event) => events.push(event)) };
}

test("an application that is active again wakes up", () => {
  const { phone, events } = listening();
  for (const state of ["inactive", "background", "active"]) phone.becomes(state);
  expect(events).toEqual(["wake"]);
});

test("the network comes and goes, and is another one", () => {
  const { phone, events, online } = listening();
  expect([events, online()]).toEqual([[], true]);
  phone.reaches("wifi", true);
  expect(events).toEqual([]);
  phone.reaches("none", false);
  expect([events, online()]).toEqual([["offline"], false]);
  phone.reaches("cellular", true);
  phone.reaches("wifi", true);
  expect([events, online()]).toEqual([["offline", "online", "online"], true]);
});

test("without a network at first it says so", () => {
  const phone = new Phone();
  phone.network = { type: "none", isConnected: false };
  const { events, online } = listening(phone);
  expect([events, online()]).toEqual([["offline"], false]);
});

test("an unknown network may be one", () => {
  const phone = new Phone();
  phone.network = { type: "unknown", isConnected: null };
  const { events, online } = listening(phone);
  expect([events, online()]).toEqual([[], true]);
});

test("cursors are written when the application goes to the background", () => {
  const phone = new Phone();
  let left = 0;
  const forget = environment(phone).onPageHide(() => {
    left += 1;
  });
  for (const state of ["inactive", "background", "active"]) phone.becomes(state);
  expect(left).toBe(1);
  forget();
  expect(phone.states.size).toBe(0);
});

test("nothing is listened to afterwards, and NetInfo may be left out", () => {
  const { phone, leave } = listening();
  leave();
  expect([phone.states.size, phone.networks.size]).toEqual([0, 0]);
  const { AppState } = new Phone();
  expect(() => environment({ AppState }).onPageEvent(() => {})()).not.toThrow();
});
