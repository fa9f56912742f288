// A client that catches up: whenever it is connected (again), it gets what the server remembers, and passes it on as if it
// had just arrived. What listens may get a message twice; @tellwire/react's stores know a message that they have seen.

import type { AnyMessage, Client, ConnectionState, MessageOf, MessageType, Unsubscribe } from "@tellwire/client";

type Listener = (message: never) => void;

export class CatchingUp implements Client {
  #client: Client;
  #load: () => Promise<AnyMessage[]>;
  #listeners = new Map<MessageType, Set<Listener>>();
  #before: ReadonlySet<string> | undefined;

  constructor(client: Client, load: () => Promise<AnyMessage[]>) {
    this.#client = client;
    this.#load = load;
    client.onState(({ status }) => {
      if (status === "open") void this.#catchUp();
    });
  }

  get state(): ConnectionState {
    return this.#client.state;
  }

  get cursor(): string | undefined {
    return this.#client.cursor;
  }

  onState(listener: (state: ConnectionState) => void): Unsubscribe {
    return this.#client.onState(listener);
  }

  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): Unsubscribe {
    const unsubscribe = this.#client.on(type, listener);
    const ofType = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, ofType.add(listener));
    return () => {
      unsubscribe();
      ofType.delete(listener);
    };
  }

  send(type: string, data?: unknown): boolean {
    return this.#client.send(type, data);
  }

  ack(cursor?: string): boolean {
    return this.#client.ack(cursor);
  }

  cancel(uploadId: string): boolean {
    return this.#client.cancel(uploadId);
  }

  connect(): void {
    this.#client.connect();
  }

  close(): void {
    this.#client.close();
  }

  /** Whether the message with this id was there before this client. */
  wasThereBefore(id: string): boolean {
    return this.#before?.has(id) ?? false;
  }

  async #catchUp(): Promise<void> {
    // Without an answer the connection is about to be lost again, and then made again.
    const messages = await this.#load().catch(() => undefined);
    if (messages === undefined) return;
    this.#before ??= new Set(messages.map(({ id }) => id ?? ""));
    for (const message of messages) {
      for (const listener of this.#listeners.get(message.type) ?? []) listener(message as never);
    }
  }
}
