// Leader election among the tabs of one browser. The leader is the tab that holds a lock (Web Locks); when it closes or
// dies, the browser gives the lock to the next tab. A leader that does not answer on the channel (BroadcastChannel) is
// frozen, or hangs: a follower steals its lock.
//
// - A follower that is shown asks after a few seconds of silence, a hidden one after a minute: its timers are late, and
//   nobody looks. The leader only answers, since the timers of a hidden leader are late, too, but not its messages.
// - Each leader has a term, which is higher than those before. So a leader that hung and goes on is not taken for the
//   present one, whose lock it has lost without knowing.
// - Each tab holds a lock of its own. The leader waits for that of each tab it hears, and so learns that one has crashed.
// - A tab leads alone, without the others, where the page may use no channel or no locks, or where the two do not reach
//   the same tabs: it took the lock or lost it, and still hears nobody.

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
  /** False if the page is hidden. */
  isVisible(): boolean;
}

/** A message from one tab to the others. */
export type TabMessage =
  // From a follower to the leader.
  | { type: "ask" }
  | { type: "send"; text: string; from: string }
  /** It is closed, or hidden for good. */
  | { type: "gone"; from: string }
  /** The user wants to connect now. */
  | { type: "connect" }
  | { type: "page"; event: PageEvent }
  // From the leader of a term to the followers.
  /** `relay` names the connection of the leader, if there is one. */
  | { type: "state"; term: number; state: ConnectionState; relay: string }
  /** `to` names the tabs it is for; without, it is for all. */
  | { type: "received"; term: number; data: unknown; to: readonly string[] | undefined };

export interface ElectionObserver {
  /** Called when this tab becomes the leader. */
  elected(): void;
  /** Called when the role of this tab ends: a follower becomes the leader, or the tab leaves. */
  roleEnded(): void;
  /** Called with each message of another tab, but not with those of a former leader. */
  received(message: TabMessage): void;
  /** Called as the leader when a tab that was heard is gone, whether it has said so or crashed. */
  gone(tab: string): void;
}

type Present = { [K in "locks" | "BroadcastChannel"]-?: NonNullable<SharedEnvironment[K]> };

/** Silence of a leader after which it is asked, in milliseconds: by a tab that is shown, and by a hidden one. */
const SILENCE_MS = 5_000;
const HIDDEN_SILENCE_MS = 60_000;
/** Time after the end of a leader's wait at which it is asked, in milliseconds: it is to connect. */
const OVERDUE_MS = 1_000;
/**
 * Time limit of the leader's answer, in milliseconds. A random part is added, up to as much again, so that only one tab
 * steals the lock.
 */
const ANSWER_MS = 2_000;
/** Delay of a timer that means that this tab hung itself, in milliseconds. Then the answer may wait unread. */
const LATE_MS = 1_000;

/** The membership of a tab, from `join` to `leave`. */
interface Membership {
  /** Ends the wait for the lock. */
  readonly abort: AbortController;
  /** Absent if this tab leads alone. */
  channel?: Channel;
  /** Gives the lock back. Present if this tab is the leader. */
  resign?: () => void;
  /** Settles when this tab holds its own lock: then it may be heard. */
  held?: Promise<void>;
  /** Gives its own lock back. */
  part?: () => void;
  /** As the leader: the tabs whose locks it waits for. */
  readonly watched: Set<string>;
}

export class Election {
  readonly #name: string;
  readonly #tab: string;
  readonly #environment: SharedEnvironment;
  readonly #observer: ElectionObserver;
  #membership: Membership | undefined;
  #timer: unknown;
  /** This tab took the lock or lost it, and no leader was heard since. */
  #isCutOff = false;
  /** The term of this leader, or of the newest one that was heard. */
  #term = 0;

  /** Tabs with the same name elect one leader. `tab` is the name of this one. */
  constructor(name: string, tab: string, environment: SharedEnvironment, observer: ElectionObserver) {
    this.#name = name;
    this.#tab = tab;
    this.#environment = environment;
    this.#observer = observer;
  }

  get isMember(): boolean {
    return this.#membership !== undefined;
  }

  get isLeader(): boolean {
    return this.#membership?.resign !== undefined;
  }

  get term(): number {
    return this.#term;
  }

  /** Settles when the leader can see that this tab is there. */
  get held(): Promise<void> {
    return this.#membership?.held ?? Promise.resolve();
  }

  join(steal = false): void {
    const { locks, BroadcastChannel } = this.#environment as Present;
    const membership: Membership = { abort: new AbortController(), watched: new Set() };
    this.#membership = membership;
    try {
      membership.channel = new BroadcastChannel(this.#name);
      membership.channel.onmessage = ({ data }: { data: TabMessage }) => this.#received(data);
      this.ask();
      this.#hold(membership);
      // The API allows either to wait for a lock or to steal it.
      const options = steal ? { steal } : { signal: membership.abort.signal };
      const request = locks.request(this.#name, options, () => this.#onLock(membership));
      request.catch((error) => this.#onLockLost(membership, error));
    } catch {
      this.#leadAlone();
    }
  }

  /** Hold the lock of this tab. Nobody else asks for it before the tab was heard. */
  #hold(membership: Membership): void {
    let held = (): void => {};
    membership.held = new Promise((resolve) => {
      held = resolve;
    });
    const hold = (): Promise<void> => {
      held();
      if (this.#membership !== membership) return Promise.resolve();
      return new Promise((part) => {
        membership.part = part;
      });
    };
    (this.#environment as Present).locks.request(lockOf(this.#tab), {}, hold).catch(held);
  }

  leave(): void {
    const membership = this.#membership;
    this.#membership = undefined;
    this.#endRole();
    membership?.abort.abort();
    membership?.channel?.close();
    membership?.resign?.();
    membership?.part?.();
  }

  /** Post a message to the other tabs. */
  post(message: TabMessage): void {
    this.#membership?.channel?.postMessage(message);
  }

  /** Ask for the leader. Without an answer, take its place. */
  ask(isAgain = false): void {
    const { now, random } = this.#environment;
    this.post({ type: "ask" });
    const wait = ANSWER_MS * (1 + random());
    const late = now() + wait + LATE_MS;
    this.#setTimer(wait, () => {
      if (!isAgain && now() > late) this.ask(true);
      else if (this.#isCutOff) this.#leadAlone();
      else {
        this.leave();
        this.#isCutOff = true;
        this.join(true);
      }
    });
  }

  #received(message: TabMessage): void {
    if ("term" in message) {
      if (this.isLeader || message.term < this.#term) return;
      this.#term = message.term;
      this.#isCutOff = false;
      const { isVisible, now } = this.#environment;
      const silence = isVisible() ? SILENCE_MS : HIDDEN_SILENCE_MS;
      const overdue = "state" in message && message.state.retryAt && message.state.retryAt - now() + OVERDUE_MS;
      this.#setTimer(Math.min(silence, overdue || silence), () => this.ask());
    }
    if ("from" in message && this.isLeader) this.#watch(message.from);
    this.#observer.received(message);
  }

  /** Wait until a tab is gone: then its lock is free. */
  #watch(tab: string): void {
    const { watched, abort } = this.#membership as Membership;
    if (watched.has(tab)) return;
    watched.add(tab);
    const gone = async (): Promise<void> => {
      watched.delete(tab);
      this.#observer.gone(tab);
    };
    (this.#environment as Present).locks.request(lockOf(tab), { signal: abort.signal }, gone).catch(() => {});
  }

  #endRole(): void {
    this.#setTimer();
    this.#observer.roleEnded();
  }

  /** Lead until the membership ends. */
  #onLock(membership: Membership): Promise<void> {
    if (this.#membership !== membership) return Promise.resolve();
    this.#endRole();
    return new Promise((resolve) => {
      this.#isCutOff = false;
      this.#term = Math.max(this.#environment.now(), this.#term + 1);
      membership.resign = resolve;
      this.#observer.elected();
    });
  }

  /** The request for the lock failed, or the lock was stolen. */
  #onLockLost(membership: Membership, error: unknown): void {
    if (this.#membership !== membership) return;
    if (membership.resign === undefined && (error as Error | undefined)?.name !== "AbortError") {
      // This page may not use locks, so no other tab shares with it.
      this.#leadAlone();
    } else {
      this.leave();
      this.#isCutOff = true;
      this.join();
    }
  }

  #leadAlone(): void {
    this.leave();
    this.#membership = { abort: new AbortController(), resign: () => {}, watched: new Set() };
    this.#observer.elected();
  }

  /** Act unless a leader is heard before; without arguments, stop waiting. */
  #setTimer(milliseconds?: number, act?: () => void): void {
    const { setTimeout, clearTimeout } = this.#environment;
    clearTimeout(this.#timer);
    this.#timer = act && setTimeout(act, milliseconds as number);
  }
}

/** Return the name of the lock that a tab holds while it is there. Names of tabs are random. */
function lockOf(tab: string): string {
  return `tellwire:tab:${tab}`;
}
