// Who wants to hear what. One that throws is reported, and the others are called all the same.

import type { AnyMessage, ConnectionState, MessageOf, MessageType, Unsubscribe } from "./types.js";

type Listener = (value: never) => void;

/** The key of those who want states; no message has it for a type. */
const STATE = Symbol("state");

export class Listeners {
  readonly #listeners = new Map<string | symbol, Set<{ call: Listener }>>();
  readonly #reportError: (error: unknown) => void;
  #state: ConnectionState;

  constructor(state: ConnectionState, reportError: (error: unknown) => void) {
    this.#state = state;
    this.#reportError = reportError;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  onState(listener: (state: ConnectionState) => void): Unsubscribe {
    return this.#add(STATE, listener);
  }

  on<T extends MessageType>(type: T, listener: (message: MessageOf<T>) => void): Unsubscribe {
    return this.#add(type, listener);
  }

  /** Tell everybody the state, if it is a new one. */
  become(state: ConnectionState): void {
    if (state === this.#state) return;
    this.#state = state;
    // A listener may have brought about a newer state. Then everybody has heard that one.
    this.#call(STATE, state, () => this.#state === state);
  }

  /** Pass a message to those who want its type, then to those who want any. */
  pass(message: AnyMessage): void {
    this.#call(message.type, message);
    this.#call("*", message);
  }

  #add(key: string | symbol, call: Listener): Unsubscribe {
    const listeners = this.#listeners.get(key) ?? new Set();
    // The same function may be added twice, and taken back once.
    const added = { call };
    this.#listeners.set(key, listeners.add(added));
    return () => {
      listeners.delete(added);
    };
  }

  #call(key: string | symbol, value: unknown, isWanted = () => true): void {
    for (const { call } of [...(this.#listeners.get(key) ?? [])]) {
      if (!isWanted()) return;
      try {
        call(value as never);
      } catch (error) {
        this.#reportError(error);
      }
    }
  }
}
