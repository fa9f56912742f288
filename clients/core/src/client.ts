// The client: the shell around the state machine. It owns the sockets, one timer and the listeners, and decides nothing.

import { addressWith, gatewayUrl } from "./address.js";
import { environment } from "./environment.js";
import { Listeners } from "./listeners.js";
import { cursorsOf, isActive, newModel, nextDue, reduce, USER } from "./machine.js";
import type { Action, Event, Model } from "./model.js";
import { resolveOptions } from "./options.js";
import { RecentIds } from "./recentIds.js";
import { parseCursor } from "./resequencer.js";
import { type CursorStore, cursorStore } from "./storage.js";
import type {
  AnyMessage,
  Client,
  ClientOptions,
  ConnectionState,
  Cursors,
  Environment,
  MessageOf,
  MessageType,
  Socket,
  TokenReason,
  Unsubscribe,
} from "./types.js";

/** The longest time that the timer is set for, so that a sleep of the device is noticed soon. */
const MAX_TIMER_MS = 10_000;
/**
 * Delay of a timer that means that the device slept, in milliseconds. Browsers delay timers of hidden pages by up to a
 * minute.
 */
const ASLEEP_MS = 90_000;

/**
 * A client with a connection of its own, which it makes again when it is lost.
 *
 *     const client = new TellwireClient({ url: "wss://gateway.example.com", getToken: () => session.idToken() });
 *     client.on("upload_progress", ({ data }) => bar.set(data.uploadId, data.progress));
 *     client.connect();
 *
 * @throws RangeError if an option is not a number of seconds.
 */
export class TellwireClient implements Client {
  readonly #options: ClientOptions;
  readonly #environment: Environment;
  readonly #listeners: Listeners;
  readonly #recentIds = new RecentIds();
  readonly #store: CursorStore;
  readonly #sockets = new Map<number, Socket>();
  #model: Model;
  #timer: { handle: unknown; wanted: number } | undefined;
  #unsubscribe: Unsubscribe | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#environment = environment(options.environment);
    this.#store = cursorStore(options, this.#environment);
    this.#model = newModel(resolveOptions(options), this.#store.start);
    this.#listeners = new Listeners(this.#model.state, this.#environment.reportError);
  }

  get state(): ConnectionState {
    return this.#listeners.state;
  }

  get cursors(): Cursors {
    return { ...this.#store.start, ...cursorsOf(this.#model) };
  }

  onState(listener: (state: ConnectionState) => void): Unsubscribe {
    return this.#listeners.onState(listener);
  }

  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): Unsubscribe {
    return this.#listeners.on(type, listener);
  }

  send(type: string, data?: unknown): boolean {
    return this.#send(this.#model.current, { type, data });
  }

  ack(cursor: string | undefined = this.cursors[USER]): boolean {
    return parseCursor(cursor) !== undefined && this.#send(this.#model.current, { type: "ack", cursor });
  }

  cancel(uploadId: string): boolean {
    return this.#send(this.#model.current, { type: "cancel", uploadId });
  }

  /** @throws TypeError if the URL is not that of a gateway, or there is no WebSocket. */
  connect(): void {
    assertConnectable(this.#options.url, this.#environment);
    this.#dispatch({ type: "connect" });
  }

  close(): void {
    this.#dispatch({ type: "close" });
  }

  #dispatch(event: Event): void {
    const { now, online, random } = this.#environment;
    const [model, actions] = reduce(this.#model, event, { now: now(), online: online(), random });
    this.#model = model;
    for (const action of actions) this.#act(action);
    this.#setTimer();
    this.#watchPage();
    // Last, for a listener may cause the next event.
    this.#listeners.become(model.state);
    for (const action of actions) if (action.type === "pass") this.#pass(action.message);
    this.#store.put(this.cursors);
  }

  #act(action: Action): void {
    switch (action.type) {
      case "get token":
        void this.#getToken(action.connection, action.why);
        break;
      case "open":
        this.#open(action.connection, action.token);
        break;
      case "send":
        this.#send(action.connection, action.message);
        break;
      case "drop":
        this.#drop(action.connection);
    }
  }

  async #getToken(connection: number, why: TokenReason): Promise<void> {
    // Not within the present task: getToken may call this client.
    await undefined;
    this.#dispatch(await tokenEvent(() => this.#options.getToken(why), connection));
  }

  #open(connection: number, token: string): void {
    const { url, tokenIn } = this.#options;
    try {
      const socket = new this.#environment.WebSocket(...addressWith(gatewayUrl(url), token, tokenIn));
      this.#sockets.set(connection, socket);
      socket.onopen = () => this.#dispatch({ type: "opened", connection });
      socket.onmessage = ({ data }: { data: unknown }) => this.#dispatch({ type: "received", connection, data });
      // `close` follows; but Node ends a process for an error without a listener.
      socket.onerror = () => {};
      socket.onclose = ({ code, reason }: { code: number; reason?: string }) => {
        this.#sockets.delete(connection);
        this.#dispatch({ type: "closed", connection, code, reason: reason ?? "" });
      };
    } catch (error) {
      // Only its name: browsers put the token into the message.
      const message = `the token cannot be sent this way (${(error as Error).name})`;
      queueMicrotask(() => this.#dispatch({ type: "token failed", connection, message }));
    }
  }

  /** Send on a connection; return false if there is none. */
  #send(connection: number | undefined, message: object): boolean {
    const socket = this.#sockets.get(connection as number);
    socket?.send(JSON.stringify(message));
    return socket !== undefined;
  }

  #drop(connection: number): void {
    this.#sockets.get(connection)?.close(1000);
    this.#sockets.delete(connection);
  }

  #pass(message: AnyMessage): void {
    if (this.#recentIds.add(message)) this.#listeners.pass(message);
  }

  /** Set the timer for the next due time, unless it fires before that: then it is set again. */
  #setTimer(): void {
    const { now, setTimeout, clearTimeout } = this.#environment;
    const time = now();
    const wanted = Math.min(nextDue(this.#model), time + MAX_TIMER_MS);
    if (this.#isActive && this.#timer !== undefined && this.#timer.wanted <= wanted) return;
    clearTimeout(this.#timer?.handle);
    this.#timer = undefined;
    if (!this.#isActive) return;
    const tick = (): void => {
      this.#timer = undefined;
      if (now() - wanted > ASLEEP_MS) this.#dispatch({ type: "wake" });
      this.#dispatch({ type: "tick", wanted });
    };
    this.#timer = { handle: setTimeout(tick, Math.max(0, wanted - time)), wanted };
  }

  #watchPage(): void {
    if (this.#isActive) {
      this.#unsubscribe ??= this.#environment.onPageEvent((type) => this.#dispatch({ type }));
    } else {
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
      this.#store.flush();
    }
  }

  get #isActive(): boolean {
    return isActive(this.#model);
  }
}

/** @throws TypeError if the URL is not that of a gateway, or there is no WebSocket. */
export function assertConnectable(url: string, { WebSocket }: Partial<Environment>): void {
  gatewayUrl(url);
  if (WebSocket === undefined) {
    throw new TypeError("environment.WebSocket: got undefined; allowed: a WebSocket, as of the package ws");
  }
}

async function tokenEvent(getToken: () => string | Promise<string>, connection: number): Promise<Event> {
  try {
    const token = await getToken();
    if (typeof token === "string" && token !== "") return { type: "token", connection, token };
    return { type: "token failed", connection, message: "getToken returned no token" };
  } catch (error) {
    const message = `getToken failed: ${error instanceof Error ? error.message : error}`;
    return { type: "token failed", connection, message };
  }
}
