// One connection for all tabs of a user.
//
// One tab leads: it holds a lock of the browser's (Web Locks) and has the connection. It tells the others by a
// BroadcastChannel what arrives and how the connection is. When it closes or dies, the browser gives the lock to the next
// tab. A leader that does not answer the others is frozen, or hangs: its lock is taken from it.
//
// Every tab has a client of its own, with its own place in the stream. Its socket is a real one while the tab leads, and
// goes by the leader while it follows (relay.ts); when that is another, it says hello anew, as after any interruption.
//
//     follower ─▶ leader    ask: who leads says its state │ send │ connect │ sign: the page woke up, …
//     leader ─▶ followers   state │ received

import { assertConnectable, TellwireClient } from "./client.js";
import { environment } from "./environment.js";
import { readMessage } from "./incoming.js";
import { Listeners } from "./listeners.js";
import { isPlaced, isWelcome } from "./place.js";
import { Relay, Wire } from "./relay.js";
import type {
  Client,
  ClientOptions,
  ConnectionState,
  Environment,
  MessageOf,
  MessageType,
  Sign,
  Socket,
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
}

/** What a shared client is made with. */
export interface SharedOptions extends Omit<ClientOptions, "environment"> {
  /**
   * Whose connection it is, by any text that is the user's own. Tabs share a connection if url and user are the same. It
   * is also the `cursorKey`, unless there is one.
   */
  user: string;
  environment?: Partial<SharedEnvironment>;
}

/**
 * Return a client that shares its connection with the other tabs of this browser. Each tab has its own `getToken`; the
 * leader's is called.
 *
 * Each tab hears every message once, as with a connection of its own, also when another tab takes over. What was sent by
 * a tab goes by the leader: true means that it was handed on.
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
    ...environment(given),
    ...given,
  };
}

type Surroundings = { [K in "locks" | "BroadcastChannel"]-?: NonNullable<SharedEnvironment[K]> };

/** What tabs say to each other. */
type Saying =
  | { is: "ask" }
  | { is: "send"; text: string; from: string }
  /** `retryAt` says for which wait's end it is; without, it is the user's wish. */
  | { is: "connect"; retryAt?: number }
  | { is: "sign"; sign: Sign }
  /** `relay` says by which connection the followers go, while there is one. */
  | { is: "state"; state: ConnectionState; relay: string }
  /** `to` says which tab it is for; without, it is for all. */
  | { is: "received"; data: unknown; to: string | undefined };

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
  /** Gives the lock back, if this tab leads. */
  resign?: () => void;
}

class Tab implements Client {
  readonly #options: SharedOptions;
  readonly #environment: SharedEnvironment;
  readonly #listeners: Listeners;
  readonly #client: TellwireClient;
  readonly #name = crypto.randomUUID();
  /** Those of the client who want to know of signs. They do if this tab leads. */
  readonly #signs = new Set<(sign: Sign) => void>();
  #stay: Stay | undefined;
  /** Another tab was heard. */
  #isShared = false;
  #unsubscribe: Unsubscribe | undefined;
  #silence: unknown;
  #reminder: unknown;
  /** The real socket that speaks for all tabs, if this one leads, and how many there were. */
  #relay: Relay | undefined;
  #relays = 0;
  /** By what this tab goes, if it follows and there is a connection. */
  #wire: Wire | undefined;
  #follows: string | undefined;

  constructor(options: SharedOptions, surroundings: SharedEnvironment) {
    this.#options = options;
    this.#environment = surroundings;
    this.#listeners = new Listeners({ status: "idle", attempt: 0 }, surroundings.reportError);
    this.#client = new TellwireClient({
      cursorKey: options.user,
      ...options,
      getToken: (why) => (this.#leads ? options.getToken(why) : "the leader's"),
      environment: {
        ...surroundings,
        WebSocket: socketsOf((...address) => this.#dial(...address)),
        online: () => !this.#leads || surroundings.online(),
        onSign: (listener) => {
          this.#signs.add(listener);
          return () => this.#signs.delete(listener);
        },
      },
    });
    this.#client.onState((state) => this.#noteState(state));
  }

  get state(): ConnectionState {
    return this.#listeners.state;
  }

  get cursor(): string | undefined {
    return this.#client.cursor;
  }

  onState(listener: (state: ConnectionState) => void): Unsubscribe {
    return this.#listeners.onState(listener);
  }

  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): Unsubscribe {
    return this.#client.on(type, listener);
  }

  send(type: string, data?: unknown): boolean {
    return this.#client.send(type, data);
  }

  ack(cursor?: string): boolean {
    return this.#client.ack(cursor);
  }

  cancel(uploadId: string): boolean {
    return this.#client.cancel(uploadId);
  }

  connect(): void {
    assertConnectable(this.#options.url, this.#environment);
    this.#unsubscribe ??= this.#heedThePage();
    if (this.#leads) this.#client.connect();
    else if (this.#stay !== undefined) this.#say({ is: "connect" });
    else {
      this.#listeners.become({ status: "connecting", attempt: 1 });
      this.#join();
    }
  }

  close(): void {
    this.#end({ status: "closed", attempt: 0 });
  }

  get #leads(): boolean {
    return this.#stay?.resign !== undefined;
  }

  // --- among the tabs ----------------------------------------------------------------------------------------------

  #join(steal = false): void {
    const { locks, BroadcastChannel } = this.#environment as Surroundings;
    const name = `tellwire:2:${this.#options.url}:${this.#options.user}`;
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
    this.#hangUp();
    stay?.abort.abort();
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
    this.#isShared = true;
    if (this.#leads) this.#serve(saying);
    else this.#follow(saying);
  }

  // --- the client --------------------------------------------------------------------------------------------------

  /** Make a socket for the client. */
  #dial(url: string, protocols?: string[]): Socket {
    if (!this.#leads) {
      this.#wire = new Wire((text) => this.#say({ is: "send", text, from: this.#name }));
      return this.#wire;
    }
    const socket = new this.#environment.WebSocket(url, protocols);
    const relay: Relay = new Relay(socket, this.#name, {
      opens: () => {
        this.#relay = relay;
        this.#relays += 1;
      },
      opened: () => this.#announce(this.#client.state),
      hears: (data, to) => this.#tell(relay, data, to),
    });
    return relay;
  }

  /** The client has another state. */
  #noteState(state: ConnectionState): void {
    if (this.#leads) this.#announce(state);
    // What else becomes of a follower's, the leader says.
    else if (this.#follows !== undefined && state.status === "open") this.#become(state);
  }

  /** Let the client go, and keep its place. */
  #hangUp(): void {
    this.#follows = this.#wire = this.#relay = undefined;
    this.#client.close();
  }

  // --- the leader --------------------------------------------------------------------------------------------------

  /** Lead until the stay ends. */
  #lead(stay: Stay): Promise<void> {
    if (this.#stay !== stay) return Promise.resolve();
    this.#setSilence();
    this.#remindAt(undefined);
    this.#hangUp();
    return new Promise((resolve) => {
      stay.resign = resolve;
      this.#client.connect();
    });
  }

  #announce(state: ConnectionState): void {
    this.#say({ is: "state", state, relay: `${this.#name}:${this.#relays}` });
    this.#become(state);
  }

  /** Tell the other tabs what a socket brings. Of the stream, the newest one brings all. */
  #tell(relay: Relay, data: unknown, to: string | undefined): void {
    if (!this.#isShared) return;
    const message = relay === this.#relay ? undefined : readMessage(data);
    if (message === undefined || !(isPlaced(message) || isWelcome(message))) this.#say({ is: "received", data, to });
  }

  #serve(saying: Saying): void {
    switch (saying.is) {
      case "ask":
        this.#announce(this.#client.state);
        break;
      case "send":
        this.#relay?.send(saying.text, saying.from);
        break;
      case "connect":
        if (saying.retryAt === undefined || saying.retryAt === this.#client.state.retryAt) this.#client.connect();
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
    if (stay.resign === undefined) {
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
    if (saying.is !== "received" && saying.is !== "state") return;
    this.#setSilence(SILENCE_MS, () => this.#ask());
    if (saying.is === "state") this.#adopt(saying.state, saying.relay);
    else if (saying.to === undefined || saying.to === this.#name) this.#wire?.onmessage?.({ data: saying.data });
  }

  /** Be as the leader is. When it has a connection, or another one, the client connects by that. */
  #adopt(state: ConnectionState, relay: string): void {
    this.#remindAt(state.retryAt);
    if (state.status === "open" && relay === this.#follows) return;
    this.#hangUp();
    if (state.status === "open") {
      this.#follows = relay;
      this.#client.connect();
    } else this.#become(state);
  }

  /** Ask who leads. If nobody says so, take the lead. */
  #ask(): void {
    this.#say({ is: "ask" });
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
    // The channel brings a new object each time. That something may be missing is told each time.
    else if (state.recovered === false || JSON.stringify(state) !== JSON.stringify(this.state))
      this.#listeners.become(state);
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
    else if (this.#leads) this.#notice(sign);
    else {
      this.#say({ is: "sign", sign });
      this.#ask();
    }
  }
}

/** A class whose objects are what a function makes. */
function socketsOf(dial: (url: string, protocols?: string[]) => Socket): Environment["WebSocket"] {
  function Dialled(url: string, protocols?: string[]): Socket {
    return dial(url, protocols);
  }
  return Dialled as unknown as Environment["WebSocket"];
}
