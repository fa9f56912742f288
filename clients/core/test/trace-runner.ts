// The runner of client traces (spec/README.md): the whole client over a fake WebSocket, a fake clock and a fake random
// number. It is strict: whatever the client does has to be expected, and a field that it does not know fails the trace.

import { expect } from "vitest";
import { type RequestError, TellwireClient } from "../src/index.js";
import type { ClientOptions, ConnectionState, Message, PageEvent, Topic, TopicOptions } from "../src/types.js";

type Json = Record<string, unknown>;

export interface Trace {
  readonly name: string;
  readonly covers: readonly string[];
  readonly mutations: readonly string[];
  readonly requires?: readonly string[];
  readonly options?: Json;
  readonly cursors?: Record<string, string>;
  readonly random?: number;
  readonly limits?: Json;
  readonly begin?: string;
  readonly steps: readonly Step[];
}

export interface Step extends Json {
  readonly at: number;
  readonly expect?: Expected;
}

interface Expected {
  readonly asks?: readonly string[];
  readonly opens?: readonly Json[];
  readonly sends?: readonly Json[];
  readonly passes?: readonly unknown[];
  readonly replayed?: readonly unknown[];
  readonly settles?: readonly Json[];
  readonly closes?: readonly number[];
  readonly states?: readonly Json[];
  readonly topics?: readonly Json[];
  readonly presence?: readonly Json[];
  readonly cursors?: Record<string, string>;
}

export interface Prologue {
  readonly cursors?: Record<string, string>;
  readonly steps: readonly Step[];
}

/** The requirements that browsers and Node meet. */
const MET = ["network", "blind-handshake", "reconnect", "topics", "presence"];
const UNMET = ["handshake"];

const START_MS = Date.UTC(2026, 0, 1);
/** How late something may happen. */
const LATE_MS = 30;

const TRACE_FIELDS = {
  required: ["name", "covers", "mutations", "steps"],
  optional: ["requires", "options", "cursors", "random", "limits", "begin"],
};
const EXPECT_FIELDS = [
  "asks",
  "opens",
  "sends",
  "passes",
  "replayed",
  "settles",
  "closes",
  "states",
  "topics",
  "presence",
  "cursors",
];
const OPTIONS = [
  "backoff_first_seconds",
  "backoff_max_seconds",
  "stable_after_seconds",
  "connect_timeout_seconds",
  "answer_timeout_seconds",
  "wake_timeout_seconds",
  "renew_before_seconds",
  "overlap_seconds",
  "heartbeat_seconds",
  "rotate_after_seconds",
  "recover",
  "start_from",
  "user",
  "user_claim",
  "on_other_user",
];

/** Return true if this environment has what a trace requires. */
export function isRunnable({ requires = [] }: Trace): boolean {
  for (const each of requires) expect([...MET, ...UNMET], `requires: ${each}`).toContain(each);
  return requires.every((each) => MET.includes(each));
}

/** Run a trace, with its prologue if it has one. */
export async function runTrace(trace: Trace, prologues: Readonly<Record<string, Prologue>>): Promise<void> {
  onlyFields(trace as unknown as Json, TRACE_FIELDS.required, TRACE_FIELDS.optional);
  const prologue = trace.begin === undefined ? undefined : prologues[trace.begin];
  expect(trace.begin === undefined || prologue !== undefined, `begin: ${trace.begin}`).toBe(true);
  expect(prologue?.cursors && trace.cursors, "cursors of a trace with a prologue").toBeUndefined();
  if (prologue !== undefined) onlyFields(prologue as unknown as Json, ["steps"], ["cursors"]);
  const runner = new Runner(trace, prologue?.cursors ?? trace.cursors);
  let before = 0;
  for (const step of [...(prologue?.steps ?? []), ...trace.steps]) {
    expect(step.at, "the order of steps").toBeGreaterThanOrEqual(before);
    before = step.at;
    await runner.run(step);
  }
}

function onlyFields(object: Json, required: readonly string[], optional: readonly string[]): void {
  expect(required.filter((field) => !(field in object))).toEqual([]);
  expect(Object.keys(object).filter((field) => !required.includes(field) && !optional.includes(field))).toEqual([]);
}

const camelCase = (name: string): string => name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase());

class TraceSocket {
  onopen: ((event: object) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((event: object) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  isOpen = false;
  isClosed = false;
  readonly #runner: Runner;
  readonly #number: number;

  constructor(runner: Runner, token: string) {
    this.#runner = runner;
    this.#number = runner.addSocket(this, token);
  }

  send(text: string): void {
    expect(this.isOpen, `socket ${this.#number} is open`).toBe(true);
    this.#runner.sent(this.#number, text);
  }

  close(): void {
    if (!this.isClosed) this.#runner.closed(this.#number);
    this.isClosed = true;
  }
}

class Runner {
  #now = START_MS;
  #timers: { at: number; run: () => void }[] = [];
  #done = this.#nothing();
  #cursors: Json;
  readonly #client: TellwireClient;
  readonly #topics = new Map<string, Topic>();
  readonly #sockets: TraceSocket[] = [];
  readonly #questions: { resolve(token: string): void; reject(error: Error): void }[] = [];
  readonly #names = new Map<string, string>();
  readonly #listeners = new Set<(event: PageEvent) => void>();
  readonly #requests: { id?: string; isOver: boolean }[] = [];
  /** The ids of the requests that the client made for itself. */
  readonly #own: string[] = [];
  #isOnline = true;

  constructor({ random = 0.5, options = {} }: Trace, cursors: Record<string, string> | undefined) {
    onlyFields(options, [], OPTIONS);
    const given = Object.fromEntries(Object.entries(options).map(([name, value]) => [camelCase(name), value]));
    const runner = this;
    this.#client = new TellwireClient({
      url: "wss://gateway.test",
      getToken: (why) => {
        this.#done.asks.push(why);
        return new Promise((resolve, reject) => this.#questions.push({ resolve, reject }));
      },
      ...(cursors && { cursors }),
      ...(given as Partial<ClientOptions>),
      environment: {
        WebSocket: class extends TraceSocket {
          constructor(_url: string, protocols: string[] = []) {
            super(runner, String(protocols[1]).replace(/^token\./, ""));
          }
        },
        now: () => this.#now,
        random: () => Math.min(random, 1 - Number.EPSILON),
        online: () => this.#isOnline,
        setTimeout: (run, milliseconds) => {
          const timer = { at: this.#now + milliseconds, run };
          this.#timers.push(timer);
          return timer;
        },
        clearTimeout: (timer) => {
          this.#timers = this.#timers.filter((each) => each !== timer);
        },
        onPageEvent: (listener) => {
          this.#listeners.add(listener);
          return () => this.#listeners.delete(listener);
        },
        onPageHide: () => () => {},
        reportError: (error) => {
          throw error;
        },
      },
    });
    this.#client.onState((state) => this.#done.states.push(seconds(state)));
    this.#client.on("*", (message) => this.#passed(message));
    this.#cursors = { ...this.#client.cursors };
  }

  async run(step: Step): Promise<void> {
    const { at, expect: expected = {}, ...event } = step;
    const where = `at ${at}: ${JSON.stringify(event)}`;
    onlyFields(expected as Json, [], EXPECT_FIELDS);
    const time = START_MS + at * 1000;
    await this.#moveTo(time - 0.5);
    expect(this.#take(), `before ${where}`).toEqual({ ...this.#nothing(), cursors: this.#cursors });
    await this.#moveTo(time + LATE_MS, time);
    this.#happen(event);
    await this.#moveTo(time + LATE_MS, time);
    const { states = [], presence = [], ...others } = expected;
    const done = this.#take();
    const { replayed } = done;
    const wanted = {
      ...this.#nothing(),
      replayed,
      cursors: this.#cursors,
      ...others,
      states: states.map(withDefaults),
      presence: presence.map(withPresence),
    };
    done.states = done.states.map((state, index) => withTimeOf(state, wanted.states[index]));
    expect(done, where).toEqual(wanted);
    this.#cursors = done.cursors;
  }

  // --- what the client does ----------------------------------------------------------------------------------------

  addSocket(socket: TraceSocket, token: string): number {
    const number = this.#sockets.push(socket);
    this.#done.opens.push({ socket: number, token: this.#names.get(token) });
    return number;
  }

  sent(socket: number, text: string): void {
    const message = JSON.parse(text);
    if (message.type === "auth") message.token = this.#names.get(message.token);
    if (message.type === "presence") message.id = this.#nameOfOwn(message.id);
    else if (message.id !== undefined) message.id = this.#nameOf(message.id);
    this.#done.sends.push({ socket, message });
  }

  closed(socket: number): void {
    this.#done.closes.push(socket);
  }

  #passed({ replayed, ...message }: Message & { replayed: boolean }): void {
    this.#done.passes.push(message.id ?? message);
    if (replayed) this.#done.replayed.push(message.id ?? message);
  }

  #nothing() {
    return {
      asks: [] as string[],
      opens: [] as Json[],
      sends: [] as Json[],
      passes: [] as unknown[],
      replayed: [] as unknown[],
      settles: [] as Json[],
      closes: [] as number[],
      states: [] as Json[],
      topics: [] as Json[],
      presence: [] as Json[],
    };
  }

  #take() {
    const done = { ...this.#done, cursors: { ...this.#client.cursors } };
    this.#done = this.#nothing();
    return done;
  }

  // --- what happens ------------------------------------------------------------------------------------------------

  #happen(event: Json): void {
    const [name, ...others] = Object.keys(event);
    expect(others, "more than one event in a step").toEqual([]);
    if (name === undefined) return;
    const data = event[name] as Json;
    switch (name) {
      case "connect":
        onlyFields(data, [], []);
        this.#client.connect();
        break;
      case "close":
        onlyFields(data, [], []);
        this.#client.close();
        break;
      case "token":
        onlyFields(data, ["name"], ["expires_in_seconds", "user"]);
        this.#question().resolve(this.#token(data));
        break;
      case "token_fails":
        onlyFields(data, [], []);
        this.#question().reject(new Error("no token"));
        break;
      case "opened":
        onlyFields(data, ["socket"], []);
        this.#on(data, (socket) => {
          socket.isOpen = true;
          socket.onopen?.({});
        });
        break;
      case "refused_open":
        onlyFields(data, ["socket", "code", "reason"], []);
        this.#on(data, (socket) => {
          socket.isOpen = socket.isClosed = true;
          socket.onopen?.({});
          socket.onclose?.({ code: data.code as number, reason: data.reason as string });
        });
        break;
      case "unreachable":
        onlyFields(data, ["socket"], []);
        this.#on(data, (socket) => {
          socket.isClosed = true;
          socket.onerror?.({});
          socket.onclose?.({ code: 1006, reason: "" });
        });
        break;
      case "received":
        onlyFields(data, ["socket", "message"], []);
        this.#on(data, (socket) => {
          const { message } = data;
          socket.onmessage?.({
            data: typeof message === "string" ? message : JSON.stringify(this.#withId(message as Json)),
          });
        });
        break;
      case "closed":
        onlyFields(data, ["socket", "code"], ["reason"]);
        this.#on(data, (socket) => {
          socket.isClosed = true;
          if (data.code === 1006) socket.onerror?.({});
          socket.onclose?.({ code: data.code as number, reason: (data.reason as string | undefined) ?? "" });
        });
        break;
      case "follow": {
        onlyFields(data, ["topic"], ["start_from"]);
        const name = data.topic as string;
        const startFrom = data.start_from as TopicOptions["startFrom"];
        const topic = this.#client.topic(name, startFrom && { startFrom });
        this.#topics.set(name, topic);
        topic.on("*", (message) => this.#passed(message));
        const note = ({ status, recovered, error }: Topic["state"]): void => {
          this.#done.topics.push({
            topic: name,
            status,
            ...(recovered !== undefined && { recovered }),
            ...(error && { error: error.code }),
          });
        };
        if (topic.state.status !== "subscribing") note(topic.state);
        topic.onState((state) => state.status !== "closed" && note(state));
        break;
      }
      case "watch": {
        onlyFields(data, ["topic"], []);
        const { name, presence } = this.#topics.get(data.topic as string) as Topic;
        let isFirst = true;
        presence.subscribe(({ members, count, isComplete, isLive, error }) => {
          const told = { topic: name, members, count, is_complete: isComplete, is_live: isLive };
          if (!isFirst) this.#done.presence.push({ ...told, ...(error && { error: error.code }) });
        });
        isFirst = false;
        break;
      }
      case "leave":
        onlyFields(data, ["topic"], []);
        this.#topics.get(data.topic as string)?.close();
        break;
      case "send":
      case "publish":
      case "cancel":
      case "ack":
      case "read":
      case "dismiss":
      case "history":
        this.#request(name, data);
        break;
      case "wake":
      case "online":
      case "offline":
        onlyFields(data, [], []);
        if (name !== "wake") this.#isOnline = name === "online";
        for (const listener of [...this.#listeners]) listener(name);
        break;
      default:
        expect.fail(`unknown event: ${name}`);
    }
  }

  // --- requests ----------------------------------------------------------------------------------------------------

  #request(method: string, data: Json): void {
    const name = `r${this.#requests.push({ isOver: false })}`;
    const request = this.#requests.at(-1) as { id?: string; isOver: boolean };
    const over = (outcome: Json): void => {
      request.isOver = true;
      this.#done.settles.push({ request: name, ...outcome });
    };
    this.#call(method, data).then(
      (result) => over(result === undefined ? {} : { result: withoutMarks(result) }),
      (error) => over({ error: (error as RequestError).code ?? String(error) }),
    );
  }

  #call(method: string, data: Json): Promise<unknown> {
    const given = Object.fromEntries(Object.entries(data).map(([name, value]) => [camelCase(name), value])) as never;
    switch (method) {
      case "send": {
        onlyFields(data, ["type"], ["data", "timeout_seconds"]);
        const timeoutSeconds = data.timeout_seconds as number;
        return this.#client.send(data.type as string, data.data, timeoutSeconds ? { timeoutSeconds } : {});
      }
      case "cancel":
        onlyFields(data, ["upload_id"], []);
        return this.#client.cancel(data.upload_id as string);
      case "ack":
        onlyFields(data, [], ["cursor"]);
        return this.#client.ack(data.cursor as string | undefined);
      case "read":
        onlyFields(data, [], ["cursors", "up_to"]);
        return this.#client.read(given);
      case "dismiss":
        onlyFields(data, [], ["upload_id", "cursors", "up_to", "ended_up_to"]);
        return this.#client.dismiss((data.upload_id as string | undefined) ?? given);
      case "publish":
        onlyFields(data, ["topic", "type"], ["data"]);
        return (this.#topics.get(data.topic as string) as Topic).publish(data.type as string, data.data);
      default: {
        onlyFields(data, [], ["before", "limit", "topic"]);
        const { topic, ...page } = given as { topic?: string };
        return (topic === undefined ? this.#client : (this.#topics.get(topic) as Topic)).history(page);
      }
    }
  }

  /** Return the name of the request with an id: a new one is that of the first call that was not sent yet. */
  #nameOf(id: string): string {
    const known = this.#requests.findIndex((each) => each.id === id);
    const index = known < 0 ? this.#requests.findIndex((each) => each.id === undefined && !each.isOver) : known;
    const request = this.#requests[index];
    if (request === undefined) expect.fail(`a request that nobody made: ${id}`);
    request.id = id;
    return `r${index + 1}`;
  }

  /** Return the name of a request that the client made for itself. */
  #nameOfOwn(id: string): string {
    if (!this.#own.includes(id)) this.#own.push(id);
    return `p${this.#own.indexOf(id) + 1}`;
  }

  /** Return a message of the server with the id of a request in place of its name. */
  #withId(message: Json): Json {
    const { id } = (message.data as Json | null | undefined) ?? {};
    if (id === undefined || (message.type !== "ok" && message.type !== "error")) return message;
    const number = Number(String(id).slice(1)) - 1;
    const known = String(id).startsWith("p") ? this.#own[number] : this.#requests[number]?.id;
    return { ...message, data: { ...(message.data as Json), id: known ?? id } };
  }

  /** Act on a socket, unless the client has closed it. */
  #on({ socket: number }: Json, act: (socket: TraceSocket) => void): void {
    const socket = this.#sockets[(number as number) - 1];
    if (socket === undefined) expect.fail(`there is no socket ${number}`);
    if (!socket.isClosed) act(socket);
  }

  #question() {
    const question = this.#questions.shift();
    return question ?? expect.fail("no question for a token");
  }

  #token({ name, expires_in_seconds: expiresIn, user }: Json): string {
    const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const exp = expiresIn === undefined ? undefined : this.#now / 1000 + Number(expiresIn);
    const claims = encode({ exp, sub: user, jti: name });
    const token = exp === undefined && user === undefined ? String(name) : `${encode({})}.${claims}.signature`;
    this.#names.set(token, String(name));
    return token;
  }

  // --- time --------------------------------------------------------------------------------------------------------

  /** Fire the timers that are due until then. The clock stops at `clock`, or at the last timer if that is later. */
  async #moveTo(until: number, clock = until): Promise<void> {
    await settle();
    for (;;) {
      const next = this.#timers.reduce<{ at: number; run: () => void } | undefined>(
        (first, each) => (first === undefined || each.at < first.at ? each : first),
        undefined,
      );
      if (next === undefined || next.at > until) break;
      this.#timers = this.#timers.filter((each) => each !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
      await settle();
    }
    this.#now = Math.max(this.#now, clock);
  }
}

/** Let everything happen that needs no time. */
async function settle(): Promise<void> {
  for (let count = 0; count < 20; count++) await undefined;
}

/** Return a state as traces have it: times in seconds, and no text for people. */
function seconds({ status, attempt, retryAt, reason, recovered, user }: ConnectionState): Json {
  const { message: _, ...rest } = reason ?? { message: "" };
  return {
    status,
    attempt,
    ...(retryAt !== undefined && { retry_at: (retryAt - START_MS) / 1000 }),
    ...(reason !== undefined && { reason: rest }),
    ...(recovered !== undefined && { recovered }),
    ...(user !== undefined && { user }),
  };
}

/** Return a result as the server gave it: without the client's marks on messages. */
function withoutMarks(result: unknown): unknown {
  const { messages } = result as { messages?: Json[] };
  return messages ? { ...(result as Json), messages: messages.map(({ replayed: _, ...message }) => message) } : result;
}

function withPresence(state: Json): Json {
  onlyFields(state, ["topic"], ["members", "count", "is_complete", "is_live", "error"]);
  const members = (state.members ?? []) as unknown[];
  return { is_complete: true, is_live: true, count: members.length, ...state, members };
}

function withDefaults(state: Json): Json {
  onlyFields(state, ["status"], ["attempt", "retry_at", "reason", "recovered", "user"]);
  return { attempt: 0, ...state };
}

/** Return a state with the expected time, if its own is close enough. */
function withTimeOf(state: Json, expected: Json | undefined): Json {
  const isClose = Math.abs(Number(state.retry_at) - Number(expected?.retry_at)) <= LATE_MS / 1000;
  return isClose ? { ...state, retry_at: expected?.retry_at } : state;
}
