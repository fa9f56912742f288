// The environment of a client under test: fake sockets, tokens, a network and a page. The clock is vitest's.

import { afterEach, beforeEach, vi } from "vitest";
import { TellwireClient } from "../src/index.js";
import type {
  Client,
  ClientOptions,
  ConnectionState,
  Environment,
  Message,
  PageEvent,
  TokenReason,
} from "../src/types.js";

/** Use a fake clock in every test of a file. */
export function useFakeTime(): void {
  beforeEach(() => {
    vi.useFakeTimers({ now: Date.UTC(2026, 10, 23, 9, 18, 54) });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

export const PROGRESS = { type: "upload_progress", data: { uploadId: "moc-1", progress: 1 }, timestamp: "", id: "1" };

/** An `error` with a code. */
export const errorMessage = (code: string): object => ({ type: "error", data: { code, message: "" }, timestamp: "" });

/** A socket whose server is the test. */
export class FakeSocket {
  onopen: ((event: object) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((event: object) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  /** The sent messages, without hellos. */
  readonly sent: { type: string; [field: string]: unknown }[] = [];
  /** The cursors of the user in the sent hellos. */
  readonly hellos: (string | undefined)[] = [];
  /** The cursors of topics in each of them. */
  readonly helloTopics: object[] = [];
  /** The code that the client closed it with. */
  closedWith: number | undefined;
  readonly url: string;
  readonly protocols: string[];

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocols = protocols;
  }

  send(text: string): void {
    const message = JSON.parse(text);
    if (message.type === "hello") {
      const { user, ...topics } = message.cursors ?? {};
      this.hellos.push(user);
      this.helloTopics.push(topics);
    } else this.sent.push(message);
  }

  close(code: number): void {
    this.closedWith = code;
  }

  /** Open for more than the moment in which a server may close it to refuse it. */
  opens(): void {
    this.onopen?.({});
    if (vi.isFakeTimers()) vi.advanceTimersByTime(10);
  }

  says(message: object | string): void {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  ends(code = 1006): void {
    if (code === 1006) this.onerror?.({});
    this.onclose?.({ code });
  }

  /** The number of sent pings. */
  get pings(): number {
    return this.sent.filter(({ type }) => type === "ping").length;
  }
}

export class World {
  readonly sockets: FakeSocket[] = [];
  /** The reasons of the questions for a token. */
  readonly asked: TokenReason[] = [];
  readonly states: ConnectionState[] = [];
  readonly messages: Message[] = [];
  readonly errors: unknown[] = [];
  readonly page = new Set<(sign: PageEvent) => void>();
  readonly client: Client;
  isOnline = true;
  /** All random numbers. */
  random = 0.5;
  getToken: (why: TokenReason) => string | Promise<string> = () => "a-token";

  constructor(options: Partial<ClientOptions> = {}, make = (made: ClientOptions): Client => new TellwireClient(made)) {
    this.client = make({
      url: "wss://gateway.test/live",
      getToken: (why) => {
        this.asked.push(why);
        return this.getToken(why);
      },
      ...options,
      environment: { ...this.environment(), ...options.environment },
    });
    this.client.onState((state) => this.states.push(state));
    this.client.on("*", ({ replayed: _, ...message }) => this.messages.push(message as Message));
  }

  environment(): Partial<Environment> {
    const { sockets } = this;
    return {
      WebSocket: class extends FakeSocket {
        constructor(url: string, protocols: string[] = []) {
          super(url, protocols);
          sockets.push(this);
        }
      },
      random: () => this.random,
      online: () => this.isOnline,
      onPageEvent: (listener) => {
        this.page.add(listener);
        return () => this.page.delete(listener);
      },
      reportError: (error) => this.errors.push(error),
    };
  }

  /** The newest socket. */
  get socket(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }

  get status(): string {
    return this.client.state.status;
  }

  /** The wait of the client, in milliseconds. */
  get wait(): number {
    return (this.client.state.retryAt ?? Number.NaN) - Date.now();
  }

  /** Connect until there is a socket. */
  async connects(): Promise<FakeSocket> {
    this.client.connect();
    await advance(0);
    return this.socket;
  }

  /** Connect, and open the socket. */
  async opens(): Promise<FakeSocket> {
    const socket = await this.connects();
    socket.opens();
    return socket;
  }

  /** Connect, and stay open until the connection is stable. */
  async settles(): Promise<FakeSocket> {
    const socket = await this.opens();
    await advance(10_000);
    return socket;
  }

  shows(sign: PageEvent): void {
    for (const listener of [...this.page]) listener(sign);
  }

  goesOffline(): void {
    this.isOnline = false;
    this.shows("offline");
  }

  goesOnline(): void {
    this.isOnline = true;
    this.shows("online");
  }
}

/** Let time pass. */
export async function advance(milliseconds: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(milliseconds);
}

/** Move the clock without firing timers, as a device that sleeps does. */
export function sleep(milliseconds: number): void {
  vi.setSystemTime(Date.now() + milliseconds);
}

/** A token that expires so many seconds from now. */
export function tokenFor(seconds: number): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${encode({ alg: "HS256" })}.${encode({ sub: "Jürgen?>~", exp: Date.now() / 1000 + seconds })}.signature`;
}

export const MINUTE = 60_000;
