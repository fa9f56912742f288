// The sockets of a shared client. The tab that leads has a `Relay`, a real socket on which all tabs speak; a tab that
// follows has a `Wire`, which goes by the leader. To the client above them, one is as good as the other.
//
// All tabs hear everything, but for the answer to a hello: that is for the tab that said it. A server answers only the
// newest, so a hello waits until the one before it was answered.

import { readMessage } from "./incoming.js";
import { isNoHello, isWelcome, type Page } from "./place.js";
import type { Socket } from "./types.js";

/** Who wants to know of a relay. */
interface Ears {
  /** It is about to be open. */
  opens(): void;
  /** The client has heard that it is open. */
  opened(): void;
  /** It has received something, for one of the other tabs or for all. */
  hears(data: unknown, to: string | undefined): void;
}

type Handler<E> = ((event: E) => void) | null;

/** What a client sets to hear of its socket. */
abstract class Line {
  onopen: Handler<object> = null;
  onmessage: Handler<{ data: unknown }> = null;
  onerror: Handler<object> = null;
  onclose: Handler<{ code: number }> = null;
}

export class Relay extends Line implements Socket {
  readonly #socket: Socket;
  readonly #me: string;
  /** Hellos, and who says them; the first one was sent. */
  #hellos: { from: string; text: string }[] = [];
  /** Its first page was heard. */
  #isBegun = false;

  constructor(socket: Socket, me: string, ears: Ears) {
    super();
    this.#socket = socket;
    this.#me = me;
    socket.onopen = (event: object) => {
      ears.opens();
      this.onopen?.(event);
      ears.opened();
    };
    socket.onerror = (event: object) => this.onerror?.(event);
    socket.onclose = (event: { code: number }) => this.onclose?.(event);
    socket.onmessage = ({ data }: { data: unknown }) => {
      const to = this.#hellos.length > 0 ? this.#answered(data) : undefined;
      if (to !== me) ears.hears(data, to);
      if (to === undefined || to === me) this.onmessage?.({ data });
    };
  }

  send(text: string, from = this.#me): void {
    if (readMessage(text)?.type !== "hello") {
      this.#socket.send(text);
      return;
    }
    // Of those that a tab says, only the newest is of use.
    this.#hellos = this.#hellos.filter((each, index) => index === 0 || each.from !== from);
    this.#hellos.push({ from, text });
    if (this.#hellos.length === 1) this.#socket.send(text);
  }

  close(code?: number): void {
    this.#socket.close(code);
  }

  /** Return whose hello this answers; undefined if it is no answer. After the last page comes the next hello. */
  #answered(data: unknown): string | undefined {
    const message = readMessage(data);
    if (message === undefined) return undefined;
    const isPage = isWelcome(message);
    if (!isPage && !isNoHello(message)) return undefined;
    const from = this.#hellos[0]?.from;
    // Within a welcome, that a type is not known is about something else. But those who wait for theirs would not know.
    if (!isPage && this.#isBegun) return from;
    this.#isBegun = isPage && !(message.data as Page).last;
    if (!this.#isBegun) {
      this.#hellos.shift();
      if (this.#hellos[0] !== undefined) this.#socket.send(this.#hellos[0].text);
    }
    return from;
  }
}

export class Wire extends Line implements Socket {
  readonly #say: (text: string) => void;

  constructor(say: (text: string) => void) {
    super();
    this.#say = say;
    // Not before the client has set what it wants to hear.
    queueMicrotask(() => this.onopen?.({}));
  }

  send(text: string): void {
    // Tokens are the leader's.
    if (readMessage(text)?.type !== "auth") this.#say(text);
  }

  close(): void {
    this.onopen = this.onmessage = null;
  }
}
