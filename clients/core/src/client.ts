// The client. This is its first form: it connects, passes messages on, and comes back after a while.

import { environment } from "./environment.js";
import type {
  Client,
  ClientOptions,
  ConnectionState,
  Environment,
  MessageOf,
  MessageType,
  Socket,
  Unsubscribe,
} from "./types.js";

type Listener = (message: never) => void;

export class TellwireClient implements Client {
  #options: ClientOptions;
  #environment: Environment;
  #state: ConnectionState = { status: "idle", attempt: 0 };
  #socket: Socket | undefined;
  #timer: unknown;
  #stateListeners = new Set<(state: ConnectionState) => void>();
  #listeners = new Map<string, Set<Listener>>();

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#environment = environment(options.environment);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  onState(listener: (state: ConnectionState) => void): Unsubscribe {
    this.#stateListeners.add(listener);
    return () => void this.#stateListeners.delete(listener);
  }

  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): Unsubscribe {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  send(type: string, data?: unknown): boolean {
    if (this.#state.status !== "open") return false;
    this.#socket?.send(JSON.stringify({ type, data }));
    return true;
  }

  connect(): void {
    if (this.#state.status === "connecting" || this.#state.status === "open") return;
    this.#environment.clearTimeout(this.#timer);
    this.#become({ status: "connecting", attempt: this.#state.attempt + 1 });
    void this.#open();
  }

  close(): void {
    this.#environment.clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#socket = undefined;
    this.#become({ status: "closed", attempt: 0 });
  }

  async #open(): Promise<void> {
    const { url, tokenIn, getToken } = this.#options;
    const token = await getToken("connect");
    if (this.#state.status !== "connecting") return;
    const address = new URL(url);
    if (tokenIn === "query") address.searchParams.set("token", token);
    const protocols = tokenIn === "query" ? [] : ["tellwire.v1", `token.${token}`];
    const socket = new this.#environment.WebSocket(address.href, protocols);
    this.#socket = socket;
    socket.onopen = () => this.#socket === socket && this.#become({ status: "open", attempt: 0 });
    socket.onmessage = (event: { data: string }) => this.#socket === socket && this.#receive(event.data);
    socket.onerror = () => {};
    socket.onclose = () => this.#socket === socket && this.#wait();
  }

  #wait(): void {
    this.#socket = undefined;
    const { now, setTimeout } = this.#environment;
    this.#timer = setTimeout(() => this.connect(), 1000);
    const reason = { code: 1006, message: "connection lost", kind: "lost" } as const;
    this.#become({ status: "waiting", attempt: this.#state.attempt, retryAt: now() + 1000, reason });
  }

  #receive(text: string): void {
    const message = JSON.parse(text) as { type: string };
    for (const type of [message.type, "*"]) {
      for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(message as never);
    }
  }

  #become(state: ConnectionState): void {
    this.#state = state;
    for (const listener of [...this.#stateListeners]) listener(state);
  }
}
