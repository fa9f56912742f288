// One connection for all tabs of a user.
//
// One tab leads: it holds a lock of the browser's (Web Locks) and has the connection. It tells the others by a
// BroadcastChannel what arrives and how the connection is. When it closes or dies, the browser gives the lock to the next
// tab. A leader that does not answer the others is frozen, or hangs: its lock is taken from it.
//
//     follower ─▶ leader    hello: who leads says its state │ send │ connect │ sign: the page woke up, …
//     leader ─▶ followers   state │ message

import { assertConnectable, TellwireClient } from "./client.js";
import { environment } from "./environment.js";
import { Listeners } from "./listeners.js";
import { Seen } from "./seen.js";
import type {
  AnyMessage,
  Client,
  ClientOptions,
  ConnectionState,
  Environment,
  MessageOf,
  MessageType,
  Sign,
  Unsubscribe,
} from "./types.js";

/** What `sharedClient` uses of a BroadcastChannel. */
export interface Channel {
  onmessage: ((event: never) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** What `sharedClient` uses of `navigator.locks`. */
export interface Locks {
  request(
    name: string,
    options: { signal?: AbortSignal; steal?: boolean },
    callback: () => Promise<void>,
  ): Promise<unknown>;
}

/** What a shared client uses of its surroundings. Without `locks` or `BroadcastChannel`, each tab has a connection. */
export interface SharedEnvironment extends Environment {
  locks: Locks | undefined;
  BroadcastChannel: (new (name: string) => Channel) | undefined;
  /** Call when the page is about to be frozen or left. What left comes back with a `wake`, or never. */
  onLeave(listener: () => void): Unsubscribe;
}

/** What a shared client is made with. */
export interface SharedOptions extends Omit<ClientOptions, "environment"> {
  /** Whose connection it is, by any text that is the user's own. Tabs share a connection if url and user are the same. */
  user: string;
  environment?: Partial<SharedEnvironment>;
}

/**
 * Return a client that shares its connection with the other tabs of this browser. Each tab has its own `getToken`; the
 * leader's is called.
 *
 * What was sent by a tab goes by the leader: true means that it was handed on. While another tab takes over, messages
 * may be missed, as with any reconnect.
 */
export function sharedClient(options: SharedOptions): Client {
  const surroundings = sharedEnvironment(options.environment);
  const { locks, BroadcastChannel } = surroundings;
  if (locks === undefined || BroadcastChannel === undefined) return new TellwireClient(options);
  return new Tab(options, surroundings);
}

function sharedEnvironment(given: Partial<SharedEnvironment> = {}): SharedEnvironment {
  return {
    locks: globalThis.navigator?.locks,
    BroadcastChannel: globalThis.BroadcastChannel,
    onLeave,
    ...environment(given),
    ...given,
  };
}

function onLeave(listener: () => void): Unsubscribe {
  const { window, document } = globalThis;
  if (document === undefined) return () => {};
  window.addEventListener("pagehide", listener);
  document.addEventListener("freeze", listener);
  return () => {
    window.removeEventListener("pagehide", listener);
    document.removeEventListener("freeze", listener);
  };
}

type Surroundings = { [K in "locks" | "BroadcastChannel"]-?: NonNullable<SharedEnvironment[K]> };

/** What tabs say to each other. */
type Saying =
  | { is: "hello" }
  | { is: "send"; json: string }
  /** `retryAt` says for which wait's end it is; without, it is the user's wish. */
  | { is: "connect"; retryAt?: number }
  | { is: "sign"; sign: Sign }
  | { is: "state"; state: ConnectionState }
  | { is: "message"; message: AnyMessage };

/** How long a leader may be silent before it is asked whether it is there. */
const SILENCE_MS = 60_000;
/** How long it may take to answer; a random part is added, up to as much again, so that only one tab takes over. */
const ANSWER_MS = 2_000;
/** A leader in a hidden tab may be late, for browsers let its timers wait. Then a follower reminds it. */
const REMIND_MS = 1_000;

/** One stay of a tab among the others, from `connect()` until it leaves. */
interface Stay {
  readonly channel: Channel;
  /** Ends the wait for the lock. */
  readonly abort: AbortController;
  /** The connection, if this tab leads. */
  client?: TellwireClient;
  /** Gives the lock back. */
  resign?: () => void;
}

class Tab implements Client {
  readonly #options: SharedOptions;
  readonly #environment: SharedEnvironment;
  readonly #listeners: Listeners;
  readonly #seen = new Seen();
  /** Those of the connection who want to know of signs, if this tab leads. */
  readonly #signs = new Set<(sign: Sign) => void>();
  #stay: Stay | undefined;
  #unsubscribe: Unsubscribe | undefined;
  #silence: unknown;
  #reminder: unknown;

  constructor(options: SharedOptions, surroundings: SharedEnvironment) {
    this.#options = options;
    this.#environment = surroundings;
    this.#listeners = new Listeners({ status: "idle", attempt: 0 }, surroundings.reportError);
  }

  get state(): ConnectionState {
    return this.#listeners.state;
  }

  onState(listener: (state: ConnectionState) => void): Unsubscribe {
    return this.#listeners.onState(listener);
  }

  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): Unsubscribe {
    return this.#listeners.on(type, listener);
  }

  send(type: string, data?: unknown): boolean {
    if (this.state.status !== "open") return false;
    const { client } = this.#stay ?? {};
    if (client !== undefined) return client.send(type, data);
    this.#say({ is: "send", json: JSON.stringify({ type, data }) });
    return true;
  }

  connect(): void {
    assertConnectable(this.#options.url, this.#environment);
    this.#unsubscribe ??= this.#heedThePage();
    if (this.#stay?.client !== undefined) this.#stay.client.connect();
    else if (this.#stay !== undefined) this.#say({ is: "connect" });
    else {
      this.#listeners.become({ status: "connecting", attempt: 1 });
      this.#join();
    }
  }

  close(): void {
    this.#end({ status: "closed", attempt: 0 });
  }

  // --- among the tabs ----------------------------------------------------------------------------------------------

  #join(steal = false): void {
    const { locks, BroadcastChannel } = this.#environment as Surroundings;
    const name = `tellwire:1:${this.#options.url}:${this.#options.user}`;
    const stay: Stay = { channel: new BroadcastChannel(name), abort: new AbortController() };
    this.#stay = stay;
    stay.channel.onmessage = ({ data }: { data: Saying }) => this.#hear(data);
    // A lock cannot be both waited for and taken.
    const how = steal ? { steal } : { signal: stay.abort.signal };
    locks.request(name, how, () => this.#lead(stay)).catch(() => this.#loseTheLock(stay));
    this.#ask();
  }

  #leave(): void {
    const stay = this.#stay;
    this.#stay = undefined;
    this.#setSilence();
    this.#remindAt(undefined);
    stay?.abort.abort();
    stay?.client?.close();
    stay?.channel.close();
    stay?.resign?.();
  }

  /** Leave for good. */
  #end(state: ConnectionState): void {
    this.#leave();
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#listeners.become(state);
  }

  #say(saying: Saying): void {
    this.#stay?.channel.postMessage(saying);
  }

  #hear(saying: Saying): void {
    const client = this.#stay?.client;
    if (client !== undefined) this.#serve(client, saying);
    else this.#follow(saying);
  }

  // --- the leader --------------------------------------------------------------------------------------------------

  /** Lead until the stay ends. */
  #lead(stay: Stay): Promise<void> {
    if (this.#stay !== stay) return Promise.resolve();
    this.#setSilence();
    const onSign = (listener: (sign: Sign) => void): Unsubscribe => {
      this.#signs.add(listener);
      return () => this.#signs.delete(listener);
    };
    const client = new TellwireClient({ ...this.#options, environment: { ...this.#environment, onSign } });
    stay.client = client;
    client.onState((state) => this.#stay === stay && this.#announce(state));
    client.on("*", (message) => {
      this.#say({ is: "message", message });
      this.#pass(message);
    });
    client.connect();
    return new Promise((resolve) => {
      stay.resign = resolve;
    });
  }

  #announce(state: ConnectionState): void {
    this.#say({ is: "state", state });
    this.#become(state);
  }

  #serve(client: TellwireClient, saying: Saying): void {
    switch (saying.is) {
      case "hello":
        this.#say({ is: "state", state: client.state });
        break;
      case "send": {
        const { type, data } = JSON.parse(saying.json);
        client.send(type, data);
        break;
      }
      case "connect":
        if (saying.retryAt === undefined || saying.retryAt === client.state.retryAt) client.connect();
        break;
      case "sign":
        this.#notice(saying.sign);
    }
  }

  #notice(sign: Sign): void {
    for (const listener of [...this.#signs]) listener(sign);
  }

  /** The request for the lock failed. */
  #loseTheLock(stay: Stay): void {
    if (this.#stay !== stay) return;
    if (stay.client === undefined) {
      // There are no locks for pages like this one, so nobody shares with it.
      void this.#lead(stay);
    } else {
      // Another tab took it, for this one did not answer.
      this.#leave();
      this.#join();
    }
  }

  // --- a follower --------------------------------------------------------------------------------------------------

  #follow(saying: Saying): void {
    if (saying.is !== "message" && saying.is !== "state") return;
    this.#setSilence(SILENCE_MS, () => this.#ask());
    if (saying.is === "message") this.#pass(saying.message);
    else this.#adopt(saying.state);
  }

  #adopt(state: ConnectionState): void {
    this.#remindAt(state.retryAt);
    this.#become(state);
  }

  /** Ask who leads. If nobody says so, take the lead. */
  #ask(): void {
    this.#say({ is: "hello" });
    this.#setSilence(ANSWER_MS * (1 + this.#environment.random()), () => {
      this.#leave();
      this.#join(true);
    });
  }

  /** Do something unless the leader is heard before; nothing without arguments. */
  #setSilence(milliseconds?: number, act?: () => void): void {
    const { setTimeout, clearTimeout } = this.#environment;
    clearTimeout(this.#silence);
    this.#silence = act && setTimeout(act, milliseconds as number);
  }

  #remindAt(retryAt: number | undefined): void {
    const { setTimeout, clearTimeout, now } = this.#environment;
    clearTimeout(this.#reminder);
    if (retryAt === undefined) return;
    this.#reminder = setTimeout(() => this.#say({ is: "connect", retryAt }), retryAt - now() + REMIND_MS);
  }

  // --- all tabs ----------------------------------------------------------------------------------------------------

  #become(state: ConnectionState): void {
    if (state.status === "closed") this.#end(state);
    // The channel brings a new object each time.
    else if (JSON.stringify(state) !== JSON.stringify(this.state)) this.#listeners.become(state);
  }

  #pass(message: AnyMessage): void {
    if (this.#seen.isNew(message)) this.#listeners.pass(message);
  }

  #heedThePage(): Unsubscribe {
    const { onSign, onLeave } = this.#environment;
    const all = [
      onSign((sign) => this.#noticed(sign)),
      // A page that is frozen must not lead, nor be given the lead. It joins again when it wakes up.
      onLeave(() => this.#leave()),
    ];
    return () => {
      for (const unsubscribe of all) unsubscribe();
    };
  }

  #noticed(sign: Sign): void {
    if (this.#stay === undefined) this.#join();
    else if (this.#stay.client !== undefined) this.#notice(sign);
    else {
      this.#say({ is: "sign", sign });
      this.#ask();
    }
  }
}
