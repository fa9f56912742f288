// The sockets of a shared client. The leader has a `Relay`: a real socket by which all tabs speak. A follower has a
// `FollowerSocket`, which goes by the leader. The client above them does not see the difference.
//
// All tabs receive everything, except the answer to a hello: that is for the tab that said it. A server answers only the
// newest hello, so each one waits until the one before it was answered.

import { decode } from "./decode.js";
import { errorOf, pageOf, UNKNOWN_TYPE } from "./resequencer.js";
import type { Socket } from "./types.js";

/** The leader, as a relay sees it. */
export interface RelayObserver {
  /** Called before the leader's client learns that the relay is open. */
  opening(): void;
  /** Called after that. */
  opened(): void;
  /** Called with received data that is for another tab, or for all if there is no `to`. */
  received(data: unknown, to: string | undefined): void;
}

type Handler<E> = ((event: E) => void) | null;

/** The handlers that a client sets on its socket. */
abstract class Handlers {
  onopen: Handler<object> = null;
  onmessage: Handler<{ data: unknown }> = null;
  onerror: Handler<object> = null;
  onclose: Handler<{ code: number }> = null;
}

export class Relay extends Handlers implements Socket {
  readonly #socket: Socket;
  readonly #tab: string;
  /** The hellos without an answer, and the tabs that say them. The first one was sent. */
  #hellos: { from: string; text: string }[] = [];
  /** The first page of its answer has arrived. */
  #isWelcomed = false;

  /** `tab` is the name of the leader's own tab. */
  constructor(socket: Socket, tab: string, observer: RelayObserver) {
    super();
    this.#socket = socket;
    this.#tab = tab;
    socket.onopen = (event: object) => {
      observer.opening();
      this.onopen?.(event);
      observer.opened();
    };
    socket.onerror = (event: object) => this.onerror?.(event);
    socket.onclose = (event: { code: number }) => this.onclose?.(event);
    socket.onmessage = ({ data }: { data: unknown }) => {
      const to = this.#hellos.length > 0 ? this.#answered(data) : undefined;
      if (to !== tab) observer.received(data, to);
      if (to === undefined || to === tab) this.onmessage?.({ data });
    };
  }

  send(text: string, from = this.#tab): void {
    if (decode(text)?.type !== "hello") {
      this.#socket.send(text);
      return;
    }
    // Of the hellos of one tab, only the newest is of use.
    this.#hellos = this.#hellos.filter((each, index) => index === 0 || each.from !== from);
    this.#hellos.push({ from, text });
    if (this.#hellos.length === 1) this.#socket.send(text);
  }

  close(code?: number): void {
    this.#socket.close(code);
  }

  /** Return the tab whose hello this answers; undefined if it is no answer. After the last page the next hello is sent. */
  #answered(data: unknown): string | undefined {
    const message = decode(data);
    if (message === undefined) return undefined;
    const page = pageOf(message);
    // Within a welcome the server evidently knows hello: the error is about something else.
    if (page === undefined && (this.#isWelcomed || errorOf(message) !== UNKNOWN_TYPE)) return undefined;
    const from = this.#hellos[0]?.from;
    this.#isWelcomed = page !== undefined && !page.last;
    if (!this.#isWelcomed) {
      this.#hellos.shift();
      if (this.#hellos[0] !== undefined) this.#socket.send(this.#hellos[0].text);
    }
    return from;
  }
}

export class FollowerSocket extends Handlers implements Socket {
  readonly #send: (text: string) => void;

  constructor(send: (text: string) => void) {
    super();
    this.#send = send;
    // Not before the client has set its handlers.
    queueMicrotask(() => this.onopen?.({}));
  }

  send(text: string): void {
    switch (decode(text)?.type) {
      case "auth":
        // The token of the connection is the leader's.
        break;
      case "ping":
        // The leader watches the connection, and the followers watch the leader.
        queueMicrotask(() => this.onmessage?.({ data: '{"type":"pong"}' }));
        break;
      default:
        this.#send(text);
    }
  }

  close(): void {
    this.onopen = this.onmessage = null;
  }
}
