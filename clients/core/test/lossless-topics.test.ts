// A property of topics: connections, messages and histories are lost at random (a seed can be run again), topics are
// followed and left, refused and withdrawn. While a topic is followed, every message of its log passes once and in order, no
// older state after a newer one, and what is left out was told as a loss.

import { expect, test } from "vitest";
import { newModel, nextDue, reduce } from "../src/machine.js";
import type { Action, Event, Model } from "../src/model.js";
import { resolveOptions } from "../src/options.js";
import type { Message } from "../src/types.js";
import { History, KEPT, type ServerConnection } from "./history.js";
import { mulberry32 } from "./random.js";

const OPTIONS = resolveOptions({ rotateAfterSeconds: 100, stableAfterSeconds: 0.001, backoffMaxSeconds: 1 });
const NAMES = ["a", "b", "c"];

interface Request {
  readonly type: string;
  readonly topic?: string;
  readonly cursor?: string;
  readonly cursors?: Readonly<Record<string, string>>;
}

/** A connection: the requests and the messages under way, and what it is subscribed to. */
interface Line {
  readonly requests: Request[];
  readonly underWay: object[];
  readonly topics: Map<string, ServerConnection>;
}

/** What an application heard of a topic while it followed it. */
interface Followed {
  readonly passed: Message[];
  /** The number of messages that had passed when a loss was told. */
  readonly losses: number[];
}

class Run {
  readonly histories = new Map(NAMES.map((name) => [name, new History()]));
  readonly chance: () => number;
  readonly followed = new Map<string, Followed>();
  readonly over: Followed[] = [];
  readonly #lines = new Map<number, Line>();
  model: Model = newModel(OPTIONS, { user: "e:1" });
  now = 1e9;

  constructor(seed: number) {
    this.chance = mulberry32(seed);
    this.#happens({ type: "connect" });
  }

  next(): void {
    const name = this.#any(NAMES) as string;
    const history = this.histories.get(name) as History;
    const [connection, line] = this.#any([...this.#lines]) ?? [0, undefined];
    const roll = this.chance() * 100;
    if (roll < 18) history.publish();
    else if (roll < 26) history.update(`upload:${Math.floor(this.chance() * 3)}`);
    else if (roll < 50) this.#deliver(connection);
    else if (roll < 62 && line !== undefined) this.#read(line);
    else if (roll < 72) for (const each of line?.topics.values() ?? []) this.histories.get(name)?.turn(each);
    else if (roll < 76) this.#follow(name);
    else if (roll < 79) this.#leave(name);
    else if (roll < 82) this.#end(connection);
    else if (roll < 83) for (let count = 0; count < KEPT + 2; count++) history.publish();
    else if (roll < 84) history.forget();
    else if (roll < 85 && line !== undefined) this.#withdraw(line, name);
    // A message is lost, as where a node lost one.
    else if (roll < 86 && (line?.underWay[0] as Message | undefined)?.cursor !== undefined) line?.underWay.shift();
    else if (roll < 92) this.#open(connection);
    else this.#passes(this.chance() * 1_500);
  }

  /** Deliver everything under way, on a network that works again. */
  rests(): void {
    for (const history of this.histories.values()) history.publish();
    for (let count = 0; count < 60; count++) {
      for (const [connection, line] of [...this.#lines]) {
        this.#open(connection);
        while (this.#lines.has(connection) && this.#turns(line)) this.#deliver(connection);
      }
      this.#passes(1_000);
    }
  }

  #turns(line: Line): boolean {
    if (line.requests.length > 0) this.#read(line, 1);
    for (const [name, each] of line.topics) this.histories.get(name)?.turn(each);
    return line.requests.length + line.underWay.length > 0;
  }

  #happens(event: Event): void {
    const before = this.model;
    const [model, actions] = reduce(before, event, { now: this.now, online: true, random: this.chance });
    this.model = model;
    for (const action of actions) this.#act(action);
    for (const [name, { passed, losses }] of this.followed) {
      const state = model.streams.get(`topic:${name}`)?.state;
      if (state?.recovered === false && state !== before.streams.get(`topic:${name}`)?.state)
        losses.push(passed.length);
    }
  }

  #act(action: Action): void {
    if (action.type === "get token") this.#happens({ type: "token", connection: action.connection, token: "t" });
    if (action.type === "open") this.#lines.set(action.connection, { requests: [], underWay: [], topics: new Map() });
    if (action.type === "send")
      this.#lines.get(action.connection)?.requests.push(JSON.parse(JSON.stringify(action.message)));
    if (action.type === "drop") this.#cut(action.connection);
    // What comes of a topic that was left has no listeners.
    if (action.type === "pass") this.followed.get(action.message.topic ?? "")?.passed.push(action.message);
  }

  #follow(name: string): void {
    if (this.followed.has(name)) return;
    this.followed.set(name, { passed: [], losses: [] });
    this.#happens({ type: "follow", stream: `topic:${name}`, cursor: undefined, from: undefined });
  }

  #leave(name: string): void {
    const followed = this.followed.get(name);
    if (followed === undefined) return;
    // A loss is told at the end of the pages, which it does not wait for.
    if (this.model.streams.get(`topic:${name}`)?.isLossy) followed.losses.push(followed.passed.length);
    this.over.push(followed);
    this.followed.delete(name);
    this.#happens({ type: "leave", stream: `topic:${name}` });
  }

  // --- the server --------------------------------------------------------------------------------------------------

  /** Answer the next request, or do not; `certainty` 1: do. */
  #read(line: Line, certainty = 0.95): void {
    const request = line.requests.shift();
    if (request === undefined || this.chance() > certainty) return;
    if (request.type === "hello") {
      const data = { cursor: "e:1", recovered: true, messages: [], state: [], last: true };
      line.underWay.push({ type: "welcome", data });
      for (const [stream, cursor] of Object.entries(request.cursors ?? {}))
        if (stream !== "user") this.#subscribe(line, stream.slice(6), cursor || undefined, certainty);
    }
    if (request.type === "subscribe") this.#subscribe(line, request.topic as string, request.cursor, certainty);
    if (request.type === "unsubscribe") {
      this.#part(line, request.topic as string);
      line.underWay.push({ type: "unsubscribed", data: { topic: request.topic } });
    }
  }

  #subscribe(line: Line, topic: string, cursor: string | undefined, certainty: number): void {
    const history = this.histories.get(topic) as History;
    if (this.chance() > certainty) {
      const code = this.chance() < 0.5 ? "TOPIC_RIGHTS_UNAVAILABLE" : "HISTORY_UNAVAILABLE";
      line.underWay.push({ type: "error", data: { topic, code, message: "" } });
      return;
    }
    const known = line.topics.get(topic);
    const push = (message: Message): number => line.underWay.push(ofTopic(message, topic));
    const connection = known ?? { underWay: { push } as unknown as object[], pages: [] };
    line.topics.set(topic, connection);
    history.connections.add(connection);
    history.hello(connection, cursor);
  }

  #part(line: Line, topic: string): void {
    const connection = line.topics.get(topic);
    line.topics.delete(topic);
    if (connection !== undefined) this.histories.get(topic)?.connections.delete(connection);
  }

  #withdraw(line: Line, topic: string): void {
    if (!line.topics.has(topic)) return;
    this.#part(line, topic);
    line.underWay.push({ type: "unsubscribed", data: { topic, code: "TOPIC_FORBIDDEN", message: "" } });
  }

  #deliver(connection: number): void {
    const message = this.#lines.get(connection)?.underWay.shift();
    if (message !== undefined) this.#happens({ type: "received", connection, data: JSON.stringify(message) });
  }

  #open(connection: number): void {
    if (connection === this.model.pending) this.#happens({ type: "opened", connection });
  }

  #end(connection: number): void {
    if (!this.#lines.has(connection)) return;
    this.#cut(connection);
    this.#happens({ type: "closed", connection, code: 1006, reason: "" });
  }

  #cut(connection: number): void {
    const line = this.#lines.get(connection);
    for (const topic of line?.topics.keys() ?? []) this.#part(line as Line, topic);
    this.#lines.delete(connection);
  }

  #passes(milliseconds: number): void {
    this.now += milliseconds;
    const wanted = nextDue(this.model);
    if (wanted <= this.now) this.#happens({ type: "tick", wanted: this.now });
  }

  #any<T>(all: T[]): T | undefined {
    return all[Math.floor(this.chance() * all.length)];
  }
}

/** Return a message of a topic's history as it comes on the wire. */
function ofTopic(message: Message, topic: string): object {
  if (message.type !== "welcome") return { ...message, topic };
  const { messages, state, ...data } = message.data as { messages: object[]; state: object[] };
  const marked = (all: object[]): object[] => all.map((each) => ({ ...each, topic }));
  return { type: "subscribed", data: { topic, ...data, messages: marked(messages), state: marked(state) } };
}

function check({ passed, losses }: Followed, about: string): void {
  let last: { readonly epoch: string; readonly offset: number } | undefined;
  let before = -1;
  const newest = new Map<string, number>();
  for (const [index, { cursor, key, id }] of passed.entries()) {
    if (key !== undefined) {
      expect(Number(id), `${about}: ${key}`).toBeGreaterThan(newest.get(key) ?? 0);
      newest.set(key, Number(id));
      continue;
    }
    const [epoch, offset] = (cursor as string).split(":") as [string, string];
    const isNext = last === undefined || (last.epoch === epoch && last.offset + 1 === Number(offset));
    // A loss is told at the end of its pages: after the last message before it, perhaps before the next one.
    if (!isNext) {
      expect(last?.epoch !== epoch || Number(offset) > (last?.offset ?? 0), `${about}: order at ${cursor}`).toBe(true);
      expect(
        losses.some((at) => at > before),
        `${about}: ${cursor} after ${last?.epoch}:${last?.offset} untold`,
      ).toBe(true);
    }
    last = { epoch, offset: Number(offset) };
    before = index;
  }
}

const SEEDS = Array.from({ length: 30 }, (_, index) => index * 1_000);

test.each(SEEDS)("topics lose nothing untold, pass nothing twice, and nothing stale (seeds from %d)", (first) => {
  for (let seed = first; seed < first + 10; seed++) {
    const run = new Run(seed);
    run.rests();
    for (let count = 0; count < 500; count++) run.next();
    run.rests();
    const about = `seed ${seed}`;
    // So it is where the topic was refused in the midst of them.
    for (const [name, { passed, losses }] of run.followed)
      if (run.model.streams.get(`topic:${name}`)?.isLossy) losses.push(passed.length);
    for (const each of [...run.over, ...run.followed.values()]) check(each, about);
    for (const [name, { passed }] of run.followed) {
      const { state, position } = run.model.streams.get(`topic:${name}`) ?? {};
      if (state?.status === "refused") continue;
      const { epoch, offset, states } = run.histories.get(name) as History;
      expect([state?.status, position], `${about}: ${name}`).toEqual(["subscribed", { epoch, offset }]);
      for (const [key, { id }] of states) {
        const heard = passed.findLast((message) => message.key === key);
        if (heard !== undefined) expect(heard.id, `${about}: ${name}: ${key}`).toBe(id);
      }
    }
    const kept = [...run.model.streams.keys()].filter((stream) => stream !== "user");
    expect(kept.sort(), about).toEqual([...run.followed.keys()].map((name) => `topic:${name}`).sort());
  }
});
