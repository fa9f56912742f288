// A WebSocket that reconnects, for code that was written for a plain one. A client connects below it.
//
//     CONNECTING ─open─▶ OPEN ─close─▶ CLOSED ─open─▶ OPEN …        close(): CLOSED for good
//          └────────error, close─────────▲
//
// While there is no connection it is CLOSED, as a plain WebSocket would be: sent messages are discarded.

import {
  type Client,
  type ClientOptions,
  type ConnectionState,
  type Environment,
  TellwireClient,
} from "@tellwire/client";

const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3] as const;
const EVENTS = ["open", "message", "error", "close"] as const;
const NO_STATUS = 1005;
const ABNORMAL = 1006;

type PlainSocket = new (url: string, protocols?: string[]) => WebSocket;
type Handler<E> = ((this: WebSocket, event: E) => unknown) | null;

export class LiveSocket extends EventTarget implements WebSocket {
  readonly CONNECTING = CONNECTING;
  readonly OPEN = OPEN;
  readonly CLOSING = CLOSING;
  readonly CLOSED = CLOSED;

  readonly url: string;
  binaryType: BinaryType = "blob";
  declare onopen: Handler<Event>;
  declare onmessage: Handler<MessageEvent>;
  declare onerror: Handler<Event>;
  declare onclose: Handler<CloseEvent>;

  static {
    // On the prototype, as those of a plain WebSocket: some test pages call own properties as handlers.
    for (const name of EVENTS) {
      Object.defineProperty(LiveSocket.prototype, `on${name}`, {
        get(this: LiveSocket) {
          return this.#handlers[name] ?? null;
        },
        set(this: LiveSocket, handler) {
          this.#handlers[name] = handler;
        },
      });
    }
  }

  /** The client. A socket does nothing before `client.connect()`. */
  readonly client: Client;
  #handlers: Partial<Record<(typeof EVENTS)[number], Handler<Event>>> = {};
  #connections: WebSocket[] = [];
  #readyState: WebSocket["readyState"] = CONNECTING;

  constructor(options: ClientOptions) {
    super();
    this.url = options.url;
    this.client = new TellwireClient({ ...options, environment: this.#observed(options.environment) });
    this.client.onState((state) => this.#follow(state));
    this.client.on("*", (message) => {
      this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
    });
    for (const name of EVENTS) {
      this.addEventListener(name, (event) => this.#handlers[name]?.call(this, event));
    }
  }

  get readyState(): WebSocket["readyState"] {
    return this.#readyState;
  }

  get bufferedAmount(): number {
    return this.#connection?.bufferedAmount ?? 0;
  }

  get extensions(): string {
    return this.#connection?.extensions ?? "";
  }

  get protocol(): string {
    return this.#connection?.protocol ?? "";
  }

  send(data: Parameters<WebSocket["send"]>[0]): void {
    if (this.#readyState === CONNECTING) {
      throw new DOMException(
        "send: got a socket that is connecting; allowed: after it has opened",
        "InvalidStateError",
      );
    }
    if (this.#readyState === OPEN) this.#connection?.send(data);
  }

  /** Close for good. The event follows, as that of a plain WebSocket does. */
  close(): void {
    if (this.#readyState !== CLOSED) this.#readyState = CLOSING;
    queueMicrotask(() => this.client.close());
  }

  /** The open connection: the newest one, while one replaces another. */
  get #connection(): WebSocket | undefined {
    return this.#connections.findLast((each) => each.readyState === OPEN);
  }

  /** Note each connection: the client does not expose them, and text that is sent here need not be a message. */
  #observed(environment: Partial<Environment> = {}): Partial<Environment> {
    const Plain = (environment.WebSocket ?? globalThis.WebSocket) as PlainSocket;
    const note = (connection: WebSocket): void => {
      this.#connections = [...this.#connections.filter((each) => each.readyState <= OPEN), connection];
    };
    class Observed extends Plain {
      constructor(url: string, protocols?: string[]) {
        super(url, protocols);
        note(this);
      }
    }
    return { ...environment, WebSocket: Observed };
  }

  #follow({ status, reason }: ConnectionState): void {
    const was = this.#readyState;
    const isFirstAttempt = was === CONNECTING && (status === "idle" || status === "connecting");
    if (status === "open") this.#becomeOpen();
    else if (was !== CLOSED && !isFirstAttempt)
      this.#becomeClosed(reason === undefined ? NO_STATUS : (reason.code ?? ABNORMAL), reason?.message ?? "");
  }

  #becomeOpen(): void {
    if (this.#readyState === OPEN || this.#readyState === CLOSING) return;
    this.#readyState = OPEN;
    this.dispatchEvent(new Event("open"));
  }

  #becomeClosed(code: number, reason: string): void {
    const wasClean = code !== ABNORMAL;
    this.#readyState = CLOSED;
    if (!wasClean) this.dispatchEvent(new Event("error"));
    this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
  }
}
