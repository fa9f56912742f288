// The client: the shell around the state machine. It has the sockets, one timer and the listeners, and decides nothing.

import { addressWith, gatewayUrl } from "./address.js";
import { environment } from "./environment.js";
import { Listeners } from "./listeners.js";
import { isActive, newModel, nextDue, step } from "./machine.js";
import type { Action, Happening, Model } from "./model.js";
import { cursorOf } from "./place.js";
import { newcomers } from "./seen.js";
import { settingsOf } from "./settings.js";
import { type CursorStore, cursorStore } from "./storage.js";
import type {
  AnyMessage,
  Client,
  ClientOptions,
  ConnectionState,
  Environment,
  MessageOf,
  MessageType,
  Socket,
  TokenReason,
  Unsubscribe,
} from "./types.js";

/** The longest time that the timer is set for: so soon is it noticed that the device slept. */
const LOOK_MS = 10_000;

/**
 * A connection that comes back by itself.
 *
 *     const client = new TellwireClient({ url: "wss://gateway.example.com", getToken: () => session.idToken() });
 *     client.on("upload_progress", ({ data }) => bar.set(data.uploadId, data.progress));
 *     client.connect();
 *
 * @throws RangeError if a number of seconds is none.
 */
export class TellwireClient implements Client {
  readonly #options: ClientOptions;
  readonly #environment: Environment;
  readonly #listeners: Listeners;
  readonly #isNew = newcomers();
  readonly #store: CursorStore;
  readonly #sockets = new Map<number, Socket>();
  #model: Model;
  #timer: { handle: unknown; wanted: number } | undefined;
  #unsubscribe: Unsubscribe | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#environment = environment(options.environment);
    this.#store = cursorStore(options, this.#environment);
    const cursor = this.#store.stored || (options.startFrom === "oldest" ? "0" : "");
    this.#model = newModel(settingsOf(options), cursor);
    this.#listeners = new Listeners(this.#model.state, this.#environment.reportError);
  }

  get state(): ConnectionState {
    return this.#listeners.state;
  }

  get cursor(): string | undefined {
    return cursorOf(this.#model.place);
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

  ack(cursor: string | undefined = this.cursor): boolean {
    return cursor !== undefined && this.#send(this.#model.current, { type: "ack", cursor });
  }

  cancel(uploadId: string): boolean {
    return this.#send(this.#model.current, { type: "cancel", uploadId });
  }

  /** @throws TypeError if the URL is none of a gateway, or there is no WebSocket. */
  connect(): void {
    assertConnectable(this.#options.url, this.#environment);
    this.#happen({ is: "connect" });
  }

  close(): void {
    this.#happen({ is: "close" });
  }

  #happen(happening: Happening): void {
    const { now, online, random } = this.#environment;
    const [model, actions] = step(this.#model, happening, { now: now(), online: online(), random });
    this.#model = model;
    for (const action of actions) this.#act(action);
    this.#setTimer();
    this.#heedThePage();
    // Last, for a listener may make the next thing happen.
    this.#listeners.become(model.state);
    for (const action of actions) if (action.do === "pass") this.#pass(action.message);
    this.#store.keep(this.cursor);
  }

  #act(action: Action): void {
    switch (action.do) {
      case "get token":
        void this.#getToken(action.link, action.why);
        break;
      case "open":
        this.#open(action.link, action.token);
        break;
      case "send":
        this.#send(action.link, action.message);
        break;
      case "drop":
        this.#drop(action.link);
    }
  }

  async #getToken(link: number, why: TokenReason): Promise<void> {
    // Not within the present task: getToken may call this client.
    await undefined;
    const happening = await tokenOf(() => this.#options.getToken(why), link);
    this.#happen(happening);
  }

  #open(link: number, token: string): void {
    const { url, tokenIn } = this.#options;
    try {
      const socket = new this.#environment.WebSocket(...addressWith(gatewayUrl(url), token, tokenIn));
      this.#sockets.set(link, socket);
      socket.onopen = () => this.#happen({ is: "opened", link });
      socket.onmessage = ({ data }: { data: unknown }) => this.#happen({ is: "received", link, data });
      // `close` follows; but Node ends a process for an error that nobody listens to.
      socket.onerror = () => {};
      socket.onclose = ({ code }: { code: number }) => {
        this.#sockets.delete(link);
        this.#happen({ is: "ended", link, code });
      };
    } catch (error) {
      // Only its name: browsers put the token into the message.
      const message = `the token cannot be sent this way (${(error as Error).name})`;
      queueMicrotask(() => this.#happen({ is: "no token", link, message }));
    }
  }

  /** Send on a link; return whether there is one. */
  #send(link: number | undefined, message: object): boolean {
    const socket = this.#sockets.get(link as number);
    socket?.send(JSON.stringify(message));
    return socket !== undefined;
  }

  #drop(link: number): void {
    this.#sockets.get(link)?.close(1000);
    this.#sockets.delete(link);
  }

  #pass(message: AnyMessage): void {
    if (this.#isNew(message)) this.#listeners.pass(message);
  }

  /** Set the timer for what is due next, unless it fires before that: then it looks again. */
  #setTimer(): void {
    const { now, setTimeout, clearTimeout } = this.#environment;
    const time = now();
    const wanted = Math.min(nextDue(this.#model), time + LOOK_MS);
    if (this.#isActive && this.#timer !== undefined && this.#timer.wanted <= wanted) return;
    clearTimeout(this.#timer?.handle);
    this.#timer = undefined;
    if (!this.#isActive) return;
    const tick = (): void => {
      this.#timer = undefined;
      this.#happen({ is: "tick", wanted });
    };
    this.#timer = { handle: setTimeout(tick, Math.max(0, wanted - time)), wanted };
  }

  #heedThePage(): void {
    if (this.#isActive) {
      this.#unsubscribe ??= this.#environment.onSign((sign) => this.#happen({ is: "sign", sign }));
    } else {
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
      this.#store.write();
    }
  }

  get #isActive(): boolean {
    return isActive(this.#model);
  }
}

/** @throws TypeError if the URL is none of a gateway, or there is no WebSocket. */
export function assertConnectable(url: string, { WebSocket }: Partial<Environment>): void {
  gatewayUrl(url);
  if (WebSocket === undefined) {
    throw new TypeError("environment.WebSocket: got undefined; allowed: a WebSocket, as of the package ws");
  }
}

async function tokenOf(getToken: () => string | Promise<string>, link: number): Promise<Happening> {
  try {
    const token = await getToken();
    if (typeof token === "string" && token !== "") return { is: "token", link, token };
    return { is: "no token", link, message: "getToken returned no token" };
  } catch (error) {
    return { is: "no token", link, message: `getToken failed: ${error instanceof Error ? error.message : error}` };
  }
}
