// Leader election among the tabs of one browser. The leader is the tab that holds a lock (Web Locks); when it closes or
// dies, the browser gives the lock to the next tab. A leader that does not answer on the channel (BroadcastChannel) is
// frozen, or hangs: a follower steals its lock.

import type { ConnectionState, Environment, PageEvent } from "./types.js";

/** The part of a BroadcastChannel that an election needs. */
export interface Channel {
  onmessage: ((event: never) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** The part of `navigator.locks` that an election needs. */
export interface Locks {
  request(
    name: string,
    options: { signal?: AbortSignal; steal?: boolean },
    callback: () => Promise<void>,
  ): Promise<unknown>;
}

/** The surroundings of a shared client. Without `locks` or `BroadcastChannel`, each tab has its own connection. */
export interface SharedEnvironment extends Environment {
  locks: Locks | undefined;
  BroadcastChannel: (new (name: string) => Channel) | undefined;
}

/** A message from one tab to the others. */
export type TabMessage =
  // From a follower to the leader.
  | { type: "ask" }
  | { type: "send"; text: string; from: string }
  /** `retryAt` says which wait is over; without, the user wants to connect. */
  | { type: "connect"; retryAt?: number }
  | { type: "page"; event: PageEvent }
  // From the leader to the followers.
  /** `relay` names the connection of the leader, if there is one. */
  | { type: "state"; state: ConnectionState; relay: string }
  /** `to` names the tab it is for; without, it is for all. */
  | { type: "received"; data: unknown; to: string | undefined };

export interface ElectionObserver {
  /** Called when this tab becomes the leader. */
  elected(): void;
  /** Called when the role of this tab ends: a follower becomes the leader, or the tab leaves. */
  roleEnded(): void;
  /** Called with each message of another tab. */
  received(message: TabMessage): void;
}

type Present = { [K in "locks" | "BroadcastChannel"]-?: NonNullable<SharedEnvironment[K]> };

/** Silence of a leader after which it is asked, in milliseconds. */
const SILENCE_MS = 60_000;
/**
 * Time limit of the leader's answer, in milliseconds. A random part is added, up to as much again, so that only one tab
 * steals the lock.
 */
const ANSWER_MS = 2_000;

/** The membership of a tab, from `join` to `leave`. */
interface Membership {
  readonly channel: Channel;
  /** Ends the wait for the lock. */
  readonly abort: AbortController;
  /** Gives the lock back. Present if this tab is the leader. */
  resign?: () => void;
}

export class Election {
  readonly #name: string;
  readonly #environment: SharedEnvironment;
  readonly #observer: ElectionObserver;
  #membership: Membership | undefined;
  #silence: unknown;

  /** Tabs with the same name elect one leader. */
  constructor(name: string, environment: SharedEnvironment, observer: ElectionObserver) {
    this.#name = name;
    this.#environment = environment;
    this.#observer = observer;
  }

  get isMember(): boolean {
    return this.#membership !== undefined;
  }

  get isLeader(): boolean {
    return this.#membership?.resign !== undefined;
  }

  join(steal = false): void {
    const { locks, BroadcastChannel } = this.#environment as Present;
    const membership: Membership = { channel: new BroadcastChannel(this.#name), abort: new AbortController() };
    this.#membership = membership;
    membership.channel.onmessage = ({ data }: { data: TabMessage }) => this.#observer.received(data);
    // The API allows either to wait for a lock or to steal it.
    const options = steal ? { steal } : { signal: membership.abort.signal };
    locks.request(this.#name, options, () => this.#onLock(membership)).catch(() => this.#onLockLost(membership));
    this.ask();
  }

  leave(): void {
    const membership = this.#membership;
    this.#membership = undefined;
    this.#endRole();
    membership?.abort.abort();
    membership?.channel.close();
    membership?.resign?.();
  }

  /** Post a message to the other tabs. */
  post(message: TabMessage): void {
    this.#membership?.channel.postMessage(message);
  }

  /** Ask for the leader. Without an answer, take its place. */
  ask(): void {
    this.post({ type: "ask" });
    this.#setSilence(ANSWER_MS * (1 + this.#environment.random()), () => {
      this.leave();
      this.join(true);
    });
  }

  /** Note that the leader is alive. */
  leaderHeard(): void {
    this.#setSilence(SILENCE_MS, () => this.ask());
  }

  #endRole(): void {
    this.#setSilence();
    this.#observer.roleEnded();
  }

  /** Lead until the membership ends. */
  #onLock(membership: Membership): Promise<void> {
    if (this.#membership !== membership) return Promise.resolve();
    this.#endRole();
    return new Promise((resolve) => {
      membership.resign = resolve;
      this.#observer.elected();
    });
  }

  /** The request for the lock failed, or the lock was stolen. */
  #onLockLost(membership: Membership): void {
    if (this.#membership !== membership) return;
    if (membership.resign === undefined) {
      // This page may not use locks, so no other tab shares with it.
      void this.#onLock(membership);
    } else {
      this.leave();
      this.join();
    }
  }

  /** Act unless the leader is heard before; without arguments, stop waiting. */
  #setSilence(milliseconds?: number, act?: () => void): void {
    const { setTimeout, clearTimeout } = this.#environment;
    clearTimeout(this.#silence);
    this.#silence = act && setTimeout(act, milliseconds as number);
  }
}
