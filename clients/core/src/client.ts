// The client: the shell around the state machine. It owns the sockets, one timer and the listeners, and decides nothing.

import { addressWith, gatewayUrl } from "./address.js";
import { environment } from "./environment.js";
import { Listeners } from "./listeners.js";
import { isActive, newModel, nextDue, reduce } from "./machine.js";
import type { Action, Event, Model } from "./model.js";
import { resolveOptions } from "./options.js";
import { NOBODY } from "./presence.js";
import { RecentIds } from "./recentIds.js";
import { type Outcome, RequestError } from "./requests.js";
import { parseCursor, replayed, START } from "./resequencer.js";
import { type CursorStore, cursorStore } from "./storage.js";
import { cursorsOf, streamOf, USER } from "./streams.js";
import type {
  AnswerOf,
  AnyEvents,
  Client,
  ClientOptions,
  ConnectionState,
  Cursors,
  Environment,
  HistoryPage,
  Message,
  MessageOf,
  MessageType,
  PresenceState,
  RequestArgs,
  RequestType,
  Socket,
  TokenReason,
  Topic,
  TopicOptions,
  Unsubscribe,
} from "./types.js";

/** The longest time that the timer is set for, so that a sleep of the device is noticed soon. */
const MAX_TIMER_MS = 10_000;
/**
 * Delay of a timer that means that the device slept, in milliseconds. Browsers delay timers of hidden pages by up to a
 * minute.
 */
const ASLEEP_MS = 90_000;
/** The time for which a server remembers a request, in seconds: one that is repeated later would be done twice. */
const MAX_TIMEOUT_SECONDS = 300;

/**
 * A client with a connection of its own, which it makes again when it is lost.
 *
 *     const client = new TellwireClient({ url: "wss://gateway.example.com", getToken: () => session.idToken() });
 *     client.on("upload_progress", ({ data }) => bar.set(data.uploadId, data.progress));
 *     client.connect();
 *
 * @throws TypeError if an option is missing or wrong, and RangeError if one is not a number of seconds.
 */
export class TellwireClient<E extends object = AnyEvents> implements Client<E> {
  readonly #options: ClientOptions;
  readonly #environment: Environment;
  readonly #listeners: Listeners;
  /** The listeners of each stream, and the ids that passed there lately. */
  readonly #streams = new Map<string, { ids: RecentIds; readonly listeners: Set<Handle> }>();
  /** The cursors that it began with. */
  #start: Record<string, string>;
  readonly #store: CursorStore;
  readonly #sockets = new Map<number, Socket>();
  #model: Model;
  #timer: { handle: unknown; wanted: number } | undefined;
  #unsubscribe: Unsubscribe | undefined;
  /** The requests without an answer, by their ids. */
  readonly #promises = new Map<string, { resolve(result: unknown): void; reject(error: unknown): void }>();
  #requests = 0;
  /** The beginning of their ids, of this client alone. */
  readonly #name: string;

  /** Writes a timeline, if that is wanted. */
  readonly #tell: Promise<(...event: Told) => void> | undefined;

  constructor(options: ClientOptions) {
    checkOptions(options);
    this.#options = options;
    this.#tell = timeline(options.debug);
    this.#environment = environment(options.environment);
    this.#name = `${this.#environment.random().toString(36).slice(2)}-`;
    this.#store = cursorStore(options, this.#environment);
    this.#model = newModel(resolveOptions(options), this.#store.start, this.#store.of);
    this.#start = { ...this.#store.start };
    this.#listeners = new Listeners(this.#model.state, this.#environment.reportError);
    this.#streams.set(USER, { ids: new RecentIds(), listeners: new Set([this.#listeners as Handle]) });
  }

  get state(): ConnectionState {
    return this.#listeners.state;
  }

  get cursors(): Cursors {
    return { ...this.#start, ...cursorsOf(this.#model) };
  }

  onState(listener: (state: ConnectionState) => void): Unsubscribe {
    return this.#listeners.onState(listener);
  }

  on<T extends MessageType<E>>(type: T, listener: (message: MessageOf<T, E>) => void): Unsubscribe {
    return this.#listeners.on(type, listener);
  }

  send<T extends RequestType<E>>(type: T, ...[data, options]: RequestArgs<T, E>): Promise<AnswerOf<T, E>> {
    return this.#request({ type, data }, options?.timeoutSeconds);
  }

  ack(cursor?: string): Promise<void> {
    const upTo = cursor ?? this.cursors[USER];
    const isNothing = cursor === undefined && parseCursor(upTo) === undefined;
    return isNothing ? Promise.resolve() : this.#request({ type: "ack", cursor: upTo });
  }

  read(what: object): Promise<void> {
    return this.#request({ type: "read", ...what });
  }

  cancel(uploadId: string): Promise<void> {
    return this.#request({ type: "cancel", uploadId });
  }

  dismiss(what: string | object): Promise<void> {
    return this.#request({ type: "dismiss", ...(typeof what === "string" ? { key: `upload:${what}` } : what) });
  }

  /** `topic`: those of a topic that it is subscribed to. */
  async history(page: { before?: string; limit?: number; topic?: string } = {}): Promise<HistoryPage<E>> {
    const { before, limit = 50 } = page;
    const request = { type: "history", stream: streamOf(page), before, limit };
    const { messages, more } = await this.#request<HistoryPage>(request);
    return { messages: replayed(messages), more } as unknown as HistoryPage<E>;
  }

  topic(topic: string, { startFrom = this.#options.startFrom }: TopicOptions = {}): Topic<E> {
    const stream = streamOf({ topic });
    const from = startFrom === "oldest" ? START : undefined;
    let heard = this.#streams.get(stream);
    if (heard === undefined) {
      heard = { ids: new RecentIds(), listeners: new Set() };
      this.#streams.set(stream, heard);
      this.#dispatch({ type: "follow", stream, cursor: this.#start[stream] ?? from, from });
    }
    const { listeners } = heard;
    const { reportError } = this.#environment;
    const people = new Listeners(this.#presenceOf(stream), reportError);
    const handle: Handle = Object.assign(new Listeners<unknown>(this.#stateOf(stream), reportError), {
      name: topic,
      people,
      presence: {
        getSnapshot: () => people.state,
        subscribe: (listener: (state: PresenceState) => void) => {
          if (listeners.has(handle)) this.#dispatch({ type: "watch", stream });
          listener(people.state);
          return people.onState(listener);
        },
      },
      publish: (type: string, data?: unknown) => this.#request({ type: "publish", topic, message: { type, data } }),
      history: (page?: object) => this.history({ ...page, topic }),
      close: () => {
        listeners.delete(handle);
        handle.become({ status: "closed" });
        people.become(NOBODY);
        // Not at once: a page that replaces one part by another may go on to follow it.
        queueMicrotask(() => {
          if (listeners.size > 0 || this.#streams.get(stream) !== heard) return;
          this.#streams.delete(stream);
          delete this.#start[stream];
          this.#dispatch({ type: "leave", stream });
        });
      },
    });
    listeners.add(handle);
    // The server said them once, to those who followed it then.
    const known = replayed([...(this.#model.streams.get(stream)?.states.values() ?? [])]);
    queueMicrotask(() => {
      for (const each of known) if (listeners.has(handle)) handle.pass(each);
    });
    return handle as unknown as Topic<E>;
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
    const before = this.#model;
    this.#model = model;
    this.#tell?.then((tell) => tell(before, event, model, actions));
    for (const action of actions) this.#act(action);
    this.#setTimer();
    this.#watchPage();
    // Last, for a listener may cause the next event.
    // A listener may have caused a newer state.
    for (const [stream, { listeners }] of this.#streams)
      for (const each of listeners) {
        each.become(this.#stateOf(stream));
        each.people?.become(this.#presenceOf(stream));
      }
    for (const action of actions) if (action.type === "pass") this.#pass(action.message);
    this.#store.put(this.cursors, this.#model.userId);
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
        this.#sockets.get(action.connection)?.send(JSON.stringify(action.message));
        break;
      case "send text":
        this.#sockets.get(action.connection)?.send(action.text);
        break;
      case "drop":
        this.#drop(action.connection);
        break;
      case "forget":
        this.#start = {};
        for (const each of this.#streams.values()) each.ids = new RecentIds();
        break;
      case "settle":
        this.#settle(action.id, action);
    }
  }

  async #getToken(connection: number, why: TokenReason): Promise<void> {
    // Not within the present task: getToken may call this client.
    await undefined;
    this.#dispatch(await tokenEvent(this.#options.getToken, why, connection));
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

  /** Make a request. */
  #request<T>(message: object, timeoutSeconds = 30): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => {
      if (!(timeoutSeconds > 0 && timeoutSeconds <= MAX_TIMEOUT_SECONDS))
        throw new RangeError(`timeoutSeconds: got ${timeoutSeconds}; allowed: a number over 0, up to 300`);
      const id = this.#name + ++this.#requests;
      const text = JSON.stringify({ ...message, id });
      this.#promises.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#dispatch({ type: "request", id, text, timeout: timeoutSeconds * 1000 });
    });
    // A page is not to fail because nobody waits for the answer.
    promise.catch(() => {});
    return promise;
  }

  #settle(id: string, { result, error }: Omit<Outcome, "id">): void {
    const promise = this.#promises.get(id);
    this.#promises.delete(id);
    if (error) promise?.reject(new RequestError(error));
    else promise?.resolve(result);
  }

  #drop(connection: number): void {
    this.#sockets.get(connection)?.close(1000);
    this.#sockets.delete(connection);
  }

  #pass(message: Message): void {
    const { ids, listeners } = this.#streams.get(streamOf(message)) ?? {};
    if (ids?.add(message)) for (const each of listeners ?? []) each.pass({ replayed: false, ...message } as Message);
  }

  /** Return the state of the connection, or that of a topic. */
  #stateOf(stream: string): unknown {
    return this.#model.streams.get(stream)?.state ?? this.#model.state;
  }

  #presenceOf(stream: string): PresenceState {
    return this.#model.streams.get(stream)?.presence ?? NOBODY;
  }

  /** Set the timer for the next due time, unless it fires before that: then it is set again. */
  #setTimer(): void {
    const { now, setTimeout, clearTimeout } = this.#environment;
    const time = now();
    const due = nextDue(this.#model);
    const wanted = Math.min(due, time + MAX_TIMER_MS);
    if (due < Infinity && this.#timer !== undefined && this.#timer.wanted <= wanted) return;
    clearTimeout(this.#timer?.handle);
    this.#timer = undefined;
    if (due === Infinity) return;
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

/** The listeners of a client or of a topic, and those of its presence. */
type Handle = Listeners<unknown> & { readonly people?: Listeners<PresenceState> };

/** An event, with the models before and after it, and its actions. */
type Told = [before: Model, event: Event, after: Model, actions: readonly Action[]];

/** Return the function that writes the timeline; undefined if nobody wants it. It is loaded only then. */
function timeline(given: ClientOptions["debug"]): Promise<(...event: Told) => void> | undefined {
  if (given === false || (given === undefined && !isDebugged())) return undefined;
  const write = typeof given === "function" ? given : (line: string) => console.log(line);
  return import("./debug.js").then(
    ({ tell }) =>
      (...event: Told) =>
        tell(write, ...event),
  );
}

function isDebugged(): boolean {
  try {
    return globalThis.localStorage?.getItem("tellwire") === "debug";
  } catch {
    // The page may not use it.
    return false;
  }
}

/** @throws TypeError if an option is missing or wrong. */
function checkOptions(options: ClientOptions): void {
  // A server renders pages with relative addresses, and connects nowhere.
  gatewayUrl(options?.url, globalThis.location?.href ?? "ws://here");
  const { getToken } = options;
  if (getToken !== undefined && typeof getToken !== "function") {
    // Only its type: it may be a token.
    throw new TypeError(`getToken: got ${typeof getToken}; allowed: a function that returns a token`);
  }
}

/** @throws TypeError if the URL is not that of a gateway, or there is no WebSocket. */
export function assertConnectable(url: string, { WebSocket }: Partial<Environment>): void {
  gatewayUrl(url);
  if (WebSocket === undefined) {
    throw new TypeError("environment.WebSocket: got undefined; allowed: a WebSocket, as of the package ws");
  }
}

async function tokenEvent(getToken: ClientOptions["getToken"], why: TokenReason, connection: number): Promise<Event> {
  // Without one there is none to renew either: the server ends the connection, and knows its user by the next one.
  if (!getToken && why !== "renew") return { type: "token", connection, token: "" };
  try {
    const token = await getToken?.(why);
    if (typeof token === "string" && token !== "") return { type: "token", connection, token };
    return { type: "token failed", connection, message: "getToken returned no token" };
  } catch (error) {
    const message = `getToken failed: ${error instanceof Error ? error.message : error}`;
    return { type: "token failed", connection, message };
  }
}
