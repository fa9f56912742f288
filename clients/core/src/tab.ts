// A tab of a shared client. The leader has the connection, and forwards received messages; the followers send by it.
//
// Every tab has a client of its own, with its own position in each stream. Its socket is a relay while the tab leads, and
// a follower's socket while it follows (relay.ts). When the leader or its connection changes, the clients of all tabs
// connect anew and say hello, as after any interruption.

import { assertConnectable, TellwireClient } from "./client.js";
import { decode } from "./decode.js";
import { Election, type SharedEnvironment, type TabMessage } from "./election.js";
import { Listeners } from "./listeners.js";
import { FollowerSocket, Relay } from "./relay.js";
import { hasPosition } from "./resequencer.js";
import type { SharedOptions } from "./shared.js";
import type {
  Client,
  ConnectionState,
  Cursors,
  Environment,
  MessageOf,
  MessageType,
  PageEvent,
  Socket,
  Unsubscribe,
} from "./types.js";

/** Browsers delay the timers of hidden tabs. So a follower reminds a leader whose wait is over for this long. */
const REMIND_MS = 1_000;

export class Tab implements Client {
  readonly #options: SharedOptions;
  readonly #environment: SharedEnvironment;
  readonly #election: Election;
  readonly #listeners: Listeners;
  readonly #client: TellwireClient;
  readonly #name = crypto.randomUUID();
  /** The client's listeners for page events. They are called while this tab leads. */
  readonly #pageListeners = new Set<(event: PageEvent) => void>();
  /** Another tab was heard, so there is somebody to forward to. */
  #isShared = false;
  #unsubscribe: Unsubscribe | undefined;
  #reminder: unknown;
  /** As a leader: the newest relay, and how many there were. */
  #relay: Relay | undefined;
  #relays = 0;
  /** As a follower: the socket, and the relay of the leader that it stands for. */
  #socket: FollowerSocket | undefined;
  #followedRelay: string | undefined;

  constructor(options: SharedOptions, environment: SharedEnvironment) {
    this.#options = options;
    this.#environment = environment;
    this.#listeners = new Listeners({ status: "idle", attempt: 0 }, environment.reportError);
    this.#election = new Election(`tellwire:2:${options.url}:${options.user}`, environment, {
      elected: () => this.#client.connect(),
      roleEnded: () => {
        this.#remindAt(undefined);
        this.#dropClient();
      },
      received: (message) => this.#received(message),
    });
    this.#client = new TellwireClient({
      cursorKey: options.user,
      ...options,
      getToken: (why) => (this.#election.isLeader ? options.getToken(why) : "the leader's"),
      environment: {
        ...environment,
        WebSocket: constructorOf((...address) => this.#openSocket(...address)),
        online: () => !this.#election.isLeader || environment.online(),
        onPageEvent: (listener) => {
          this.#pageListeners.add(listener);
          return () => this.#pageListeners.delete(listener);
        },
      },
    });
    this.#client.onState((state) => this.#onClientState(state));
  }

  get state(): ConnectionState {
    return this.#listeners.state;
  }

  get cursors(): Cursors {
    return this.#client.cursors;
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
    this.#unsubscribe ??= this.#watchPage();
    if (this.#election.isLeader) this.#client.connect();
    else if (this.#election.isMember) this.#election.post({ type: "connect" });
    else {
      this.#listeners.become({ status: "connecting", attempt: 1 });
      this.#election.join();
    }
  }

  close(): void {
    this.#end({ status: "closed", attempt: 0 });
  }

  /** Leave for good. */
  #end(state: ConnectionState): void {
    this.#election.leave();
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#listeners.become(state);
  }

  #become(state: ConnectionState): void {
    if (state.status === "closed") this.#end(state);
    // The channel brings a new object each time. A loss is told each time.
    else if (state.recovered === false || JSON.stringify(state) !== JSON.stringify(this.state))
      this.#listeners.become(state);
  }

  #received(message: TabMessage): void {
    this.#isShared = true;
    if (this.#election.isLeader) this.#lead(message);
    else this.#follow(message);
  }

  // --- the client of this tab --------------------------------------------------------------------------------------

  #openSocket(url: string, protocols?: string[]): Socket {
    if (!this.#election.isLeader) {
      this.#socket = new FollowerSocket((text) => this.#election.post({ type: "send", text, from: this.#name }));
      return this.#socket;
    }
    const relay: Relay = new Relay(new this.#environment.WebSocket(url, protocols), this.#name, {
      opening: () => {
        this.#relay = relay;
        this.#relays += 1;
      },
      opened: () => this.#announce(this.#client.state),
      received: (data, to) => this.#forward(relay, data, to),
    });
    return relay;
  }

  #onClientState(state: ConnectionState): void {
    if (this.#election.isLeader) this.#announce(state);
    // The other states of a follower are those of the leader.
    else if (this.#followedRelay !== undefined && state.status === "open") this.#become(state);
  }

  /** Close the client of this tab. It keeps its cursors. */
  #dropClient(): void {
    this.#followedRelay = this.#socket = this.#relay = undefined;
    this.#client.close();
  }

  // --- as the leader -----------------------------------------------------------------------------------------------

  #lead(message: TabMessage): void {
    switch (message.type) {
      case "ask":
        this.#announce(this.#client.state);
        break;
      case "send":
        this.#relay?.send(message.text, message.from);
        break;
      case "connect":
        if (message.retryAt === undefined || message.retryAt === this.#client.state.retryAt) this.#client.connect();
        break;
      case "page":
        this.#tellClient(message.event);
    }
  }

  #announce(state: ConnectionState): void {
    this.#election.post({ type: "state", state, relay: `${this.#name}:${this.#relays}` });
    this.#become(state);
  }

  /** Forward received data to the other tabs. The newest relay brings everything of the streams. */
  #forward(relay: Relay, data: unknown, to: string | undefined): void {
    if (!this.#isShared) return;
    const message = relay === this.#relay ? undefined : decode(data);
    if (message === undefined || !(hasPosition(message) || message.type === "welcome"))
      this.#election.post({ type: "received", data, to });
  }

  #tellClient(event: PageEvent): void {
    for (const listener of [...this.#pageListeners]) listener(event);
  }

  // --- as a follower -----------------------------------------------------------------------------------------------

  #follow(message: TabMessage): void {
    if (message.type !== "received" && message.type !== "state") return;
    this.#election.leaderHeard();
    if (message.type === "state") this.#adopt(message.state, message.relay);
    else if (message.to === undefined || message.to === this.#name) this.#socket?.onmessage?.({ data: message.data });
  }

  /** Adopt the state of the leader. When it has a connection, or another one, the client connects by that. */
  #adopt(state: ConnectionState, relay: string): void {
    this.#remindAt(state.retryAt);
    if (state.status === "open" && relay === this.#followedRelay) return;
    this.#dropClient();
    if (state.status === "open") {
      this.#followedRelay = relay;
      this.#client.connect();
    } else this.#become(state);
  }

  #remindAt(retryAt: number | undefined): void {
    const { setTimeout, clearTimeout, now } = this.#environment;
    clearTimeout(this.#reminder);
    if (retryAt === undefined) return;
    this.#reminder = setTimeout(() => this.#election.post({ type: "connect", retryAt }), retryAt - now() + REMIND_MS);
  }

  // --- the page ----------------------------------------------------------------------------------------------------

  #watchPage(): Unsubscribe {
    const { onPageEvent, onPageHide } = this.#environment;
    const subscriptions = [
      onPageEvent((event) => this.#onPageEvent(event)),
      // A page that is frozen must neither lead nor be elected. It joins again when it wakes up.
      onPageHide(() => this.#election.leave()),
    ];
    return () => {
      for (const unsubscribe of subscriptions) unsubscribe();
    };
  }

  #onPageEvent(event: PageEvent): void {
    if (!this.#election.isMember) this.#election.join();
    else if (this.#election.isLeader) this.#tellClient(event);
    else {
      this.#election.post({ type: "page", event });
      this.#election.ask();
    }
  }
}

/** Return a class whose instances a function makes. */
function constructorOf(open: (url: string, protocols?: string[]) => Socket): Environment["WebSocket"] {
  function Opened(url: string, protocols?: string[]): Socket {
    return open(url, protocols);
  }
  return Opened as unknown as Environment["WebSocket"];
}
