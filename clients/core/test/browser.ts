// A browser with tabs: its locks and channels, and tabs that freeze and die. Time is vitest's.

import type { Channel, Locks, SharedEnvironment } from "../src/shared.js";
import { sharedClient } from "../src/shared.js";
import type { ClientOptions } from "../src/types.js";
import { advance, MINUTE, World } from "./world.js";

const CHANNEL = 'tellwire:4:["wss://gateway.test/live","user-1"]';

interface Request {
  tab: BrowserTab;
  run(): Promise<void>;
  resolve(): void;
  reject(error: Error): void;
}

const abortError = (): Error => new DOMException("The request was aborted", "AbortError");

class FakeLocks {
  readonly #held = new Map<string, Request>();
  readonly #queue = new Map<string, Request[]>();

  of(tab: BrowserTab): Locks {
    return {
      request: (name, { signal, steal }, run) =>
        new Promise((resolve, reject) => {
          const request = { tab, run, resolve: () => resolve(undefined), reject };
          if (steal) {
            const robbed = this.#held.get(name);
            robbed?.tab.run(() => robbed.reject(abortError()));
            this.#grant(name, request);
            return;
          }
          this.#queue.set(name, [...(this.#queue.get(name) ?? []), request]);
          signal?.addEventListener("abort", () => {
            if (this.#forget(name, request)) reject(abortError());
          });
          this.#next(name);
        }),
    };
  }

  /** Take everything from a tab, as the browser does when it dies. */
  takeFrom(tab: BrowserTab): void {
    for (const [name, queue] of this.#queue)
      this.#queue.set(
        name,
        queue.filter((request) => request.tab !== tab),
      );
    for (const [name, request] of this.#held) if (request.tab === tab) this.#release(name, request);
  }

  /** The tabs that lead: they hold a lock that is not their own. */
  get holders(): BrowserTab[] {
    return [...this.#held].filter(([name]) => !name.startsWith("tellwire:tab:")).map(([, { tab }]) => tab);
  }

  #forget(name: string, request: Request): boolean {
    const queue = this.#queue.get(name) ?? [];
    this.#queue.set(
      name,
      queue.filter((each) => each !== request),
    );
    return queue.includes(request);
  }

  #next(name: string): void {
    if (this.#held.has(name)) return;
    const request = this.#queue.get(name)?.shift();
    if (request !== undefined) this.#grant(name, request);
  }

  #grant(name: string, request: Request): void {
    this.#held.set(name, request);
    request.tab.run(async () => {
      await request.run();
      // What was taken from a tab is not its own to give back.
      if (this.#release(name, request)) request.resolve();
    });
  }

  #release(name: string, request: Request): boolean {
    if (this.#held.get(name) !== request) return false;
    this.#held.delete(name);
    this.#next(name);
    return true;
  }
}

class FakeChannel implements Channel {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  readonly tab: BrowserTab;
  readonly name: string;
  readonly #all: Set<FakeChannel>;

  constructor(tab: BrowserTab, name: string, all: Set<FakeChannel>) {
    this.tab = tab;
    this.name = name;
    this.#all = all.add(this);
  }

  postMessage(message: unknown): void {
    if (!this.#all.has(this)) throw new DOMException("The channel is closed", "InvalidStateError");
    const text = JSON.stringify(message);
    for (const other of this.#all) {
      if (other === this || other.name !== this.name) continue;
      other.tab.run(() => this.#all.has(other) && other.onmessage?.({ data: JSON.parse(text) }));
    }
  }

  close(): void {
    this.#all.delete(this);
  }
}

export class Browser {
  readonly locks: FakeLocks;
  readonly channels = new Set<FakeChannel>();
  readonly tabs: BrowserTab[] = [];

  readonly #options: Partial<ClientOptions>;

  /** `options` are those of all its tabs. */
  constructor(locks = new FakeLocks(), options: Partial<ClientOptions> = {}) {
    this.locks = locks;
    this.#options = options;
  }

  /** Post a message to the tabs of user-1. */
  posts(message: object): void {
    const channel = new FakeChannel(this.tab(), CHANNEL, this.channels);
    channel.postMessage(message);
    channel.close();
  }

  /** Listen to the messages between the tabs of user-1. */
  listens(hear: (message: unknown) => void): Channel {
    const channel = new FakeChannel(this.tab(), CHANNEL, this.channels);
    channel.onmessage = ({ data }) => hear(data);
    return channel;
  }

  tab(user = "user-1", options: Partial<ClientOptions> = {}): BrowserTab {
    const tab = new BrowserTab(this, user, { ...this.#options, ...options });
    this.tabs.push(tab);
    return tab;
  }
}

export class BrowserTab {
  readonly world: World;
  readonly #browser: Browser;
  readonly #leavers = new Set<() => void>();
  #backlog: (() => void)[] | undefined;
  #isHidden = false;
  #lateness = 0;

  constructor(browser: Browser, user: string, options: Partial<ClientOptions>) {
    this.#browser = browser;
    const environment = { ...this.#environment(), ...options.environment };
    this.world = new World({ ...options, environment }, (made) => sharedClient({ ...made, user }));
  }

  /** Run a task of this tab soon; of a frozen tab, when it goes on. */
  run(task: () => unknown): void {
    queueMicrotask(() => {
      if (this.#backlog === undefined) task();
      else this.#backlog.push(task as () => void);
    });
  }

  /** Be hidden, and have timers that are late. */
  hides(lateness = MINUTE): void {
    this.#isHidden = true;
    this.#lateness = lateness;
  }

  /** Stop without an event. */
  hangs(): void {
    this.#backlog = [];
  }

  /** Stop after the event that says so. */
  freezes(): void {
    for (const listener of [...this.#leavers]) listener();
    this.hangs();
  }

  /** Go on after it hung. */
  goesOn(): void {
    const backlog = this.#backlog ?? [];
    this.#backlog = undefined;
    for (const task of backlog) this.run(task);
  }

  /** Go on after it hung, without the tasks of that time. */
  loses(): void {
    this.#backlog = undefined;
  }

  /** Go on, with the event that says so. */
  wakes(): void {
    this.goesOn();
    this.world.shows("wake");
  }

  dies(): void {
    this.hangs();
    this.#browser.locks.takeFrom(this);
    for (const channel of this.#browser.channels) if (channel.tab === this) channel.close();
  }

  /** Another tab of the same browser. */
  sibling(): BrowserTab {
    return this.#browser.tab();
  }

  get leads(): boolean {
    return this.#browser.locks.holders.includes(this);
  }

  get listens(): number {
    return this.#leavers.size + this.world.page.size;
  }

  #environment(): Partial<SharedEnvironment> {
    const { channels, locks } = this.#browser;
    const tab = this;
    return {
      locks: locks.of(this),
      BroadcastChannel: class extends FakeChannel {
        constructor(name: string) {
          super(tab, name, channels);
        }
      },
      isVisible: () => !this.#isHidden,
      onPageHide: (listener) => {
        this.#leavers.add(listener);
        return () => this.#leavers.delete(listener);
      },
      setTimeout: (task, milliseconds) => setTimeout(() => this.run(task), milliseconds + this.#lateness),
    };
  }
}

/** Connect so many tabs of a user; the first one leads, and its connection is open. */
export async function connected(count: number, browser = new Browser(), options = {}): Promise<BrowserTab[]> {
  const tabs = Array.from({ length: count }, () => browser.tab("user-1", options));
  for (const tab of tabs) tab.world.client.connect();
  await advance(0);
  tabs[0]?.world.socket.opens();
  await advance(0);
  return tabs;
}

export const sockets = (tabs: BrowserTab[]): number[] => tabs.map(({ world }) => world.sockets.length);
export const statuses = (tabs: BrowserTab[]): string[] => tabs.map(({ world }) => world.status);
export const leaders = (tabs: BrowserTab[]): boolean[] => tabs.map(({ leads }) => leads);
