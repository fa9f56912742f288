// A property of the whole client: connections, messages and histories are lost at random (a seed can be run again), and
// after each run every log message has passed once and in order, no older state after a newer one, and a loss was told
// exactly when the server told one.

import { describe, expect, test } from "vitest";
import { newModel, nextDue, reduce } from "../src/machine.js";
import type { Action, Event, Model } from "../src/model.js";
import { resolveOptions } from "../src/options.js";
import { cursorsOf } from "../src/streams.js";
import type { Message } from "../src/types.js";
import { History, KEPT, type ServerConnection } from "./history.js";
import { mulberry32 } from "./random.js";

/** The options of a client whose server always answers, however late. */
const PATIENT = { answerTimeoutSeconds: 1e6, rotateAfterSeconds: 100, stableAfterSeconds: 0.001, backoffMaxSeconds: 1 };

class Run {
  readonly history = new History();
  readonly passed: Message[] = [];
  readonly chance: () => number;
  model: Model;
  now = 1e9;
  /** How often the server told a loss. */
  losses = 0;
  /** A page told a loss since the client last told whether there was one. */
  #lossOfPages = false;
  readonly #connections = new Map<number, ServerConnection>();
  readonly #hellos: [ServerConnection, string | undefined][] = [];

  constructor(seed: number, cursor?: string) {
    this.chance = mulberry32(seed);
    this.model = newModel(resolveOptions(PATIENT), cursor === undefined ? {} : { user: cursor });
    this.happens({ type: "connect" });
  }

  happens(event: Event): void {
    const context = { now: this.now, online: true, random: this.chance };
    const { state } = this.model;
    const [model, actions] = reduce(this.model, event, context);
    this.model = model;
    const { recovered } = model.state;
    const tells = model.state !== state && recovered !== undefined;
    for (const action of actions) this.#act(action);
    if (tells) this.#compare(recovered);
  }

  #act(action: Action): void {
    if (action.type === "get token") this.happens({ type: "token", connection: action.connection, token: "t" });
    if (action.type === "open") {
      this.#connections.set(action.connection, this.history.connect());
    }
    if (action.type === "send" && action.message.type === "hello") {
      const server = this.#connections.get(action.connection) as ServerConnection;
      this.#hellos.push([server, (action.message.cursors as { user?: string } | undefined)?.user]);
    }
    if (action.type === "drop") this.#cut(action.connection);
    if (action.type === "pass") this.passed.push(action.message);
  }

  /** A welcome has ended, and the client tells whether there was a loss. */
  #compare(recovered: boolean): void {
    expect(recovered).toBe(!this.#lossOfPages);
    this.#lossOfPages = false;
  }

  /** Let one random event happen. */
  next(): void {
    const { history } = this;
    const [connection, server] = this.#any([...this.#connections]) ?? [0, undefined];
    const roll = this.chance() * 100;
    if (roll < 20) history.publish(this.chance() < 0.2);
    else if (roll < 30) history.update(`upload:${Math.floor(this.chance() * 5)}`);
    else if (roll < 55) this.deliver(connection);
    else if (roll < 63) this.#read();
    else if (roll < 75 && server !== undefined) history.turn(server);
    else if (roll < 79) this.#end(connection);
    else if (roll < 80) for (let count = 0; count < KEPT + 2; count++) history.publish();
    else if (roll < 80.5) this.#restart();
    else if (roll < 81) this.#loseHistory();
    else if (roll < 82) this.#disturb(server);
    else if (roll < 84) this.happens({ type: "wake" });
    else if (roll < 90) this.#open(connection);
    else this.pass(this.chance() * 1_500);
  }

  /** Deliver everything under way, on a network that works again. */
  rests(): void {
    // Whoever did not hear the last one learns of it from this one.
    this.history.publish();
    for (let count = 0; count < 20; count++) {
      for (const connection of [...this.#connections.keys()]) {
        this.#open(connection);
        while (this.#read());
        const server = this.#connections.get(connection);
        while (server !== undefined && (server.pages.length > 0 || server.underWay.length > 0)) {
          this.history.turn(server);
          this.deliver(connection);
        }
      }
      this.pass(1_000);
      if (
        this.model.streams.get("user")?.mode === "IN_ORDER" &&
        this.model.current !== undefined &&
        this.#hellos.length === 0
      )
        return;
    }
    throw new Error("it does not come to rest");
  }

  deliver(connection: number): void {
    const message = this.#connections.get(connection)?.underWay.shift() as
      | (Message & { data: { recovered?: boolean } })
      | undefined;
    if (message === undefined) return;
    // Pages on a connection that is no longer the current one are not heard.
    if (message.type === "welcome" && connection === this.model.current && !message.data.recovered)
      this.#lossOfPages = true;
    this.happens({ type: "received", connection, data: JSON.stringify(message) });
  }

  pass(milliseconds: number): void {
    this.now += milliseconds;
    const wanted = nextDue(this.model);
    if (wanted <= this.now) this.happens({ type: "tick", wanted: this.now });
  }

  /** The server answers the newest hello of a connection; the others are over. */
  #read(): boolean {
    const [server, cursor] = this.#hellos.shift() ?? [];
    if (server !== undefined && this.history.connections.has(server) && !this.history.hello(server, cursor))
      this.losses += 1;
    return server !== undefined;
  }

  #open(connection: number): void {
    if (connection === this.model.pending) this.happens({ type: "opened", connection });
  }

  /** Close a connection; the messages under way are lost. */
  #end(connection: number): void {
    if (!this.#connections.has(connection)) return;
    this.#cut(connection);
    this.happens({ type: "closed", connection, code: this.chance() < 0.5 ? 1006 : 1001, reason: "" });
  }

  #restart(): void {
    this.history.forget();
    for (const connection of [...this.#connections.keys()]) this.#end(connection);
  }

  /** Lose the history while the connections stay. Only a log message shows it to the clients. */
  #loseHistory(): void {
    this.history.forget();
    this.history.publish();
  }

  /** Messages overtake each other, or one is lost, as where each is a request of its own. */
  #disturb(server: ServerConnection | undefined): void {
    const underWay = (server?.underWay ?? []) as Message[];
    const isStable = server?.pages.length || underWay.some(({ type }) => type === "welcome");
    if (isStable) return;
    if (this.chance() < 0.5) underWay.reverse();
    else if (underWay[0]?.cursor !== undefined) underWay.shift();
  }

  #cut(connection: number): void {
    const server = this.#connections.get(connection);
    this.#connections.delete(connection);
    if (server !== undefined) this.history.connections.delete(server);
  }

  #any<T>(all: T[]): T | undefined {
    return all[Math.floor(this.chance() * all.length)];
  }
}

const position = (cursor: string): [number, number] => {
  const [epoch, offset] = cursor.slice(1).split(":").map(Number);
  return [epoch as number, offset as number];
};

/** Assert the order of the log, and return the number of gaps. */
function gapsIn(passed: Message[]): number {
  let gaps = 0;
  let last: [number, number] | undefined;
  for (const { cursor } of passed) {
    if (cursor === undefined) continue;
    const [epoch, offset] = position(cursor);
    if (last !== undefined) {
      const isNext = epoch === last[0] ? offset > last[1] : epoch > last[0];
      expect(isNext, `${cursor} after e${last.join(":")}`).toBe(true);
      if (epoch !== last[0] || offset !== last[1] + 1) gaps += 1;
    }
    last = [epoch, offset];
  }
  return gaps;
}

/** Assert that no state passed after a newer one, by the order in which the server published them. */
function isNeverStale(passed: Message[]): void {
  const newest = new Map<string, number>();
  for (const { key, id } of passed) {
    if (key === undefined) continue;
    expect(Number(id)).toBeGreaterThan(newest.get(key) ?? 0);
    newest.set(key, Number(id));
  }
}

function runs(seed: number, cursor?: string): Run {
  const run = new Run(seed, cursor);
  run.rests();
  for (let count = 0; count < 400; count++) run.next();
  run.rests();
  return run;
}

const SEEDS = Array.from({ length: 40 }, (_, index) => index * 1_000);

describe.each([
  ["that began with all there was", "0"],
  ["that began with nothing", undefined],
])("a client %s", (_, cursor) => {
  test.each(SEEDS)("loses nothing, passes nothing twice, and nothing stale (seeds from %d)", (first) => {
    for (let seed = first; seed < first + 10; seed++) {
      const { history, model, passed, losses } = runs(seed, cursor);
      expect(gapsIn(passed), `seed ${seed}`).toBeLessThanOrEqual(losses);
      isNeverStale(passed);
      expect(cursorsOf(model).user, `seed ${seed}`).toBe(`${history.epoch}:${history.offset}`);
      for (const [key, { id }] of history.states) {
        expect(passed.findLast((message) => message.key === key)?.id, `seed ${seed}, ${key}`).toBe(id);
      }
    }
  });
});
