// The sockets of a shared client. The leader has a `Relay`: a real socket by which all tabs speak. A follower has a
// `FollowerSocket`, which goes by the leader. The client above them does not see the difference.
//
// All tabs receive everything, except the answer to a hello or to a request with an id: that is for the tab that said it.
// A server answers only the newest hello, so each one waits until the one before it was answered. Tabs that are equally far
// say the same; so they say it together, and many tabs cost a new leader two hellos.
//
// A topic is subscribed to while any tab follows it, and its messages are for those tabs alone (relayedTopics.ts). A hello says
// the topics of the tabs that say it, as far as there is room; the next hello waits for their answers, since it would end them.

import { decode } from "./decode.js";
import type { HelloRequest } from "./messages.js";
import { RelayedTopics, type TopicRequest } from "./relayedTopics.js";
import { errorOf, pageOf, UNKNOWN_TYPE } from "./resequencer.js";
import { PREFIX, USER } from "./streams.js";
import type { Environment, Message, Socket } from "./types.js";

/** The leader, as a relay sees it. */
export interface RelayObserver {
  /** Called before the leader's client learns that the relay is open. */
  opening(): void;
  /** Called after that. */
  opened(): void;
  /** Called with received data that is for other tabs, or for all if there is no `to`. */
  received(data: unknown, to: readonly string[] | undefined): void;
}

/** The leader, as a follower's socket sees it. */
export interface FollowerObserver {
  send(text: string): void;
  /** Called when an answer does not come. */
  probe(): void;
}

/** Number of requests whose tabs are remembered, at most. The answers to others go to all tabs, which ignore them. */
const MAX_REQUESTS = 1_000;

type Handler<E> = ((event: E) => void) | null;

/** The handlers that a client sets on its socket. */
abstract class Handlers {
  declare onopen: Handler<object>;
  declare onmessage: Handler<{ data: unknown }>;
  declare onerror: Handler<object>;
  declare onclose: Handler<{ code: number }>;
}

export class Relay extends Handlers implements Socket {
  readonly #socket: Socket;
  readonly #tab: string;
  /** The hellos without an answer, and the tabs that say them. The first one was sent. */
  readonly #hellos: Hello[] = [];
  /** The first page of its answer has arrived; the last one has. */
  #isWelcomed = false;
  #isAnswered = false;
  /** The tabs of requests without an answer, by their ids. */
  readonly #requests = new Map<unknown, string>();
  readonly #topics: RelayedTopics;

  /** `tab` is the name of the leader's own tab. */
  constructor(
    socket: Socket,
    tab: string,
    observer: RelayObserver,
    environment: Pick<Environment, "now" | "setTimeout">,
  ) {
    super();
    this.#socket = socket;
    this.#tab = tab;
    this.#topics = new RelayedTopics((text) => socket.send(text), environment);
    socket.onopen = (event: object) => {
      observer.opening();
      this.onopen?.(event);
      observer.opened();
    };
    socket.onerror = (event: object) => this.onerror?.(event);
    socket.onclose = (event: { code: number }) => {
      this.#topics.end();
      this.onclose?.(event);
    };
    socket.onmessage = ({ data }: { data: unknown }) => {
      const isForSome = this.#hellos.length + this.#requests.size > 0 || this.#topics.isUsed;
      const to = isForSome ? this.#answered(data) : undefined;
      if (to?.join() !== tab) observer.received(data, to);
      if (to?.includes(tab) !== false) this.onmessage?.({ data });
      this.#sayNextHello();
    };
  }

  /** Send a message of a tab. Return an answer that it gets at once, if there is one. */
  send(given: string, from = this.#tab): string | undefined {
    const answer = this.#send(given, from);
    if (answer !== undefined && from === this.#tab) queueMicrotask(() => this.onmessage?.({ data: answer }));
    return answer;
  }

  /** A tab has gone: nobody is to be subscribed to topics that only it followed. */
  gone(tab: string): void {
    this.#topics.gone(tab);
  }

  #send(given: string, from: string): string | undefined {
    const message = decode(given) as RelayedMessage | undefined;
    if (message?.topic !== undefined && message.id === undefined) return this.#topics.say(message, from);
    if (message?.type === "hello") {
      this.#addHello(message, from);
      return undefined;
    }
    if (message?.id !== undefined) {
      this.#requests.set(message.id, from);
      if (this.#requests.size > MAX_REQUESTS) this.#requests.delete(this.#requests.keys().next().value);
    }
    this.#socket.send(given);
    return undefined;
  }

  #addHello(message: RelayedMessage, from: string): void {
    const [text, requests] = withoutTopics(message);
    const asked = requests.map((request) => [request, from] as const);
    const same = this.#hellos.find((each, index) => index > 0 && each.text === text);
    if (same === undefined) this.#hellos.push({ tabs: [from], text, asked });
    else {
      same.tabs.push(from);
      same.asked.push(...asked);
    }
    if (this.#hellos.length === 1) this.#sayHello();
  }

  #sayHello(): void {
    const [first] = this.#hellos;
    if (first !== undefined) this.#socket.send(withTopics(first.text, this.#topics.carry(first.asked)));
  }

  /** Say the next hello when the one before was answered, also for its topics. */
  #sayNextHello(): void {
    if (!this.#isAnswered || this.#topics.isCarrying) return;
    this.#isAnswered = false;
    this.#hellos.shift();
    this.#sayHello();
  }

  close(code?: number): void {
    this.#topics.end();
    this.#socket.close(code);
  }

  /** End it, as if the connection was lost. */
  end(): void {
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    this.close(1000);
    this.onclose?.({ code: 1006 });
  }

  /** Return the tabs whose hello or request this answers; undefined if it is no answer. */
  #answered(data: unknown): readonly string[] | undefined {
    const message = decode(data);
    if (message === undefined) return undefined;
    const id = idOf(message);
    if (id === undefined) return this.#topics.receivers(message) ?? this.#helloAnswered(message);
    const from = this.#requests.get(id);
    this.#requests.delete(id);
    return from === undefined ? undefined : [from];
  }

  /** After the last page of its answer the next hello may be said. */
  #helloAnswered(message: Message): readonly string[] | undefined {
    const page = message.type === "welcome" ? pageOf(message) : undefined;
    // Within a welcome the server evidently knows hello: the error is about something else.
    if (page === undefined && (this.#isWelcomed || errorOf(message) !== UNKNOWN_TYPE)) return undefined;
    const [first] = this.#hellos;
    this.#topics.obey(page?.limits ?? {});
    this.#isWelcomed = page !== undefined && !page.last;
    this.#isAnswered ||= first !== undefined && !this.#isWelcomed;
    return first?.tabs;
  }
}

export class FollowerSocket extends Handlers implements Socket {
  readonly #observer: FollowerObserver;
  /** The ids of requests without an answer. */
  readonly #requests = new Set<unknown>();

  constructor(observer: FollowerObserver) {
    super();
    this.#observer = observer;
  }

  send(text: string): void {
    const message = decode(text);
    switch (message?.type) {
      case "auth":
        // The token of the connection is the leader's.
        break;
      case "ping":
        // The leader watches the connection, and the followers watch the leader; but an answer is late.
        if (this.#requests.size > 0) this.#observer.probe();
        else queueMicrotask(() => this.onmessage?.({ data: '{"type":"pong"}' }));
        break;
      default:
        if (message?.id !== undefined) this.#requests.add(message.id);
        this.#observer.send(text);
    }
  }

  receive(data: unknown): void {
    if (this.#requests.size > 0) this.#requests.delete(idOf(decode(data)));
    this.onmessage?.({ data });
  }

  close(): void {
    this.onopen = this.onmessage = this.onclose = null;
  }

  /** End it, as if the connection was lost. */
  end(): void {
    const { onclose } = this;
    this.close();
    onclose?.({ code: 1006 });
  }
}

/** Return the id of the request that a message answers. */
function idOf(message: Message | undefined): unknown {
  const isAnswer = message?.type === "ok" || message?.type === "error";
  return isAnswer ? (message.data as { id?: unknown } | null)?.id : undefined;
}

/** A message of a tab: a `subscribe` or an `unsubscribe` has the topic. */
export type RelayedMessage = { readonly type: string; readonly topic?: string; readonly id?: string } & Pick<
  HelloRequest,
  "cursors" | "version" | "versions"
>;

/** A hello for the user's stream alone, the tabs that say it, and their requests for topics. */
interface Hello {
  readonly tabs: string[];
  readonly text: string;
  readonly asked: (readonly [request: TopicRequest, from: string])[];
}

/** Return a hello for the user's stream alone, and a `subscribe` for each of its topics. */
function withoutTopics({ cursors, versions, ...hello }: RelayedMessage): [string, TopicRequest[]] {
  const { [USER]: user, ...topics } = cursors ?? {};
  const text = JSON.stringify({ ...hello, ...(user !== undefined && { cursors: { user } }) });
  const asked = Object.entries(topics).map(([stream, cursor]) => ({
    type: "subscribe",
    topic: stream.slice(PREFIX.length),
    ...(cursor && { cursor }),
    ...(versions?.[stream] && { version: versions[stream] }),
  }));
  return [text, asked];
}

/** Return a hello that says these topics, too. */
function withTopics(text: string, topics: readonly TopicRequest[]): string {
  if (topics.length === 0) return text;
  const { cursors, ...hello } = JSON.parse(text);
  const versions: Record<string, number> = {};
  const all = { ...cursors };
  for (const { topic, cursor = "", version } of topics) {
    all[PREFIX + topic] = cursor;
    if (version) versions[PREFIX + topic] = version;
  }
  return JSON.stringify({ ...hello, cursors: all, ...(Object.keys(versions).length > 0 && { versions }) });
}
