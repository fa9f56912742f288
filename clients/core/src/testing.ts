// A client for tests, without a network: a test sends the messages, and looks at the requests.
//
//     const client = fakeClient({ user: "ada" });
//     client.open();
//     client.receive({ type: "notification", data: { title: "Hi", message: "there", severity: "info" } });
//     expect(client.requests).toEqual([…]);
//     client.subscribe("moc:1:comments");
//     client.receive({ type: "comment_added", data: { text: "Hi" }, topic: "moc:1:comments" });

import { Listeners } from "./listeners.js";
import { NOBODY } from "./presence.js";
import type {
  AnyMessage,
  Client,
  CloseReason,
  ConnectionState,
  Cursors,
  HistoryPage,
  MessageOf,
  MessageType,
  PresenceState,
  Status,
  Topic,
  TopicOptions,
  TopicState,
  Unsubscribe,
} from "./types.js";

/** A message as a test gives it: the rest is added. */
export interface GivenMessage {
  readonly type: string;
  readonly data: unknown;
  readonly id?: string;
  readonly timestamp?: string;
  readonly cursor?: string;
  /** The topic that it is of. */
  readonly topic?: string;
  readonly key?: string;
  readonly version?: number;
  readonly replayed?: boolean;
}

/** A request that was made, without its answer. */
export interface FakeRequest {
  readonly type: "send" | "ack" | "cancel" | "dismiss" | "read" | "history" | "publish";
  readonly what?: unknown;
}

/** Those who follow a topic. */
interface Followers {
  state: TopicState;
  readonly all: Set<Listeners<TopicState>>;
  readonly people: Listeners<PresenceState>;
}

export interface FakeOptions {
  user?: string;
  /** The messages that the server keeps, oldest first: `history` pages through them. */
  kept?: readonly GivenMessage[];
  /** Returns the answer to a request, or throws its refusal. Default: every request is done. */
  answer?: (request: FakeRequest) => unknown;
}

/** The refusal of a request, as clients reject with it. */
export function refusal(code: string, message = code): Error & { readonly code: string } {
  return Object.assign(new Error(message), { code });
}

/** Return a client that a test drives. */
export function fakeClient(options: FakeOptions = {}): FakeClient {
  return new FakeClient(options);
}

export class FakeClient implements Client {
  /** The requests that were made, but for pages of the history. */
  readonly requests: FakeRequest[] = [];
  /** The calls that connected and closed it. */
  readonly calls: ("connect" | "close")[] = [];
  /** The number of listeners. */
  listeners = 0;
  cursors: Cursors = {};
  kept: readonly GivenMessage[];
  answer: (request: FakeRequest) => unknown;
  /** The options of each topic that is followed, by name. */
  readonly topics = new Map<string, TopicOptions>();
  readonly #heard: Listeners;
  readonly #followers = new Map<string, Followers>();
  readonly #user: string | undefined;
  #count = 0;

  constructor({ user, kept = [], answer = () => undefined }: FakeOptions = {}) {
    this.#user = user;
    this.kept = kept;
    this.answer = answer;
    this.#heard = new Listeners(this.#stateOf("idle"), (error) => {
      throw error;
    });
  }

  get state(): ConnectionState {
    return this.#heard.state;
  }

  onState(listener: (state: ConnectionState) => void): Unsubscribe {
    return this.#counted(this.#heard.onState(listener));
  }

  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): Unsubscribe {
    return this.#counted(this.#heard.on(type, listener));
  }

  /** Be connected, with everything recovered, as the user of before or another one. */
  open({ user = this.state.user ?? this.#user, recovered = true }: { user?: string; recovered?: boolean } = {}): void {
    this.become({ status: "open", attempt: 0, ...(user !== undefined && { user }), recovered });
  }

  /** Lose the connection. */
  lose(reason: CloseReason = { code: 1006, message: "the connection was lost", kind: "lost" }): void {
    this.become({ ...this.#stateOf("waiting"), attempt: 1, retryAt: Date.now() + 1_000, reason });
  }

  become(state: ConnectionState): void {
    this.#heard.become(state);
  }

  /** Receive a message: the user's, or of a topic that is followed. */
  receive(given: GivenMessage): void {
    const message = this.#whole(given);
    if (given.topic !== undefined) {
      for (const each of this.#followers.get(given.topic)?.all ?? []) each.pass(message);
      return;
    }
    if (message.cursor !== undefined) this.cursors = { ...this.cursors, user: message.cursor };
    this.#heard.pass(message);
  }

  topic(name: string, options: TopicOptions = {}): Topic {
    const followers = this.#followers.get(name) ?? {
      state: { status: "subscribing" },
      all: new Set(),
      people: new Listeners(NOBODY, (error) => {
        throw error;
      }),
    };
    const { people } = followers;
    this.#followers.set(name, followers);
    if (!this.topics.has(name)) this.topics.set(name, options);
    const listeners = new Listeners(followers.state, (error) => {
      throw error;
    });
    followers.all.add(listeners);
    return {
      name,
      get state() {
        return listeners.state;
      },
      presence: {
        getSnapshot: () => people.state,
        subscribe: (listener) => {
          listener(people.state);
          return people.onState(listener);
        },
      },
      on: (type, listener) => listeners.on(type, listener as (message: never) => void),
      onState: (listener) => listeners.onState(listener),
      publish: async (type, ...[data]) => void (await this.#request("publish", { topic: name, type, data })),
      history: (page) => this.history({ ...page, topic: name }),
      close: () => {
        followers.all.delete(listeners);
        listeners.become({ status: "closed" });
        if (followers.all.size > 0) return;
        people.become(NOBODY);
        this.topics.delete(name);
        this.#followers.delete(name);
      },
    };
  }

  /** Answer that a topic is subscribed to. */
  subscribe(topic: string, recovered = true): void {
    this.becomeTopic(topic, { status: "subscribed", recovered });
  }

  /** Refuse a topic, or withdraw it. */
  refuse(topic: string, code = "TOPIC_FORBIDDEN", message = code): void {
    this.becomeTopic(topic, { status: "refused", error: { code, message } });
  }

  becomeTopic(topic: string, state: TopicState): void {
    const followers = this.#followersOf(topic);
    followers.state = state;
    for (const each of [...followers.all]) each.become(state);
  }

  /** Set the members of a topic, all of them unless there are `more`. */
  gather(topic: string, members: PresenceState["members"], more = 0): void {
    const count = members.length + more;
    this.becomePresence(topic, { members, count, isComplete: more === 0, isLive: true });
  }

  becomePresence(topic: string, state: PresenceState): void {
    this.#followersOf(topic).people.become(state);
  }

  #followersOf(topic: string): Followers {
    const followers = this.#followers.get(topic);
    if (followers === undefined) throw new Error(`topic: got ${topic}; allowed: one that is followed`);
    return followers;
  }

  connect(): void {
    this.calls.push("connect");
    this.become({ ...this.#stateOf("connecting"), attempt: 1 });
  }

  close(): void {
    this.calls.push("close");
    this.become(this.#stateOf("closed"));
  }

  async send(type: string, data?: unknown): Promise<never> {
    return (await this.#request("send", { type, data })) as never;
  }

  async ack(cursor?: string): Promise<void> {
    await this.#request("ack", cursor);
  }

  async cancel(uploadId: string): Promise<void> {
    await this.#request("cancel", uploadId);
  }

  async dismiss(what: Parameters<Client["dismiss"]>[0]): Promise<void> {
    await this.#request("dismiss", what);
  }

  async read(what: { readonly cursors: readonly string[] } | { readonly upTo: string }): Promise<void> {
    await this.#request("read", what);
  }

  async history(page: { before?: string; limit?: number; topic?: string } = {}): Promise<HistoryPage> {
    const { before, limit = 100, topic } = page;
    const answer = await this.answer({
      type: "history",
      what: { before, limit, ...(topic !== undefined && { topic }) },
    });
    if (answer !== undefined) return answer as HistoryPage;
    const kept = this.kept.filter((each) => each.topic === topic);
    const end = before === undefined ? kept.length : kept.findIndex(({ cursor }) => cursor === before);
    const begin = Math.max(0, end - limit);
    const messages = kept.slice(begin, Math.max(0, end)).reverse();
    return { messages: messages.map((each) => ({ ...this.#whole(each), replayed: true })), more: begin > 0 };
  }

  #counted(unsubscribe: Unsubscribe): Unsubscribe {
    let isCounted = true;
    this.listeners += 1;
    return () => {
      if (isCounted) this.listeners -= 1;
      isCounted = false;
      unsubscribe();
    };
  }

  async #request(type: FakeRequest["type"], what: unknown): Promise<unknown> {
    const request = { type, what };
    this.requests.push(request);
    return this.answer(request);
  }

  #stateOf(status: Status): ConnectionState {
    const user = this.#heard === undefined ? this.#user : (this.state.user ?? this.#user);
    return { status, attempt: 0, ...(user !== undefined && { user }) };
  }

  #whole(given: GivenMessage): AnyMessage {
    const timestamp = new Date(Date.UTC(2026, 0, 1) + ++this.#count).toISOString();
    return { timestamp, id: `fake-${this.#count}`, replayed: false, ...given } as AnyMessage;
  }
}
