// A tab of a shared client. The leader has the connection, and forwards received messages; the followers send by it.
//
// Every tab has a client of its own, with its own position in each stream, and its own requests. Its socket is a relay
// while the tab leads, and a follower's socket while it follows (relay.ts). When the leader or its connection changes, the
// sockets of all tabs end, their clients connect anew, say hello and repeat what was not answered, as after any
// interruption. A follower's client is offline while its leader has no connection.
//
// A leader whose token or welcome is another user's is closed, and not the other tabs: the next one leads, with its own
// token.

import { gatewayUrl } from "./address.js";
import { TellwireClient } from "./client.js";
import { decode } from "./decode.js";
import { Election, type SharedEnvironment, type TabMessage } from "./election.js";
import { Listeners } from "./listeners.js";
import { FollowerSocket, Relay } from "./relay.js";
import { PRESENCE } from "./relayedTopics.js";
import { hasPosition } from "./resequencer.js";
import type { SharedOptions } from "./shared.js";
import type { ConnectionState, Environment, PageEvent, Socket, Unsubscribe } from "./types.js";

/** The messages about streams that a relay brings, beside those of streams. */
const ANSWERS = ["welcome", "subscribed", "unsubscribed", ...PRESENCE];

export class Tab<E extends object> extends TellwireClient<E> {
  readonly #environment: SharedEnvironment;
  readonly #election: Election;
  /** The listeners for states. Those of the client itself are other ones, while this tab follows. */
  readonly #listeners: Listeners;
  readonly #name = crypto.randomUUID();
  readonly #user: string;
  /** The client's listeners for page events. They are called while this tab leads. */
  readonly #pageListeners = new Set<(event: PageEvent) => void>();
  /** Another tab was heard, so there is somebody to forward to. */
  #isShared = false;
  #unsubscribe: Unsubscribe | undefined;
  /** The newest sockets of the client: it has up to three. */
  #sockets: (Relay | FollowerSocket)[] = [];
  /** As a leader: the newest relay that is open, and how many there were. */
  #relay: Relay | undefined;
  #relays = 0;
  /** As a follower: the newest socket, and the relay of the leader that it stands for. */
  #socket: FollowerSocket | undefined;
  #followedRelay: string | undefined;

  constructor(options: SharedOptions, environment: SharedEnvironment) {
    const tab = (): Tab<E> => this;
    const { getToken } = options;
    super({
      cursorKey: options.user,
      ...options,
      getToken: getToken && ((why) => (tab().#election.isLeader ? getToken(why) : "the leader's")),
      environment: {
        ...environment,
        // A function and not a class, for `new` returns the object that it returns.
        WebSocket: function open(url: string, protocols?: string[]): Socket {
          return tab().#openSocket(url, protocols);
        } as unknown as Environment["WebSocket"],
        online: () => (tab().#election.isLeader ? environment.online() : tab().#followedRelay !== undefined),
        onPageEvent: (listener) => {
          tab().#pageListeners.add(listener);
          return () => tab().#pageListeners.delete(listener);
        },
      },
    });
    this.#environment = environment;
    this.#user = options.user;
    this.#listeners = new Listeners({ status: "idle", attempt: 0, user: options.user }, environment.reportError);
    // The user is a part of it, so tabs of two users never meet.
    const name = `tellwire:4:${JSON.stringify([gatewayUrl(options.url), options.user])}`;
    this.#election = new Election(name, this.#name, environment, {
      elected: () => {
        this.#connectAnew();
        this.#announce();
      },
      roleEnded: () => this.#follow(undefined),
      received: (message) => this.#received(message),
      gone: (gone) => this.#relay?.gone(gone),
    });
    super.onState((state) => this.#onClientState(state));
  }

  override get state(): ConnectionState {
    return this.#listeners.state;
  }

  override onState(listener: (state: ConnectionState) => void): Unsubscribe {
    return this.#listeners.onState(listener);
  }

  override connect(): void {
    const { isLeader, isMember } = this.#election;
    if (isMember && !isLeader) this.#election.post({ type: "connect" });
    else super.connect();
    this.#unsubscribe ??= this.#watchPage();
    if (isMember) return;
    this.#listeners.become({ status: "connecting", attempt: 1, user: this.#user });
    this.#election.join();
  }

  override close(): void {
    this.#end({ status: "closed", attempt: 0, user: this.#user });
  }

  /** Leave for good. */
  #end(state: ConnectionState): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#leave();
    super.close();
    this.#listeners.become(state);
  }

  #leave(): void {
    this.#election.post({ type: "gone", from: this.#name });
    this.#election.leave();
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
    else if (message.type === "state") this.#adopt(message.state, message.relay);
    else if (message.type === "received" && message.to?.includes(this.#name) !== false)
      this.#socket?.receive(message.data);
  }

  // --- the client of this tab --------------------------------------------------------------------------------------

  #openSocket(url: string, protocols?: string[]): Socket {
    const socket = this.#election.isLeader ? this.#makeRelay(url, protocols) : this.#makeFollower();
    this.#sockets = [...this.#sockets.slice(-2), socket];
    return socket;
  }

  #makeRelay(url: string, protocols?: string[]): Relay {
    const relay: Relay = new Relay(
      new this.#environment.WebSocket(url, protocols),
      this.#name,
      {
        opening: () => {
          this.#relay = relay;
          this.#relays += 1;
        },
        opened: () => this.#announce(),
        received: (data, to) => this.#forward(relay, data, to),
      },
      this.#environment,
    );
    return relay;
  }

  #makeFollower(): FollowerSocket {
    const socket = new FollowerSocket({
      send: (text) => this.#election.post({ type: "send", text, from: this.#name }),
      // The leader watches the connection, but does not know what the others wait for.
      probe: () => this.#election.post({ type: "page", event: "wake" }),
    });
    this.#socket = socket;
    // Not before the client has set its handlers.
    if (this.#followedRelay !== undefined) {
      this.#election.held.then(() => {
        socket.onopen?.({});
        // Nobody refuses it, so the client need not wait.
        socket.receive("");
      });
    }
    return socket;
  }

  #onClientState(state: ConnectionState): void {
    if (this.#election.isLeader) this.#announce();
    // The other states of a follower are those of the leader, unless it is closed itself.
    else if (state.status === "closed" || (this.#followedRelay !== undefined && state.status === "open"))
      this.#become(state);
  }

  /** Follow another relay of a leader, or none. The client keeps its cursors and requests. */
  #follow(relay: string | undefined): void {
    this.#followedRelay = relay;
    this.#socket = this.#relay = undefined;
    for (const socket of this.#sockets.splice(0)) socket.end();
    if (relay !== undefined) this.#connectAnew();
  }

  /** Connect the client now, and with a new token: an attempt under way has that of another role. */
  #connectAnew(): void {
    this.#tellClient("online");
  }

  // --- as the leader -----------------------------------------------------------------------------------------------

  #lead(message: TabMessage): void {
    switch (message.type) {
      case "ask":
        // Browsers delay the timers of hidden tabs.
        if ((super.state.retryAt as number) < this.#environment.now()) super.connect();
        this.#announce();
        break;
      case "send": {
        const { text, from } = message;
        const data = this.#relay?.send(text, from);
        if (data !== undefined) this.#election.post({ type: "received", term: this.#election.term, data, to: [from] });
        break;
      }
      case "gone":
        this.#relay?.gone(message.from);
        break;
      case "connect":
        super.connect();
        break;
      case "page":
        this.#tellClient(message.event);
    }
  }

  /** Tell the state of the client. That it was offline before may mean that it had no leader. */
  #announce(): void {
    const { term } = this.#election;
    const { reason, ...rest } = super.state;
    const state: ConnectionState = reason?.kind === "offline" && rest.status === "connecting" ? rest : super.state;
    // That of another user is this tab's alone.
    if (state.reason?.kind !== "user") {
      this.#election.post({ type: "state", term, state, relay: `${this.#name}:${this.#relays}` });
    }
    this.#become(state);
  }

  /** Forward received data to the other tabs. The newest relay brings everything of the streams. */
  #forward(relay: Relay, data: unknown, to: readonly string[] | undefined): void {
    if (!this.#isShared) return;
    const message = relay === this.#relay ? undefined : decode(data);
    if (message === undefined || !(hasPosition(message) || ANSWERS.includes(message.type)))
      this.#election.post({ type: "received", term: this.#election.term, data, to });
  }

  #tellClient(event: PageEvent): void {
    for (const listener of [...this.#pageListeners]) listener(event);
  }

  // --- as a follower -----------------------------------------------------------------------------------------------

  /** Adopt the state of the leader. When it has a connection, or another one, the client connects by that. */
  #adopt(state: ConnectionState, relay: string): void {
    const followed = state.status === "open" ? relay : undefined;
    if (followed === undefined) {
      this.#follow(followed);
      this.#become(state);
    } else if (followed !== this.#followedRelay) this.#follow(followed);
  }

  // --- the page ----------------------------------------------------------------------------------------------------

  #watchPage(): Unsubscribe {
    const { onPageEvent, onPageHide } = this.#environment;
    const subscriptions = [
      onPageEvent((event) => this.#onPageEvent(event)),
      // A page that is frozen must neither lead nor be elected. It joins again when it wakes up.
      onPageHide(() => this.#leave()),
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
