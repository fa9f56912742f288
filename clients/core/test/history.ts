// A server with the history of one user, by spec/protocol.md, with bounds so low that tests reach them.

import type { Message } from "../src/types.js";

/** How many messages of the log it keeps. */
export const KEPT = 20;
const PAGE = 3;

/** A connection of the server: the messages under way to the client, in their order. */
export interface ServerConnection {
  readonly underWay: object[];
  /** The pages of a welcome that were not sent yet. */
  pages: object[];
}

/** A message of the log. `isBig`: it fits into no page. */
type Logged = Message & { readonly cursor: string; readonly data: { readonly isBig: boolean } };

export class History {
  /** All messages of the log so far. */
  readonly published: Logged[] = [];
  readonly connections = new Set<ServerConnection>();
  epoch = "e1";
  offset = 0;
  log: Logged[] = [];
  states = new Map<string, Message & { readonly version: number }>();
  #count = 0;
  #versions = 0;

  connect(): ServerConnection {
    const connection = { underWay: [], pages: [] };
    this.connections.add(connection);
    return connection;
  }

  publish(isBig = false): Logged {
    this.offset += 1;
    const cursor = `${this.epoch}:${this.offset}`;
    const message = { type: "note", id: `${++this.#count}`, timestamp: "", data: { isBig }, cursor };
    this.published.push(message);
    this.log = [...this.log, message].slice(-KEPT);
    this.#send(message);
    return message;
  }

  update(key: string): void {
    const version = ++this.#versions;
    const message = { type: "upload_progress", id: `${++this.#count}`, timestamp: "", data: {}, key, version };
    this.states.set(key, message);
    this.#send(message);
  }

  /** Prepare the pages for a client with this cursor. Return true if nothing was lost. */
  hello(connection: ServerConnection, cursor?: string): boolean {
    const missed = cursor === undefined ? [] : this.#after(cursor);
    const pages = this.#pages(missed ?? this.log, missed !== undefined);
    connection.pages = pages;
    return missed !== undefined;
  }

  /** Send the next page of a welcome, if there is one. */
  turn(connection: ServerConnection): void {
    const page = connection.pages.shift();
    if (page !== undefined) connection.underWay.push(page);
  }

  /** Lose the history, as a server that keeps it in memory does when it restarts. */
  forget(): void {
    this.epoch = `e${Number(this.epoch.slice(1)) + 1}`;
    this.offset = 0;
    this.#versions = 0;
    this.log = [];
    this.states = new Map();
  }

  #send(message: object): void {
    for (const { underWay } of this.connections) underWay.push(message);
  }

  #after(cursor: string): Logged[] | undefined {
    if (cursor === "0") return this.log;
    const [epoch, offset] = [cursor.split(":")[0], Number(cursor.split(":")[1])];
    const first = this.offset - this.log.length + 1;
    if (epoch !== this.epoch || offset < first - 1 || offset > this.offset) return undefined;
    return this.log.slice(offset - first + 1);
  }

  #pages(messages: Logged[], recovered: boolean): object[] {
    const head = { cursor: `${this.epoch}:${this.offset}`, recovered };
    const page = (all: object[], state: object[], last: boolean): object => ({
      type: "welcome",
      timestamp: "",
      data: { ...head, messages: all, state, last },
    });
    const pages: object[] = [];
    let some: Logged[] = [];
    for (const message of messages) {
      if (some.length > 0 && (some.length === PAGE || message.data.isBig)) {
        pages.push(page(some, [], false));
        some = [];
      }
      if (message.data.isBig) pages.push(message);
      else some.push(message);
    }
    const states = [...this.states.values()];
    if (states.length > PAGE) pages.push(page(some, states.splice(0, PAGE), false));
    pages.push(page(states.length < this.states.size ? [] : some, states, true));
    return pages;
  }
}
